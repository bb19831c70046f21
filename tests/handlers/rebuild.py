"""A recording beside its rebuild: what the tests of captures share.

The rebuild shares nothing with the room: ``json`` with exact decimals, dictionaries, and each venue's
rule in the reader of its test. After every message of a book both must hold the same levels (deep books:
the best 200 a side after every message, all levels after each tenth and at the end; recordings of tens of
thousands of messages: after each of ``every`` and at the end).
"""

from __future__ import annotations

import base64
import gzip
import heapq
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from handlers._ffi import lib
from handlers.capture import Replay
from handlers.facts import Instrument, Venue
from handlers.shm import Book
from handlers.shm_layout import BookState

SCALE = 12
DEEP_LEVELS = 5000
DEEP_EVERY = 10
BEST = 200

Level = tuple[str, Decimal, Decimal, int]  # side ("bids", "asks"), price, quantity, orders


@dataclass
class Update:
    """What one message says of one book, as the test reads it."""

    symbol: str
    levels: list[Level]
    snapshot: bool = False
    last: int | None = None  # venue's id, where a REST snapshot must be joined
    cut: int = 0


def both(data: dict[str, Any], bids: str, asks: str, keys: tuple[Any, ...] = (0, 1)) -> list[Level]:
    rows: list[Level] = []
    for side, name in (("bids", bids), ("asks", asks)):
        for row in data[name]:
            orders = int(row[keys[2]]) if len(keys) > 2 else 0
            rows.append((side, Decimal(row[keys[0]]), Decimal(row[keys[1]]), orders))
    return rows


@dataclass(frozen=True)
class Recording:
    file: str
    venue: Venue
    read: Callable[[Any, str], Update | None]
    updates: int  # book messages in it, snapshots included
    checksums: int = 0
    decimals: tuple[int, int] = (0, 0)  # the engine grows them as digits come
    scales: Callable[[str], tuple[int, int]] = lambda symbol: (0, 0)  # of integers on the wire
    every: int = 1  # messages of a book from one comparison to the next
    all_known: bool = True  # data of other channels is recognised as foreign


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Text and REST address ("" for a frame, "?" where none was noted) of each line."""
    data = path.read_bytes()
    for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines():
        row = json.loads(line)
        sent = base64.b64decode(row.get("b64", ""))
        text = (gzip.decompress(sent) if sent.startswith(b"\x1f\x8b") else sent).decode()
        yield row.get("raw", text), row.get("url", "?") if row.get("rest") else ""


def exact(value: Decimal) -> int:
    scaled = value.scaleb(SCALE)
    assert scaled == int(scaled)
    return int(scaled)


@dataclass
class Rebuilt:
    """The test's own book. ``last`` is the joined REST snapshot's id, then each update's."""

    bids: dict[int, tuple[int, int]] = field(default_factory=dict)
    asks: dict[int, tuple[int, int]] = field(default_factory=dict)
    last: int = -1
    waiting: list[Update] = field(default_factory=list)
    known: bool = False
    messages: int = 0

    def take(self, update: Update, *, by_rest: bool) -> None:
        self.messages += 1
        if update.snapshot:
            self.bids, self.asks, self.known = {}, {}, True
            self.last = update.last if update.last is not None else -1
            self.apply(update)
            for late in self.waiting:
                self.follow(late)
            self.waiting.clear()
        elif by_rest and not self.known:
            self.waiting.append(update)
        elif by_rest:
            self.follow(update)
        else:
            self.apply(update)

    def follow(self, update: Update) -> None:
        if update.last is not None and update.last > self.last:
            self.apply(update)
            self.last = update.last

    def apply(self, update: Update) -> None:
        for side, price, quantity, orders in update.levels:
            levels = self.bids if side == "bids" else self.asks
            if quantity:
                levels[exact(price)] = (exact(quantity), orders)
            else:
                levels.pop(exact(price), None)
        if update.cut:
            self.bids = dict(sorted(self.bids.items(), reverse=True)[: update.cut])
            self.asks = dict(sorted(self.asks.items())[: update.cut])


def compare(copy: Book, book: Rebuilt, best: int = 0) -> None:
    """All levels, or the ``best`` of each side."""
    price, quantity = 10 ** (SCALE - copy.price_exponent), 10 ** (SCALE - copy.quantity_exponent)
    for rows, levels, sign in ((copy.bids, book.bids, -1), (copy.asks, book.asks, 1)):
        if best:
            top = heapq.nsmallest(best, levels, key=lambda price, sign=sign: sign * price)  # type: ignore[misc]
            levels = {key: levels[key] for key in top}
        prices, quantities, orders = (rows[name].tolist() for name in ("price", "quantity", "orders"))
        held = zip(prices, quantities, orders, strict=True)
        assert {one * price: (much * quantity, count) for one, much, count in held} == levels
        keys = [sign * one for one in prices]
        assert keys == sorted(set(keys)), "best first, no price twice"


class Run:
    """A recording beside its rebuild."""

    def __init__(self, recording: Recording, path: Path) -> None:
        self.recording = recording
        self.texts = list(lines(path))
        self.books: dict[str, Rebuilt] = {}
        self.levels = self.compared = self.foreign = 0
        self.parsed = [recording.read(json.loads(text, parse_float=Decimal), url) for text, url in self.texts]
        symbols = dict.fromkeys(update.symbol for update in self.parsed if update is not None)
        rows = []
        for symbol in symbols:
            price, quantity = recording.scales(symbol)
            decimals = recording.decimals
            rows.append(Instrument(symbol, "A", "B", *decimals, price_scale=price, quantity_scale=quantity))
        self.replay = Replay(recording.venue, rows)

    def play(self) -> None:
        by_rest = bool(self.recording.venue.snapshots)
        for (text, url), update in zip(self.texts, self.parsed, strict=True):
            if url and update is not None:
                self.replay.snapshot(update.symbol, text.encode())
            else:
                self.replay.frame(text.encode())
            self.events()
            if update is not None:
                book = self.books.setdefault(update.symbol, Rebuilt())
                book.take(update, by_rest=by_rest)
                self.levels += len(update.levels)
                self.check(update.symbol, book)

    def events(self) -> None:
        """Only frames of other channels may end in quarantine, and no book may miss anything."""
        for event in self.replay.events():
            assert event.type not in (lib.BW_EVENT_GAP, lib.BW_EVENT_CHECKSUM), event
            if event.type == lib.BW_EVENT_QUARANTINE:
                assert event.text.startswith(b"no message of the plan fits"), event.text
                self.foreign += 1

    def check_the_rest(self) -> None:
        """Every frame that is no book message was recognised as answer or heartbeat, or as foreign."""
        stats = self.replay.segment.stats
        books = sum(update is not None for update in self.parsed)
        others = stats["frames_control"] + stats["heartbeats"] + self.foreign
        assert books + others == len(self.texts)
        assert stats["decode_failures"] == stats["quarantined"] == self.foreign

    def check(self, symbol: str, book: Rebuilt) -> None:
        if not book.known or book.messages % self.recording.every:
            return
        deep = len(book.bids) + len(book.asks) > DEEP_LEVELS and book.messages % DEEP_EVERY
        copy = (
            self.replay.book(symbol)
            if not deep
            else self.replay.segment.book(self.replay.books[symbol], BEST)
        )
        assert copy.state is BookState.LIVE, f"{symbol}: {copy.state}, {copy.reason}"
        compare(copy, book, best=BEST if deep else 0)
        self.compared += 1

    def totals(self) -> tuple[int, int]:
        headers = [self.replay.book(symbol).header for symbol in self.books]
        good, bad = (sum(int(one[f"checksums_{name}"]) for one in headers) for name in ("ok", "bad"))
        return good, bad
