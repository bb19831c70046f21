"""A recorded book brought back: one symbol of one exchange, in a segment of its own, moved record by record.

Whatever reads segments (the gateway's encoder, an example) shows it as it would a live one. Played from the
journal, so it needs no Parquet. One thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers import shm_layout as layout
from handlers._ffi import ffi, lib
from handlers.errors import UnavailableError
from handlers.recording.audit import record_offsets
from handlers.recording.journal import Block, BlockType, JournalFile, files_of
from handlers.shm_layout import BookState, RecordType

RING_BYTES = 1 << 19
# (published ns, header or None, payload): a copied book, or one record
Step = tuple[int, bytes, bool]


def steps(directory: Path, exchange: str, symbol: str, from_ns: int, to_ns: int) -> Iterator[Step]:
    """(published ns, bytes, whether it is a whole book) in order, from the last copy at or before ``from_ns``
    (or the first after it) to ``to_ns``, excluded."""
    files = files_of(directory, exchange)
    begins = [int(path.stem) for path in files]
    chosen = [
        path
        for at, path in enumerate(files)
        if begins[at] < to_ns and (at + 1 == len(files) or begins[at + 1] > from_ns)
    ]
    for path in chosen:
        index: int | None = None
        for block in JournalFile(path):
            if block.type is BlockType.SYMBOLS:
                names = [row["canonical"].tobytes().rstrip(b"\0").decode() for row in block.symbols()]
                index = block.book + names.index(symbol) if symbol in names else index
            elif index is not None:
                yield from _block_steps(block, index, to_ns)


def _block_steps(block: Block, index: int, to_ns: int) -> Iterator[Step]:
    if block.type is BlockType.BOOK and block.book == index and block.time_ns < to_ns:
        yield block.time_ns, bytes(block.payload), True
    elif block.type is BlockType.RECORDS:
        for at in record_offsets(block.payload):
            head = np.frombuffer(block.payload, layout.RECORD, 1, at).reshape(())
            if int(head["book"]) == index and int(head["published_ns"]) < to_ns:
                yield int(head["published_ns"]), bytes(block.payload[at : at + int(head["bytes"])]), False


class PlayedBook:
    """The segment ``<directory>/<exchange>.shm`` with one book. Raises UnavailableError."""

    def __init__(
        self, directory: Path, exchange: str, number: int, symbol: NDArray[np.void], levels: int
    ) -> None:
        spec, error = ffi.new("bw_shm_spec *"), ffi.new("char[]", 512)
        path = ffi.new("char[]", str(directory / f"{exchange}.shm").encode())
        name = ffi.new("char[]", exchange.encode())
        spec.path, spec.exchange, spec.exchange_number, spec.book_capacity = path, name, number, 1
        spec.level_capacity, spec.ring_bytes = max(64, levels), RING_BYTES
        spec.chunk_capacity = 2 * (spec.level_capacity // (lib.BW_CHUNK_LEVELS // 2) + 2)
        self._writer: Any = lib.bw_shm_writer_new(spec, error, len(error))
        if self._writer == ffi.NULL:
            raise UnavailableError(ffi.string(error).decode(errors="replace"))
        row = ffi.new("bw_symbol *")
        ffi.memmove(row, symbol.tobytes(), ffi.sizeof("bw_symbol"))
        lib.bw_shm_writer_add_book(self._writer, row, 0, 0, time.time_ns())
        self._book = lib.bw_shm_writer_book(self._writer, 0)
        self._store = lib.bw_shm_writer_store(self._writer)
        self._header = lib.bw_shm_writer_header(self._writer)
        self._header.state = lib.BW_SEGMENT_RUNNING
        self.known = False
        self.beat()

    def beat(self) -> None:
        """Readers take a segment that is silent for long for a dead writer's."""
        self._header.heartbeat_ns = time.time_ns()

    def close(self) -> None:
        lib.bw_shm_writer_close(self._writer)

    def apply(self, payload: bytes, whole: bool) -> None:
        """Moves the book by one step."""
        if whole:
            self._load(payload)
        else:
            self._record(payload)

    def _load(self, payload: bytes) -> None:
        head = np.frombuffer(payload, layout.BOOK, 1).reshape(())
        if self.known and int(head["sequence"]) < self._book.sequence:
            return
        levels = np.frombuffer(payload, layout.LEVEL, -1, layout.BOOK.itemsize)
        bids = int(head["side"][0]["level_count"])
        lib.bw_book_begin(self._book)
        lib.bw_book_clear(self._store, self._book)
        for side, rows in enumerate((levels[:bids], levels[bids:])):
            if len(rows):
                lib.bw_book_load(
                    self._store, self._book, side, ffi.from_buffer("bw_level *", rows.copy().data), len(rows)
                )
        self._take(head, ("decoded_ns",))
        lib.bw_book_end(self._store, self._book)
        self.known = True

    def _record(self, payload: bytes) -> None:
        head = np.frombuffer(payload, layout.RECORD, 1).reshape(())
        if self.known and int(head["sequence"]) <= self._book.sequence:
            return
        follows = self.known and int(head["sequence"]) == self._book.sequence + 1
        self.known = follows and int(head["type"]) != RecordType.RESET
        levels = np.frombuffer(payload, layout.LEVEL, -1, layout.RECORD.itemsize)
        bids, evicted = int(head["bid_count"]), ffi.new("int64_t *")
        lib.bw_book_begin(self._book)
        if self.known:
            for at, (price, quantity, orders, _) in enumerate(levels.tolist()):
                lib.bw_book_set(self._store, self._book, int(at >= bids), price, quantity, orders, evicted)
        self._take(head, ("decoded_ns",))
        if not self.known:  # a book that is not known to be right is not shown as live
            self._book.state = int(BookState.RESYNC)
        lib.bw_book_end(self._store, self._book)

    def _take(self, head: NDArray[np.void], more: tuple[str, ...]) -> None:
        names = (
            "sequence",
            "venue_sequence",
            "epoch",
            "state",
            "reason",
            "price_exponent",
            "quantity_exponent",
        )
        for name in (*names, "exchange_ns", "receive_ns", "published_ns", *more):
            setattr(self._book, name, int(head[name]))
