"""BingX spot: incrDepth, whose sides are objects or arrays."""

from __future__ import annotations

import gzip
from typing import Any

from dialects import Dialect


def text(frame: str | bytes) -> str:
    """One gzip member in every frame."""
    return frame if isinstance(frame, str) else gzip.decompress(frame).decode()


def is_book(message: Any) -> bool:
    return "dataType" in message


def apply(book: Any, message: Any) -> None:
    """Replace, or rise by one."""
    if not is_book(message) or message["dataType"] != f"{book.name}@incrDepth":
        return
    data = message["data"]
    if data["action"] == "all":
        book.clear()
    else:
        assert data["lastUpdateId"] == book.last + 1, f"gap: {data['lastUpdateId']} after {book.last}"
    sides = [data[side] for side in ("bids", "asks")]
    book.put_all(*(list(side.items()) if isinstance(side, dict) else side for side in sides))
    book.last = data["lastUpdateId"]
    book.applied += 1


DIALECT = Dialect(
    question='{"id":"mark","reqType":"sub","dataType":"NO-SUCH@incrDepth"}',
    is_answer=lambda message: message.get("id") == "mark",
    native=lambda symbol: symbol,
    subscribe=lambda name: {"id": "1", "reqType": "sub", "dataType": f"{name}@incrDepth"},
    unsubscribe=lambda follower: {"id": "2", "reqType": "unsub", "dataType": f"{follower.name}@incrDepth"},
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message["data"]["lastUpdateId"],
    rest=("/openApi/spot/v1/common/symbols", {}),
    depth=1000,
    text=text,
    is_heartbeat=lambda message: "ping" in message,
    refusal='"code": 100503',
)
