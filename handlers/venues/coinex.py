"""CoinEx spot v2: ``depth.update`` at 50 levels every 200 ms, proved by a checksum of the whole book.

No message is numbered. A full book comes every minute besides, with which ours is compared. Every frame of
the server is one gzip member.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from handlers.dialect import frame, words
from handlers.facts import (
    Answer,
    Checksum,
    Continuity,
    Heartbeat,
    Instrument,
    Levels,
    Lifecycle,
    Limits,
    Message,
    Rate,
    Sync,
    Venue,
    Verified,
)

DEPTH = 50
PING_IDS = 1_000_000  # answers carry nothing but the id: pings count from here


def instruments(body: Any) -> Iterable[Instrument]:
    for row in body["data"]:
        if row["is_api_trading_available"]:
            yield Instrument(
                native=row["market"],
                base=row["base_ccy"],
                quote=row["quote_ccy"],
                price_decimals=int(row["quote_ccy_precision"]),
                quantity_decimals=int(row["base_ccy_precision"]),
            )


def request(method: str, markets: Sequence[Any], number: int) -> str:
    told = {"method": f"depth.{method}", "params": {"market_list": list(markets)}, "id": number}
    return frame(told)


def ping(number: int) -> str:
    return f'{{"method":"server.ping","params":{{}},"id":{PING_IDS + number}}}'


def answer(message: Any) -> Answer:
    """One answer a request. Unknown markets are acknowledged and stay silent."""
    number = str(message["id"])
    if message["code"]:
        return Answer("refused", request=number, reason=words(message, "code", "message"))
    return Answer("taken", request=number)


def book(kind: Any, full: str) -> Message:
    return Message(
        kind,
        when={"method": "depth.update", "data.is_full": full},
        symbol="data.market",
        time="data.depth.updated_at",
        checksum="data.depth.checksum",
        levels=(Levels("data.depth.bids", "bids"), Levels("data.depth.asks", "asks")),
    )


VENUE = Venue(
    id="coinex",
    number=18,
    name="CoinEx",
    quote="USDT",
    websocket_url="wss://socket.coinex.com/v2/spot",
    rest_url="https://api.coinex.com",
    symbols_path="/v2/spot/market",
    instruments=instruments,
    subscribe=lambda symbols, number: request(
        "subscribe", [[symbol, DEPTH, "0", False] for symbol in symbols], number
    ),
    unsubscribe=lambda symbols, number: request("unsubscribe", symbols, number),
    answer=answer,
    messages=(
        book("delta", "false"),
        book("snapshot", "true"),
        Message("heartbeat", when={"data.result": "pong"}),
        Message("control", when={"code": None}),
    ),
    sync=Sync.FEED_SNAPSHOT,
    continuity=Continuity.NONE,
    checksum=Checksum(DEPTH, "bids then asks", "received", separator=":"),
    checksum_state="verified",
    audit=True,
    frames="gzip",
    heartbeat=Heartbeat(every_s=20.0, text=ping, silence_s=60.0),
    limits=Limits(
        subscriptions_per_connection=100,
        subscriptions_per_request=30,  # 221 in one request were taken
        requests=Rate(5, 1.0),
        connects=Rate(30, 60.0),
        rest=Rate(400, 1.0),
    ),
    depth=DEPTH,
    levels_expected=DEPTH,
    levels_max=128,
    quiet_floor_s=90.0,  # a quiet book comes once a minute
    cadence_ms=200,
    lifecycle=Lifecycle("ceased", "2026-09-29", "the exchange's notice of 2026-09-14: spot trading ended"),
    verified=Verified("2026-11", "documentation and official demo 229d439; ccxt 4.5.85; frames of 2026-09"),
)
