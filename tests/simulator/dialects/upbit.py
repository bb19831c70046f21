"""Upbit: whole books in binary frames, numbers unquoted."""

from __future__ import annotations

from typing import Any

from dialects import Dialect, Json

UNIT = ("bid_price", "bid_size", "ask_price", "ask_size")


def request(codes: list[str]) -> list[Json]:
    """A request is the whole subscription of the connection."""
    return [{"ticket": "a1b2c3d4"}, {"type": "orderbook", "codes": codes}, {"format": "DEFAULT"}]


def is_book(message: Any) -> bool:
    return "orderbook_units" in message


def apply(book: Any, message: Any) -> None:
    """Replace; zeros fill up the shorter side."""
    if not is_book(message) or message["code"] != book.name:
        return
    book.clear()
    for unit in message["orderbook_units"]:
        bid_price, bid_size, ask_price, ask_size = (str(unit[key]) for key in UNIT)
        book.put(book.bids, bid_price, bid_size)
        book.put(book.asks, ask_price, ask_size)
    book.applied += 1


def native(symbol: str) -> str:
    base, quote = symbol.split("-")
    return f"{quote}-{base}"


def text(frame: str | bytes) -> str:
    """Garbage and oversized frames of the fault board are text."""
    return frame if isinstance(frame, str) else frame.decode()


DIALECT = Dialect(
    question="PING",
    is_answer=lambda message: message.get("status") == "UP",
    native=native,
    subscribe=lambda name: request([name]),
    unsubscribe=lambda follower: request(["KRW-NOSUCH"]),
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message["timestamp"],
    rest=("/v1/orderbook", {"markets": "USDT-BTC"}),
    depth=30,
    text=text,
    refusal="",
    shows_gaps=False,
    adds=False,
    acknowledges=False,
)
