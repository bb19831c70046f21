"""Plays frames through plan, engine and shared memory in this process: no socket, no thread.

For recordings, tests, benches and `bookwire replay`. A frame is the bytes of one message as the exchange
sent them; a REST body is what a snapshot request brought. Time is an argument (ns since the epoch).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from handlers._ffi import ffi, lib
from handlers.facts import Instrument, Venue
from handlers.native_feed import Event, NativeFeed
from handlers.settings import FeedSettings

FRAME_STEP_NS = 1_000_000
LEVEL = np.dtype([("price", "<i8"), ("quantity", "<i8"), ("orders", "<u4"), ("reserved", "<u4")])


class BookCopy(NamedTuple):
    """A book as it stands. Prices and quantities are mantissas: value = mantissa / 10**exponent."""

    state: int
    reason: int
    sequence: int
    venue_sequence: int
    epoch: int
    price_exponent: int
    quantity_exponent: int
    verified_by: int
    verifier_state: int
    exchange_ns: int
    checksums_ok: int
    checksums_bad: int
    updates: int
    gaps: int
    bids: list[tuple[int, int, int]]  # price, quantity, orders; best first
    asks: list[tuple[int, int, int]]


class Replay:
    """Books of ``rows``, each on connection 0 unless bound elsewhere. A context manager.

    ``settings`` go to FeedSettings; the segment lives in ``shm_dir``, or in a directory of its own that
    goes with the replay.
    """

    def __init__(
        self, venue: Venue, rows: Sequence[Instrument], *, shm_dir: Path | None = None, **settings: Any
    ) -> None:
        self.now_ns = 1_700_000_000_000_000_000
        self._own_dir = None if shm_dir else tempfile.TemporaryDirectory(prefix="bookwire-replay-")
        directory = shm_dir or Path(self._own_dir.name if self._own_dir else ".")
        told = FeedSettings(venue.id, shm_dir=directory, run_dir=directory, **settings)
        self.native = NativeFeed(venue, told, max(1, len(rows)), 4)
        self._engine = self.native.engine
        self.books = {row.native: self.native.add_book(row) for row in rows}
        for book in self.books.values():
            self.native.bind(book, 0)
        self._room: Any = ffi.new("char[]", 1 << 16)
        self._levels: Any = ffi.new("bw_level[]", 1 << 16)
        self.connected()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.native.close()
        if self._own_dir is not None:
            self._own_dir.cleanup()

    def connected(self, connection: int = 0) -> None:
        """A (new) connection stands: its sequence starts over."""
        lib.bw_engine_connection_up(self._engine, connection, self.now_ns)

    def disconnected(self, connection: int = 0) -> None:
        lib.bw_engine_connection_down(self._engine, connection, lib.BW_REASON_DISCONNECTED, self.now_ns)

    def frame(self, message: bytes, *, connection: int = 0, now_ns: int | None = None) -> None:
        """One whole message as received."""
        self._advance(now_ns)
        text = self._copy(message)
        lib.bw_engine_frame(self._engine, connection, text, len(message), self.now_ns, self.now_ns)

    def snapshot(self, symbol: str, body: bytes, *, now_ns: int | None = None) -> None:
        """A REST body for the book of a native symbol."""
        self._advance(now_ns)
        text = self._copy(body)
        lib.bw_engine_load_snapshot(self._engine, self.books[symbol], text, len(body), self.now_ns)

    def events(self) -> list[Event]:
        """What the engine told since the last call."""
        return list(self.native.events())

    def book(self, symbol: str) -> BookCopy:
        """The whole book of a native symbol."""
        raw = self.native.raw_book(self.books[symbol])
        return BookCopy(
            raw.state,
            raw.reason,
            raw.sequence,
            raw.venue_sequence,
            raw.epoch,
            raw.price_exponent,
            raw.quantity_exponent,
            raw.verified_by,
            raw.verifier_state,
            raw.exchange_ns,
            raw.checksums_ok,
            raw.checksums_bad,
            raw.updates,
            raw.gaps,
            self._side(raw, 0),
            self._side(raw, 1),
        )

    @property
    def stats(self) -> Any:
        """bw_stats of the segment."""
        return lib.bw_shm_writer_stats(self.native.writer)

    def _side(self, raw: Any, side: int) -> list[tuple[int, int, int]]:
        count = raw.side[side].level_count
        if count > len(self._levels):
            self._levels = ffi.new("bw_level[]", 2 * count)
        store = lib.bw_shm_writer_store(self.native.writer)
        count = lib.bw_book_copy(store, raw, side, count, self._levels)
        rows = np.frombuffer(ffi.buffer(self._levels, count * LEVEL.itemsize), LEVEL)
        return list(
            zip(rows["price"].tolist(), rows["quantity"].tolist(), rows["orders"].tolist(), strict=True)
        )

    def _advance(self, now_ns: int | None) -> None:
        self.now_ns = self.now_ns + FRAME_STEP_NS if now_ns is None else now_ns

    def _copy(self, data: bytes) -> Any:
        """The bytes where the engine may read past their end."""
        if len(data) + lib.BW_ENGINE_PADDING > len(self._room):
            self._room = ffi.new("char[]", 2 * len(data) + lib.BW_ENGINE_PADDING)
        ffi.memmove(self._room, data, len(data))
        return self._room
