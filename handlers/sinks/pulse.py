"""Whether an exchange's process lives and the journal has all it published: then a mirror shows its books.

Looks into the process's shared memory, twice: what it had published at the first look must have been read
from the journal by the second. So a dead feed, a dead recorder and a sink that is behind all end the beats.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handlers.errors import UnavailableError
from handlers.shm import Segment
from handlers.sinks.tail import Tail


class Pulse:
    """Of one exchange."""

    def __init__(self, shm_dir: Path, exchange: str) -> None:
        self._path = shm_dir / f"{exchange}.shm"
        self._segment: Segment | None = None
        self._looked: tuple[int, NDArray[np.uint64]] | None = None  # when, sequence by book
        self.alive = False

    def look(self, tail: Tail) -> int | None:
        """The time (ns) up to which all has been read, None where that is not known to be so."""
        segment = self._open()
        if segment is None:
            return None
        due = self._looked
        if due is None:
            self._looked = time.time_ns(), segment.books["sequence"].copy()
            return None
        file = tail.file
        if file is None or file.generation != segment.generation:
            return None
        if any(file.reached.get(book, 0) < sequence for book, sequence in enumerate(due[1].tolist())):
            return None
        self._looked = time.time_ns(), segment.books["sequence"].copy()
        return due[0]

    def bounds(self, book: int, generation: int) -> tuple[int, int] | None:
        """verified_price of both sides now; it only draws in while an epoch lasts."""
        segment = self._segment
        if segment is None or segment.generation != generation or book >= len(segment.books):
            return None
        bids, asks = segment.books[book]["side"]["verified_price"].tolist()
        return bids, asks

    def _open(self) -> Segment | None:
        """The living segment, None where there is none."""
        if self._segment is not None and self._segment.replaced():
            self.close()
        if self._segment is None:
            try:
                self._segment = Segment.open(self._path)
            except UnavailableError:
                self.alive = False
                return None
        self.alive = self._segment.alive()
        if not self.alive:
            self._looked = None
            return None
        return self._segment

    def close(self) -> None:
        if self._segment is not None:
            self._segment.close()
        self._segment = self._looked = None
