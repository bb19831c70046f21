"""Deribit: the whole book with a chain of change ids."""

from __future__ import annotations

from typing import Any

from dialects import Dialect


def is_book(message: Any) -> bool:
    return bool(message.get("method") == "subscription")


def call(method: str, name: str) -> dict[str, Any]:
    """A call about the channel of an instrument."""
    return {"jsonrpc": "2.0", "id": 3, "method": method, "params": {"channels": [f"book.{name}.100ms"]}}


def apply(book: Any, message: Any) -> None:
    """Replace, or chain by prev_change_id."""
    if not is_book(message) or message["params"]["channel"] != f"book.{book.name}.100ms":
        return
    data = message["params"]["data"]
    if data["type"] == "snapshot":
        book.clear()
    else:
        assert data["prev_change_id"] == book.last, f"gap: {data['prev_change_id']} for {book.last}"
    for name, held in (("bids", book.bids), ("asks", book.asks)):
        for action, price, _ in data[name]:
            assert (str(price) in held) == (action != "new"), f"{action} of {price}"
    bids, asks = ([[str(row[1]), str(row[2])] for row in data[side]] for side in ("bids", "asks"))
    book.put_all(bids, asks)
    book.last = data["change_id"]
    book.applied += 1


DIALECT = Dialect(
    question='{"jsonrpc":"2.0","id":987654,"method":"public/test","params":{}}',
    is_answer=lambda message: message.get("id") == 987654,
    native=lambda symbol: symbol.replace("-", "_"),
    subscribe=lambda name: call("public/subscribe", name),
    unsubscribe=lambda follower: call("public/unsubscribe", follower.name),
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message["params"]["data"]["change_id"],
    rest=("/api/v2/public/get_order_book", {"instrument_name": "BTC_USDT"}),
    is_heartbeat=lambda message: message.get("method") == "heartbeat",
    refusal='"result": []',
)
