"""LBank spot: channel ``depth`` at 100 levels, a whole book in every message.

Nothing numbers the messages and nothing can be missed: each replaces the book. ``incrdepth`` exists and
skips updates. Nothing is acknowledged but by data. ``TS`` names no zone and is not read.
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
    Time,
    Venue,
    Verified,
)


def instruments(body: Any) -> Iterable[Instrument]:
    """The list has no status: what stands in it trades."""
    for row in body["data"]:
        base, quote = row["symbol"].upper().split("_")
        yield Instrument(row["symbol"], base, quote, int(row["priceAccuracy"]), int(row["quantityAccuracy"]))


def request(action: str, symbol: str) -> str:
    told = {"action": action, "subscribe": "depth", "depth": "100", "pair": symbol}
    return frame(told)


def answer(message: Any) -> Answer:
    if message.get("action") == "ping":
        return Answer("reply", text=frame({"action": "pong", "pong": message["ping"]}))
    if message.get("status") == "error":
        return Answer("refused", reason=str(message.get("message", "")))
    return Answer("other")


VENUE = Venue(
    id="lbank",
    number=16,
    name="LBank",
    quote="USDT",
    websocket_url="wss://www.lbkex.net/ws/V2/",
    rest_url="https://api.lbkex.com",
    symbols_path="/v2/accuracy.do",
    instruments=instruments,
    subscribe=lambda symbols, _: request("subscribe", symbols[0]),
    unsubscribe=lambda symbols, _: request("unsubscribe", symbols[0]),
    answer=answer,
    acknowledges=False,
    messages=(
        Message(
            "snapshot",
            when={"type": "depth"},
            symbol="pair",
            levels=(
                Levels("depth.bids", "bids"),
                Levels("depth.asks", "asks"),
                Levels("bids", "bids"),  # the flat form answers a single request
                Levels("asks", "asks"),
            ),
        ),
        Message("heartbeat", when={"action": "pong"}),
        Message("control", when={"action": "ping"}),
        Message("control", when={"status": "error"}),
    ),
    sync=Sync.SNAPSHOTS_ONLY,
    continuity=Continuity.NONE,
    time_format=Time.NONE,
    heartbeat=Heartbeat(
        every_s=15.0, text=lambda number: f'{{"action":"ping","ping":"bookwire-{number}"}}', silence_s=60.0
    ),
    limits=Limits(
        subscriptions_per_connection=30,  # no limit is published
        subscriptions_per_request=1,
        requests=Rate(2, 1.0),
        connects=Rate(10, 60.0),
        rest=Rate(200, 10.0),
    ),
    depth=100,
    levels_expected=100,
    levels_max=128,
    quiet_floor_s=120.0,
    verified=Verified(
        "2026-11", "vendor's documentation 411055c and connector c480904; ccxt 4.5.90; no recording exists"
    ),
)
