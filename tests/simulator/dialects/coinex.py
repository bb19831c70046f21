"""CoinEx v2: gzip, deltas of the best fifty levels, a checksum of all of them."""

from __future__ import annotations

import gzip
import zlib
from decimal import Decimal
from typing import Any

from dialects import Dialect


def text(frame: str | bytes) -> str:
    return frame if isinstance(frame, str) or frame[:2] != b"\x1f\x8b" else gzip.decompress(frame).decode()


def is_book(message: Any) -> bool:
    return bool(message.get("method") == "depth.update")


def checksum(bids: dict[str, str], asks: dict[str, str]) -> int:
    """CRC-32 of all levels, bids first, each side from its best, in the very digits received."""
    levels = sorted(bids.items(), key=lambda each: -Decimal(each[0]))
    levels += sorted(asks.items(), key=lambda each: Decimal(each[0]))
    return zlib.crc32(":".join(f"{price}:{size}" for price, size in levels).encode())


def apply(book: Any, message: Any) -> None:
    """Replace when full, else merge; then the checksum must be right."""
    if not is_book(message) or message["data"]["market"] != book.name:
        return
    depth = message["data"]["depth"]
    if message["data"]["is_full"]:
        book.clear()
    book.put_all(depth.get("bids", []), depth.get("asks", []))
    book.applied += 1
    assert checksum(book.bids, book.asks) == depth["checksum"], "gap: checksum"


DIALECT = Dialect(
    question='{"method":"server.ping","params":{},"id":987654}',
    is_answer=lambda message: message.get("id") == 987654,
    native=lambda symbol: symbol.replace("-", ""),
    subscribe=lambda name: {
        "method": "depth.subscribe",
        "params": {"market_list": [[name, 50, "0", False]]},
        "id": 1,
    },
    unsubscribe=lambda follower: {
        "method": "depth.unsubscribe",
        "params": {"market_list": [follower.name]},
        "id": 2,
    },
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message["data"]["depth"]["updated_at"],
    rest=("/v2/spot/depth", {"market": "BTCUSDT", "limit": "50", "interval": "0"}),
    depth=50,
    text=text,
    refusal='"code": 24001',
    has_checksum=True,
    checks_sums=True,
    counts=False,
)
