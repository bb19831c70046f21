"""AscendEX: deltas counted by seqnum, the snapshot by request on the same socket."""

from __future__ import annotations

from typing import Any

from dialects import Dialect


def is_book(message: Any) -> bool:
    return message.get("m") in ("depth", "depth-snapshot")


def apply(book: Any, message: Any) -> None:
    """What came before the snapshot is in it, for both come on one socket; then one by one."""
    if not is_book(message) or message["symbol"] != book.name:
        return
    data = message["data"]
    if message["m"] == "depth-snapshot":
        book.clear()
    elif book.last is None or data["seqnum"] <= book.last:
        return
    else:
        assert data["seqnum"] == book.last + 1, f"gap: {data['seqnum']} after {book.last}"
    book.put_all(data["bids"], data["asks"])
    book.last = data["seqnum"]
    book.applied += 1


async def load(follower: Any) -> None:
    """Ask for the snapshot, which comes at once here instead of after a while."""
    follower.played.host.exchange.request_seconds = 0.0
    await follower.client.send({"op": "req", "action": "depth-snapshot", "args": {"symbol": follower.name}})


DIALECT = Dialect(
    question='{"op":"ping"}',
    is_answer=lambda message: message.get("m") == "pong",
    native=lambda symbol: symbol.replace("-", "/"),
    subscribe=lambda name: {"op": "sub", "id": "abc123", "ch": f"depth:{name}"},
    unsubscribe=lambda follower: {"op": "unsub", "id": "abc124", "ch": f"depth:{follower.name}"},
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message["data"]["seqnum"],
    rest=("/api/pro/v1/depth", {"symbol": "BTC/USDT"}),
    depth=400,  # of the snapshot's 500: those beyond it are not known unless they change
    windowed=False,
    is_heartbeat=lambda message: message.get("m") == "ping",
    load=load,
    refusal='"m": "error"',
)
