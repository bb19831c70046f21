"""HTX: mbp.150 on /feed, the snapshot by `req` on the same socket."""

from __future__ import annotations

import gzip
from typing import Any

from dialects import Dialect


def text(frame: str | bytes) -> str:
    """One gzip member in every frame."""
    return frame if isinstance(frame, str) else gzip.decompress(frame).decode()


def is_book(message: Any) -> bool:
    return "tick" in message or "rep" in message


def apply(book: Any, message: Any) -> None:
    """Replace by an answer, or chain by prevSeqNum; what is older than the answer is dropped."""
    if not is_book(message) or f"market.{book.name}.mbp.150" not in (message.get("ch"), message.get("rep")):
        return
    if "rep" in message:
        data = message["data"]
        book.clear()
    else:
        data = message["tick"]
        if book.last is None or data["prevSeqNum"] < book.last:
            return
        assert data["prevSeqNum"] == book.last, f"gap: {data['prevSeqNum']} for {book.last}"
    book.put_all(data.get("bids", []), data.get("asks", []))
    book.last = data["seqNum"]
    book.applied += 1


async def load(follower: Any) -> None:
    """Ask for the snapshot."""
    await follower.client.send({"req": f"market.{follower.name}.mbp.150", "id": "load"})


DIALECT = Dialect(
    question='{"sub":"nothing","id":"mark"}',
    is_answer=lambda message: message.get("id") == "mark",
    native=lambda symbol: symbol.replace("-", "").lower(),
    subscribe=lambda name: {"sub": f"market.{name}.mbp.150", "id": "1"},
    unsubscribe=lambda follower: {"unsub": f"market.{follower.name}.mbp.150", "id": "2"},
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message["tick"]["seqNum"],
    rest=("/v1/common/symbols", {}),
    depth=150,
    text=text,
    is_heartbeat=lambda message: "ping" in message,
    load=load,
)
