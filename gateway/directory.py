"""Which exchanges and symbols there are now, read from the segments. One thread's.

Symbols stay known after their exchange's process went away: a client that subscribes while a feed
restarts gets an empty book that fills, not an error.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway._ffi import ffi, lib
from gateway.channels import Instrument, canonical_form
from handlers.registry import EXCHANGES, Exchange

STATES = ("syncing", "live", "stale", "resync", "down")
LOOK_AGAIN_S = 0.25
SPOT = 0
LISTS_KEPT = 64  # answers of `symbols`, by filter


def text_of(cdata: Any) -> str:
    """A NUL-terminated C string as text."""
    return bytes(ffi.string(cdata)).decode("utf-8", "replace")


@dataclass
class Carrier:
    """One exchange: its segment while it is there, and every symbol it was ever seen to carry."""

    exchange: Exchange
    segment: Any = None  # bw_segment *
    alive: bool = False
    books: list[Instrument] = field(default_factory=list)  # by book index, of the open segment
    by_name: dict[str, Instrument] = field(default_factory=dict)  # canonical and native, upper case

    left: frozenset[int] = frozenset()  # books that the operator took out: known to nobody any more

    def state_counts(self) -> dict[str, int]:
        """Number of books in each state; all 0 when the exchange's process is not alive."""
        if not self.alive:
            return dict.fromkeys(STATES, 0)
        counts = ffi.new("uint32_t[5]")
        lib.bw_segment_state_counts(self.segment, counts)
        return dict(zip(STATES, counts, strict=True))


class SegmentDirectory:
    """Implements ``channels.Directory`` over the segments in ``shm_dir``."""

    def __init__(self, shm_dir: Path, patience_ms: int) -> None:
        self._shm_dir = shm_dir
        self._patience_ns = patience_ms * 1_000_000
        self._carriers = {row.id: Carrier(row) for row in EXCHANGES}
        self._looked = float("-inf")
        self._counts = ffi.new("uint32_t[5]")
        self._listed: dict[tuple[str | None, str | None], list[dict[str, Any]]] = {}  # until a book comes

    def path(self, exchange: str) -> Path:
        """Where the exchange's segment is or would be."""
        return self._shm_dir / f"{exchange}.shm"

    def refresh(self, *, force: bool = False) -> None:
        """Looks for segments that came, went or were replaced, at most every 250 ms."""
        now = time.monotonic()
        if not force and now - self._looked < LOOK_AGAIN_S:
            return
        self._looked = now
        for carrier in self._carriers.values():
            self._look(carrier)

    def _look(self, carrier: Carrier) -> None:
        if carrier.segment is not None and lib.bw_segment_replaced(carrier.segment):
            self._close(carrier)
        path = self.path(carrier.exchange.id)
        if carrier.segment is None and path.exists():
            error = ffi.new("char[256]")
            segment = lib.bw_segment_open(str(path).encode(), error, 256)
            carrier.segment = segment if segment != ffi.NULL else None
        if carrier.segment is None:
            carrier.alive = False
            return
        carrier.alive = bool(
            lib.bw_segment_alive(carrier.segment, time.time_ns(), self._patience_ns) and path.exists()
        )
        for book in range(len(carrier.books), lib.bw_segment_book_count(carrier.segment)):
            symbol = lib.bw_segment_symbol(carrier.segment, book)
            instrument = Instrument(
                text_of(symbol.canonical), text_of(symbol.native), text_of(symbol.base),
                text_of(symbol.quote), symbol.kind,
            )  # fmt: skip
            carrier.books.append(instrument)
            self._listed.clear()
            self._name(carrier, instrument)
        self._look_who_left(carrier)

    def _look_who_left(self, carrier: Carrier) -> None:
        left: frozenset[int] = frozenset()
        if lib.bw_segment_state_counts(carrier.segment, self._counts):
            books = range(len(carrier.books))
            left = frozenset(book for book in books if lib.bw_segment_book_left(carrier.segment, book))
        if left == carrier.left:
            return
        carrier.left = left
        self._listed.clear()
        carrier.by_name.clear()
        for book, instrument in enumerate(carrier.books):
            if book not in left:
                self._name(carrier, instrument)

    @staticmethod
    def _name(carrier: Carrier, instrument: Instrument) -> None:
        for name in (instrument.native.upper(), instrument.canonical):
            if instrument.kind == SPOT or name not in carrier.by_name:  # a name two have is spot's
                carrier.by_name[name] = instrument

    def _close(self, carrier: Carrier) -> None:
        lib.bw_segment_close(carrier.segment)
        carrier.segment = None
        carrier.alive = False
        carrier.books = []
        carrier.left = frozenset()

    def close(self) -> None:
        """Unmaps everything."""
        for carrier in self._carriers.values():
            if carrier.segment is not None:
                self._close(carrier)

    def carriers(self) -> Iterator[Carrier]:
        """All exchanges in the public order."""
        self.refresh()
        yield from self._carriers.values()

    def now(self) -> Iterator[Carrier]:
        """All exchanges as they are now, however lately one looked; the next refresh looks again."""
        for carrier in self._carriers.values():
            self._look(carrier)
            yield carrier

    def exchange_number(self, exchange: str) -> int | None:
        """The exchange's number, or None for an id nobody knows."""
        carrier = self._carriers.get(exchange)
        return carrier.exchange.number if carrier else None

    def instrument(self, exchange: str, symbol: str) -> Instrument | None:
        """By canonical form or the exchange's own, in any case; looks again before it says no."""
        names = self._carriers[exchange].by_name
        for force in (False, True):
            self.refresh(force=force)
            found = names.get(canonical_form(symbol)) or names.get(symbol.strip().upper())
            if found is not None:
                return found
        return None

    def carried(self, canonical: str) -> bool:
        """Whether any exchange carries the spot symbol."""
        for force in (False, True):
            self.refresh(force=force)
            if any(self._is_spot(carrier, canonical) for carrier in self._carriers.values()):
                return True
        return False

    @staticmethod
    def _is_spot(carrier: Carrier, canonical: str) -> bool:
        found = carrier.by_name.get(canonical)
        return found is not None and found.kind == SPOT and found.canonical == canonical

    def exchanges(self, depth_max: int) -> list[dict[str, Any]]:
        """Rows of the ``exchanges`` answer."""
        rows = []
        for carrier in self.carriers():
            live = carrier.state_counts()["live"]
            row = carrier.exchange
            rows.append(
                {
                    "id": row.id, "name": row.name, "quote": row.quote, "symbols": live,
                    "status": "live" if live else "down", "depth": depth_max,
                }
            )  # fmt: skip
        return rows

    def symbols(self, quote: str | None = None, exchange: str | None = None) -> list[dict[str, Any]]:
        """Rows of the ``symbols`` answer: spot symbols, each with the exchanges that carry it."""
        self.refresh()
        asked = (quote.upper() if quote else None, exchange)
        if asked not in self._listed:
            if len(self._listed) >= LISTS_KEPT:
                self._listed.clear()
            self._listed[asked] = self._list(*asked)
        return self._listed[asked]

    def _list(self, quote: str | None, exchange: str | None) -> list[dict[str, Any]]:
        carried: dict[str, list[str]] = {}
        for carrier in self._carriers.values():
            if exchange is not None and carrier.exchange.id != exchange:
                continue
            for name, instrument in carrier.by_name.items():
                if name != instrument.canonical or instrument.kind != SPOT:
                    continue
                if quote is None or instrument.quote.upper() == quote:
                    carried.setdefault(name, []).append(carrier.exchange.id)
        return [{"symbol": symbol, "exchanges": ids} for symbol, ids in sorted(carried.items())]
