"""Binance spot: diff-depth stream every 100 ms, whole book from a REST snapshot.

The market-data-only hosts serve the same books without account streams. A REST snapshot holds at most
5,000 levels a side; the stream has no depth limit, so what lies beyond the snapshot stays unverified.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from handlers.dialect import echoed, frame
from handlers.facts import (
    Answer,
    Continuity,
    Instrument,
    Levels,
    Limits,
    Message,
    Rate,
    RestSnapshot,
    Sync,
    Venue,
    Verified,
    decimals,
)


def instruments(body: Any) -> Iterable[Instrument]:
    """Rows of exchangeInfo that trade. Names that are not ASCII exist and are left out."""
    for row in body["symbols"]:
        if row["status"] != "TRADING" or not row["isSpotTradingAllowed"] or not row["symbol"].isascii():
            continue
        filters = {item["filterType"]: item for item in row["filters"]}
        yield Instrument(
            native=row["symbol"],
            base=row["baseAsset"],
            quote=row["quoteAsset"],
            price_decimals=decimals(filters["PRICE_FILTER"]["tickSize"]),
            quantity_decimals=decimals(filters["LOT_SIZE"]["stepSize"]),
        )


def request(method: str, symbols: Sequence[str], number: int) -> str:
    streams = [f"{symbol.lower()}@depth@100ms" for symbol in symbols]
    return frame({"method": method, "params": streams, "id": number})


def answer(message: Any) -> Answer:
    """``{"result":null,"id":1}`` per request; errors mostly come without the id."""
    if message.get("e") == "serverShutdown" or message.get("stream") == "!serverShutdown":
        return Answer("leave", reason="serverShutdown")
    number = echoed(message)
    error = message.get("error", message)
    if "code" in error:
        return Answer("refused", request=number, reason=str(error.get("msg", "")))
    return Answer("taken", request=number)


def snapshot(levels: int, weight: int) -> RestSnapshot:
    return RestSnapshot(lambda symbol: f"/api/v3/depth?symbol={quote(symbol)}&limit={levels}", levels, weight)


VENUE = Venue(
    id="binance",
    number=0,
    name="Binance",
    quote="USDT",
    websocket_url="wss://data-stream.binance.vision/stream",
    rest_url="https://data-api.binance.vision",
    symbols_path="/api/v3/exchangeInfo",
    instruments=instruments,
    subscribe=lambda symbols, number: request("SUBSCRIBE", symbols, number),
    unsubscribe=lambda symbols, number: request("UNSUBSCRIBE", symbols, number),
    answer=answer,
    messages=(
        Message(
            "delta",
            when={"data.e": "depthUpdate"},
            symbol="data.s",
            first="data.U",
            last="data.u",
            time="data.E",
            levels=(Levels("data.b", "bids"), Levels("data.a", "asks")),
        ),
        Message(
            "rest_snapshot",
            last="lastUpdateId",
            levels=(Levels("bids", "bids"), Levels("asks", "asks")),
        ),
        Message("control", when={"data.e": "serverShutdown"}),
        Message("control", when={"e": "serverShutdown"}),
        Message("control", when={"id": None}),
        Message("control", when={"code": None}),
        Message("control", when={"error": None}),
    ),
    sync=Sync.REST_SNAPSHOT,
    continuity=Continuity.RANGE,
    snapshots=(snapshot(5000, 250), snapshot(1000, 50)),
    limits=Limits(
        subscriptions_per_connection=200,  # 1,024 are allowed; large bursts proved fragile
        subscriptions_per_request=50,
        requests=Rate(3, 1.0),  # 5, of which pongs take some
        connects=Rate(300, 300.0),
        rest=Rate(6000, 60.0),
        symbols_weight=20,
        lifetime_s=24 * 3600,
        weight_header="X-MBX-USED-WEIGHT-1M",
    ),
    levels_expected=5000,
    levels_max=20_000,
    quiet_floor_s=60.0,  # a minor pair was silent for 19 s in a recording
    cadence_ms=100,
    verified=Verified("2026-11", "binance-spot-api-docs a5e0bc3d; recordings of 2021 replayed without a gap"),
)
