"""Rows of a journal file: every record as a row with the best prices after it, and whole books as rows.

What Parquet and the sinks are made of. The books are kept natively beside the reading, so a row knows the
best prices after its update; it starts with the first copy of a book that the file holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers import shm_layout as layout
from handlers._ffi import ffi, lib
from handlers.recording.journal import Block

ROWS = 1 << 16
LEVELS = 1 << 20
SNAPSHOT = 0  # type of a row that holds a whole book; others are RecordType
TYPES = ("snapshot", "update", "reset", "state")
ROW = layout.struct("bw_row")

# (rows, their levels behind each other: of each row first bids, then asks)
Rows = tuple[NDArray[np.void], NDArray[np.void]]


class BookRows:
    """Books of one journal file. ``levels`` is the segment's own capacity a side. Raises MemoryError."""

    def __init__(self, books: int, levels: int) -> None:
        self.books = max(1, books)
        self._history: Any = lib.bw_history_new(self.books, 2 * max(64, levels))
        if self._history == ffi.NULL:
            raise MemoryError(f"no room for {books} books")
        self._room = np.zeros(ROWS, ROW), np.zeros(LEVELS, layout.LEVEL)

    def close(self) -> None:
        lib.bw_history_free(self._history)
        self._history = ffi.NULL

    def load(self, block: Block) -> bool:
        """Takes a BOOK block's copy; False where what is kept is newer."""
        return bool(lib.bw_history_load(self._history, block.book, *block.native_book()))

    def copy(self, book: int) -> Rows | None:
        """The kept book as one row of type SNAPSHOT; None while it is not known."""
        rows, levels = self._room
        made = lib.bw_history_copy(
            self._history, book, ffi.from_buffer("bw_row *", rows.data),
            ffi.from_buffer("bw_level *", levels.data), LEVELS,
        )  # fmt: skip
        if not made:
            return None
        row = rows[:1].copy()
        row["type"] = SNAPSHOT
        return row, levels[: int(row["bid_count"][0]) + int(row["ask_count"][0])].copy()

    def rows(self, payload: memoryview) -> Iterator[Rows]:
        """Rows of a RECORDS block, a roomful at a time. Raises ValueError for what is no record."""
        rows, levels = self._room
        base, done, total = ffi.from_buffer("uint8_t[]", payload), 0, len(payload)
        consumed = ffi.new("uint64_t *")
        while done < total:
            made = lib.bw_history_rows(
                self._history, base + done, total - done, ffi.from_buffer("bw_row *", rows.data), ROWS,
                ffi.from_buffer("bw_level *", levels.data), LEVELS, consumed,
            )  # fmt: skip
            if made == 0:
                raise ValueError("a span holds what is no record")
            done += int(consumed[0])
            mine = rows[:made].copy()
            yield mine, levels[: int((mine["bid_count"] + mine["ask_count"]).astype(np.int64).sum())].copy()
