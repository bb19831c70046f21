"""When an exchange was last not live, and how often: what a look now and then at its state would miss.

The HTTP process looks each 250 ms. A process that was replaced between two looks shows by its segment's
generation, so an exchange that is back within a second has still left a mark. Counted from the first time
that it was live since the HTTP process started; kept nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway._ffi import lib
from gateway.directory import Carrier


@dataclass
class Mark:
    """One exchange's: ``since_ns`` and ``until_ns`` of the newest interruption, on the monotonic clock."""

    count: int = 0
    since_ns: int = 0
    until_ns: int | None = None  # None while it lasts
    was_live: bool = False
    generation: int = 0
    looked_ns: int = 0

    def look(self, live: bool, generation: int, now_ns: int) -> None:
        """``generation``: of its segment, 0 while there is none."""
        replaced = bool(self.generation and generation and generation != self.generation)
        if self.was_live and (not live or replaced):
            self.count += 1
            self.since_ns, self.until_ns = self.looked_ns, None
        if live and self.count and self.until_ns is None:
            self.until_ns = now_ns
        self.was_live = live
        self.generation = generation or self.generation
        self.looked_ns = now_ns

    def told(self, now_ns: int) -> dict[str, Any]:
        """``ago_ms``: since it ended, 0 while it lasts; ``lasted_ms``: so far. Both None where none was."""
        if not self.count:
            return {"count": 0, "ago_ms": None, "lasted_ms": None}
        until_ns = now_ns if self.until_ns is None else self.until_ns
        return {
            "count": self.count,
            "ago_ms": (now_ns - until_ns) // 1_000_000,
            "lasted_ms": (until_ns - self.since_ns) // 1_000_000,
        }


class Interruptions:
    """The marks of all exchanges. One thread's."""

    def __init__(self) -> None:
        self._marks: dict[str, Mark] = {}

    def look(self, carriers: Iterable[Carrier]) -> None:
        """Live is an exchange whose every book is."""
        now_ns = time.monotonic_ns()
        for carrier in carriers:
            counts, total = carrier.state_counts(), len(carrier.books)
            generation = lib.bw_segment_generation(carrier.segment) if carrier.segment is not None else 0
            live = bool(total) and counts["live"] == total
            self._marks.setdefault(carrier.exchange.id, Mark()).look(live, generation, now_ns)

    def told(self, exchange: str) -> dict[str, Any]:
        return self._marks.get(exchange, Mark()).told(time.monotonic_ns())
