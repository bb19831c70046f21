"""The journal that a merge writes: files as a recorder makes them, but with the times of the recordings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from handlers import shm_layout as layout
from handlers._ffi import ffi, lib
from handlers.recording.journal import SUFFIX, VERSION, BlockType, JournalWriter

ROOM_BYTES = 4 << 20
SPAN_BYTES = 256 << 10  # a block of records is written when it is so long,
SPAN_NS = 1_000_000_000  # or has waited so long (of the recordings' time)
HOUR_NS = 3_600_000_000_000


class MergedJournal:
    """One exchange's journal. ``symbols``: bw_symbol by canonical name, in the order of the books.

    Records are gathered in ``room`` (bw_strands_out); any block flushes them before it. Raises OSError where
    the disk does not take a block.
    """

    def __init__(
        self, directory: Path, exchange: str, told: Mapping[str, Any], symbols: Mapping[str, bytes],
        file_bytes: int,
    ) -> None:  # fmt: skip
        self.now_ns = int(told["time_ns"])  # of the recordings
        self.generation = int(told["generation"])
        self.bytes = self.records = self.files = 0
        self.room = ffi.new("bw_strands_out *")
        self._data = ffi.new("uint8_t[]", ROOM_BYTES)
        self.room.data, self.room.room = self._data, ROOM_BYTES
        self._where, self._told, self._symbols = directory / "journal" / exchange, told, symbols
        self._most = file_bytes
        self._position = 0  # of a ring that never was: bytes of all records
        self._begun_ns = self._flushed_ns = 0
        self._writer: JournalWriter | None = None
        self._open()

    def _open(self) -> None:
        self._begun_ns = max(self.now_ns, self._begun_ns + 1)
        self._writer = JournalWriter(self._where / f"{self._begun_ns:020d}{SUFFIX}")
        self.files += 1
        told = {"version": VERSION, **self._told, "time_ns": self._begun_ns}
        self._append(BlockType.FILE, orjson.dumps(told), position=self._position)
        rows = b"".join(self._symbols.values())
        self._append(BlockType.SYMBOLS, rows, items=len(self._symbols))

    def _append(self, kind: BlockType, payload: bytes | memoryview, **more: int) -> None:
        assert self._writer is not None
        self._writer.append(
            kind, payload, generation=self.generation, time_ns=max(self.now_ns, self._begun_ns), **more
        )

    def full(self) -> bool:
        """Whether the file is as long as it may be, or its hour is over."""
        assert self._writer is not None
        return self._writer.size >= self._most or self.now_ns // HOUR_NS > self._begun_ns // HOUR_NS

    def rotate(self) -> None:
        """Ends the file and begins the next; the caller owes it a copy of every book."""
        self.close("rotated")
        self._open()

    def close(self, why: str) -> None:
        """Ends the file; what is in it is durable."""
        if self._writer is None:
            return
        try:
            self.flush()
            self._append(BlockType.END, orjson.dumps({"why": why}))
            self._writer.sync()
            self.bytes += self._writer.size
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Closes the file as it is."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def poll(self) -> None:
        """Writes what was gathered, if it is much or old."""
        if self.room.used >= SPAN_BYTES or self.now_ns - self._flushed_ns >= SPAN_NS:
            self.flush()

    def flush(self) -> None:
        """Writes the records that were gathered."""
        self._flushed_ns = self.now_ns
        used, records = int(self.room.used), int(self.room.records)
        if not used:
            return
        span = ffi.buffer(self._data, used)
        self._append(BlockType.RECORDS, memoryview(span), position=self._position, items=records)
        self._position += used
        self.records += records
        self.room.used = self.room.records = 0

    def take(self, numbers: Any, record: Any) -> None:
        """One record, with the numbers of a bw_strand."""
        if not lib.bw_strand_emit(numbers, record, self.room):
            self.flush()
            taken = lib.bw_strand_emit(numbers, record, self.room)
            assert taken, "a record is longer than the room"

    def tell(self, kind: BlockType, book: int, told: Mapping[str, Any]) -> None:
        """A GAP or SEAM of one book."""
        self.flush()
        self._append(kind, orjson.dumps(told), book=book, position=self._position)

    def copy(self, book: int, payload: bytes, sequence: int, epoch: int) -> None:
        """A whole book, with the numbers it has here."""
        self.flush()
        patched = bytearray(payload)
        header = np.frombuffer(patched, layout.BOOK, 1)
        header["sequence"], header["epoch"] = sequence, epoch
        levels = (len(payload) - layout.BOOK.itemsize) // layout.LEVEL.itemsize
        self._append(BlockType.BOOK, bytes(patched), book=book, position=self._position, items=levels)
