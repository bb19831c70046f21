"""MEXC: aggre.depth in protobuf, the snapshot over REST. Protobuf is read by the wire format alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dialects import Dialect

STREAM = "spot@public.aggre.depth.v3.api.pb@100ms@{}"
# names of fields, by message, as the .proto files number them: (name, message it holds, or None)
FIELDS: dict[str, dict[int, tuple[str, str | None]]] = {
    "wrapper": {
        1: ("channel", None),
        3: ("symbol", None),
        4: ("symbolId", None),
        5: ("createTime", None),
        6: ("sendTime", None),
        303: ("publicLimitDepths", "limit"),
        313: ("publicAggreDepths", "aggre"),
        315: ("publicAggreBookTicker", "ticker"),
    },
    "aggre": {
        1: ("asks", "item"),
        2: ("bids", "item"),
        3: ("eventType", None),
        4: ("fromVersion", None),
        5: ("toVersion", None),
        6: ("lastOrderCreateTime", None),
    },
    "limit": {
        1: ("asks", "item"),
        2: ("bids", "item"),
        3: ("eventType", None),
        4: ("version", None),
        5: ("lastOrderCreateTime", None),
    },
    "ticker": {
        1: ("bidPrice", None),
        2: ("bidQuantity", None),
        3: ("askPrice", None),
        4: ("askQuantity", None),
        5: ("version", None),
        6: ("lastOrderCreateTime", None),
    },
    "item": {1: ("price", None), 2: ("quantity", None)},
}


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a message's fields: varints and byte strings."""
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(data):
        tag = varint()
        value: int | bytes = varint()
        if tag & 7 == 2:
            size = int(value)
            value = data[place : place + size]
            assert len(value) == size
            place += size
        else:
            assert tag & 7 == 0, "neither varint nor bytes"
        yield tag >> 3, value


def decode(data: bytes, message: str = "wrapper") -> dict[str, Any]:
    """A message by names, in the order of the wire; unknown numbers fail."""
    out: dict[str, Any] = {}
    for number, value in fields(data):
        name, inner = FIELDS[message][number]
        if isinstance(value, int):
            out[name] = value
        elif inner is None:
            out[name] = value.decode()
        elif inner == "item":
            out.setdefault(name, []).append(decode(value, inner))
        else:
            out[name] = decode(value, inner)
    return out


def text(frame: str | bytes) -> str:
    """Protobuf as JSON."""
    return frame if isinstance(frame, str) else json.dumps(decode(frame))


def is_book(message: Any) -> bool:
    return "publicAggreDepths" in message


def apply(book: Any, message: Any) -> None:
    """Versions follow on each other without a hole."""
    if not is_book(message) or message["symbol"] != book.name:
        return
    data = message["publicAggreDepths"]
    first, last = int(data["fromVersion"]), int(data["toVersion"])
    assert book.last is not None, "no snapshot loaded"
    if last <= book.last:
        return
    assert first <= book.last + 1, f"gap: {first} after {book.last}"
    sides = [[[row["price"], row["quantity"]] for row in data.get(side, [])] for side in ("bids", "asks")]
    for side, rows in zip((book.bids, book.asks), sides, strict=True):
        for price, quantity in rows:
            # the snapshot pads prices with zeros
            book.put(side, format(float(price), ".10f"), quantity)
    book.last = last
    book.applied += 1


async def load(follower: Any) -> None:
    """The snapshot over REST."""
    snapshot = await follower.played.get("/api/v3/depth", symbol=follower.name, limit="5000")
    follower.book.clear()
    for side, rows in ((follower.book.bids, snapshot["bids"]), (follower.book.asks, snapshot["asks"])):
        side.update((format(float(price), ".10f"), quantity) for price, quantity in rows)
    follower.book.last = snapshot["lastUpdateId"]


DIALECT = Dialect(
    question='{"method":"PING"}',
    is_answer=lambda message: message.get("msg") == "PONG",
    native=lambda symbol: symbol.replace("-", ""),
    subscribe=lambda name: {"method": "SUBSCRIPTION", "params": [STREAM.format(name)]},
    unsubscribe=lambda follower: {"method": "UNSUBSCRIPTION", "params": [STREAM.format(follower.name)]},
    apply=apply,
    is_book=is_book,
    order_of=lambda message: int(message["publicAggreDepths"]["toVersion"]),
    rest=("/api/v3/exchangeInfo", {}),
    text=text,
    is_heartbeat=lambda message: (
        "channel" in message and not any(each.startswith("public") for each in message)
    ),
    load=load,
    refusal="Not Subscribed successfully!",
)
