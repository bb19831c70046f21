"""Coinbase Advanced Trade: channel level2 (``l2_data`` on the wire), the public one with a sequence.

``sequence_num`` counts every message of the connection over all channels, so a gap concerns all its
books. Without messages for 60 s the server closes: the heartbeats channel, one a second, prevents it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from handlers.dialect import frame, words
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

CLOSED = ("trading_disabled", "is_disabled", "view_only", "cancel_only", "auction_mode")


def instruments(body: Any) -> Iterable[Instrument]:
    """Online spot products. X-USDC is mostly the X-USD book and says so in ``alias``."""
    for row in body["products"]:
        if row["status"] != "online" or row["product_type"] != "SPOT":
            continue
        if any(row.get(flag) for flag in CLOSED):
            continue
        base, quote = row["product_id"].split("-")
        yield Instrument(
            native=row["product_id"],
            base=base,
            quote=quote,
            price_decimals=decimals(row["price_increment"]),
            quantity_decimals=decimals(row["base_increment"]),
            alias_of=row.get("alias") or "",
        )


def request(kind: str, symbols: Sequence[str]) -> str:
    return frame({"type": kind, "product_ids": list(symbols), "channel": "level2"})


def answer(message: Any) -> Answer:
    """``subscriptions`` lists all that stands; an error names no request."""
    if message.get("type") == "error":
        return Answer("refused", reason=words(message, "message", "reason"))
    standing = [event.get("subscriptions", {}).get("level2", []) for event in message["events"]]
    return Answer("current", symbols=tuple(symbol for symbols in standing for symbol in symbols))


LEVELS = (Levels("events[].updates", "side", "price_level", "new_quantity", bid="bid", ask="offer"),)


def book(kind: Any, wire: str) -> Message:
    return Message(
        kind,
        when={"channel": "l2_data", "events[].type": wire},
        symbol="events[].product_id",
        last="sequence_num",
        time="timestamp",
        levels=LEVELS,
    )


VENUE = Venue(
    id="coinbase",
    number=1,
    name="Coinbase",
    quote="USD",
    websocket_url="wss://advanced-trade-ws.coinbase.com",
    rest_url="https://api.coinbase.com",
    symbols_path="/api/v3/brokerage/market/products",
    instruments=instruments,
    subscribe=lambda symbols, _: request("subscribe", symbols),
    unsubscribe=lambda symbols, _: request("unsubscribe", symbols),
    answer=answer,
    messages=(
        book("delta", "update"),
        book("snapshot", "snapshot"),
        Message("heartbeat", when={"channel": "heartbeats"}, last="sequence_num"),
        Message("control", when={"channel": "subscriptions"}, last="sequence_num"),
        Message("control", when={"type": "error"}),
    ),
    sync=Sync.FEED_SNAPSHOT,
    continuity=Continuity.CONNECTION,
    time_format=Time.ISO8601,
    heartbeat=Heartbeat(silence_s=10.0),
    on_connect=('{"type":"subscribe","channel":"heartbeats"}',),
    limits=Limits(
        subscriptions_per_connection=30,  # a gap costs all books of a connection, a slow reader is cut
        subscriptions_per_request=10,
        requests=Rate(6, 1.0),
        address_requests=Rate(8, 1.0),  # without login
        connects=Rate(6, 1.0),  # 8 a second for an address
        rest=Rate(8, 1.0),
        message_bytes=64 << 20,  # BTC-USD opens with some 44,000 levels, well over 4 MiB
    ),
    levels_expected=5000,  # on average; the busiest hold 40,000 and more
    levels_max=65_536,
    quiet_floor_s=120.0,
    verified=Verified("2026-11", "recording of 2026 (1,030 frames, no gap); live runs of 2026-07 to 2026-09"),
)
