"""OKX spot: channel ``books``, 400 levels every 100 ms, linked by ``prevSeqId``.

The checksum field is a constant 0 since 2026-06-23; the recipe stays for recordings and in case it
comes back. A fresh snapshot comes only as the answer to a subscribe, and 480 operations an hour are
all a connection gets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from handlers.dialect import frame, settled
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
    Venue,
    Verified,
    decimals,
)


def instruments(body: Any) -> Iterable[Instrument]:
    """Live spot instruments; before a listing tick and lot may be empty."""
    for row in body["data"]:
        if row["state"] == "live" and row["tickSz"] and row["lotSz"]:
            yield Instrument(
                native=row["instId"],
                base=row["baseCcy"],
                quote=row["quoteCcy"],
                price_decimals=decimals(row["tickSz"]),
                quantity_decimals=decimals(row["lotSz"]),
            )


def request(operation: str, symbols: Sequence[str], number: int) -> str:
    arguments = [{"channel": "books", "instId": symbol} for symbol in symbols]
    return frame({"id": str(number), "op": operation, "args": arguments})


def answer(message: Any) -> Answer:
    """One acknowledgement an argument; an error may name its argument in its text only."""
    event = message["event"]
    symbols = tuple([message["arg"]["instId"]] if "arg" in message else [])
    if event == "notice":
        return Answer("leave" if message.get("code") == "64008" else "other", reason=message.get("msg", ""))
    if event == "error":
        words = str(message.get("msg", ""))
        named = re.search(r"instId:([A-Z0-9-]+)", words)
        return Answer("refused", symbols or ((named[1],) if named else ()), message.get("id"), words)
    return settled(event, symbols)


def book(kind: Any, action: str) -> Message:
    return Message(
        kind,
        when={"arg.channel": "books", "action": action},
        symbol="arg.instId",
        last="data[].seqId",
        previous="data[].prevSeqId",
        time="data[].ts",
        checksum="data[].checksum",
        levels=(Levels("data[].asks", "asks", orders=3), Levels("data[].bids", "bids", orders=3)),
    )


VENUE = Venue(
    id="okx",
    number=2,
    name="OKX",
    quote="USDT",
    websocket_url="wss://ws.okx.com/ws/v5/public",
    rest_url="https://www.okx.com",
    symbols_path="/api/v5/public/instruments?instType=SPOT",
    instruments=instruments,
    subscribe=lambda symbols, number: request("subscribe", symbols, number),
    unsubscribe=lambda symbols, number: request("unsubscribe", symbols, number),
    answer=answer,
    messages=(
        book("delta", "update"),
        book("snapshot", "snapshot"),
        Message("control", when={"event": None}),
    ),
    sync=Sync.FEED_SNAPSHOT,
    continuity=Continuity.LINK,
    checksum=Checksum(25, "interleaved, bid first", "plain", separator=":", signed=True),
    checksum_state="not sent",
    heartbeat=Heartbeat(every_s=20.0, text="ping", silence_s=30.0, text_reply="pong"),
    limits=Limits(
        subscriptions_per_connection=30,  # the venue's advice for deep books
        subscriptions_per_request=30,
        requests=Rate(3, 1.0),
        connects=Rate(3, 1.0),
        rest=Rate(20, 2.0),
        operations=Rate(480, 3600.0),
        request_chars=64 * 1024,
        argument_chars=32,
    ),
    depth=400,
    levels_expected=400,
    levels_max=512,
    quiet_floor_s=150.0,  # a quiet book repeats its sequence about every 60 s
    cadence_ms=100,
    verified=Verified("2026-11", "changelog of 2026-05-21; recordings of 2022 (291 checksums) and 2026-09"),
)
