"""LBank: every push is a whole book."""

from __future__ import annotations

from typing import Any

from dialects import Dialect


def is_book(message: Any) -> bool:
    return bool(message.get("type") == "depth")


def apply(book: Any, message: Any) -> None:
    """Replace."""
    if not is_book(message) or message["pair"] != book.name:
        return
    book.clear()
    book.put_all(message["depth"]["bids"], message["depth"]["asks"])
    book.applied += 1


def request(action: str, name: str) -> dict[str, str]:
    """A message about the channel of the best hundred levels."""
    return {"action": action, action: "depth", "depth": "100", "pair": name}


DIALECT = Dialect(
    question='{"action":"ping","ping":"mark"}',
    is_answer=lambda message: message.get("pong") == "mark",
    native=lambda symbol: symbol.replace("-", "_").lower(),
    subscribe=lambda name: request("subscribe", name),
    unsubscribe=lambda follower: {**request("subscribe", follower.name), "action": "unsubscribe"},
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message["TS"],
    rest=("/v2/depth.do", {"symbol": "btc_usdt"}),
    depth=100,
    is_heartbeat=lambda message: message.get("action") == "ping",
    refusal='"status": "error"',
    acknowledges=False,
    shows_gaps=False,
    counts=False,
)
