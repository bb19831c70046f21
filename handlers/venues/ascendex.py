"""AscendEX spot: channel ``depth``, numbered by ``seqnum``, with a snapshot of 500 levels asked for.

The answer takes one to two seconds. Too many snapshot requests (400 a minute) ban the address for 15
minutes, so they are paced far below.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from handlers.dialect import echoed, frame, settled, words
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


def instruments(body: Any) -> Iterable[Instrument]:
    """Spot rows in normal state; perpetuals stand in the same list, without a slash."""
    for row in body["data"]:
        if row["status"] == "Normal" and "/" in row["symbol"]:
            yield Instrument(
                native=row["symbol"],
                base=row["baseAsset"],
                quote=row["quoteAsset"],
                price_decimals=decimals(row["tickSize"]),
                quantity_decimals=decimals(row["lotSize"]),
            )


def request(operation: str, symbols: Sequence[str], number: int) -> str:
    return frame({"op": operation, "id": str(number), "ch": f"depth:{','.join(symbols)}"})


def snapshot_request(symbol: str, _: int) -> str:
    told = {"op": "req", "action": "depth-snapshot", "args": {"symbol": symbol}}
    return frame(told)


def answer(message: Any) -> Answer:
    """One acknowledgement a symbol or one for all. Some copies of the protocol call ``m`` ``op``."""
    kind = message.get("m") or message["op"]
    if kind == "connected":
        return Answer("welcome")
    if kind == "ping":
        return Answer("reply", text='{"op":"pong"}')
    if kind == "disconnected":
        return Answer("leave", reason=str(message.get("info", "")))
    symbols = tuple(message["ch"].partition(":")[2].split(",") if "ch" in message else ())
    if kind == "error" or message.get("code"):
        return Answer("refused", symbols, echoed(message), words(message, "code", "reason", "info"))
    return settled(kind, symbols, echoed(message))


def book(kind: Any, wire: str) -> Message:
    return Message(
        kind,
        when={"m": wire},
        symbol="symbol",
        last="data.seqnum",
        time="data.ts",
        levels=(Levels("data.bids", "bids"), Levels("data.asks", "asks")),
    )


VENUE = Venue(
    id="ascendex",
    number=19,
    name="AscendEX",
    quote="USDT",
    websocket_url="wss://ascendex.com/0/api/pro/v1/stream",
    rest_url="https://ascendex.com",
    symbols_path="/api/pro/v1/products",
    instruments=instruments,
    subscribe=lambda symbols, number: request("sub", symbols, number),
    unsubscribe=lambda symbols, number: request("unsub", symbols, number),
    snapshot_request=snapshot_request,
    answer=answer,
    messages=(
        book("delta", "depth"),
        book("snapshot", "depth-snapshot"),
        Message("heartbeat", when={"m": "pong"}),
        Message("control", when={"m": None}),
        Message("control", when={"op": None}),
    ),
    sync=Sync.REQUESTED_SNAPSHOT,
    continuity=Continuity.NEXT,
    welcome=True,
    heartbeat=Heartbeat(every_s=20.0, text='{"op":"ping"}', silence_s=60.0),
    limits=Limits(
        subscriptions_per_connection=100,
        subscriptions_per_request=10,
        requests=Rate(10, 1.0),
        connects=Rate(10, 60.0),
        rest=Rate(2, 1.0),
        operations=Rate(100, 60.0),  # 150 subscriptions and unsubscriptions a minute
        snapshot_requests=Rate(100, 60.0),  # 400 of one address
        connections=20,
    ),
    snapshot_levels=500,
    levels_expected=500,
    levels_max=4096,
    quiet_floor_s=120.0,
    lifecycle=Lifecycle(
        "doubtful", "2026-07", "hummingbot 048c4c1 and ccxt 4.5.66 removed it as closed down"
    ),
    verified=Verified(
        "2026-11", "vendor's documentation 6776af2; cryptofeed ce58c2a; recordings of 2021 and 2022"
    ),
)
