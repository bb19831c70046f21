"""Reading an exchange's shared memory: books, the update ring, counters. Numpy views, no copy.

``Segment.books``, ``header`` and ``stats`` look straight into the mapping: cheap, live, and for one field
at a time only, since the writer goes on writing. ``book()``, ``top()`` and ``records()`` give untorn copies.
A segment of a dead writer stays readable: ask ``alive()`` before believing a book that says LIVE.

    with Segment.open("/dev/shm/bookwire/binance.shm") as segment:
        book = segment.book("BTC-USDT", depth=10)
        print(book.sequence, book.decimals("bids")[0])
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from handlers import shm_layout as layout
from handlers._ffi import ffi, lib
from handlers.errors import UnavailableError
from handlers.facts import Kind
from handlers.shm_layout import BookState, Budget, Reason, RecordType, SegmentState, Stage, VerifiedBy

Side = Literal["bids", "asks"]
Levels = NDArray[np.void]

PATIENCE_S = 2.0  # a loop that has not turned for so long is as good as dead


class ReadError(Exception):
    """A book or the ring could not be read now."""


class WriterGoneError(ReadError):
    """The writer died inside a write: this book is lost, the next writer makes a new segment."""


class BusyError(ReadError):
    """The writer was inside a write all the time (20 ms): try later."""


class OverrunError(ReadError):
    """The writer was a whole ring ahead: updates were lost. Copy the books anew, then read on."""


@dataclass(frozen=True)
class Symbol:
    """An instrument of the segment: canonical BASE-QUOTE name and the venue's own."""

    canonical: str
    native: str
    base: str
    quote: str
    kind: Kind


@dataclass(frozen=True)
class Book:
    """A book at exactly one sequence. Levels are best first: price and quantity are integer mantissas
    (value = mantissa / 10^exponent), orders is the venue's count or 0. Times are ns since the epoch."""

    symbol: Symbol
    header: NDArray[np.void]  # all of bw_book, shape ()
    bids: Levels
    asks: Levels

    @property
    def sequence(self) -> int:
        return int(self.header["sequence"])

    @property
    def venue_sequence(self) -> int:
        return int(self.header["venue_sequence"])

    @property
    def epoch(self) -> int:
        return int(self.header["epoch"])

    @property
    def state(self) -> BookState:
        return BookState(int(self.header["state"]))

    @property
    def reason(self) -> Reason:
        return Reason(int(self.header["reason"]))

    @property
    def verified_by(self) -> VerifiedBy:
        return VerifiedBy(int(self.header["verified_by"]))

    @property
    def price_exponent(self) -> int:
        return int(self.header["price_exponent"])

    @property
    def quantity_exponent(self) -> int:
        return int(self.header["quantity_exponent"])

    @property
    def exchange_ns(self) -> int:
        return int(self.header["exchange_ns"])

    @property
    def receive_ns(self) -> int:
        return int(self.header["receive_ns"])

    @property
    def published_ns(self) -> int:
        return int(self.header["published_ns"])

    def decimals(self, side: Side) -> list[tuple[Decimal, Decimal]]:
        """(price, quantity) of a side, best first, exact."""
        levels = self.bids if side == "bids" else self.asks
        return decimals(levels, self.price_exponent, self.quantity_exponent)


@dataclass(frozen=True)
class Record:
    """One entry of the ring. DELTA carries changes (quantity 0: the level left); after RESET copy the
    book; STATE changed no level."""

    type: RecordType
    header: NDArray[np.void]  # all of bw_record, shape ()
    bids: Levels
    asks: Levels

    @property
    def book(self) -> int:
        return int(self.header["book"])

    @property
    def sequence(self) -> int:
        return int(self.header["sequence"])

    @property
    def epoch(self) -> int:
        return int(self.header["epoch"])

    @property
    def state(self) -> BookState:
        return BookState(int(self.header["state"]))


def decimals(levels: Levels, price_exponent: int, quantity_exponent: int) -> list[tuple[Decimal, Decimal]]:
    """Levels as exact (price, quantity) pairs."""
    prices, quantities = levels["price"].tolist(), levels["quantity"].tolist()
    return [
        (Decimal(price).scaleb(-price_exponent), Decimal(quantity).scaleb(-quantity_exponent))
        for price, quantity in zip(prices, quantities, strict=True)
    ]


def _text(field: Any) -> str:
    return str(field.tobytes().rstrip(b"\0").decode("ascii", "replace"))


def _check(result: int, where: str) -> None:
    if result == lib.BW_READ_OK:
        return
    if result == lib.BW_READ_DEAD:
        raise WriterGoneError(f"{where}: the writer died inside a write")
    if result == lib.BW_READ_OVERRUN:
        raise OverrunError(f"{where}: the writer was a whole ring ahead")
    raise BusyError(f"{where}: no untorn copy within the time allowed")


class Ring:
    """The update ring from a position on. Iterating yields what has come since and then stops; iterate
    again later. Raises OverrunError when updates were lost, and goes on at the head after that."""

    def __init__(self, segment: Segment, position: int | None) -> None:
        self._segment = segment
        self._cursor = ffi.new("bw_ring_cursor *")
        if position is None:
            lib.bw_ring_seek_head(segment.handle, self._cursor)
        else:
            self._cursor.position = position

    @property
    def overruns(self) -> int:
        return int(self._cursor.overruns)

    @property
    def position(self) -> int:
        """Bytes since the ring's beginning."""
        return int(self._cursor.position)

    def __iter__(self) -> Iterator[Record]:
        for raw in self.raw():
            header = np.frombuffer(raw, layout.RECORD, 1).reshape(())
            bids = int(header["bid_count"])
            changes = np.frombuffer(raw, layout.LEVEL, -1, layout.RECORD.itemsize)
            yield Record(RecordType(int(header["type"])), header, changes[:bids], changes[bids:])

    def raw(self) -> Iterator[bytes]:
        """The same records as the bytes that stand in the ring."""
        pointer = ffi.new("const bw_record **")
        while (record := self._next(pointer)) is not None:
            yield record

    def _next(self, pointer: Any) -> bytes | None:
        with self._segment.lock:
            result = lib.bw_ring_next(self._segment.handle, self._cursor, pointer)
            if result == lib.BW_READ_EMPTY:
                return None
            _check(result, str(self._segment.path))
            raw = bytes(ffi.buffer(pointer[0], pointer[0].bytes))
            lib.bw_ring_done(self._segment.handle, self._cursor, pointer[0])
        return raw


class Segment:
    """One exchange's segment, mapped read-only. Open it with ``Segment.open(path)``."""

    def __init__(self, path: Path, handle: Any, mapping: mmap.mmap) -> None:
        self.path = path
        self.lock = threading.Lock()  # the native reader copies into memory of its own
        self._handle = handle
        self._mapping = mapping  # views keep it mapped, even after close()
        self.header: NDArray[np.void] = self.view(layout.HEADER, 0, 1).reshape(())
        self._stats = self.view(layout.STATS, int(self.header["stats_offset"]), 1).reshape(())
        timing = int(self.header["timing_offset"])
        self._timing = self.view(layout.TIMING, timing, 1).reshape(()) if timing else None
        self._symbols: tuple[Symbol, ...] = ()
        self._index: dict[str, int] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Segment:
        """Raises UnavailableError when there is no sound segment at ``path``."""
        error = ffi.new("char[]", 512)
        handle = lib.bw_segment_open(os.fsencode(path), error, 512)
        if handle == ffi.NULL:
            raise UnavailableError(
                ffi.string(error).decode(), do="is this exchange's feed running with the same shm_dir?"
            )
        try:
            with Path(path).open("rb") as file:
                mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            segment = cls(Path(path), handle, mapping)
        except (OSError, ValueError) as problem:
            lib.bw_segment_close(handle)
            raise UnavailableError(str(problem), where=str(path)) from problem
        if segment.generation != int(lib.bw_segment_header(handle).generation):
            segment.close()
            return cls.open(path)  # replaced between the two mappings
        return segment

    def close(self) -> None:
        """Ends reading. Views that were given out stay valid (and still) until they are dropped."""
        with self.lock:
            if self._handle != ffi.NULL:
                lib.bw_segment_close(self._handle)
            self._handle = ffi.NULL

    def __enter__(self) -> Segment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def handle(self) -> Any:
        """The native bw_segment, for other doors to C."""
        if self._handle == ffi.NULL:
            raise ValueError(f"{self.path}: segment is closed")
        return self._handle

    def view(self, dtype: np.dtype[Any], offset: int, count: int) -> NDArray[np.void]:
        """``count`` structs of the mapping from a byte on, live."""
        return np.frombuffer(self._mapping, dtype, count, offset)

    @property
    def exchange(self) -> str:
        return _text(self.header["exchange"])

    @property
    def generation(self) -> int:
        """ns since the epoch when the writer made the segment; another value is another writer."""
        return int(self.header["generation"])

    @property
    def state(self) -> SegmentState:
        return SegmentState(int(self.header["state"]))

    def alive(self, patience_s: float = PATIENCE_S) -> bool:
        """False when the writer closed the segment, its process is gone or its loop stands still."""
        with self.lock:
            return bool(lib.bw_segment_alive(self.handle, time.time_ns(), int(patience_s * 1e9)))

    def replaced(self) -> bool:
        """True when a new writer has put another segment in this one's place: open that."""
        return bool(lib.bw_segment_replaced(self.handle))

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """By book index. Books are only ever added."""
        count = int(self.header["book_count"])
        if count != len(self._symbols):
            rows = self.view(layout.SYMBOL, int(self.header["symbol_offset"]), count)
            self._symbols = tuple(
                Symbol(
                    _text(row["canonical"]), _text(row["native"]), _text(row["base"]), _text(row["quote"]),
                    Kind(int(row["kind"])),
                )
                for row in rows
            )  # fmt: skip
            self._index = {symbol.canonical: i for i, symbol in enumerate(self._symbols)}
        return self._symbols

    def index(self, symbol: int | str) -> int:
        """A book's index from its canonical name. Raises KeyError."""
        count = len(self.symbols)
        if isinstance(symbol, str):
            return self._index[symbol]
        if not 0 <= symbol < count:
            raise KeyError(symbol)
        return symbol

    @property
    def books(self) -> NDArray[np.void]:
        """All books' headers, live: single fields are right, several together may be torn."""
        return self.view(layout.BOOK, int(self.header["book_offset"]), int(self.header["book_count"]))

    def top(self, symbol: int | str) -> Book:
        """State, stamps and the best 4 levels a side, at one sequence. Raises KeyError, ReadError."""
        index = self.index(symbol)
        header = np.zeros((), layout.BOOK)
        with self.lock:
            _check(
                lib.bw_book_read_header(self.handle, index, ffi.from_buffer("bw_book *", header.data)),
                f"{self.path}: {symbol}",
            )
        bids, asks = (header["top"][side][: header["top_count"][side]] for side in (0, 1))
        return Book(self._symbols[index], header, bids, asks)

    def book(self, symbol: int | str, depth: int = 0) -> Book:
        """The whole book, or its best ``depth`` levels, at one sequence. Raises KeyError, ReadError."""
        return self.book_at(symbol, depth)[0]

    def book_at(self, symbol: int | str, depth: int = 0) -> tuple[Book, int]:
        """The book and the ring position from which records() goes on; skip records of the book whose
        sequence is not above the book's."""
        index = self.index(symbol)
        header, position = np.zeros((), layout.BOOK), ffi.new("uint64_t *")
        held = self.books[index]["side"]["level_count"]
        room = depth or int(held.max()) * 5 // 4 + 64
        while True:
            sides = [np.empty(room, layout.LEVEL) for _ in range(2)]
            counts = [ffi.new("uint32_t *", room) for _ in range(2)]
            arguments = [
                part
                for levels, count in zip(sides, counts, strict=True)
                for part in (ffi.from_buffer("bw_level *", levels.data), count)
            ]
            with self.lock:
                _check(
                    lib.bw_book_read(self.handle, index, depth, ffi.from_buffer("bw_book *", header.data),
                                     *arguments, position),
                    f"{self.path}: {symbol}",
                )  # fmt: skip
            most = int(header["side"]["level_count"].max())
            if depth or most <= room:
                break
            room = most * 2  # it grew between the look and the copy
        bids, asks = (levels[: count[0]] for levels, count in zip(sides, counts, strict=True))
        return Book(self._symbols[index], header, bids, asks), int(position[0])

    def records(self, position: int | None = None) -> Ring:
        """The ring from ``position`` (see book_at) or from now on."""
        return Ring(self, position)

    @property
    def stats(self) -> dict[str, int]:
        """The process's counters by name."""
        return {name: int(self._stats[name]) for name in layout.STATS.names or () if name != "stage_ns"}

    def histogram(self, stage: Stage) -> NDArray[np.uint64]:
        """Counts by latency: bucket b begins at ``shm_layout.histogram_floor_ns(b)``. Shape (256,)."""
        return np.array(self._stats["stage_ns"][stage])

    def budget(self, part: Budget) -> NDArray[np.uint64]:
        """Counts of one stage's latencies, of one message in ``budget_every``; as histogram(), 0 if none."""
        if self._timing is None:
            return np.zeros(layout.HISTOGRAM_BUCKETS, np.uint64)
        return np.array(self._timing["budget_ns"][part])

    @property
    def budget_every(self) -> int:
        """One message in so many is measured by stage; 0: an older writer measures none."""
        return 0 if self._timing is None else int(self._timing["budget_every"])

    @property
    def busy_ns(self) -> int:
        """Of the loop's turns that received something; 0 of an older writer."""
        return 0 if self._timing is None else int(self._timing["busy_ns"])

    @property
    def cycles_per_second(self) -> int:
        """Of the counter that stamps; 0: the kernel's clock does, or the loop has not measured it yet."""
        return 0 if self._timing is None else int(self._timing["cycles_per_second"])
