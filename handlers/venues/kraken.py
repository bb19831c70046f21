"""Kraken spot, WebSocket v2: channel ``book`` at depth 1,000, proved by a checksum at every message.

The server sends no deletion for a level that falls out of the window: the client cuts after each
message. Numbers are JSON numbers with the pair's decimals, and the checksum is made of those digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from handlers.dialect import echoed, frame, settled
from handlers.facts import (
    Answer,
    Checksum,
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

DEPTH = 1000
MODERN = {"XBT": "BTC", "XDG": "DOGE"}  # names of the first protocol, still in the REST list


def instruments(body: Any) -> Iterable[Instrument]:
    """Online pairs of AssetPairs, by ``wsname``; dark pools and venue-specific keys are left out."""
    for key, row in body["result"].items():
        if row["status"] != "online" or key.endswith(".d") or ":" in key or "wsname" not in row:
            continue
        base, quote = (MODERN.get(asset, asset) for asset in row["wsname"].split("/"))
        yield Instrument(f"{base}/{quote}", base, quote, row["pair_decimals"], row["lot_decimals"])


def request(method: str, symbols: Sequence[str], number: int, **more: object) -> str:
    params = {"channel": "book", "symbol": list(symbols), "depth": DEPTH, **more}
    return frame({"method": method, "params": params, "req_id": number})


def answer(message: Any) -> Answer:
    """One acknowledgement a symbol; refusals name the symbol or the whole request."""
    if message.get("channel") == "status":
        system = str(message["data"][0].get("system", ""))
        return Answer("other", reason="" if system == "online" else system)
    method = message.get("method", "")
    result = message.get("result") or {}
    symbol = result.get("symbol") or message.get("symbol")
    symbols = (str(symbol),) if symbol else ()
    number = echoed(message, "req_id")
    if message.get("success") is False or "error" in message:
        return Answer("refused", symbols, number, str(message.get("error", "")))
    return settled(method, symbols, number)


def book(kind: Any, wire: str) -> Message:
    return Message(
        kind,
        when={"channel": "book", "type": wire},
        symbol="data[].symbol",
        time="data[].timestamp",
        checksum="data[].checksum",
        levels=(
            Levels("data[].bids", "bids", "price", "qty"),
            Levels("data[].asks", "asks", "price", "qty"),
        ),
    )


VENUE = Venue(
    id="kraken",
    number=4,
    name="Kraken",
    quote="USDT",
    websocket_url="wss://ws.kraken.com/v2",
    rest_url="https://api.kraken.com",
    symbols_path="/0/public/AssetPairs",
    instruments=instruments,
    subscribe=lambda symbols, number: request("subscribe", symbols, number, snapshot=True),
    unsubscribe=lambda symbols, number: request("unsubscribe", symbols, number),
    answer=answer,
    messages=(
        book("delta", "update"),
        book("snapshot", "snapshot"),
        Message("heartbeat", when={"channel": "heartbeat"}),
        Message("heartbeat", when={"method": "pong"}),
        Message("control", when={"channel": "status"}),
        Message("control", when={"method": None}),
        Message("control", when={"error": None}),
    ),
    sync=Sync.FEED_SNAPSHOT,
    continuity=Continuity.NONE,
    time_format=Time.ISO8601,
    checksum=Checksum(10, "asks then bids", "digits"),
    checksum_state="verified",
    heartbeat=Heartbeat(silence_s=10.0),
    limits=Limits(
        subscriptions_per_connection=200,
        subscriptions_per_request=50,
        requests=Rate(3, 1.0),
        connects=Rate(100, 600.0),  # some 150 in 10 minutes are said to be allowed
        rest=Rate(10, 10.0),
    ),
    depth=DEPTH,
    client_cuts=True,
    levels_expected=1000,
    levels_max=1280,
    quiet_floor_s=300.0,
    verified=Verified("2026-11", "captures of 2023 and 2025 (512 checksums); capture study of 2026-08-16"),
)
