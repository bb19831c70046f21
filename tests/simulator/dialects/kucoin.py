"""KuCoin, `obu` of the Pro socket: JSON in binary frames."""

from __future__ import annotations

from typing import Any

from dialects import Dialect, Json


def request(action: str, name: str) -> Json:
    """Subscribe or unsubscribe."""
    return {
        "id": "1",
        "action": action,
        "channel": "obu",
        "tradeType": "SPOT",
        "symbol": name,
        "depth": "increment@10ms",
        "rpiFilter": 0,
    }


def is_book(message: Any) -> bool:
    return "d" in message


def apply(book: Any, message: Any) -> None:
    """Replace, or chain by O and C."""
    if not is_book(message) or message["d"]["s"] != book.name:
        return
    data = message["d"]
    if message["t"] == "snapshot":
        book.clear()
    else:
        assert book.last is not None
        assert data["O"] <= book.last + 1, f"gap: {data['O']} after {book.last}"
        assert data["C"] > book.last, f"gap: {data['C']} again after {book.last}"
    book.put_all(data["b"], data["a"])
    book.last = data["C"]
    book.applied += 1


def text(frame: str | bytes) -> str:
    """Garbage and oversized frames of the fault board are text."""
    return frame if isinstance(frame, str) else frame.decode()


DIALECT = Dialect(
    question='{"id":"mark","type":"ping"}',
    is_answer=lambda message: message.get("type") == "pong",
    native=lambda symbol: symbol,
    subscribe=lambda name: request("SUBSCRIBE", name),
    unsubscribe=lambda follower: request("UNSUBSCRIBE", follower.name),
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message["d"]["C"],
    rest=("/api/v1/market/orderbook/level2_100", {"symbol": "BTC-USDT"}),
    depth=500,
    text=text,
    is_heartbeat=lambda message: message.get("message") == "welcome",
    refusal='"result": false',
)
