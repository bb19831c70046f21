"""Upbit Korea: channel ``orderbook``, each message the whole visible book of 30 levels a side.

A bid and an ask stand in one element; numbers are JSON numbers, also with an exponent. No ids: messages are
kept in order by their time, and a lost one heals with the next. A request replaces all that stood.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from handlers.dialect import frame, words
from handlers.facts import (
    WEBSOCKET_PING,
    Answer,
    Continuity,
    Heartbeat,
    Instrument,
    Limits,
    Message,
    Pairs,
    Rate,
    Sync,
    Time,
    Venue,
    Verified,
)

PRICE_DECIMALS = {"KRW": 0, "BTC": 8, "USDT": 8}  # the tick goes with the price and is in no list


def instruments(body: Any) -> Iterable[Instrument]:
    """All that are listed trade. The quote stands first in a name."""
    for row in body:
        quote, base = row["market"].split("-")
        yield Instrument(row["market"], base, quote, PRICE_DECIMALS.get(quote, 8), 8)


def request(symbols: Sequence[str], number: int) -> str:
    parts = [{"ticket": f"bookwire-{number}"}, {"type": "orderbook", "codes": list(symbols)}]
    return frame([*parts, {"format": "DEFAULT"}])


def answer(message: Any) -> Answer:
    """Only errors are told; the venue then closes."""
    error = message.get("error")
    if error:
        return Answer("refused", reason=words(error, "name", "message"))
    return Answer("other")


UNITS = Pairs("orderbook_units", "bid_price", "bid_size", "ask_price", "ask_size")

VENUE = Venue(
    id="upbit",
    number=9,
    name="Upbit",
    quote="USDT",
    websocket_url="wss://api.upbit.com/websocket/v1",
    rest_url="https://api.upbit.com",
    symbols_path="/v1/market/all?is_details=true",
    instruments=instruments,
    subscribe=request,
    unsubscribe=None,
    answer=answer,
    messages=(
        Message(
            "snapshot",
            when={"type": "orderbook"},
            symbol="code",
            last="timestamp",
            time="timestamp",
            levels=(UNITS,),
        ),
        Message("heartbeat", when={"status": "UP"}),
        Message("control", when={"error": None}),
    ),
    sync=Sync.SNAPSHOTS_ONLY,
    continuity=Continuity.RISES,
    time_format=Time.BY_SIZE,  # ms, but us has been seen
    heartbeat=Heartbeat(every_s=25.0, text=WEBSOCKET_PING, silence_s=55.0),
    acknowledges=False,
    whole_set=True,
    resubscribe="again",
    limits=Limits(
        subscriptions_per_connection=200,  # no bound is known
        subscriptions_per_request=200,
        requests=Rate(4, 1.0),  # 5 a second, 100 a minute
        connects=Rate(4, 1.0),
        rest=Rate(8, 1.0),
    ),
    depth=30,
    levels_expected=30,
    levels_max=64,
    quiet_floor_s=300.0,  # a quiet pair is silent for minutes
    cadence_ms=100,
    verified=Verified("2026-11", "documentation of 2026-09; probe of 2026-09-22; recording of 2021"),
)
