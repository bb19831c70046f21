"""What can go wrong before a process takes a device past the kernel."""

from __future__ import annotations


class BypassError(Exception):
    """The kernel cannot be bypassed: ``what``, and what to ``do`` about it."""

    def __init__(self, what: str, do: str = "") -> None:
        super().__init__("; ".join(part for part in (what, do) if part))
        self.what = what
        self.do = do
