"""Plays frames through plan, engine and shared memory in this process: no socket, no thread.

For recordings, tests, benches and `bookwire replay`. A frame is the bytes of one message as the exchange
sent them; a REST body is what a snapshot request brought. Time is an argument (ns since the epoch).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from handlers._ffi import ffi, lib
from handlers.facts import Instrument, Venue
from handlers.native_feed import Event, NativeFeed
from handlers.settings import FeedSettings
from handlers.shm import Book, Segment

FRAME_STEP_NS = 1_000_000


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
        self.segment = Segment.open(told.segment_path)
        self.connected()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.segment.close()
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

    def book(self, symbol: str) -> Book:
        """The whole book of a native symbol, as any reader of the shared memory sees it."""
        return self.segment.book(self.books[symbol])

    def _advance(self, now_ns: int | None) -> None:
        self.now_ns = self.now_ns + FRAME_STEP_NS if now_ns is None else now_ns

    def _copy(self, data: bytes) -> Any:
        """The bytes where the engine may read past their end."""
        if len(data) + lib.BW_ENGINE_PADDING > len(self._room):
            self._room = ffi.new("char[]", 2 * len(data) + lib.BW_ENGINE_PADDING)
        ffi.memmove(self._room, data, len(data))
        return self._room
