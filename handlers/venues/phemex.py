"""Phemex spot (scaled integers, ``orderbook``) and USD-margined perpetuals (``orderbook_p``), whole books.

Sequences rise by any step, so a lost update cannot be seen; the snapshot that comes again every 60 s is
compared with the book before it replaces it. There is no unsubscribing of one symbol.
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
    Time,
    Venue,
    Verified,
    decimals,
)


def number_of(text: str) -> str:
    """``"0.01 USDT"`` without its unit."""
    return text.split(" ")[0]


def instruments(body: Any) -> Iterable[Instrument]:
    """Spot with the scales of price and base currency, and linear perpetuals in plain decimals."""
    scales = {row["currency"]: row["valueScale"] for row in body["data"]["currencies"]}
    for row in body["data"]["products"]:
        if row["type"] == "Spot" and row["status"] == "Listed" and row["baseCurrency"] in scales:
            yield Instrument(
                native=row["symbol"],
                base=row["baseCurrency"].replace(" ", ""),
                quote=row["quoteCurrency"],
                price_decimals=decimals(number_of(row["quoteTickSize"])),
                quantity_decimals=decimals(number_of(row["baseTickSize"])),
                price_scale=row["priceScale"],
                quantity_scale=scales[row["baseCurrency"]],
            )
    for row in body["data"]["perpProductsV2"]:
        if row["status"] == "Listed":
            yield Instrument(
                native=row["symbol"],
                base=row["baseCurrency"].replace(" ", ""),
                quote=row["quoteCurrency"],
                price_decimals=decimals(row["tickSize"]),
                quantity_decimals=decimals(row["qtyStepSize"]),
                kind=Kind.PERPETUAL,
            )


def subscribe(symbols: Sequence[str], number: int) -> str:
    """Spot names begin with a small s. ``true``: all levels, not the best 30."""
    method = "orderbook" if symbols[0].startswith("s") else "orderbook_p"
    return frame({"id": number, "method": f"{method}.subscribe", "params": [symbols[0], True]})


def answer(message: Any) -> Answer:
    number = echoed(message)
    error = message.get("error")
    if error:
        return Answer("refused", request=number, reason=words(error, "code", "message"))
    return Answer("other" if message.get("result") == "pong" else "taken", request=number)


def books(kind: Any, wire: str) -> tuple[Message, ...]:
    """Spot and perpetual form of one kind of message."""
    return tuple(
        Message(
            kind,
            when={"type": wire, f"{key}.bids": None},
            symbol="symbol",
            last="sequence",
            time="timestamp",
            levels=(Levels(f"{key}.bids", "bids"), Levels(f"{key}.asks", "asks")),
        )
        for key in ("book", "orderbook_p")
    )


VENUE = Venue(
    id="phemex",
    number=15,
    name="Phemex",
    quote="USDT",
    websocket_url="wss://ws.phemex.com",
    rest_url="https://api.phemex.com",
    symbols_path="/public/products",
    instruments=instruments,
    subscribe=subscribe,
    unsubscribe=None,
    answer=answer,
    messages=(
        *books("delta", "incremental"),
        *books("snapshot", "snapshot"),
        Message("heartbeat", when={"result": "pong"}),
        Message("control", when={"id": None}),
        Message("control", when={"error": None}),
    ),
    sync=Sync.FEED_SNAPSHOT,
    continuity=Continuity.RISES,
    audit=True,
    time_format=Time.NS,
    heartbeat=Heartbeat(
        every_s=5.0,
        text=lambda number: f'{{"id":{number},"method":"server.ping","params":[]}}',
        silence_s=15.0,
    ),
    resubscribe="reconnect",
    limits=Limits(
        subscriptions_per_connection=20,
        subscriptions_per_request=1,
        requests=Rate(15, 1.0),  # 20
        connects=Rate(30, 60.0),  # 200 in 5 minutes
        rest=Rate(60, 60.0),
        connections=5,
    ),
    levels_expected=1000,
    levels_max=8192,
    quiet_floor_s=65.0,  # a quiet book repeats its snapshot every 60 s
    cadence_ms=100,
    verified=Verified(
        "2026-11", "documentation 2f54a92; recording of 2021; probe of 2026-09-23 (perpetuals)"
    ),
)
