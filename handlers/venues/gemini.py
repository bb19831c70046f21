"""Gemini: ``<symbol>@depth@100ms`` of the current WebSocket API, whole books with update ids.

An update begins at the id with which the one before ended. The first message of a symbol is its snapshot:
both of its ids are the same. Acknowledgements come after the data, and one bad stream refuses its request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from handlers.dialect import echoed, frame, words
from handlers.facts import (
    Answer,
    Continuity,
    Heartbeat,
    Instrument,
    Levels,
    Limits,
    Message,
    Rate,
    Same,
    Sync,
    Time,
    Venue,
    Verified,
    decimals,
)

STREAM = "@depth@100ms"
WITH_BOOKS = ("open", "post_only", "limit_only")


def instruments(body: Any) -> Iterable[Instrument]:
    """Spot pairs. ``quote_increment`` is the price tick, ``tick_size`` the quantity step."""
    for row in body:
        if row["status"] in WITH_BOOKS and row.get("product_type", "spot") == "spot":
            yield Instrument(
                native=row["symbol"].lower(),
                base=row["base_currency"],
                quote=row["quote_currency"],
                price_decimals=decimals(row["quote_increment"]),
                quantity_decimals=decimals(row["tick_size"]),
            )


def request(method: str, symbols: Sequence[str], number: int) -> str:
    streams = [symbol + STREAM for symbol in symbols]
    return frame({"id": number, "method": method, "params": streams})


def answer(message: Any) -> Answer:
    """``status`` 200 a request, or an error that names the stream in its text."""
    number = echoed(message)
    if "error" in message:
        return Answer("refused", request=number, reason=words(message["error"], "code", "msg"))
    return Answer("taken", request=number)


def book(kind: Any, **when: Any) -> Message:
    return Message(
        kind,
        when={"e": "depthUpdate", **when},
        symbol="s",
        first="U",
        last="u",
        time="E",
        levels=(Levels("b", "bids"), Levels("a", "asks")),
    )


VENUE = Venue(
    id="gemini",
    number=5,
    name="Gemini",
    quote="USD",
    websocket_url="wss://ws.gemini.com/?snapshot=-1",
    rest_url="https://api.gemini.com",
    symbols_path="/v1/symbols/details/all",
    instruments=instruments,
    subscribe=lambda symbols, number: request("subscribe", symbols, number),
    unsubscribe=lambda symbols, number: request("unsubscribe", symbols, number),
    answer=answer,
    messages=(
        book("snapshot", U=Same("u")),
        book("delta"),
        Message("control", when={"id": None}),
        Message("control", when={"error": None}),
    ),
    sync=Sync.FEED_SNAPSHOT,
    continuity=Continuity.OVERLAP,
    time_format=Time.NS,
    heartbeat=Heartbeat(
        every_s=15.0, text=lambda number: f'{{"id":{number},"method":"ping"}}', silence_s=45.0
    ),
    limits=Limits(
        subscriptions_per_connection=100,
        subscriptions_per_request=20,  # one bad name costs all of a request
        requests=Rate(5, 1.0),  # weight 7,000 in 10 s
        connects=Rate(60, 60.0),  # 300 in 5 minutes
        rest=Rate(1, 1.0),
        message_bytes=16 << 20,
    ),
    levels_expected=500,
    levels_max=16_384,
    quiet_floor_s=60.0,
    cadence_ms=100,
    verified=Verified("2026-11", "documentation d98fc9ed; probe of 2026-09-15 (5,489 updates, no gap)"),
)
