"""BingX spot: ``<symbol>@incrDepth``, 1,000 levels every 500 ms, each frame a gzip member.

Ids count up by one as documented. On the swap market they were seen to jump without loss: if spot does so
too, JUMPS is the rule that takes and counts it, at the price of not seeing a loss. Sides are arrays of pairs
or objects of price and quantity; sources differ, so either is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from handlers.dialect import frame, words
from handlers.facts import (
    Answer,
    Continuity,
    Form,
    Heartbeat,
    Instrument,
    Levels,
    Limits,
    Message,
    Rate,
    Sync,
    Venue,
    Verified,
    decimals,
)

CHANNEL = "@incrDepth"
FORMS = (Form.ROWS, Form.OBJECT)


def instruments(body: Any) -> Iterable[Instrument]:
    for row in body["data"]["symbols"]:
        if row["status"] != 1 or not row["apiStateBuy"] or not row["apiStateSell"]:
            continue
        base, quote = row["symbol"].split("-")
        yield Instrument(row["symbol"], base, quote, decimals(row["tickSize"]), decimals(row["stepSize"]))


def request(kind: str, symbols: Sequence[str], number: int) -> str:
    return frame({"id": str(number), "reqType": kind, "dataType": symbols[0] + CHANNEL})


def answer(message: Any) -> Answer:
    if "ping" in message:
        return Answer("reply", text=frame({"pong": message["ping"], "time": message["time"]}))
    number = str(message["id"]) if message.get("id") else None
    if message.get("code"):
        return Answer("refused", request=number, reason=words(message, "code", "msg"))
    return Answer("taken", request=number)


def book(kind: Any, action: str) -> Message:
    return Message(
        kind,
        when={"data.action": action},
        symbol="dataType",
        last="data.lastUpdateId",
        time="timestamp",
        levels=(Levels("data.bids", "bids", forms=FORMS), Levels("data.asks", "asks", forms=FORMS)),
    )


VENUE = Venue(
    id="bingx",
    number=14,
    name="BingX",
    quote="USDT",
    websocket_url="wss://open-api-ws.bingx.com/market",
    rest_url="https://open-api.bingx.com",
    symbols_path="/openApi/spot/v1/common/symbols",
    instruments=instruments,
    subscribe=lambda symbols, number: request("sub", symbols, number),
    unsubscribe=lambda symbols, number: request("unsub", symbols, number),
    answer=answer,
    topic=lambda symbol: symbol + CHANNEL,
    frames="gzip",
    messages=(
        book("delta", "update"),
        book("snapshot", "all"),
        Message("control", when={"ping": None}),
        Message("control", when={"id": None}),
        Message("control", when={"code": None}),
    ),
    sync=Sync.FEED_SNAPSHOT,
    continuity=Continuity.NEXT,
    heartbeat=Heartbeat(silence_s=15.0),  # the venue pings every 5 s
    limits=Limits(
        subscriptions_per_connection=100,  # 200 topics
        subscriptions_per_request=1,
        requests=Rate(8, 1.0),  # fewer than 10 subscriptions a second
        connects=Rate(10, 10.0),
        rest=Rate(80, 10.0),
        connections=60,
    ),
    depth=1000,
    client_cuts=True,  # whether the venue deletes what leaves its window is unknown
    levels_expected=1000,
    levels_max=1280,
    quiet_floor_s=60.0,
    cadence_ms=500,
    verified=Verified(
        "2026-11", "documentation d84f954 and d40bcc6; BingX.Net 8c28b99; no spot frame recorded"
    ),
)
