"""The errors of this floor."""

from __future__ import annotations


class TreeError(ValueError):
    """A file or text about the machine is not of the form it must have: what, and what to do."""

    def __init__(self, what: str, do: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.do = do


class InterfaceError(OSError):
    """The kernel has no such interface, or does not tell about it."""
