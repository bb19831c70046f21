"""Bitfinex: book P0, 250 levels, with SEQ_ALL."""

from __future__ import annotations

from typing import Any

from dialects import Dialect, Json

CODES = {"USDT": "UST"}


def native(symbol: str) -> str:
    base, quote = (CODES.get(each, each) for each in symbol.split("-"))
    return f"t{base}{quote}" if len(base + quote) == 6 else f"t{base}:{quote}"


def is_book(message: Any) -> bool:
    return isinstance(message, list) and message[1] not in ("hb", "cs")


def apply(book: Any, message: Any) -> None:
    """One count for all channels of the connection; a snapshot is an array of rows, an update one row."""
    if isinstance(message, dict):
        if message.get("event") == "subscribed" and message["symbol"] == book.name:
            book.channel = message["chanId"]
        return
    expected = 1 if book.last is None else book.last + 1
    assert message[2] == expected, f"gap: {message[2]} for {expected}"
    book.last = message[2]
    if not is_book(message) or message[0] != getattr(book, "channel", None):
        return
    rows = message[1]
    if not rows or isinstance(rows[0], list):
        book.clear()
    else:
        rows = [rows]
    for price, count, amount in rows:
        side = book.asks if str(amount).startswith("-") else book.bids
        book.put(side, str(price), str(amount).lstrip("-") if count else "0")
    book.applied += 1


def unsubscribe(follower: Any) -> Json:
    """By the number that the channel has on this connection."""
    return {"event": "unsubscribe", "chanId": follower.book.channel}


DIALECT = Dialect(
    question='{"event":"ping","cid":987654}',
    is_answer=lambda message: isinstance(message, dict) and message.get("cid") == 987654,
    native=native,
    before=({"event": "conf", "flags": 65536},),
    subscribe=lambda name: {
        "event": "subscribe",
        "channel": "book",
        "symbol": name,
        "prec": "P0",
        "freq": "F0",
        "len": "250",
    },
    unsubscribe=unsubscribe,
    apply=apply,
    is_book=is_book,
    order_of=lambda message: message[2],
    rest=("/v2/conf/pub:info:pair", {}),
    depth=250,
    one_frame_per_update=False,
    one_count_per_connection=True,
    has_checksum=True,
)
