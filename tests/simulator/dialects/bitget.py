"""Bitget, the unified WebSocket (v3)."""

from __future__ import annotations

from typing import Any

from dialects import Dialect, Json


def argument(name: str) -> Json:
    """What to subscribe to."""
    return {"instType": "spot", "topic": "books", "symbol": name}


def is_book(message: Any) -> bool:
    return isinstance(message, dict) and "action" in message


def apply(book: Any, message: Any) -> None:
    """Replace, or chain by pseq."""
    if not is_book(message) or message["arg"]["symbol"] != book.name:
        return
    (data,) = message["data"]
    if message["action"] == "snapshot":
        book.clear()
    else:
        assert data["pseq"] == book.last, f"gap: {data['pseq']} for {book.last}"
    book.put_all(data["b"], data["a"])
    book.last = data["seq"]
    book.applied += 1


DIALECT = Dialect(
    question="ping",
    is_answer=lambda message: message == "pong",
    native=lambda symbol: symbol.replace("-", ""),
    subscribe=lambda name: {"op": "subscribe", "args": [argument(name)]},
    unsubscribe=lambda follower: {"op": "unsubscribe", "args": [argument(follower.name)]},
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message["data"][0]["seq"],
    rest=("/api/v2/spot/market/orderbook", {"symbol": "BTCUSDT"}),
    depth=1000,
    has_checksum=True,
)
