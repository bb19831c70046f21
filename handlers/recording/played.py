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
from handlers.recording.journal import Block, BlockType, JournalFile, files_of
from handlers.shm_layout import BookState

RING_BYTES = 1 << 19
TAKEN = (
    "sequence", "venue_sequence", "epoch", "state", "reason", "verified_by", "price_exponent",
    "quantity_exponent", "exchange_ns", "receive_ns", "decoded_ns", "published_ns",
)  # fmt: skip
# (published ns, bytes, whether it is a whole book): a copied book, or one record
Step = tuple[int, memoryview, bool]


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
        yield block.time_ns, block.payload, True
    elif block.type is BlockType.RECORDS:
        span, size = ffi.from_buffer("uint8_t[]", block.payload), len(block.payload)
        at = lib.bw_span_find(span, size, 0, index)
        while at < size:
            record = ffi.cast("bw_record *", span + at)
            if record.published_ns < to_ns:
                yield record.published_ns, block.payload[at : at + record.bytes], False
            at = lib.bw_span_find(span, size, at + record.bytes, index)


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

    def apply(self, payload: memoryview, whole: bool) -> bool:
        """Moves the book by one step; whether it is LIVE now and was not, or the other way round."""
        live = self._book.state == int(BookState.LIVE)
        if whole:
            self._load(payload)
        else:
            record = ffi.cast("bw_record *", ffi.from_buffer(payload))
            if not self.known or record.sequence > self._book.sequence:
                self.known = lib.bw_played_record(self._store, self._book, record, self.known)
        return bool(live != (self._book.state == int(BookState.LIVE)))

    def _load(self, payload: memoryview) -> None:
        head = np.frombuffer(payload, layout.BOOK, 1).reshape(())
        if self.known and int(head["sequence"]) < self._book.sequence:
            return
        levels = np.frombuffer(payload, layout.LEVEL, -1, layout.BOOK.itemsize)
        bids = int(head["side"][0]["level_count"])
        lib.bw_book_begin(self._book)
        lib.bw_book_clear(self._store, self._book)
        for side, rows in enumerate((levels[:bids], levels[bids:])):
            if len(rows):
                best_first = ffi.from_buffer("bw_level *", rows.copy().data)
                lib.bw_book_load(self._store, self._book, side, best_first, len(rows))
            self._book.side[side].verified_price = int(head["side"][side]["verified_price"])
        for name in TAKEN:
            setattr(self._book, name, int(head[name]))
        lib.bw_book_end(self._store, self._book)
        self.known = True
