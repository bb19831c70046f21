"""The frames every contestant gets: one real recording, and a seeded flow in each venue's wire form.

A dataset is two files: ``<name>.frames`` (records of a little-endian u32 length and so many bytes;
the first is the snapshot, the rest are updates) and ``<name>.json`` (counts, and the final book as
exact decimals, rebuilt here from the very frames by the few lines of ``rebuild``).
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.flow import Change, Flow, Market

FLOW_FILE = "_flow/binance-spot-btcusdt-20240808.jsonl.gz"
GENERATED_MESSAGES = 6000
Levels = Iterable[tuple[str, str, str]]  # side ("bid" or "ask"), price, quantity


@dataclass(frozen=True)
class Dataset:
    """Where a flow lies and what is in it. ``book``: side -> (price, quantity) texts, best first."""

    name: str
    venue: str
    symbol: str
    path: Path
    messages: int
    levels: int
    bytes: int
    price_decimals: int
    quantity_decimals: int
    book: dict[str, list[tuple[str, str]]]


def parse(venue: str, frame: dict[str, Any]) -> Levels:
    """What a decoded frame of the venue says, one level after the other."""
    if venue == "coinbase":
        for row in frame["events"][0]["updates"]:
            yield ("bid" if row["side"] == "bid" else "ask"), row["price_level"], row["new_quantity"]
        return
    if venue in ("okx", "kraken"):
        body, keys = frame["data"][0], ("bids", "asks")
    elif venue == "bybit":
        body, keys = frame["data"], ("b", "a")
    else:
        body, keys = (frame["data"], ("b", "a")) if "data" in frame else (frame, ("bids", "asks"))
    for side, key in zip(("bid", "ask"), keys, strict=True):
        for row in body[key]:
            yield (side, row["price"], row["qty"]) if venue == "kraken" else (side, row[0], row[1])


def rebuild(venue: str, frames: Iterable[bytes]) -> tuple[dict[str, list[tuple[str, str]]], int]:
    """The book after all frames with exact decimals, and how many level changes the updates held."""
    sides: dict[str, dict[Decimal, Decimal]] = {"bid": {}, "ask": {}}
    count = 0
    for number, frame in enumerate(frames):
        for side, price, quantity in parse(venue, json.loads(frame, parse_float=str, parse_int=str)):
            count += number > 0
            if Decimal(quantity):
                sides[side][Decimal(price)] = Decimal(quantity)
            else:
                sides[side].pop(Decimal(price), None)
    return {
        side: [(str(price), str(levels[price])) for price in sorted(levels, reverse=side == "bid")]
        for side, levels in sides.items()
    }, count


def read(path: Path) -> Iterator[bytes]:
    """The records of a ``.frames`` file."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


def write(directory: Path, name: str, venue: str, market: Market, frames: list[bytes]) -> Dataset:
    """Stores a dataset and says what is in it."""
    path = directory / f"{name}.frames"
    path.write_bytes(b"".join(struct.pack("<I", len(frame)) + frame for frame in frames))
    book, levels = rebuild(venue, frames)
    size = sum(map(len, frames[1:]))
    dataset = Dataset(
        name,
        venue,
        market.symbol,
        path,
        len(frames) - 1,
        levels,
        size,
        market.price_decimals,
        market.quantity_decimals,
        book,
    )
    path.with_suffix(".json").write_text(json.dumps({**dataset.__dict__, "path": str(path)}))
    return dataset


def real(captures: Path, directory: Path) -> Dataset:
    """Binance spot BTCUSDT of 2024-08-08: the snapshot, then every depth frame that follows it."""
    snapshot, updates = b"", []
    with gzip.open(captures / FLOW_FILE, "rt") as lines:
        for line in lines:
            record = json.loads(line)
            raw: str = record["raw"]
            if record.get("rest"):
                snapshot = raw.encode()
            elif '"depthUpdate"' in raw[:80]:
                updates.append(raw.encode())
    last = json.loads(snapshot)["lastUpdateId"]
    joined = [raw for raw in updates if json.loads(raw)["data"]["u"] > last]
    market = Market("BTCUSDT", 2, 5)
    return write(directory, "binance-real", "binance", market, [snapshot, *joined])


def texts(market: Market, change: Change, pad: int = 0, strip: bool = False) -> tuple[str, str]:
    """Price and quantity as a venue writes them: fixed decimals, padded further, or shortest."""
    price = f"{Decimal(change.price).scaleb(-market.price_decimals):f}"
    quantity = f"{Decimal(change.quantity).scaleb(-market.quantity_decimals):f}"
    if pad:
        return f"{Decimal(price):.{pad}f}", f"{Decimal(quantity):.{pad}f}"
    if strip:
        return shortest(price), shortest(quantity)
    return price, quantity


def shortest(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def sided(changes: list[Change], side: str) -> list[Change]:
    return sorted(
        (c for c in changes if c.side == side), key=lambda c: -c.price if side == "bid" else c.price
    )


def dumps(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def iso(milliseconds: int, digits: int) -> str:
    """A time of 2026-11-20 as venues write it, ``digits`` after the point."""
    second, rest = divmod(milliseconds, 1000)
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return f"2026-11-20T{hour % 24:02}:{minute:02}:{second:02}.{rest:03}".ljust(20 + digits, "7") + "Z"


def binance(flow: Flow, number: int, changes: list[Change]) -> bytes:
    rows = {s: [texts(flow.market, c, pad=8) for c in sided(changes, s)] for s in ("bid", "ask")}
    if number == 0:
        return dumps({"lastUpdateId": 7_000_000_000, "bids": rows["bid"], "asks": rows["ask"]})
    first = 7_000_000_000 + 5 * number - 4
    data = {
        "e": "depthUpdate",
        "E": 1_795_000_000_000 + 100 * number,
        "s": flow.market.symbol,
        "U": first,
        "u": first + 4,
        "b": rows["bid"],
        "a": rows["ask"],
    }
    return dumps({"stream": flow.market.symbol.lower() + "@depth@100ms", "data": data})


def coinbase(flow: Flow, number: int, changes: list[Change]) -> bytes:
    time = iso(100 * number, 6)
    rows = []
    for change in changes:
        price, quantity = texts(flow.market, change, strip=True)
        rows.append(
            {
                "side": "bid" if change.side == "bid" else "offer",
                "event_time": time,
                "price_level": price,
                "new_quantity": quantity,
            }
        )
    event = {"type": "update" if number else "snapshot", "product_id": flow.market.symbol, "updates": rows}
    return dumps(
        {
            "channel": "l2_data",
            "timestamp": iso(100 * number + 3, 9),
            "sequence_num": number,
            "events": [event],
        }
    )


def okx(flow: Flow, number: int, changes: list[Change]) -> bytes:
    def rows(side: str) -> list[list[str]]:
        out = []
        for change in sided(changes, side):
            price, quantity = texts(flow.market, change, strip=True)
            out.append([price, quantity, "0", str(min(change.quantity, 1 + change.quantity % 37))])
        return out

    sequence = 342_177_000_000 + 17 * number
    data = {
        "asks": rows("ask"),
        "bids": rows("bid"),
        "ts": str(1_795_000_000_000 + 100 * number),
        "checksum": 0,
        "prevSeqId": sequence - 17 if number else -1,
        "seqId": sequence,
    }
    return dumps(
        {
            "arg": {"channel": "books", "instId": flow.market.symbol},
            "action": "update" if number else "snapshot",
            "data": [data],
        }
    )


def bybit(flow: Flow, number: int, changes: list[Change]) -> bytes:
    rows = {s: [texts(flow.market, c, strip=True) for c in sided(changes, s)] for s in ("bid", "ask")}
    time = 1_795_000_000_000 + 100 * number
    data = {
        "s": flow.market.symbol,
        "b": rows["bid"],
        "a": rows["ask"],
        "u": 62_505_424 + number,
        "seq": 112_488_545_865 + 20 * number,
    }
    return dumps(
        {
            "topic": f"orderbook.200.{flow.market.symbol}",
            "ts": time,
            "type": "delta" if number else "snapshot",
            "data": data,
            "cts": time - 3,
        }
    )


def kraken(flow: Flow, number: int, changes: list[Change]) -> bytes:
    def rows(side: str) -> str:
        out = []
        for change in (c for c in changes if c.side == side):
            price, quantity = texts(flow.market, change)
            out.append(f'{{"price":{price},"qty":{quantity}}}')
        return "[" + ",".join(out) + "]"

    return (
        f'{{"channel":"book","type":"{"update" if number else "snapshot"}","data":[{{"symbol":'
        f'"{flow.market.symbol}","bids":{rows("bid")},"asks":{rows("ask")},"checksum":{flow.checksum()},'
        f'"timestamp":"{iso(100 * number, 6)}"}}]}}'
    ).encode()


Encoder = Callable[[Flow, int, list[Change]], bytes]
VENUES: dict[str, tuple[Encoder, Market, int]] = {  # encoder, market, levels a side
    "binance": (binance, Market("BTCUSDT", 2, 5), 500),
    "coinbase": (coinbase, Market("BTC-USD", 2, 8), 500),
    "okx": (okx, Market("BTC-USDT", 1, 8), 390),
    "bybit": (bybit, Market("BTCUSDT", 1, 6), 190),
    "kraken": (kraken, Market("BTC/USDT", 1, 8), 500),
}


def generated(
    venue: str, directory: Path, messages: int = GENERATED_MESSAGES, seed: int = 1, changes: int | None = None
) -> Dataset:
    """Updates on a book of ``VENUES[venue][2]`` levels a side, in the wire form; ``changes`` as in Flow."""
    encoder, market, depth = VENUES[venue]
    flow = Flow(market, depth, seed, changes)
    frames = [encoder(flow, 0, flow.snapshot())]
    for number in range(1, messages + 1):
        update = flow.update()
        frames.append(encoder(flow, number, update))
    return write(directory, venue if changes is None else f"{venue}-{changes}", venue, market, frames)
