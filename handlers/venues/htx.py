"""HTX spot: ``market.{symbol}.mbp.150`` on /feed, 150 levels every 100 ms, linked by ``prevSeqNum``.

The snapshot is asked for on the same connection, as another may be served by another node. Every frame of
the server is one gzip member. Quantities may have more decimals than any fixed-point number holds.
"""

from __future__ import annotations

from collections.abc import Iterable
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
    Sync,
    Venue,
    Verified,
)


def instruments(body: Any) -> Iterable[Instrument]:
    for row in body["data"]:
        if row["state"] == "online" and row.get("api-trading", "enabled") == "enabled":
            yield Instrument(
                native=row["symbol"],
                base=row["base-currency"].upper(),
                quote=row["quote-currency"].upper(),
                price_decimals=int(row["price-precision"]),
                quantity_decimals=int(row["amount-precision"]),
            )


def topic(symbol: str) -> str:
    return f"market.{symbol}.mbp.150"


def request(verb: str, symbol: str, number: object) -> str:
    return frame({verb: topic(symbol), "id": str(number)})


def answer(message: Any) -> Answer:
    """Pings come every 5 s and are cut after two unanswered; requests are answered by their id."""
    if "ping" in message:
        return Answer("reply", text=frame({"pong": message["ping"]}))
    number = str(message.get("id") or "")
    if message["status"] != "ok":
        return Answer("refused", request=number, reason=str(message.get("err-msg", "")))
    return Answer("taken" if "subbed" in message else "unsubscribed", request=number)


VENUE = Venue(
    id="htx",
    number=12,
    name="HTX",
    quote="USDT",
    websocket_url="wss://api.huobi.pro/feed",
    rest_url="https://api.huobi.pro",
    symbols_path="/v1/common/symbols",
    instruments=instruments,
    topic=topic,
    subscribe=lambda symbols, number: request("sub", symbols[0], number),
    unsubscribe=lambda symbols, number: request("unsub", symbols[0], number),
    snapshot_request=lambda symbol, number: request("req", symbol, f"snapshot-{number}"),
    answer=answer,
    messages=(
        Message(
            "delta",
            when={"tick.prevSeqNum": None},
            symbol="ch",
            last="tick.seqNum",
            previous="tick.prevSeqNum",
            time="ts",
            levels=(Levels("tick.bids", "bids"), Levels("tick.asks", "asks")),
        ),
        Message("control", when={"ping": None}),
        Message("control", when={"subbed": None}),
        Message("control", when={"unsubbed": None}),
        Message("control", when={"status": "error"}),
        Message(
            "snapshot",
            when={"status": "ok"},
            symbol="rep",
            last="data.seqNum",
            time="ts",
            levels=(Levels("data.bids", "bids"), Levels("data.asks", "asks")),
        ),
    ),
    sync=Sync.REQUESTED_SNAPSHOT,
    continuity=Continuity.LINK,
    frames="gzip",
    heartbeat=Heartbeat(silence_s=20.0),
    limits=Limits(
        subscriptions_per_connection=100,
        subscriptions_per_request=1,
        requests=Rate(20, 1.0),
        snapshot_requests=Rate(1, 0.12),  # one in 100 ms
        connects=Rate(30, 60.0),
        rest=Rate(10, 1.0),
    ),
    depth=150,
    levels_expected=150,
    levels_max=384,
    quiet_floor_s=120.0,
    cadence_ms=100,
    verified=Verified(
        "2026-11", "documentation d3b5b362 and newer copies; tardis-node c1d73fb; frames of 2020 and 2021"
    ),
)
