"""Isolated sample frames of venues with sessions of their own kinds: each alone is the book it states.

As test_capture_samples, for products and generations beside the one that a venue file speaks as well:
what names a book there (a channel, an instrument) stands for it here. KuCoin's futures of the first
generation say a level in one text (``"0.21506,sell,0"``) and are counted as frames of no plan.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_capture_samples import Sides, check, sides

from handlers.capture import Replay
from handlers.facts import Continuity, Form, Instrument, Levels, Message, Sync, Venue
from handlers.registry import VENUES
from handlers.shm_layout import BookState


@dataclass
class Sample:
    """A book message as the test reads it: what the frame calls the book, and what people call it."""

    topic: str
    name: str
    levels: Sides | None  # None: a side is null, which is no list of levels


def alone(name: str, *messages: Message) -> Venue:
    """The venue with every book message replacing the book."""
    return replace(
        VENUES[name],
        messages=messages,
        sync=Sync.FEED_SNAPSHOT,
        continuity=Continuity.NONE,
        checksum=None,
        straddle=False,
        audit=False,
        depth=0,
    )


def both(path: str, bids: str = "bids", asks: str = "asks", price: int = 0) -> tuple[Levels, Levels]:
    return (
        Levels(f"{path}{bids}", "bids", price, price + 1),
        Levels(f"{path}{asks}", "asks", price, price + 1),
    )


def stated(topic: str, name: str, bids: Any, asks: Any, price: int = 0) -> Sample:
    found = sides(bids or [], asks or [], price, price + 1)
    assert found is not None
    return Sample(topic, name, found)


def ascendex(message: Any) -> Sample | None:
    if not message["m"].startswith("depth"):
        return None
    return stated(message["symbol"], message["symbol"], message["data"]["bids"], message["data"]["asks"])


def bitget(message: Any) -> Sample | None:
    told = message.get("arg", {})
    channel, symbol = told.get("channel", told.get("topic", "")), told.get("instId", told.get("symbol"))
    if "action" not in message or not channel.startswith("books"):
        return None
    (data,) = message["data"]
    return stated(symbol, symbol, data.get("bids", data.get("b")), data.get("asks", data.get("a")))


def bitmart(message: Any) -> Sample | None:
    if "depthIncrease" not in message.get("group", "") or "data" not in message:
        return None
    data = message["data"]
    found = sides(data["bids"], data["asks"], "price", "vol")
    assert found is not None
    return Sample(data["symbol"], data["symbol"], found)


def coinex(message: Any) -> Sample | None:
    if message.get("method") != "depth.update":
        return None
    data = message["data"]
    return stated(data["market"], data["market"], data["depth"]["bids"], data["depth"]["asks"])


def cryptocom(message: Any) -> Sample | None:
    result = message.get("result", {})
    if not result.get("channel", "").startswith("book"):
        return None
    (data,) = result["data"]
    data = data.get("update", data)
    return stated(result["instrument_name"], result["instrument_name"], data["bids"], data["asks"])


def deribit(message: Any) -> Sample | None:
    told = message.get("params", {})
    if not told.get("channel", "").startswith("book."):
        return None
    data, name = told["data"], told["data"]["instrument_name"]
    rows = [row for side in ("bids", "asks") for row in data[side]]
    at = 1 if any(len(row) == 3 for row in rows) else 0
    return stated(told["channel"], name, data["bids"], data["asks"], at)


def htx(message: Any) -> Sample | None:
    data = message.get("tick", message.get("data", {}))
    if "bids" not in data and "asks" not in data:
        return None
    topic = message.get("ch", message.get("rep"))
    if None in (data.get("bids", ""), data.get("asks", "")):
        return Sample(topic, "", None)
    return stated(topic, topic.split(".")[1].upper(), data.get("bids"), data.get("asks"))


def kucoin(message: Any) -> Sample | None:
    data = message.get("data", message.get("d"))
    if not isinstance(data, dict):
        return None
    data = data.get("changes", data)
    if message.get("T", "").startswith("obu"):
        return stated(data["s"], data["s"], data["b"], data["a"])
    if "asks" not in data or "topic" not in message:
        return None
    return stated(message["topic"], message["topic"].split(":")[1], data["bids"], data["asks"])


HTX_BOOKS = [
    Message("snapshot", when={f"{at}.{side}": Form.ROWS}, symbol=topic, levels=both(f"{at}."))
    for at, topic in (("tick", "ch"), ("data", "rep"))
    for side in ("bids", "asks")
]
FAMILIES: dict[str, tuple[Venue, Callable[[Any], Sample | None]]] = {
    "ascendex": (
        alone(
            "ascendex",
            *(
                Message("snapshot", when={"m": name}, symbol="symbol", levels=both("data."))
                for name in ("depth", "depth-snapshot", "depth-realtime", "depth-snapshot-realtime")
            ),
        ),
        ascendex,
    ),
    "bitget": (
        alone(
            "bitget",
            *(
                Message("snapshot", when={f"arg.{kind}": name}, symbol=f"arg.{symbol}", levels=levels)
                for kind, symbol, levels in (
                    ("channel", "instId", both("data[].")),
                    ("topic", "symbol", both("data[].", "b", "a")),
                )
                for name in ("books", "books1", "books15")
            ),
        ),
        bitget,
    ),
    "bitmart": (
        alone(
            "bitmart",
            Message(
                "snapshot",
                when={"data.version": None},
                symbol="data.symbol",
                levels=(
                    Levels("data.bids", "bids", "price", "vol"),
                    Levels("data.asks", "asks", "price", "vol"),
                ),
            ),
        ),
        bitmart,
    ),
    "coinex": (
        alone("coinex", *(replace(one, kind="snapshot") for one in VENUES["coinex"].messages[:2])),
        coinex,
    ),
    "cryptocom": (
        alone("cryptocom", *(replace(one, kind="snapshot") for one in VENUES["cryptocom"].messages[:2])),
        cryptocom,
    ),
    "deribit": (
        alone(
            "deribit",
            Message(
                "snapshot",
                when={"params.data.bids": Form.ROWS},
                symbol="params.channel",
                levels=both("params.data.", price=1),
            ),
        ),
        deribit,
    ),
    "deribit-grouped": (
        alone(
            "deribit",
            Message(
                "snapshot",
                when={"params.data.bids": Form.ROWS},
                symbol="params.channel",
                levels=both("params.data."),
            ),
        ),
        deribit,
    ),
    "htx": (alone("htx", *HTX_BOOKS), htx),
    "kucoin": (
        alone(
            "kucoin",
            *(replace(one, kind="snapshot") for one in VENUES["kucoin"].messages[:2]),
            Message(
                "snapshot",
                when={"data.changes.bids": Form.ROWS},
                symbol="topic",
                levels=both("data.changes."),
            ),
            Message("snapshot", when={"data.bids": Form.ROWS}, symbol="topic", levels=both("data.")),
        ),
        kucoin,
    ),
}
FILES = {  # book messages in it, and how many of them the source's own test states
    "ascendex/tardisnode-samples.jsonl": (3, 3),
    "bitget/arbobservatory-v2-v3-books-frames-2026.jsonl": (4, 0),
    "bitget/tardisnode-v2-futures-samples.jsonl": (5, 1),
    "bitget/tardisnode-v2-spot-samples.jsonl": (4, 1),
    "bitget/tardisnode-v3uta-futures-samples.jsonl": (3, 2),
    "bitget/tardisnode-v3uta-spot-samples.jsonl": (3, 2),
    "bitmart/arbobservatory-futures-v2-depthincrease-frames-2026.jsonl": (4, 0),
    "coinex/arbobservatory-v2-depth-frames-2026.jsonl": (2, 0),
    "cryptocom/arbobservatory-exchange-v1-book-frames-2026.jsonl": (3, 0),
    "cryptocom/tardisnode-samples.jsonl": (3, 3),
    "deribit/arbobservatory-v2-book-frames-2026.jsonl": (5, 0),
    "deribit/cryptomsgparser-samples-2021-2022.jsonl": (8, 0),
    "deribit/tardisnode-v2-samples.jsonl": (4, 4),
    "htx/arbobservatory-linearswap-highfreq-frames-2026.jsonl": (4, 0),
    "htx/cryptomsgparser-samples-2021-2022.jsonl": (14, 0),
    "htx/tardisnode-coinm-futures-samples.jsonl": (1, 1),
    "htx/tardisnode-coinm-swap-samples.jsonl": (1, 1),
    "htx/tardisnode-linear-swap-samples.jsonl": (1, 1),
    "htx/tardisnode-spot-samples.jsonl": (15, 8),
    "kucoin/arbobservatory-classic-futures-frames-2026.jsonl": (1, 0),
    "kucoin/arbobservatory-uta-obu-futures-frames-2026.jsonl": (3, 0),
    "kucoin/cryptomsgparser-samples-2021-2022.jsonl": (6, 0),
    "kucoin/tardisnode-classic-futures-samples.jsonl": (1, 0),
    "kucoin/tardisnode-classic-spot-samples.jsonl": (9, 2),
}

# what the source expects but no single frame says: a snapshot with the updates that its mapper had held
# back (HTX's is tested below; KuCoin's are not consecutive, so that we would not join them), and a level
# that is one text
DERIVED = {
    ("htx/tardisnode-spot-samples.jsonl", 21),
    ("kucoin/tardisnode-classic-spot-samples.jsonl", 13),
    ("kucoin/tardisnode-classic-futures-samples.jsonl", 5),
    ("kucoin/tardisnode-classic-futures-samples.jsonl", 6),
}


def expected(captures: Path, file: str) -> list[tuple[str, Sides]]:
    """Book changes that the source's own test states."""
    path = (captures / file).with_suffix(".expected.json")
    rows = json.loads(path.read_text(), parse_float=Decimal) if path.exists() else []
    found = []
    rows = [row for row in rows if isinstance(row["normalized"], list) and (file, row["line"]) not in DERIVED]
    for one in (one for row in rows for one in row["normalized"]):
        if one["type"] == "book_change":
            levels = sides(one["bids"], one["asks"], "price", "amount")
            assert levels is not None
            found.append((one["symbol"], levels))
    return found


def family(file: str, sample: Sample) -> str:
    grouped = ".none." in sample.topic
    return f"{file.split('/')[0]}-grouped" if grouped else file.split("/")[0]


@pytest.mark.parametrize("file", FILES)
def test_each_sample_decodes_to_its_own_levels(file: str, captures: Path) -> None:
    _, read = FAMILIES[file.split("/")[0]]
    rows = [json.loads(line) for line in (captures / file).read_text().splitlines()]
    texts = [row["raw"] for row in rows if not row.get("rest")]
    found = []
    for text in texts:
        sample = read(json.loads(text, parse_float=Decimal)) if text[0] in "{[" else None
        if sample is None:
            continue
        found.append(sample)
        venue = replace(FAMILIES[family(file, sample)][0], topic=lambda _, topic=sample.topic: topic)  # type: ignore[misc]
        with Replay(venue, [Instrument("A", "A", "B", 0, 0)], levels_max=2048, ring_bytes=1 << 20) as run:
            run.frame(text.encode())
            check(run.book("A"), sample.levels or {"bids": {}, "asks": {}})
            assert run.segment.stats["quarantined"] == (sample.levels is None)
    wanted = expected(captures, file)
    assert (len(found), len(wanted)) == FILES[file]
    for name, levels in wanted:
        assert any(levels == one.levels and one.name == name for one in found), (name, levels)


def test_the_snapshot_asked_for_joins_what_was_held_back_as_the_source_expects(captures: Path) -> None:
    file = captures / "htx" / "tardisnode-spot-samples.jsonl"
    texts = [json.loads(line)["raw"] for line in file.read_text().splitlines()]
    (wanted,) = (
        one
        for row in json.loads(file.with_suffix(".expected.json").read_text(), parse_float=Decimal)
        for one in (row["normalized"] if row["line"] == 21 else ())
    )
    levels = sides(wanted["bids"], wanted["asks"], "price", "amount")
    assert levels is not None
    with Replay(VENUES["htx"], [Instrument("btcusdt", "BTC", "USDT", 2, 6)]) as run:
        for text in texts[15:21]:  # five updates, of which the first is out of order, and the answer
            run.frame(text.encode())
        copy = run.book("btcusdt")
        assert copy.state is BookState.LIVE
        assert copy.venue_sequence == 109409288226, "the updates after the snapshot are in it"
        check(copy, levels)
        run.frame(texts[21].encode())  # 274 ids later
        assert run.book("btcusdt").state is BookState.RESYNC
