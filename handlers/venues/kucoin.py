"""KuCoin spot, the newer feed: channel ``obu`` at depth ``increment@10ms``, the best 500 levels.

It needs no token and brings its snapshot itself; the classic level2 feed has only 100 levels over REST
without a key. Its binary frames hold plain JSON. A level that leaves the window is deleted by the venue.
"""

from __future__ import annotations

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
    Sync,
    Time,
    Venue,
    Verified,
    decimals,
)


def instruments(body: Any) -> Iterable[Instrument]:
    for row in body["data"]:
        if row["enableTrading"]:
            yield Instrument(
                native=row["symbol"],
                base=row["baseCurrency"],
                quote=row["quoteCurrency"],
                price_decimals=decimals(row["priceIncrement"]),
                quantity_decimals=decimals(row["baseIncrement"]),
            )


def request(action: str, symbols: Sequence[str], number: int) -> str:
    """One symbol a frame: an array is refused."""
    told = {"id": str(number), "action": action, "channel": "obu", "tradeType": "SPOT", "symbol": symbols[0]}
    return frame({**told, "depth": "increment@10ms", "rpiFilter": 0})


def answer(message: Any) -> Answer:
    """Requests are answered by their id; an unknown symbol is acknowledged and stays silent."""
    if message.get("message") == "welcome":
        return Answer("welcome", every_s=message["pingInterval"] / 1000)
    number = str(message["id"])
    if message["result"] in (True, "true"):
        return Answer("taken", request=number)
    return Answer("refused", request=number, reason=str(message.get("reason", "")))


def book(kind: Any) -> Message:
    return Message(
        kind,
        when={"t": kind, "d.s": None},
        symbol="d.s",
        first="d.O",
        last="d.C",
        time="d.M",
        levels=(Levels("d.b", "bids"), Levels("d.a", "asks")),
    )


VENUE = Venue(
    id="kucoin",
    number=8,
    name="KuCoin",
    quote="USDT",
    websocket_url="wss://x-push-spot.kucoin.com",
    rest_url="https://api.kucoin.com",
    symbols_path="/api/v2/symbols",
    instruments=instruments,
    subscribe=lambda symbols, number: request("SUBSCRIBE", symbols, number),
    unsubscribe=lambda symbols, number: request("UNSUBSCRIBE", symbols, number),
    answer=answer,
    messages=(
        book("delta"),
        book("snapshot"),
        Message("heartbeat", when={"type": "pong"}),
        Message("control", when={"message": "welcome"}),
        Message("control", when={"result": None}),
    ),
    sync=Sync.FEED_SNAPSHOT,
    continuity=Continuity.COVERS,  # documented; what was seen was always exactly the next
    time_format=Time.NS,
    welcome=True,
    heartbeat=Heartbeat(
        every_s=18.0, text=lambda number: f'{{"id":"p{number}","type":"ping"}}', silence_s=45.0
    ),
    limits=Limits(
        subscriptions_per_connection=200,  # 600 are allowed
        subscriptions_per_request=1,
        requests=Rate(200, 10.0),  # 300
        connects=Rate(250, 300.0),
        rest=Rate(2000, 30.0),
        connections=800,
        symbols_weight=4,
    ),
    depth=500,
    levels_expected=500,
    levels_max=640,  # it overshoots by a few levels at times
    quiet_floor_s=60.0,
    cadence_ms=10,
    verified=Verified(
        "2026-11", "UTA documentation and announcements of 2026-06; ccxt 4.5.90; frames of 2026-09"
    ),
)
