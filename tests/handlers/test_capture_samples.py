"""Isolated sample frames: each alone must decode to the levels it states.

Samples are no recordings: some are abridged, some made up, and none follows the one before. So each
book message is taken as if it replaced the book, and the book afterwards must be the message's own
levels, as the test reads them, and as the source's own test expects them where it says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pytest

from handlers.capture import Replay
from handlers.facts import Continuity, Instrument, Levels, Message, OneLevel, Sync, Venue
from handlers.registry import VENUES
from handlers.shm import Book

Sides = dict[str, dict[Decimal, Decimal]]


@dataclass
class Sample:
    """A book message as the test reads it."""

    symbol: str
    levels: Sides | None  # None: it holds a number that is none ("0.-10000" has been recorded)
    body: str | None = None  # it is a REST body, not a frame


def alone(name: str, *messages: Message) -> Venue:
    """The venue with every book message replacing the book. REST bodies stay REST bodies."""
    rest = [one for one in VENUES["binance"].messages if one.kind == "rest_snapshot"]
    return replace(
        VENUES[name],
        messages=[*messages, *rest] if name == "binance" else messages,
        sync=Sync.REST_SNAPSHOT if name == "binance" else Sync.FEED_SNAPSHOT,
        continuity=Continuity.RANGE if name == "binance" else Continuity.NONE,
        checksum=None,
        depth=0,
        client_cuts=False,
    )


def sides(bids: list[Any], asks: list[Any], price: Any = 0, quantity: Any = 1) -> Sides | None:
    try:
        return {
            name: {Decimal(row[price]): Decimal(row[quantity]) for row in rows}
            for name, rows in (("bids", bids), ("asks", asks))
        }
    except InvalidOperation:
        return None


def changes(rows: list[Any], bid: str) -> Sides | None:
    return sides([row[1:] for row in rows if row[0] == bid], [row[1:] for row in rows if row[0] != bid])


def binance(message: Any, text: str) -> Sample | None:
    if "lastUpdateId" in message:
        return Sample("REST", sides(message["bids"], message["asks"]), text)
    data = message.get("data", {})
    if data.get("e") == "depthUpdate":
        return Sample(data["s"], sides(data["b"], data["a"]))
    if "lastUpdateId" in data:  # tardis' own wrapping of a REST body, and streams of whole top levels
        return Sample("REST", sides(data["bids"], data["asks"]), text[text.index('"data":') + 7 : -1])
    return None


def okx(message: Any, _: str) -> Sample | None:
    channel = message.get("arg", {}).get("channel", "")
    if not channel.startswith(("books", "bbo")) or "data" not in message:
        return None
    (data,) = message["data"]
    return Sample(message["arg"]["instId"], sides(data["bids"], data["asks"]))


def bybit(message: Any, _: str) -> Sample | None:
    if not message.get("topic", "").startswith("orderbook."):
        return None
    return Sample(message["data"]["s"], sides(message["data"]["b"], message["data"]["a"]))


def coinbase(message: Any, _: str) -> Sample | None:
    symbol, kind = message.get("product_id", ""), message["type"]
    if kind == "l2update" or (message.get("channel") == "LEVEL2" and kind == "UPDATE"):
        return Sample(symbol, changes(message["changes"], "buy" if kind == "l2update" else "BUY"))
    if kind == "snapshot" or (message.get("channel") == "LEVEL2" and kind == "SNAPSHOT"):
        return Sample(symbol, sides(message["bids"], message["asks"]))
    return None


def kraken_futures(message: Any, _: str) -> Sample | None:
    if message.get("feed") == "book_snapshot":
        return Sample(message["product_id"], sides(message["bids"], message["asks"], "price", "qty"))
    if message.get("feed") != "book" or "price" not in message:
        return None
    own = [message]
    bids, asks = (own, []) if message["side"] == "buy" else ([], own)
    return Sample(message["product_id"], sides(bids, asks, "price", "qty"))


BIDS_ASKS = (Levels("bids", "bids"), Levels("asks", "asks"))
OKX_LEVELS = (Levels("data[].asks", "asks", orders=3), Levels("data[].bids", "bids", orders=3))
DEPTH_UPDATE = replace(VENUES["binance"].messages[0], kind="snapshot")
FAMILIES: dict[str, tuple[Venue, Callable[[Any, str], Sample | None]]] = {
    "binance": (alone("binance", DEPTH_UPDATE), binance),
    "okx": (
        alone(
            "okx",
            *(
                Message(
                    "snapshot",
                    {"arg.channel": name},
                    symbol="arg.instId",
                    time="data[].ts",
                    levels=OKX_LEVELS,
                )
                for name in ("books", "books5", "books-l2-tbt", "bbo-tbt")
            ),
        ),
        okx,
    ),
    "bybit": (
        alone("bybit", *(replace(one, kind="snapshot") for one in VENUES["bybit"].messages[:2])),
        bybit,
    ),
    "coinbase": (
        alone(
            "coinbase",
            Message("snapshot", {"type": "snapshot"}, symbol="product_id", levels=BIDS_ASKS),
            Message(
                "snapshot", {"channel": "LEVEL2", "type": "SNAPSHOT"}, symbol="product_id", levels=BIDS_ASKS
            ),
            Message(
                "snapshot",
                {"type": "l2update"},
                symbol="product_id",
                levels=(Levels("changes", 0, 1, 2, bid="buy", ask="sell"),),
            ),
        ),
        coinbase,
    ),
    "coinbase-international": (
        alone(
            "coinbase",
            Message(
                "snapshot", {"channel": "LEVEL2", "type": "SNAPSHOT"}, symbol="product_id", levels=BIDS_ASKS
            ),
            Message(
                "snapshot",
                {"channel": "LEVEL2", "type": "UPDATE"},
                symbol="product_id",
                levels=(Levels("changes", 0, 1, 2, bid="BUY", ask="SELL"),),
            ),
        ),
        coinbase,
    ),
    "kraken": (
        alone(
            "kraken",
            Message(
                "snapshot",
                {"feed": "book_snapshot"},
                symbol="product_id",
                levels=(Levels("bids", "bids", "price", "qty"), Levels("asks", "asks", "price", "qty")),
            ),
            Message(
                "snapshot",
                {"feed": "book"},
                symbol="product_id",
                level=OneLevel("price", "qty", "side", bid="buy", ask="sell"),
            ),
        ),
        kraken_futures,
    ),
}
FILES = {  # file: book messages in it
    "binance/cryptomsgparser-samples-2021-2022.jsonl": 16,
    "binance/tardisnode-coinm-samples.jsonl": 3,
    "binance/tardisnode-spot-samples.jsonl": 6,
    "binance/tardisnode-usdm-directcontinuation-samples.jsonl": 2,
    "binance/tardisnode-usdm-samples.jsonl": 3,
    "bybit/tardisnode-v5-derivatives-samples.jsonl": 5,
    "bybit/tardisnode-v5-options-samples.jsonl": 3,
    "bybit/tardisnode-v5-spot-samples.jsonl": 4,
    "coinbase/tardisnode-exchange-samples.jsonl": 5,
    "coinbase/tardisnode-international-samples.jsonl": 2,
    "kraken/tardisnode-futures-v1-samples.jsonl": 4,
    "okx/cryptomsgparser-samples-2021-2022.jsonl": 17,
    "okx/okexswaps-v5-books-update-2023.jsonl": 1,
    "okx/tardisnode-v5-futures-samples.jsonl": 2,
    "okx/tardisnode-v5-options-samples.jsonl": 1,
    "okx/tardisnode-v5-spot-samples.jsonl": 2,
    "okx/tardisnode-v5-swap-samples.jsonl": 3,
    "okx/tardisnode-v5-usdc-samples.jsonl": 0,
    "okx/tardisnode-v5-xperp-samples.jsonl": 0,
}


# what the source expects but no single frame says: an update joined to a made-up snapshot (two), and a
# snapshot whose malformed level it drops where we refuse the frame
DERIVED = {
    ("binance/tardisnode-spot-samples.jsonl", 9),
    ("binance/tardisnode-usdm-samples.jsonl", 7),
    ("coinbase/tardisnode-exchange-samples.jsonl", 6),
}


def expected(captures: Path, file: str) -> list[tuple[str, Sides]]:
    """Book changes the source's own test expects. Lines are no key: some files lost frames since."""
    path = (captures / file).with_suffix(".expected.json")
    found = []
    for row in json.loads(path.read_text(), parse_float=Decimal) if path.exists() else []:
        if (file, row["line"]) in DERIVED or not isinstance(row["normalized"], list):
            continue
        for one in row["normalized"]:
            if one["type"] == "book_change":
                stated = sides(one["bids"], one["asks"], "price", "amount")
                assert stated is not None
                found.append((one["symbol"], stated))
    return found


@pytest.mark.parametrize("file", FILES)
def test_each_sample_decodes_to_its_own_levels(file: str, captures: Path) -> None:
    venue, read = FAMILIES["coinbase-international" if "international" in file else file.split("/")[0]]
    texts = [json.loads(line)["raw"] for line in (captures / file).read_text().splitlines()]
    samples = [read(json.loads(text, parse_float=Decimal), text) for text in texts]
    books = [one for one in samples if one is not None]
    assert len(books) == FILES[file]
    rows = {one.symbol: Instrument(one.symbol, "A", f"B{at}", 0, 0) for at, one in enumerate(books)}
    with Replay(venue, list(rows.values()), levels_max=2048, ring_bytes=1 << 20) as run:
        for text, sample in zip(texts, samples, strict=True):
            before = run.segment.stats["decode_failures"]
            if sample is None or sample.body is None:
                run.frame(text.encode())
            else:
                run.snapshot(sample.symbol, sample.body.encode())
            refused = run.segment.stats["decode_failures"] - before
            if sample is not None and sample.levels is not None:
                check(run.book(sample.symbol), sample.levels)
            assert refused == (sample is not None and sample.levels is None) or sample is None
    for symbol, stated in expected(captures, file):
        if symbol in rows:
            assert stated in [one.levels for one in books], symbol


def check(book: Book, stated: Sides) -> None:
    for side, levels in stated.items():
        held = dict(book.decimals("bids" if side == "bids" else "asks"))
        assert held == {price: amount for price, amount in levels.items() if amount}
