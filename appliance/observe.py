"""What the box looks like from outside: every segment in a directory, opened when it appears.

Read-only eyes on shared memory, for the supervisor and the commands. A book of a dead process shows as
down, whatever its last words were.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from appliance.config import Config
from handlers.errors import UnavailableError
from handlers.registry import EXCHANGES
from handlers.shm import Book, ReadError, Segment
from handlers.shm_layout import SegmentState

Level = tuple[Decimal, Decimal]  # price, quantity
_ORDER = {row.id: row.number for row in EXCHANGES}


@dataclass(frozen=True)
class BookView:
    """The top of a book. Times are ns since the epoch, 0 = never."""

    exchange: str
    symbol: str
    state: str  # "syncing", "live", "stale", "resync", "down"
    reason: str = "none"
    sequence: int = 0
    epoch: int = 0
    bid: Level | None = None
    ask: Level | None = None
    updates: int = 0
    gaps: int = 0
    resyncs: int = 0
    receive_ns: int = 0
    published_ns: int = 0
    last_data_ns: int = 0

    @property
    def left(self) -> bool:
        """Taken out by the operator."""
        return (self.state, self.reason) == ("down", "operator")


@dataclass(frozen=True)
class ExchangeView:
    """One exchange's process and its books."""

    exchange: str
    alive: bool = False
    pid: int = 0
    uptime_s: float = 0.0
    books: tuple[BookView, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)

    @property
    def live(self) -> int:
        return sum(book.state == "live" for book in self.books)

    @property
    def all_live(self) -> bool:
        """False also before the process has said which books it will have."""
        return self.alive and bool(self.books) and self.live == len(self.books)


class Observer:
    """Looks at all segments of ``shm_dir``; ``expected`` exchanges are shown also before they have one."""

    def __init__(self, shm_dir: Path, expected: Sequence[str] = ()) -> None:
        self._shm_dir = shm_dir
        self._expected = tuple(expected)
        self._segments: dict[str, Segment] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unmaps everything."""
        for segment in self._segments.values():
            segment.close()
        self._segments.clear()

    def segment(self, exchange: str) -> Segment | None:
        """The exchange's segment as it stands now, None where there is none."""
        held = self._segments.get(exchange)
        if held is not None and not held.replaced():
            return held
        try:
            fresh = Segment.open(self._shm_dir / f"{exchange}.shm")
        except UnavailableError:
            return held  # not yet, or gone: the last one still tells that its writer is
        if held is not None:
            held.close()
        self._segments[exchange] = fresh
        return fresh

    def look(self) -> list[ExchangeView]:
        """Everything, in the exchanges' own order."""
        found = {path.stem for path in self._shm_dir.glob("*.shm")} | set(self._expected)
        return [self._exchange(name) for name in sorted(found, key=lambda name: _ORDER.get(name, 99))]

    def _exchange(self, name: str) -> ExchangeView:
        segment = self.segment(name)
        if segment is None:
            return ExchangeView(name)
        alive = segment.alive() and segment.state is SegmentState.RUNNING
        books = (self._book(name, segment, index, alive) for index in range(len(segment.symbols)))
        return ExchangeView(
            exchange=name,
            alive=alive,
            pid=int(segment.header["writer_pid"]),
            uptime_s=max(0.0, (time.time_ns() - segment.generation) / 1e9),
            books=tuple(book for book in books if not book.left),
            counters=segment.stats,
        )

    def _book(self, exchange: str, segment: Segment, index: int, alive: bool) -> BookView:
        symbol = segment.symbols[index].canonical
        if not alive:
            return BookView(exchange, symbol, "down", "disconnected")
        try:
            return view_of(exchange, segment.top(index))
        except ReadError:
            return BookView(exchange, symbol, "down", "decode")


def view_of(exchange: str, book: Book) -> BookView:
    """The top of a copied book."""
    bids, asks = book.decimals("bids"), book.decimals("asks")
    header = book.header
    return BookView(
        exchange=exchange,
        symbol=book.symbol.canonical,
        state=book.state.name.lower(),
        reason=book.reason.name.lower(),
        sequence=book.sequence,
        epoch=book.epoch,
        bid=bids[0] if bids else None,
        ask=asks[0] if asks else None,
        updates=int(header["updates"]),
        gaps=int(header["gaps"]),
        resyncs=int(header["resyncs"]),
        receive_ns=book.receive_ns,
        published_ns=book.published_ns,
        last_data_ns=int(header["last_data_ns"]),
    )


def book_fields(book: BookView) -> dict[str, Any]:
    """For a JSON line."""
    return {
        "exchange": book.exchange,
        "symbol": book.symbol,
        "state": book.state,
        "reason": book.reason,
        "sequence": book.sequence,
        "bid": book.bid,
        "ask": book.ask,
        "updates": book.updates,
        "receive_ns": book.receive_ns,
        "published_ns": book.published_ns,
    }


def need_something(exchanges: Sequence[ExchangeView], config: Config) -> Sequence[ExchangeView]:
    """The same, or UnavailableError (69) when no process of ours runs here."""
    if not any(exchange.alive for exchange in exchanges):
        raise UnavailableError(
            "nothing runs here",
            where=str(config.box.shm_dir),
            do="start it with `bookwire up` (or `bookwire up --simulate`), or give its --shm-dir",
        )
    return exchanges
