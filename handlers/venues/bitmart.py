"""BitMart spot: ``spot/depth/increase100``, 100 levels numbered by ``version``, raw DEFLATE in binary frames.

The first snapshot comes by itself; after a gap one is asked for on the connection. Acknowledgements and
``pong`` are text. Levels outside the first snapshot that never change are not sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from handlers.dialect import frame, settled, words
from handlers.facts import (
    Answer,
    Continuity,
    Heartbeat,
    Instrument,
    Levels,
    Lifecycle,
    Limits,
    Message,
    Rate,
    Sync,
    Venue,
    Verified,
    decimals,
)

CHANNEL = "spot/depth/increase100"
STANDS_ALREADY = "90008"


def instruments(body: Any) -> Iterable[Instrument]:
    """``quote_increment`` would be the step by its description; the smallest quantity is safer."""
    for row in body["data"]["symbols"]:
        if row["trade_status"] == "trading":
            yield Instrument(
                native=row["symbol"],
                base=row["base_currency"],
                quote=row["quote_currency"],
                price_decimals=int(row["price_max_precision"]),
                quantity_decimals=decimals(row["base_min_size"]),
            )


def request(operation: str, symbols: Sequence[str]) -> str:
    return frame({"op": operation, "args": [f"{CHANNEL}:{symbol}" for symbol in symbols]})


def answer(message: Any) -> Answer:
    """One acknowledgement a topic; errors name none."""
    event = message["event"]
    symbols = tuple(message["topic"].split(":")[1:] if "topic" in message else ())
    if "errorCode" in message and str(message["errorCode"]) != STANDS_ALREADY:
        reason = words(message, "errorCode", "errorMessage")
        return Answer("refused" if event == "subscribe" else "other", symbols, reason=reason)
    return settled(event, symbols)


def book(kind: Any, wire: str) -> Message:
    return Message(
        kind,
        when={"table": CHANNEL, "data[].type": wire},
        symbol="data[].symbol",
        last="data[].version",
        time="data[].ms_t",
        levels=(Levels("data[].bids", "bids"), Levels("data[].asks", "asks")),
    )


VENUE = Venue(
    id="bitmart",
    number=17,
    name="BitMart",
    quote="USDT",
    websocket_url="wss://ws-manager-compress.bitmart.com/api?protocol=1.1",
    rest_url="https://api-cloud.bitmart.com",
    symbols_path="/spot/v1/symbols/details",
    instruments=instruments,
    subscribe=lambda symbols, _: request("subscribe", symbols),
    unsubscribe=lambda symbols, _: request("unsubscribe", symbols),
    snapshot_request=lambda symbol, _: request("request", [symbol]),
    answer=answer,
    messages=(
        book("delta", "update"),
        book("snapshot", "snapshot"),
        Message("control", when={"event": None}),
    ),
    sync=Sync.REQUESTED_SNAPSHOT,
    continuity=Continuity.NEXT,
    frames="deflate",
    heartbeat=Heartbeat(every_s=15.0, text="ping", silence_s=35.0, text_reply="pong"),
    limits=Limits(
        subscriptions_per_connection=100,  # 115
        subscriptions_per_request=20,
        requests=Rate(80, 10.0),  # 100, pings included
        connects=Rate(25, 60.0),  # 30, and repeat offenders are blocked
        rest=Rate(15, 2.0),
        connections=20,
        request_chars=4096 * 5,
        argument_chars=len(CHANNEL) + 4,
    ),
    depth=100,
    levels_expected=100,
    levels_max=256,
    quiet_floor_s=120.0,
    cadence_ms=100,
    lifecycle=Lifecycle(
        "doubtful", "2026-08", "ccxt 4.5.71 dropped the venue; its spot feed was not seen since"
    ),
    verified=Verified(
        "2026-11", "vendor's documentation and SDK c6baee3; ccxt 4.5.70; futures frames of 2026-09"
    ),
)
