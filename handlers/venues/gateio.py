"""Gate spot: channel ``spot.obu``, 400 levels every 100 ms, snapshot on the same socket.

``full`` marks a snapshot, which may come at any time. An unknown pair is acknowledged and then silent.
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
    Limits,
    Message,
    Rate,
    Sync,
    Venue,
    Verified,
    unix_s,
)

LEVELS = 400


def instruments(body: Any) -> Iterable[Instrument]:
    for row in body:
        if row["trade_status"] == "tradable":
            yield Instrument(row["id"], row["base"], row["quote"], row["precision"], row["amount_precision"])


def topic(symbol: str) -> str:
    return f"ob.{symbol}.{LEVELS}"


def request(event: str, symbols: Sequence[str], number: int) -> str:
    """``time`` must be within a minute of the venue's."""
    told = {"time": unix_s(), "id": number, "channel": "spot.obu", "event": event}
    return frame({**told, "payload": [topic(symbol) for symbol in symbols]})


def ping(_: int) -> str:
    return frame({"time": unix_s(), "channel": "spot.ping"})


def answer(message: Any) -> Answer:
    """One answer a request; its payload names the streams."""
    if message.get("channel") == "spot.pong":
        return Answer("other")
    symbols = tuple(name.split(".")[1] for name in message.get("payload") or () if name.count(".") == 2)
    number = echoed(message)
    error = message.get("error") or {}
    if error or (message.get("result") or {}).get("status") == "fail":
        return Answer("refused", symbols, number, words(error, "code", "message"))
    return settled(message.get("event"), symbols, number)


def book(kind: Any, **when: str) -> Message:
    return Message(
        kind,
        when={"channel": "spot.obu", "event": "update", **when},
        symbol="result.s",
        first="result.U",
        last="result.u",
        time="result.t",
        levels=(Levels("result.b", "bids"), Levels("result.a", "asks")),
    )


VENUE = Venue(
    id="gateio",
    number=7,
    name="Gate.io",
    quote="USDT",
    websocket_url="wss://api.gateio.ws/ws/v4/",
    rest_url="https://api.gateio.ws",
    symbols_path="/api/v4/spot/currency_pairs",
    instruments=instruments,
    subscribe=lambda symbols, number: request("subscribe", symbols, number),
    unsubscribe=lambda symbols, number: request("unsubscribe", symbols, number),
    answer=answer,
    topic=topic,
    messages=(
        book("snapshot", **{"result.full": "true"}),
        book("delta"),
        Message("heartbeat", when={"channel": "spot.pong"}),
        Message("control", when={"event": None}),
        Message("control", when={"error": None}),
    ),
    sync=Sync.FEED_SNAPSHOT,
    continuity=Continuity.RANGE,
    heartbeat=Heartbeat(every_s=12.0, text=ping, silence_s=35.0),
    limits=Limits(
        subscriptions_per_connection=100,  # slow readers of many are cut
        subscriptions_per_request=20,
        requests=Rate(10, 1.0),
        connects=Rate(30, 60.0),  # 100 connections of an address are advised at most
        rest=Rate(200, 10.0),
    ),
    depth=LEVELS,
    levels_expected=LEVELS,
    levels_max=512,
    quiet_floor_s=120.0,
    cadence_ms=100,
    verified=Verified("2026-11", "documentation of 2026; frames of 2025-08 and 2026-09 (futures twin)"),
)
