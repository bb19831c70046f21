"""The kernel's files about a machine, read under a root so that a copied or made-up tree serves as well."""

from __future__ import annotations

import os
from pathlib import Path

from hw.errors import TreeError


class Tree:
    """Files of ``/proc``, ``/sys``, ``/dev`` below ``root``. Reading never fails: what is not there is None.

    A box of another kernel, a container or a user without rights lacks some of the files; the rooms above say
    "unknown" then, which is not "no".
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def exists(self, name: str) -> bool:
        return self.path(name).exists()

    def text(self, name: str) -> str | None:
        """Content without surrounding space, or None."""
        try:
            return self.path(name).read_text(errors="replace").strip()
        except OSError:
            return None

    def data(self, name: str) -> bytes | None:
        try:
            return self.path(name).read_bytes()
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        """A whole number in decimal or 0x form."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return int(text, 0)
        except ValueError:
            return None

    def names(self, name: str) -> list[str]:
        """Entries of a directory in order; none where it is not there."""
        try:
            return sorted(os.listdir(self.path(name)))
        except OSError:
            return []

    def target(self, name: str) -> str | None:
        """Last component of what a symbolic link points to."""
        try:
            return os.path.basename(os.readlink(self.path(name)))
        except OSError:
            return None

    def cpus(self, name: str) -> frozenset[int] | None:
        text = self.text(name)
        return None if text is None else cpu_list(text)


def cpu_list(text: str) -> frozenset[int]:
    """CPUs of the kernel's list form, ``0-3,8,10-14:2`` (strides included).

    Raises TreeError for anything else.
    """
    found: set[int] = set()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        span, _, step = part.partition(":")
        first, dash, last = span.partition("-")
        try:
            found.update(range(int(first), int(last if dash else first) + 1, int(step or 1)))
        except ValueError:
            raise TreeError(f"{text!r} is no list of CPUs", do="give one such as 2-5,8") from None
    return frozenset(found)


def cpu_text(cpus: frozenset[int] | set[int]) -> str:
    """The kernel's list form of some CPUs, shortest: ``0-3,8``."""
    parts: list[str] = []
    ordered = sorted(cpus)
    at = 0
    while at < len(ordered):
        end = at
        while end + 1 < len(ordered) and ordered[end + 1] == ordered[end] + 1:
            end += 1
        parts.append(str(ordered[at]) if end == at else f"{ordered[at]}-{ordered[end]}")
        at = end + 1
    return ",".join(parts)
