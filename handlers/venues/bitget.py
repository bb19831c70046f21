"""Bitget spot, unified account API v3: topic ``books``, chained by ``pseq``.

The classic v2 socket sends the same message under other names, which is read as well. The checksum left
the pushes in May 2026; the recipe stays for recordings and in case it comes back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from handlers.dialect import frame, settled, words
from handlers.facts import (
    Answer,
    Checksum,
    Continuity,
    Heartbeat,
    Instrument,
    Levels,
    Limits,
    Message,
    Rate,
    Sync,
    Venue,
    Verified,
)


def instruments(body: Any) -> Iterable[Instrument]:
    """What is online. Names that are not ASCII exist and are left out."""
    for row in body["data"]:
        if row["status"] == "online" and row["symbol"].isascii():
            yield Instrument(
                native=row["symbol"],
                base=row["baseCoin"],
                quote=row["quoteCoin"],
                price_decimals=int(row["pricePrecision"]),
                quantity_decimals=int(row["quantityPrecision"]),
            )


def request(operation: str, symbols: Sequence[str]) -> str:
    arguments = [{"instType": "spot", "topic": "books", "symbol": symbol} for symbol in symbols]
    return frame({"op": operation, "args": arguments})


def answer(message: Any) -> Answer:
    """One acknowledgement an argument; a v3 error names its symbol in its text only."""
    event, argument = message["event"], message.get("arg", {})
    symbol = argument.get("symbol") or argument.get("instId")
    if event == "error":
        named = re.search(r'"symbol":"([^"]+)"', str(message.get("msg", "")))
        symbol = symbol or (named[1] if named else None)
        return Answer("refused", (symbol,) if symbol else (), reason=words(message, "code", "msg"))
    return settled(event, (symbol,) if symbol else ())


def book(kind: Any, action: str, channel: str, symbol: str, bids: str, asks: str) -> Message:
    return Message(
        kind,
        when={"action": action, f"arg.{channel}": "books"},
        symbol=f"arg.{symbol}",
        last="data[].seq",
        previous="data[].pseq",
        time="data[].ts",
        checksum="data[].checksum",
        levels=(Levels(f"data[].{bids}", "bids"), Levels(f"data[].{asks}", "asks")),
    )


V3 = ("topic", "symbol", "b", "a")
V2 = ("channel", "instId", "bids", "asks")

VENUE = Venue(
    id="bitget",
    number=10,
    name="Bitget",
    quote="USDT",
    websocket_url="wss://ws.bitget.com/v3/ws/public",
    rest_url="https://api.bitget.com",
    symbols_path="/api/v2/spot/public/symbols",
    instruments=instruments,
    subscribe=lambda symbols, _: request("subscribe", symbols),
    unsubscribe=lambda symbols, _: request("unsubscribe", symbols),
    answer=answer,
    messages=(
        book("delta", "update", *V3),
        book("snapshot", "snapshot", *V3),
        book("delta", "update", *V2),
        book("snapshot", "snapshot", *V2),
        Message("control", when={"event": None}),
    ),
    sync=Sync.FEED_SNAPSHOT,
    continuity=Continuity.LINK,
    straddle=True,
    checksum=Checksum(25, "interleaved, bid first", "received", separator=":", signed=True),
    checksum_state="not sent",
    heartbeat=Heartbeat(every_s=25.0, text="ping", silence_s=60.0, text_reply="pong"),
    limits=Limits(
        subscriptions_per_connection=40,  # the venue advises fewer than 50
        subscriptions_per_request=10,  # 25 in one frame closed the socket
        requests=Rate(5, 1.0),  # 10
        connects=Rate(200, 300.0),  # 300
        rest=Rate(20, 1.0),
        operations=Rate(240, 3600.0),
        connections=100,
        lifetime_s=24 * 3600,
    ),
    snapshot_levels=1000,  # `maxdepth`; what becomes of levels pushed out of it is not documented
    levels_expected=500,
    levels_max=2048,
    quiet_floor_s=120.0,
    cadence_ms=50,
    verified=Verified(
        "2026-11", "UTA documentation; tardis-node of 2026-04; recordings of 2022 and 2025 (638 checksums)"
    ),
)
