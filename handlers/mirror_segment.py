"""A segment of shared memory whose books come from elsewhere: whoever reads segments cannot tell.

Made out of the readers' sight and moved into place by ``show()``; ``beat()`` says that it is fresh. A book
has the sequences, epochs and stamps of its origin. It is LIVE only while it is whole: known from a copy, and
every record since. One thread.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers import shm_layout as layout
from handlers._ffi import ffi, lib
from handlers.errors import UnavailableError
from handlers.shm import Segment
from handlers.shm_layout import BookState, Reason, RecordType

RING_BYTES = 1 << 24
HOLD_S = 0.5  # a replaced book's copy is waited for so long before the book is taken out
_COPIED = ("sequence", "venue_sequence", "epoch", "state", "reason", "price_exponent", "quantity_exponent",
           "verified_by", "exchange_ns", "receive_ns", "decoded_ns", "published_ns")  # fmt: skip


@dataclass
class _Kept:
    """What is known of one book."""

    index: int
    native: Any
    known: bool = False
    published: int = 0  # sequence of the last record in our ring
    held: NDArray[np.void] | None = None  # the record that broke it, while its copy is waited for
    held_s: float = 0.0


class MirrorSegment:
    """``books`` slots of ``levels`` a side, of which ``expected`` are usual. Raises UnavailableError."""

    def __init__(
        self, directory: Path, exchange: str, number: int, *, books: int, levels: int, expected: int
    ) -> None:
        self.path, self.books = directory / f"{exchange}.shm", books
        self._hidden = directory / f".{exchange}.mirror-{os.getpid()}"
        self.shown = False
        chunk = lib.BW_CHUNK_LEVELS
        full = -(-levels // (chunk // 2)) + 1
        usual = -(-min(levels, expected) * 2 // chunk) + 1
        names = ffi.new("char[]", os.fsencode(self._hidden)), ffi.new("char[]", exchange.encode())
        spec, error = ffi.new("bw_shm_spec *"), ffi.new("char[]", 512)
        spec.path, spec.exchange, spec.exchange_number, spec.book_capacity = *names, number, books
        spec.level_capacity, spec.ring_bytes = max(chunk, levels), RING_BYTES
        spec.chunk_capacity = 2 * (min(books, 2) * full + max(0, books - 2) * usual)
        self._writer: Any = lib.bw_shm_writer_new(spec, error, len(error))
        if self._writer == ffi.NULL:
            raise UnavailableError(
                ffi.string(error).decode(errors="replace"), do="make room there, or name another box.shm_dir"
            )
        self._number = self._hidden.stat().st_ino
        self._store = lib.bw_shm_writer_store(self._writer)
        self._header = lib.bw_shm_writer_header(self._writer)
        self._header.state = lib.BW_SEGMENT_RUNNING
        self._kept: dict[int, _Kept] = {}  # by the origin's index
        self._changed = ffi.new("bw_level[]", 2 * lib.BW_RECORD_CHANGES_MAX)

    def close(self) -> None:
        """Marks it closed and takes the file away, unless another has taken its place."""
        lib.bw_shm_writer_close(self._writer)
        path = self.path if self.shown else self._hidden
        if path.exists() and path.stat().st_ino == self._number:
            path.unlink()

    def show(self) -> None:
        """Into its place. Raises UnavailableError where a living writer's segment is."""
        if self.shown:
            return
        if (writer := _living_writer(self.path)) not in (0, os.getpid()):
            raise UnavailableError(
                f"{self.path}: in use by process {writer}", do="mirror into another --shm-dir"
            )
        self.beat()
        self._hidden.rename(self.path)
        self.shown = True

    def beat(self) -> None:
        """Readers take a segment that is silent for long for a dead writer's."""
        self._header.heartbeat_ns = time.time_ns()

    def add_bell(self, bell: Path, fifo: Path) -> bool:
        return int(lib.bw_shm_writer_add_bell(self._writer, os.fsencode(bell), os.fsencode(fifo))) >= 0

    def ring_bells(self) -> None:
        lib.bw_shm_writer_ring_bells(self._writer)

    # Books

    def snapshot(
        self, symbol: bytes, record: NDArray[np.void], bounds: tuple[int, int], levels: NDArray[np.void]
    ) -> None:
        """A whole book at its sequence. Raises UnavailableError where there is no slot left for a new one."""
        origin, sequence = int(record["book"]), int(record["sequence"])
        kept = self._kept.get(origin) or self._add(origin, symbol, record)
        book = kept.native
        if kept.known and sequence <= book.sequence:
            if sequence == book.sequence:
                self._bound(kept, bounds)
            return
        bids = int(record["bid_count"])
        lib.bw_book_begin(book)
        lib.bw_book_clear(self._store, book)
        for side, rows in enumerate((levels[:bids], levels[bids:])):
            if len(rows):
                mine = ffi.from_buffer("bw_level *", np.ascontiguousarray(rows).data)
                lib.bw_book_load(self._store, book, side, mine, len(rows))
            book.side[side].verified_price = bounds[side]
        _take(book, record)
        lib.bw_book_end(self._store, book)
        kept.known, kept.held = True, None
        if sequence > kept.published:  # else readers have that sequence: they copy it with the next record
            self._publish(kept, record, RecordType.RESET, levels[:0])

    def _bound(self, kept: _Kept, bounds: tuple[int, int]) -> None:
        book = kept.native
        if tuple(book.side[side].verified_price for side in (0, 1)) == bounds:
            return
        lib.bw_book_begin(book)
        for side in (0, 1):
            book.side[side].verified_price = bounds[side]
        lib.bw_book_end(self._store, book)

    def record(self, record: NDArray[np.void], changes: NDArray[np.void], now_s: float) -> None:
        """One record of the origin's ring. What does not follow takes the book out until its next copy."""
        kept = self._kept.get(int(record["book"]))
        if kept is None or (kept.known and int(record["sequence"]) <= kept.native.sequence):
            return
        book = kept.native
        follows = (
            kept.known
            and int(record["sequence"]) == book.sequence + 1
            and int(record["type"]) != RecordType.RESET
            and int(record["price_exponent"]) == book.price_exponent
            and int(record["quantity_exponent"]) == book.quantity_exponent
        )
        if not follows:
            self._hold(kept, record, now_s)
            return
        bids = int(record["bid_count"])
        lib.bw_book_begin(book)
        for side, rows in enumerate((changes[:bids], changes[bids:])):
            if len(rows):
                mine = ffi.from_buffer("bw_level *", rows.data)
                lib.bw_book_set_many(self._store, book, side, mine, len(rows), self._changed)
        _take(book, record)
        lib.bw_book_end(self._store, book)
        late = kept.published + 1 != int(record["sequence"])
        kind = RecordType.RESET if late else RecordType(int(record["type"]))
        self._publish(kept, record, kind, changes[:0] if late else changes)

    def _hold(self, kept: _Kept, record: NDArray[np.void], now_s: float) -> None:
        kept.known = False
        if kept.held is None:
            kept.held_s = now_s
        kept.held = record

    def look(self, now_s: float) -> None:
        """Takes out the books whose copy did not come."""
        for kept in self._kept.values():
            if kept.held is None or now_s - kept.held_s < HOLD_S:
                continue
            record, kept.held = kept.held.copy(), None
            record["state"], record["reason"] = BookState.RESYNC, Reason.GAP
            record["bid_count"] = record["ask_count"] = 0
            lib.bw_book_begin(kept.native)
            _take(kept.native, record)
            lib.bw_book_end(self._store, kept.native)
            self._publish(kept, record, RecordType.STATE, np.zeros(0, layout.LEVEL))

    @property
    def waiting(self) -> int:
        """Books that are not whole."""
        return sum(not kept.known for kept in self._kept.values())

    def _add(self, origin: int, symbol: bytes, record: NDArray[np.void]) -> _Kept:
        row = ffi.new("bw_symbol *")
        ffi.memmove(row, symbol, ffi.sizeof("bw_symbol"))
        index = int(
            lib.bw_shm_writer_add_book(
                self._writer,
                row,
                int(record["price_exponent"]),
                int(record["quantity_exponent"]),
                time.time_ns(),
            )
        )
        if index < 0:
            raise UnavailableError(f"{self.path}: no room for another book", do="it is made anew, larger")
        kept = _Kept(index, lib.bw_shm_writer_book(self._writer, index))
        self._kept[origin] = kept
        return kept

    def _publish(
        self, kept: _Kept, record: NDArray[np.void], kind: RecordType, changes: NDArray[np.void]
    ) -> None:
        room = lib.bw_record_reserve(self._writer, len(changes))
        ffi.memmove(room, record.tobytes(), layout.RECORD.itemsize)
        room.type, room.book = int(kind), kept.index
        bids = int(record["bid_count"]) if len(changes) else 0
        if len(changes):
            ffi.memmove(room + 1, np.ascontiguousarray(changes).data, len(changes) * layout.LEVEL.itemsize)
        kept.published = int(record["sequence"])
        lib.bw_record_commit(self._writer, room, bids, len(changes) - bids, int(record["published_ns"]))


def _living_writer(path: Path) -> int:
    """Its process id, 0 where there is none."""
    try:
        with Segment.open(path) as there:
            return int(there.header["writer_pid"]) if there.alive() else 0
    except UnavailableError:
        return 0


def _take(book: Any, record: NDArray[np.void]) -> None:
    """The record's stamps and state into the book, inside a write."""
    for name in _COPIED:
        setattr(book, name, int(record[name]))
    book.last_data_ns = int(record["receive_ns"])
    book.updates += 1
