"""BitMart: data in binary frames of raw DEFLATE, the rest in text frames; versions count by one."""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import Any

from dialects import Dialect

CHANNEL = "spot/depth/increase100"


def text(frame: str | bytes) -> str:
    return frame if isinstance(frame, str) else zlib.decompress(frame, wbits=-15).decode()


def is_book(message: Any) -> bool:
    return isinstance(message, dict) and message.get("table") == CHANNEL


def by_value(rows: Any) -> list[list[str]]:
    """The same price comes with and without zeros."""
    return [[format(Decimal(row[0]).normalize(), "f"), row[1]] for row in rows]


def apply(book: Any, message: Any) -> None:
    """Replace, or chain by version; what is not newer is passed over."""
    for data in message["data"] if is_book(message) else []:
        if data["symbol"] != book.name:
            continue
        if data["type"] == "snapshot":
            book.clear()
        elif data["version"] <= book.last:
            continue
        else:
            assert data["version"] == book.last + 1, f"gap: {data['version']} after {book.last}"
        book.put_all(by_value(data["bids"]), by_value(data["asks"]))
        book.last = data["version"]
        book.applied += 1


DIALECT = Dialect(
    question="ping",
    is_answer=lambda message: message == "pong",
    native=lambda symbol: symbol.replace("-", "_"),
    subscribe=lambda name: {"op": "subscribe", "args": [f"{CHANNEL}:{name}"]},
    unsubscribe=lambda follower: {"op": "unsubscribe", "args": [f"{CHANNEL}:{follower.name}"]},
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message["data"][0]["version"],
    rest=("/spot/quotation/v3/books", {"symbol": "BTC_USDT"}),
    depth=100,
    text=text,
    refusal='"errorCode": "92001"',
)
