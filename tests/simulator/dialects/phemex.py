"""Phemex, spot: scaled integers, the best thirty levels."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from dialects import Dialect

SCALE = Decimal(10) ** 8


def is_book(message: Any) -> bool:
    return "book" in message


def texts(rows: Any) -> list[list[str]]:
    """Levels as decimals."""
    return [[format((Decimal(each) / SCALE).normalize(), "f") for each in row] for row in rows]


def apply(book: Any, message: Any) -> None:
    """Replace, or apply what is newer; equal is a repetition. The server keeps the window."""
    if not is_book(message) or message["symbol"] != book.name:
        return
    if message["type"] == "snapshot":
        book.clear()
    else:
        assert book.last is not None
        if message["sequence"] == book.last:
            return
        assert message["sequence"] > book.last, "gap: out of order"
    book.put_all(texts(message["book"]["bids"]), texts(message["book"]["asks"]))
    book.last = message["sequence"]
    book.applied += 1


DIALECT = Dialect(
    question='{"id":987654,"method":"server.ping","params":[]}',
    is_answer=lambda message: message.get("id") == 987654,
    native=lambda symbol: "s" + symbol.replace("-", ""),
    subscribe=lambda name: {"id": 1, "method": "orderbook.subscribe", "params": [name]},
    unsubscribe=lambda follower: {"id": 2, "method": "orderbook.unsubscribe", "params": []},
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message["sequence"],
    rest=("/md/orderbook", {"symbol": "sBTCUSDT"}),
    depth=30,
    refusal='"code": 6001',
    shows_gaps=False,
    heals=False,  # not before the whole book comes again
)
