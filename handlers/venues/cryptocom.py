"""Crypto.com Exchange v1: ``book.{instrument}.50`` as snapshot and updates every 10 ms, linked by ``pu``.

50 levels are the deepest that come as changes. ``cs`` has no documented recipe and is left alone. A quiet
book repeats its id about every 5 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from handlers.dialect import frame, settled
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
    decimals,
)


def instruments(body: Any) -> Iterable[Instrument]:
    """Tradable pairs; perpetuals and futures stand in the same list."""
    for row in body["result"]["data"]:
        if row["inst_type"] == "CCY_PAIR" and row["tradable"]:
            yield Instrument(
                native=row["symbol"],
                base=row["base_ccy"],
                quote=row["quote_ccy"],
                price_decimals=decimals(row["price_tick_size"]),
                quantity_decimals=decimals(row["qty_tick_size"]),
            )


def request(method: str, symbols: Sequence[str], number: int, **more: object) -> str:
    params = {"channels": [f"book.{symbol}.50" for symbol in symbols], **more}
    return frame({"id": number, "method": method, "params": params})


def answer(message: Any) -> Answer:
    """One acknowledgement a channel; data of other channels has a ``result`` beside the method."""
    method, number = message["method"], str(message.get("id"))
    if method == "public/heartbeat":
        back = {"id": message["id"], "method": "public/respond-heartbeat"}
        return Answer("reply", text=frame(back))
    if method not in ("subscribe", "unsubscribe") or "result" in message:
        return Answer("other")
    symbols = tuple(message["channel"].split(".")[1:2] if "channel" in message else ())
    if message["code"]:
        return Answer("refused", symbols, number, str(message.get("message", message["code"])))
    return settled(method, symbols, number)


def book(kind: Any, channel: str, bids: str, asks: str) -> Message:
    return Message(
        kind,
        when={"result.channel": channel},
        symbol="result.instrument_name",
        last="result.data[].u",
        previous="result.data[].pu" if kind == "delta" else None,
        time="result.data[].t",
        levels=(Levels(bids, "bids", orders=2), Levels(asks, "asks", orders=2)),
    )


VENUE = Venue(
    id="cryptocom",
    number=6,
    name="Crypto.com",
    quote="USDT",
    websocket_url="wss://stream.crypto.com/exchange/v1/market",
    rest_url="https://api.crypto.com",
    symbols_path="/exchange/v1/public/get-instruments",
    instruments=instruments,
    subscribe=lambda symbols, number: request(
        "subscribe",
        symbols,
        number,
        book_subscription_type="SNAPSHOT_AND_UPDATE",
        book_update_frequency=10,
    ),
    unsubscribe=lambda symbols, number: request("unsubscribe", symbols, number),
    answer=answer,
    messages=(
        book("delta", "book.update", "result.data[].update.bids", "result.data[].update.asks"),
        book("snapshot", "book", "result.data[].bids", "result.data[].asks"),
        Message("control", when={"method": None}),
    ),
    sync=Sync.FEED_SNAPSHOT,
    continuity=Continuity.LINK,
    heartbeat=Heartbeat(silence_s=45.0),  # the venue asks every 30 s, and pings the socket every 5
    settle_s=1.0,  # the first second's share of the request limit is small
    limits=Limits(
        subscriptions_per_connection=200,  # 400 are taken
        subscriptions_per_request=50,
        requests=Rate(50, 1.0),  # 100, counted by calendar second
        connects=Rate(30, 60.0),
        rest=Rate(100, 1.0),
    ),
    depth=50,
    levels_expected=50,
    levels_max=128,
    quiet_floor_s=20.0,
    cadence_ms=10,
    verified=Verified(
        "2026-11", "Exchange v1 documentation; ccxt 4.5.90 and tardis-node c1d73fb; frames of 2026-09"
    ),
)
