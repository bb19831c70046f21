"""Every recording of consecutive messages goes through the engine, beside a rebuild of a few lines.

The rebuild shares nothing with the room: ``json`` with exact decimals, dictionaries, and each venue's
rule in the reader below. After every message of a book both must hold the same levels (deep books: the
best 200 a side after every message, all levels after each tenth and at the end). Recordings of other
products of the five go through test-local variants of the facts.
"""

from __future__ import annotations

import gzip
import heapq
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from handlers._ffi import lib
from handlers.capture import Replay
from handlers.facts import Continuity, Instrument, Levels, Message, OneLevel, Venue
from handlers.registry import VENUES
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


def binance(message: Any, url: str) -> Update | None:
    if url:
        symbol = re.search(r"symbol=(\w+)", url)
        assert symbol is not None
        return Update(symbol[1], both(message, "bids", "asks"), snapshot=True, last=message["lastUpdateId"])
    data = message["data"]
    if data.get("e") != "depthUpdate":
        return None
    return Update(data["s"], both(data, "b", "a"), last=data["u"])


def coinbase(message: Any, _: str) -> Update | None:
    if message["channel"] != "l2_data":
        return None
    (event,) = message["events"]
    levels: list[Level] = [
        (
            "bids" if row["side"] == "bid" else "asks",
            Decimal(row["price_level"]),
            Decimal(row["new_quantity"]),
            0,
        )
        for row in event["updates"]
    ]
    return Update(event["product_id"], levels, snapshot=event["type"] == "snapshot")


def coinbase_exchange(message: Any, _: str) -> Update | None:
    if message["type"] == "snapshot":
        return Update(message["product_id"], both(message, "bids", "asks"), snapshot=True)
    if message["type"] != "l2update":
        return None
    levels: list[Level] = [
        ("bids" if side == "buy" else "asks", Decimal(price), Decimal(size), 0)
        for side, price, size in message["changes"]
    ]
    return Update(message["product_id"], levels)


def okx(message: Any, _: str) -> Update | None:
    if message.get("action") is None or message["arg"]["channel"] != "books":
        return None
    (data,) = message["data"]
    levels = both(data, "bids", "asks", (0, 1, 3))
    return Update(message["arg"]["instId"], levels, snapshot=message["action"] == "snapshot")


def bybit(message: Any, _: str) -> Update | None:
    if not message.get("topic", "").startswith("orderbook."):
        return None
    data = message["data"]
    return Update(data["s"], both(data, "b", "a"), snapshot=message["type"] == "snapshot")


def kraken(message: Any, _: str) -> Update | None:
    if message.get("channel") != "book":
        return None
    (data,) = message["data"]
    levels = both(data, "bids", "asks", ("price", "qty"))
    return Update(data["symbol"], levels, snapshot=message["type"] == "snapshot", cut=10)


def kraken_futures(message: Any, _: str) -> Update | None:
    if message.get("feed") == "book_snapshot":
        return Update(message["product_id"], both(message, "bids", "asks", ("price", "qty")), snapshot=True)
    if message.get("feed") != "book" or "price" not in message:
        return None
    side = "bids" if message["side"] == "buy" else "asks"
    return Update(message["product_id"], [(side, Decimal(message["price"]), Decimal(message["qty"]), 0)])


def variant(name: str, **changes: Any) -> Venue:
    return replace(VENUES[name], **changes)


def previous_linked() -> Venue:
    """Binance's futures name the id of the message before."""
    delta, *others = VENUES["binance"].messages
    messages = [replace(delta, previous="data.pu"), *others]
    return variant("binance", messages=messages, continuity=Continuity.LINK)


def other_channels() -> Venue:
    """Coinbase with the recording's further channels, which count in the connection's sequence."""
    more = [
        Message("heartbeat", {"channel": name}, last="sequence_num")
        for name in ("market_trades", "candles", "ticker")
    ]
    return variant("coinbase", messages=[*VENUES["coinbase"].messages, *more])


COINBASE_EXCHANGE = variant(
    "coinbase",
    continuity=Continuity.NONE,
    messages=[
        Message(
            "snapshot",
            {"type": "snapshot"},
            symbol="product_id",
            levels=(Levels("bids", "bids"), Levels("asks", "asks")),
        ),
        Message(
            "delta",
            {"type": "l2update"},
            symbol="product_id",
            time="time",
            levels=(Levels("changes", 0, 1, 2, bid="buy", ask="sell"),),
        ),
        Message("control", {"type": "subscriptions"}),
    ],
)
OKX_BEFORE_IDS = variant(
    "okx",
    continuity=Continuity.NONE,
    messages=[replace(one, last=None, previous=None) for one in VENUES["okx"].messages],
)
KRAKEN_10 = variant("kraken", depth=10)
KRAKEN_FUTURES = variant(
    "kraken",
    continuity=Continuity.NEXT,
    checksum=None,
    depth=0,
    client_cuts=False,
    messages=[
        Message(
            "snapshot",
            {"feed": "book_snapshot"},
            symbol="product_id",
            last="seq",
            time="timestamp",
            levels=(Levels("bids", "bids", "price", "qty"), Levels("asks", "asks", "price", "qty")),
        ),
        Message("control", {"event": None}),
        Message(
            "delta",
            {"feed": "book"},
            symbol="product_id",
            last="seq",
            time="timestamp",
            level=OneLevel("price", "qty", "side", bid="buy", ask="sell"),
        ),
    ],
)


@dataclass(frozen=True)
class Recording:
    file: str
    venue: Venue
    read: Callable[[Any, str], Update | None]
    updates: int  # book messages in it, snapshots included
    checksums: int = 0
    decimals: tuple[int, int] = (0, 0)  # the engine grows them as digits come


RECORDINGS = [
    Recording("binance/cryptofeed-spot-depth100ms-2021.jsonl", VENUES["binance"], binance, 181),
    Recording("binance/cryptofeed-usdm-depth100ms-2021.jsonl", previous_linked(), binance, 768),
    Recording("binance/cryptofeed-coinm-depth100ms-2021.jsonl.gz", previous_linked(), binance, 2057),
    Recording("coinbase/cryptofeed-advanced-l2data-2026.jsonl.gz", other_channels(), coinbase, 775),
    Recording(
        "coinbase/cryptofeed-exchange-level2-2021.jsonl.gz", COINBASE_EXCHANGE, coinbase_exchange, 9729
    ),
    Recording("okx/cryptofeed-v5-books-checksum-2022.jsonl", OKX_BEFORE_IDS, okx, 290, 290),
    Recording("okx/gct-v5-books-snapshot-checksum-2022.jsonl", OKX_BEFORE_IDS, okx, 1, 1),
    Recording("okx/fastmm-v5-books-seqid-2026.jsonl", VENUES["okx"], okx, 16),
    Recording("bybit/cryptofeed-v5-spot-orderbook200-2026.jsonl", VENUES["bybit"], bybit, 550),
    Recording("bybit/cryptofeed-v5-linear-orderbook200-2026.jsonl.gz", VENUES["bybit"], bybit, 1598),
    Recording("kraken/pykrakensdk-v2-book10-checksum-2023.jsonl", KRAKEN_10, kraken, 510, 510, (1, 8)),
    Recording(
        "kraken/pykrakensdk-v2-book10-checksum-2023-decimals-restored.jsonl",
        KRAKEN_10,
        kraken,
        510,
        510,
        (1, 8),
    ),
    Recording("kraken/apikraken-v2-book10-exacttext-2025.jsonl", KRAKEN_10, kraken, 2, 2, (2, 8)),
    Recording("kraken/cryptofeed-futures-v1-book-2021.jsonl.gz", KRAKEN_FUTURES, kraken_futures, 7024),
]


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Text and REST address ("" for a frame) of each line."""
    data = path.read_bytes()
    for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines():
        row = json.loads(line)
        yield row["raw"], row.get("url", "") if row.get("rest") else ""


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
        rows = [Instrument(symbol, "A", "B", *recording.decimals) for symbol in symbols]
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
        if not book.known:
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


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Rows printed to the terminal when the module is done."""
    rows: list[str] = []
    yield rows
    manager = request.config.pluginmanager.getplugin("capturemanager")
    with manager.global_and_fixture_disabled():
        head = f"{'recording':<70}{'frames':>8}{'updates':>9}{'compared':>9}{'levels':>9}{'checksums':>10}"
        print("\n" + "\n".join([head, *rows]))


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda one: one.file.split(".")[0])
def test_every_recorded_book_equals_its_rebuild(
    recording: Recording, captures: Path, table: list[str]
) -> None:
    run = Run(recording, captures / recording.file)
    with run.replay:
        run.play()
        for symbol, book in run.books.items():
            assert book.known, f"{symbol} never had a snapshot"
            compare(run.replay.book(symbol), book)
        good, bad = run.totals()
        updates = sum(update is not None for update in run.parsed)
        assert updates == recording.updates
        assert (good, bad) == (recording.checksums, 0)
        run.check_the_rest()
    table.append(
        f"{recording.file:<70}{len(run.texts):>8}{updates:>9}{run.compared:>9}{run.levels:>9}{good:>10}"
    )


@pytest.mark.parametrize(
    "recording", [one for one in RECORDINGS if one.checksums > 100], ids=lambda one: one.file
)
@pytest.mark.parametrize("at", [20, 100, 250])
def test_a_flipped_digit_is_caught(recording: Recording, at: int, captures: Path) -> None:
    run = Run(recording, captures / recording.file)
    with run.replay:
        update = 0
        for (text, _), parsed in zip(run.texts, run.parsed, strict=True):
            if parsed is None:
                continue
            update += 1
            flipped = text
            if update >= at and (best := best_change(run, parsed)) is not None:
                flipped = flip(text, best)
            run.replay.frame(flipped.encode())
            if flipped != text:
                break
        assert flipped != text
        assert run.replay.book(parsed.symbol).header["checksums_bad"] == 1
        assert lib.BW_EVENT_CHECKSUM in {event.type for event in run.replay.events()}
        assert run.replay.book(parsed.symbol).state is not BookState.LIVE


def best_change(run: Run, update: Update) -> str | None:
    """Quantity text of a change at the very top of the book, so that it is inside the checksum."""
    copy = run.replay.book(update.symbol)
    if not len(copy.bids) or update.snapshot:
        return None
    best = copy.decimals("bids")[0][0]
    for side, price, quantity, _ in update.levels:
        if side == "bids" and quantity and price >= best:
            return str(quantity)
    return None


def flip(text: str, quantity: str) -> str:
    """One digit of the quantity changed."""
    digit = quantity[-1]
    other = "1" if digit != "1" else "2"
    return re.sub(rf"({re.escape(quantity[:-1])}){digit}(?=[\"}},])", rf"\g<1>{other}", text, count=1)
