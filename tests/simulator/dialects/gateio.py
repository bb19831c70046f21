"""Gate, `spot.obu` with 400 levels."""

from __future__ import annotations

from typing import Any

from dialects import Dialect, Json


def request(event: str, name: str) -> Json:
    """Subscribe or unsubscribe."""
    return {"time": 1748572393, "channel": "spot.obu", "event": event, "payload": [f"ob.{name}.400"]}


def is_book(message: Any) -> bool:
    return bool(message.get("event") == "update")


def apply(book: Any, message: Any) -> None:
    """Replace when full, else U is the last u + 1; a side without changes is not there."""
    if not is_book(message) or message["result"]["s"].split(".")[1] != book.name:
        return
    data = message["result"]
    if data.get("full"):
        book.clear()
    else:
        assert book.last is not None
        assert data["U"] == book.last + 1, f"gap: {data['U']} after {book.last}"
    book.put_all(data.get("b", []), data.get("a", []))
    book.last = data["u"]
    book.applied += 1


DIALECT = Dialect(
    question='{"time":1545404023,"channel":"spot.ping"}',
    is_answer=lambda message: message.get("channel") == "spot.pong",
    native=lambda symbol: symbol.replace("-", "_"),
    subscribe=lambda name: request("subscribe", name),
    unsubscribe=lambda follower: request("unsubscribe", follower.name),
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message["result"]["u"],
    rest=("/api/v4/spot/order_book", {"currency_pair": "BTC_USDT"}),
    depth=400,
)
