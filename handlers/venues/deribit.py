"""Deribit: ``book.{instrument}.100ms`` of spot and perpetuals, whole books linked by ``prev_change_id``.

Perpetuals have names of their own (``BTC-PERPETUAL`` inverse, its quantities in USD; ``BTC-USDC-PERPETUAL``
linear) and never meet spot. A bad channel is left out of the answer without a word.
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
    Kind,
    Levels,
    Limits,
    Message,
    Rate,
    Sync,
    Venue,
    Verified,
    decimals,
)


def instruments(body: Any) -> Iterable[Instrument]:
    """Open spot pairs and perpetuals of a list that holds every option as well."""
    for row in body["result"]:
        perpetual = row.get("settlement_period") == "perpetual"
        if (
            not row["is_active"]
            or row.get("state", "open") != "open"
            or not (perpetual or row["kind"] == "spot")
        ):
            continue
        yield Instrument(
            native=row["instrument_name"],
            base=row["base_currency"],
            quote=row.get("counter_currency") or row["quote_currency"],
            price_decimals=decimals(row["tick_size"]),
            quantity_decimals=decimals(row.get("min_trade_amount") or row["contract_size"]),
            kind=Kind.PERPETUAL if perpetual else Kind.SPOT,
            inverse=row.get("instrument_type") == "reversed",
        )


def request(method: str, symbols: Sequence[str], number: int) -> str:
    params = {"channels": [f"book.{symbol}.100ms" for symbol in symbols]}
    return frame({"jsonrpc": "2.0", "id": number, "method": f"public/{method}", "params": params})


def answer(message: Any) -> Answer:
    """``result`` lists the channels that were taken."""
    if message.get("method") == "heartbeat":
        return Answer("reply", text='{"jsonrpc":"2.0","id":0,"method":"public/test","params":{}}')
    number = echoed(message)
    if "error" in message:
        return Answer("refused", request=number, reason=words(message["error"], "code", "message"))
    if not isinstance(message["result"], list):
        return Answer("other")
    symbols = tuple(channel.split(".")[1] for channel in message["result"])
    return Answer("listed", symbols, number)


def book(kind: Any, wire: str) -> Message:
    return Message(
        kind,
        when={"params.data.type": wire},
        symbol="params.data.instrument_name",
        last="params.data.change_id",
        previous="params.data.prev_change_id" if kind == "delta" else None,
        time="params.data.timestamp",
        levels=(Levels("params.data.bids", "bids", 1, 2), Levels("params.data.asks", "asks", 1, 2)),
    )


VENUE = Venue(
    id="deribit",
    number=20,
    name="Deribit",
    quote="USD",
    websocket_url="wss://www.deribit.com/ws/api/v2",
    rest_url="https://www.deribit.com",
    symbols_path="/api/v2/public/get_instruments",
    instruments=instruments,
    on_connect=('{"jsonrpc":"2.0","id":0,"method":"public/set_heartbeat","params":{"interval":10}}',),
    subscribe=lambda symbols, number: request("subscribe", symbols, number),
    unsubscribe=lambda symbols, number: request("unsubscribe", symbols, number),
    answer=answer,
    messages=(
        book("delta", "change"),
        book("snapshot", "snapshot"),
        Message("heartbeat", when={"params.type": "heartbeat"}),
        Message("control", when={"params.type": "test_request"}),
        Message("control", when={"id": None}),
        Message("control", when={"error.code": None}),
    ),
    sync=Sync.FEED_SNAPSHOT,
    continuity=Continuity.LINK,
    heartbeat=Heartbeat(silence_s=35.0),
    limits=Limits(
        subscriptions_per_connection=100,
        subscriptions_per_request=50,
        requests=Rate(3, 1.0),  # credits: a burst of 10, then 3.3 a second; running out ends the session
        connects=Rate(10, 60.0),
        rest=Rate(20, 1.0),
        connections=32,
        message_bytes=16 << 20,
    ),
    levels_expected=1000,
    levels_max=16_384,
    quiet_floor_s=120.0,  # a still book was silent for 54 s
    cadence_ms=100,
    verified=Verified(
        "2026-11", "documentation; nautilus_trader a95c804; recordings of 2021 and frames of 2026-09"
    ),
)
