"""The simulator's messages have the shape of recorded ones: the same keys in order, the same kinds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from dialects import DIALECTS
from message_shapes import paths, recorded_texts

RECORDINGS = {
    "binance": "binance/cryptofeed-spot-depth100ms-2021.jsonl",
    "coinbase": "coinbase/cryptofeed-advanced-l2data-2026.jsonl.gz",
    "okx": "okx/fastmm-v5-books-seqid-2026.jsonl",
    "bybit": "bybit/cryptofeed-v5-spot-orderbook200-2026.jsonl",
    "kraken": "kraken/pykrakensdk-v2-book10-checksum-2023-decimals-restored.jsonl",
}


def kind(exchange: str, message: Any) -> str | None:
    """What a message is, or None for those that are not compared."""
    if not isinstance(message, dict):
        return None
    match exchange:
        case "binance":
            return "update" if message.get("data", {}).get("e") == "depthUpdate" else None
        case "coinbase":
            events = message.get("events", [{}])
            return str(events[0].get("type")) if message.get("channel") == "l2_data" else None
        case "okx" if message.get("arg", {}).get("channel") == "books":
            return str(message["action"]) if "action" in message else None
        case "bybit" if str(message.get("topic", "")).startswith("orderbook."):
            return str(message["type"])
        case "bybit":
            return str(message.get("ret_msg")) if "op" in message else None
        case "kraken" if message.get("channel") == "book":
            return str(message["type"])
        case "kraken":
            return str(message.get("method")) if "method" in message else None
    return None


def recorded(path: Path) -> list[Any]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    return [json.loads(line["raw"], parse_float=str) for line in lines if not line.get("rest")]


@pytest.mark.parametrize("exchange", sorted(RECORDINGS))
async def test_messages_have_the_shape_of_recorded_ones(
    play: Any, follow: Any, captures: Path, exchange: str
) -> None:
    path = captures / RECORDINGS[exchange]
    if not path.exists():
        pytest.skip(f"no recording {path}")
    real: dict[str, set[str]] = {}
    for message in recorded(path):
        name = kind(exchange, message)
        if name is not None:
            real.setdefault(name, set()).update(paths(message))
    played = await play(exchange)
    follower = await follow(played)
    await played.step(50, "BTC-USDT")
    await follower.catch_up()
    mine: dict[str, set[str]] = {}
    for message in follower.seen:
        name = kind(exchange, message)
        if name is not None:
            mine.setdefault(name, set()).update(paths(message))
    compared = real.keys() & mine.keys()
    assert compared >= {"update"} or compared >= {"snapshot", "delta"}
    if exchange == "kraken":
        # recorded in 2023; since 2026 a snapshot has a timestamp as well
        keys = "data.[]symbol>bids>asks>checksum"
        real["snapshot"] = real["snapshot"] - {keys} | {f"{keys}>timestamp", "data.[]timestamp.time"}
    for name in compared:
        assert mine[name] == real[name], name


# consecutive messages of real books: file, how the same channel is named there
CONSECUTIVE = [
    ("phemex", "cryptofeed-orderbook-scaled-2021.jsonl", {}),
    ("ascendex", "cryptofeed-spot-v1-depth-2021.jsonl", {}),
    ("ascendex", "cryptofeed-futures-v2-depth-2022.jsonl", {}),
    ("deribit", "cryptofeed-v2-options-raw-2021.jsonl", {".raw": ".100ms"}),
]


@pytest.mark.parametrize(("exchange", "file", "renamed"), CONSECUTIVE)
def test_the_client_that_follows_the_simulator_follows_the_real_exchange(
    rebuild: Any, captures: Path, exchange: str, file: str, renamed: dict[str, str]
) -> None:
    """The rules by which the tests' client judges the simulator hold for recorded books too."""
    path = captures / exchange / file
    if not path.exists():
        pytest.skip(f"no recording {path}")
    books: dict[str, Any] = {}
    for text in recorded_texts(path):
        for theirs, ours in renamed.items():
            text = text.replace(theirs, ours)
        message = json.loads(text, parse_float=str)
        if not DIALECTS[exchange].is_book(message):
            continue
        data = message.get("params", {}).get("data", message)
        name = data.get("symbol") or data.get("instrument_name")
        book = books.setdefault(name, rebuild(exchange, name))
        book.apply(message)
        if book.bids and book.asks:
            assert max(map(float, book.bids)) < min(map(float, book.asks))
        if exchange == "phemex":
            assert max(len(book.bids), len(book.asks)) <= 30
    applied = [book.applied for book in books.values()]
    assert len(applied) >= 10
    assert sum(applied) > 10 + len(applied)
