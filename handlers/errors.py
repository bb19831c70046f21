"""Failures that end a process, each with what, where, what to do, and an exit code.

SetupError            78  the configuration cannot work
├── UsageError        64  a name that nobody knows (exchange, symbol)
├── UnavailableError  69  something outside is missing (shared memory, CA file, REST answer)
└── FallBackError     71  the way past the kernel failed: start again, over sockets
"""

from __future__ import annotations


class SetupError(Exception):
    """A process cannot start. ``what`` happened ``where``, and what to ``do`` about it."""

    exit_code = 78

    def __init__(self, what: str, *, where: str = "", do: str = "") -> None:
        self.what = what
        self.where = where
        self.do = do
        super().__init__("; ".join(part for part in (what, where and f"at {where}", do) if part))


class UsageError(SetupError):
    """A name was given that does not exist."""

    exit_code = 64


class UnavailableError(SetupError):
    """Something the process needs is not there now."""

    exit_code = 69


class FallBackError(SetupError):
    """The network past the kernel failed; the process that is started next takes sockets by itself."""

    exit_code = 71
