"""Every recording of consecutive messages goes through the engine, beside a rebuild of a few lines.

Recordings of other products of the five go through test-local variants of the facts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rebuild import Level, Recording, Run, Update, both, compare

from handlers._ffi import lib
from handlers.facts import Continuity, Levels, Message, OneLevel, Venue
from handlers.registry import VENUES
from handlers.shm_layout import BookState

LONG = (pytest.mark.long, pytest.mark.timeout(600))


def binance(message: Any, url: str) -> Update | None:
    if url:
        symbol = re.search(r"symbol=(\w+)", url)
        assert symbol is not None
        return Update(symbol[1], both(message, "bids", "asks"), snapshot=True, last=message["lastUpdateId"])
    data = message["data"]
    if data.get("e") != "depthUpdate":
        return None
    return Update(data["s"], both(data, "b", "a"), last=data["u"])


def flow(symbol: str) -> Callable[[Any, str], Update | None]:
    """A recording of one symbol, whose REST answer has no address."""
    return lambda message, url: binance(message, url and f"symbol={symbol}")


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


def long(name: str, venue: Venue, symbol: str, updates: int) -> Recording:
    """Ten minutes of one symbol with its trades and best prices, which are foreign here."""
    return Recording(f"_flow/binance-{name}-20240808.jsonl.gz", venue, flow(symbol), updates, every=25)


RECORDINGS = [
    Recording("binance/cryptofeed-spot-depth100ms-2021.jsonl", VENUES["binance"], binance, 181),
    Recording("binance/cryptofeed-usdm-depth100ms-2021.jsonl", previous_linked(), binance, 768),
    Recording("binance/cryptofeed-coinm-depth100ms-2021.jsonl.gz", previous_linked(), binance, 2057),
    long("spot-btcusdt", VENUES["binance"], "BTCUSDT", 6496),
    long("usdm-btcusdt", previous_linked(), "BTCUSDT", 6552),
    long("coinm-btcusd-perp", previous_linked(), "BTCUSD_PERP", 44796),
    long("coinm-ethusd-perp", previous_linked(), "ETHUSD_PERP", 39156),
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


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Rows printed to the terminal when the module is done."""
    rows: list[str] = []
    yield rows
    manager = request.config.pluginmanager.getplugin("capturemanager")
    with manager.global_and_fixture_disabled():
        head = f"{'recording':<70}{'frames':>8}{'updates':>9}{'compared':>9}{'levels':>9}{'checksums':>10}"
        print("\n" + "\n".join([head, *rows]))


@pytest.mark.parametrize(
    "recording",
    [pytest.param(one, id=one.file.split(".")[0], marks=LONG if one.every > 1 else ()) for one in RECORDINGS],
)
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
