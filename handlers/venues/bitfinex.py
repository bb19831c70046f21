"""Bitfinex v2: ``book`` P0, 250 levels, with sequence numbers over the whole connection and checksums.

An acknowledgement gives the channel a number, by which its data is named. Count 0 deletes; the amount's sign
is the side. Position 2 of a frame is the sequence, but in a checksum's frame the checksum.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from handlers.dialect import echoed, frame, words
from handlers.facts import (
    Answer,
    Checksum,
    Continuity,
    Form,
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

LEVELS = 250
ASSETS = {"UST": "USDT", "UDC": "USDC", "EUT": "EURT", "TSD": "TUSD", "IOT": "IOTA", "DSH": "DASH",
          "QTM": "QTUM", "ALG": "ALGO", "ATO": "ATOM", "DAT": "DATA", "MNA": "MANA", "BCHN": "BCH",
          "LUNA": "LUNC", "LUNA2": "LUNA", "TERRAUST": "USTC"}  # fmt: skip
PAIR = re.compile(r"(\w+):(\w+)|(\w{3})(\w{3})")


def instruments(body: Any) -> Iterable[Instrument]:
    """Listed pairs; prices have five significant digits and no tick, so decimals grow with the book."""
    for name, _ in body[0]:
        match = PAIR.fullmatch(name)
        if match is None or "TEST" in name or "F0" in name:
            continue
        base, quote = (ASSETS.get(asset, asset) for asset in match.groups() if asset)
        yield Instrument(f"t{name}", base, quote, 0, 8)


def subscribe(symbols: Sequence[str], number: int) -> str:
    told = {"event": "subscribe", "channel": "book", "symbol": symbols[0], "prec": "P0", "freq": "F0"}
    return frame({**told, "len": str(LEVELS), "subId": number})


def answer(message: Any) -> Answer:
    kind, number = message["event"], echoed(message, "subId")
    symbols = tuple([message["symbol"]] if "symbol" in message else [])
    if kind == "subscribed":
        return Answer("taken", symbols, number)
    if kind == "error":
        return Answer("refused", symbols, number, words(message, "code", "msg"))
    if kind == "conf":
        return Answer("welcome" if message.get("status") == "OK" else "other")
    leaves = message.get("code") in (20051, 20060)
    return Answer("leave", reason=str(message.get("msg", ""))) if leaves else Answer("other")


def book(kind: Any, form: Form) -> Message:
    forms = (Form.ROWS, Form.ROW)
    levels = Levels("[1]", "sign", price=0, quantity=2, orders=1, orders_delete=True, forms=forms)
    return Message(kind, when={"[1]": form}, symbol="[0]", last="[2]", levels=(levels,))


VENUE = Venue(
    id="bitfinex",
    number=13,
    name="Bitfinex",
    quote="USD",
    websocket_url="wss://api-pub.bitfinex.com/ws/2",
    rest_url="https://api-pub.bitfinex.com",
    symbols_path="/v2/conf/pub:info:pair",
    instruments=instruments,
    subscribe=subscribe,
    unsubscribe=None,  # goes by the channel's number, and starting over costs the whole connection anyway
    answer=answer,
    messages=(
        book("delta", Form.ROW),
        book("snapshot", Form.ROWS),
        Message("checksum", when={"[1]": "cs"}, symbol="[0]", checksum="[2]", last="[3]"),
        Message("heartbeat", when={"[1]": "hb"}, last="[2]"),
        Message("control", {"event": "subscribed", "channel": "book"}, "symbol", binds="chanId"),
        Message("control", when={"event": None}),
    ),
    sync=Sync.FEED_SNAPSHOT,
    continuity=Continuity.CONNECTION,
    time_format=Time.NONE,
    checksum=Checksum(
        25, "interleaved, bid first", "javascript", separator=":", signed=True, negative_asks=True
    ),
    checksum_state="verified",
    heartbeat=Heartbeat(every_s=30.0, text='{"event":"ping"}', silence_s=40.0),
    on_connect=('{"event":"conf","flags":196608}',),  # SEQ_ALL and OB_CHECKSUM
    welcome=True,
    resubscribe="reconnect",
    limits=Limits(
        subscriptions_per_connection=25,
        subscriptions_per_request=1,
        requests=Rate(10, 1.0),
        connects=Rate(15, 60.0),  # 20, or a minute's block
        rest=Rate(60, 60.0),
    ),
    depth=LEVELS,
    levels_expected=LEVELS,
    levels_max=320,
    quiet_floor_s=120.0,
    verified=Verified("2026-11", "documentation of 2025-09; recordings of 2021 and 2025; probe of 2026-09"),
)
