"""Crypto.com, channel `book.<instrument>.50` as snapshot and updates."""

from __future__ import annotations

from typing import Any

from dialects import Dialect, Json


def request(method: str, name: str) -> Json:
    """Subscribe or unsubscribe."""
    return {
        "id": 1,
        "method": method,
        "params": {
            "channels": [f"book.{name}.50"],
            "book_subscription_type": "SNAPSHOT_AND_UPDATE",
            "book_update_frequency": 10,
        },
    }


def is_book(message: Any) -> bool:
    return "result" in message


def apply(book: Any, message: Any) -> None:
    """Replace, or chain by pu."""
    if not is_book(message) or message["result"]["instrument_name"] != book.name:
        return
    (data,) = message["result"]["data"]
    if message["result"]["channel"] == "book":
        book.clear()
        levels = data
    else:
        assert data["pu"] == book.last, f"gap: {data['pu']} for {book.last}"
        levels = data["update"]
    book.put_all(levels["bids"], levels["asks"])
    book.last = data["u"]
    book.applied += 1


DIALECT = Dialect(
    question='{"id":987654,"method":"subscribe","params":{"channels":["nonsense"]}}',
    is_answer=lambda message: message.get("id") == 987654,
    native=lambda symbol: symbol.replace("-", "_"),
    subscribe=lambda name: request("subscribe", name),
    unsubscribe=lambda follower: request("unsubscribe", follower.name),
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message["result"]["data"][0]["u"],
    rest=("/exchange/v1/public/get-book", {"instrument_name": "BTC_USDT"}),
    depth=50,
    refusal='"code": 40003',
    is_heartbeat=lambda message: message.get("method") == "public/heartbeat",
)
