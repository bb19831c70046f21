"""MEXC spot v3: ``aggre.depth`` every 100 ms in protobuf frames, joined to a REST snapshot of 5,000 levels.

Control messages are JSON in text frames. Field numbers are those of the venue's published .proto files; what
they do not name is skipped. Some wrappers have no body: signs of life.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from handlers.dialect import frame
from handlers.facts import (
    Answer,
    Continuity,
    Heartbeat,
    Instrument,
    Levels,
    Limits,
    Message,
    Rate,
    RestSnapshot,
    Sync,
    Venue,
    Verified,
)

STREAM = "spot@public.aggre.depth.v3.api.pb@100ms@"
BODY = "publicAggreDepths"
FIELDS = {
    "channel": 1,
    "symbol": 3,
    "sendTime": 6,
    BODY: 313,
    f"{BODY}.asks": 1,
    f"{BODY}.asks.price": 1,
    f"{BODY}.asks.quantity": 2,
    f"{BODY}.bids": 2,
    f"{BODY}.bids.price": 1,
    f"{BODY}.bids.quantity": 2,
    f"{BODY}.fromVersion": 4,
    f"{BODY}.toVersion": 5,
}


def instruments(body: Any) -> Iterable[Instrument]:
    for row in body["symbols"]:
        if str(row["status"]) in ("1", "ENABLED") and row["isSpotTradingAllowed"]:
            yield Instrument(
                native=row["symbol"],
                base=row["baseAsset"],
                quote=row["quoteAsset"],
                price_decimals=int(row["quoteAssetPrecision"]),
                quantity_decimals=int(row["baseAssetPrecision"]),
            )


def request(method: str, symbols: Sequence[str], number: int) -> str:
    streams = [STREAM + symbol for symbol in symbols]
    return frame({"method": method, "params": streams, "id": number})


def answer(message: Any) -> Answer:
    """The text tells: streams that were taken, or why not; the code may be 0 in either case."""
    words = str(message.get("msg", ""))
    symbols = tuple(re.findall(re.escape(STREAM) + r"(\w+)", words))
    if words == "PONG":
        return Answer("other")
    if words.startswith("Not Subscribed") or message.get("code"):
        return Answer("refused", symbols, reason=words)
    return Answer("taken", symbols)


VENUE = Venue(
    id="mexc",
    number=11,
    name="MEXC",
    quote="USDT",
    websocket_url="wss://wbs-api.mexc.com/ws",
    rest_url="https://api.mexc.com",
    symbols_path="/api/v3/exchangeInfo",
    instruments=instruments,
    subscribe=lambda symbols, number: request("SUBSCRIPTION", symbols, number),
    unsubscribe=lambda symbols, number: request("UNSUBSCRIPTION", symbols, number),
    answer=answer,
    messages=(
        Message(
            "delta",
            when={f"{BODY}.toVersion": None},
            symbol="symbol",
            first=f"{BODY}.fromVersion",
            last=f"{BODY}.toVersion",
            time="sendTime",
            levels=(
                Levels(f"{BODY}.bids", "bids", "price", "quantity"),
                Levels(f"{BODY}.asks", "asks", "price", "quantity"),
            ),
        ),
        Message(
            "rest_snapshot",
            last="lastUpdateId",
            time="timestamp",
            levels=(Levels("bids", "bids"), Levels("asks", "asks")),
        ),
        Message("heartbeat", when={"channel": None}),
        Message("heartbeat", when={"msg": "PONG"}),
        Message("control", when={"msg": None}),
    ),
    frames="protobuf",
    protobuf=FIELDS,
    sync=Sync.REST_SNAPSHOT,
    continuity=Continuity.RANGE,
    heartbeat=Heartbeat(every_s=20.0, text='{"method":"PING"}', silence_s=60.0),
    limits=Limits(
        subscriptions_per_connection=30,
        subscriptions_per_request=15,
        requests=Rate(20, 1.0),  # 100 are allowed
        connects=Rate(10, 10.0),
        rest=Rate(4, 1.0),  # the lowest of three figures
        lifetime_s=24 * 3600.0,
    ),
    snapshots=(RestSnapshot(lambda symbol: f"/api/v3/depth?symbol={symbol}&limit=5000", 5000),),
    levels_expected=5000,
    levels_max=16_384,
    quiet_floor_s=60.0,
    cadence_ms=100,
    verified=Verified("2026-11", "websocket-proto 7b8ac7a; decoded frames of 2026-06; none captured raw"),
)
