"""Mars, an exchange invented for docs/add-an-exchange.md: whole books of ``BTC/USDT``, numbered by ``n``.

``{"do": "follow"}`` is answered by ``{"did": "follow"}`` and a message with ``whole``; those after it count
up by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from handlers.dialect import frame
from handlers.facts import (
    Answer,
    Continuity,
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

SIDES = (Levels("b", "bids"), Levels("a", "asks"))


def instruments(body: Any) -> Iterable[Instrument]:
    for row in body:
        if row["open"]:
            base, quote = row["market"].split("/")
            yield Instrument(row["market"], base, quote, decimals(row["tick"]), decimals(row["step"]))


def request(verb: str, symbols: Sequence[str], number: int) -> str:
    return frame({"do": verb, "markets": list(symbols), "id": number})


def answer(message: Any) -> Answer:
    kind = {"follow": "taken", "leave": "unsubscribed", "error": "refused"}[message["did"]]
    return Answer(kind, request=str(message["id"]), reason=message.get("why", ""))


VENUE = Venue(
    id="mars",
    number=21,
    name="Mars",
    quote="USDT",
    websocket_url="wss://stream.mars.example/books",
    rest_url="https://api.mars.example",
    symbols_path="/markets",
    instruments=instruments,
    subscribe=lambda symbols, number: request("follow", symbols, number),
    unsubscribe=lambda symbols, number: request("leave", symbols, number),
    answer=answer,
    messages=(
        Message("control", when={"did": None}),
        Message("snapshot", when={"whole": "true"}, symbol="m", last="n", time="t", levels=SIDES),
        Message("delta", when={"m": None}, symbol="m", last="n", time="t", levels=SIDES),
    ),
    sync=Sync.FEED_SNAPSHOT,
    continuity=Continuity.NEXT,
    limits=Limits(
        subscriptions_per_connection=100,
        subscriptions_per_request=50,
        requests=Rate(10, 1.0),
        connects=Rate(30, 60.0),
        rest=Rate(60, 60.0),
    ),
    verified=Verified("2026-11", "invented: there is nothing to verify"),
)
