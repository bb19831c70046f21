"""Gemini, the depth streams with update ids."""

from __future__ import annotations

from typing import Any

from dialects import Dialect


def is_book(message: Any) -> bool:
    return bool(message.get("e") == "depthUpdate")


def apply(book: Any, message: Any) -> None:
    """The first message replaces; then U overlaps the last u by one id."""
    if not is_book(message) or message["s"] != book.name:
        return
    if message["U"] == message["u"]:
        book.clear()
    else:
        assert book.last is not None
        if message["u"] <= book.last:
            return
        assert message["U"] <= book.last, f"gap: {message['U']} after {book.last}"
    book.put_all(message["b"], message["a"])
    book.last = message["u"]
    book.applied += 1


DIALECT = Dialect(
    question='{"id":987654,"method":"ping"}',
    is_answer=lambda message: message.get("id") == 987654,
    native=lambda symbol: symbol.replace("-", "").lower(),
    subscribe=lambda name: {"id": 1, "method": "subscribe", "params": [f"{name}@depth@100ms"]},
    unsubscribe=lambda follower: {
        "id": 2,
        "method": "unsubscribe",
        "params": [f"{follower.name}@depth@100ms"],
    },
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message["u"],
    rest=("/v1/book/btcusdt", {}),
)
