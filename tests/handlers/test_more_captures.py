"""Recordings of the exchanges that came later, through the engine and beside the same rebuild."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rebuild import Level, Recording, Run, Update, both, compare

from handlers.facts import Continuity, Levels, Message, Pairs, RestSnapshot, Sync, Time
from handlers.registry import VENUES


def variant(name: str, **changes: Any) -> Any:
    return replace(VENUES[name], **changes)


def gemini(message: Any, _: str) -> Update | None:
    if message.get("e") != "depthUpdate":
        return None
    return Update(message["s"], both(message, "b", "a"), snapshot=message["U"] == message["u"])


def gemini_v2(message: Any, _: str) -> Update | None:
    if message["type"] != "l2_updates":
        return None
    levels: list[Level] = [
        ("bids" if side == "buy" else "asks", Decimal(price), Decimal(size), 0)
        for side, price, size in message["changes"]
    ]
    return Update(message["symbol"], levels, snapshot="trades" in message)


GEMINI_V2 = variant(
    "gemini",
    continuity=Continuity.NONE,
    time_format=Time.NONE,
    messages=[
        Message(
            kind,  # type: ignore[arg-type]
            when={"type": "l2_updates", **when},
            symbol="symbol",
            levels=(Levels("changes", 0, 1, 2, bid="buy", ask="sell"),),
        )
        for kind, when in (("snapshot", {"auction_events": None}), ("delta", {}))
    ]
    + [Message("heartbeat", {"type": name}) for name in ("heartbeat", "trade")],
)


def gate_update(message: Any, url: str) -> Update | None:
    if url:
        symbol = re.search(r"(?:currency_pair|contract)=(\w+)", url)
        assert symbol is not None
        keys = (0, 1) if isinstance((message["asks"] or message["bids"])[0], list) else ("p", "s")
        levels = both(message, "bids", "asks", keys)
        return Update(symbol[1], levels, snapshot=True, last=message["id"])
    if not message["channel"].endswith("order_book_update") or message["event"] != "update":
        return None
    data = message["result"]
    keys = ("p", "s") if message["channel"].startswith("futures") else (0, 1)
    return Update(data["s"], both(data, "b", "a", keys), last=data["u"])


def gate_by_rest(channel: str, price: str | int, quantity: str | int, **more: Any) -> Any:
    """The older channel: updates joined to a REST snapshot of 100 levels."""
    names = ("order_book_update", "trades", "candlesticks", "tickers", "book_ticker")
    return variant(
        "gateio",
        topic=lambda symbol: symbol,
        sync=Sync.REST_SNAPSHOT,
        depth=0,
        snapshots=(RestSnapshot(lambda symbol: symbol, 100),),
        messages=[
            Message(
                "delta",
                when={"channel": channel, "event": "update"},
                symbol="result.s",
                first="result.U",
                last="result.u",
                time="result.t",
                levels=(
                    Levels("result.b", "bids", price, quantity),
                    Levels("result.a", "asks", price, quantity),
                ),
            ),
            Message(
                "rest_snapshot",
                last="id",
                levels=(Levels("bids", "bids", price, quantity), Levels("asks", "asks", price, quantity)),
            ),
            *(Message("heartbeat", {"channel": f"{channel.split('.')[0]}.{name}"}) for name in names),
        ],
    )


def gate_obu(message: Any, _: str) -> Update | None:
    if not message["channel"].endswith(".obu") or message["event"] != "update":
        return None
    data = {"b": [], "a": [], **message["result"]}
    return Update(data["s"].split(".")[1], both(data, "b", "a"), snapshot=data.get("full", False))


def renamed(name: str, path: str, was: str, now: str) -> list[Message]:
    """The venue's messages with one literal of their conditions changed."""
    return [
        replace(one, when={**one.when, path: now}) if one.when.get(path) == was else one
        for one in VENUES[name].messages
    ]


def upbit_simple(message: Any, _: str) -> Update | None:
    if message["ty"] != "orderbook":
        return None
    levels: list[Level] = []
    for unit in message["obu"]:
        for side, price, size in (("bids", "bp", "bs"), ("asks", "ap", "as")):
            if Decimal(unit[price]):
                levels.append((side, Decimal(unit[price]), Decimal(unit[size]), 0))
    return Update(message["cd"], levels, snapshot=True)


UPBIT_SIMPLE = variant(
    "upbit",
    messages=[
        Message(
            "snapshot",
            {"ty": "orderbook"},
            symbol="cd",
            last="tms",
            time="tms",
            levels=(Pairs("obu", "bp", "bs", "ap", "as"),),
        ),
        Message("heartbeat", {"ty": "trade"}),
    ],
)


def phemex_scales(symbol: str) -> tuple[int, int]:
    return (8, 8) if symbol.startswith("s") else (4, 0)


def phemex(message: Any, _: str) -> Update | None:
    if "book" not in message:
        return None
    price, quantity = phemex_scales(message["symbol"])
    levels = [
        (side, value.scaleb(-price), amount.scaleb(-quantity), 0)
        for side, value, amount, _ in both(message["book"], "bids", "asks")
    ]
    return Update(message["symbol"], levels, snapshot=message["type"] == "snapshot")


def bitfinex() -> Callable[[Any, str], Update | None]:
    channels: dict[int, str] = {}

    def read(message: Any, _: str) -> Update | None:
        if isinstance(message, dict):
            if message["event"] == "subscribed" and message["channel"] == "book":
                channels[message["chanId"]] = message["symbol"]
            return None
        if channels.get(message[0]) != "tBTCUSD" or isinstance(message[1], str):
            return None
        rows = message[1]
        snapshot = not rows or isinstance(rows[0], list)
        levels: list[Level] = [
            (
                "bids" if amount > 0 else "asks",
                Decimal(price),
                abs(Decimal(amount)) if count else Decimal(0),
                int(count),
            )
            for price, count, amount in (rows if snapshot else [rows])
        ]
        return Update("tBTCUSD", levels, snapshot=snapshot)

    return read


BITFINEX_UNNUMBERED = variant(
    "bitfinex",
    continuity=Continuity.NONE,
    checksum=None,
    messages=[replace(one, last=None) for one in VENUES["bitfinex"].messages if one.kind != "checksum"],
)

RECORDINGS = [
    Recording("gemini/fastmm-fastapi-v3-perp-depth-2026.jsonl", VENUES["gemini"], gemini, 30),
    Recording("gemini/cryptofeed-v2-marketdata-l2-2026.jsonl", GEMINI_V2, gemini_v2, 559),
    Recording(
        "gateio/cryptofeed-spot-v4-orderbookupdate-2021.jsonl",
        gate_by_rest("spot.order_book_update", 0, 1),
        gate_update,
        182,
    ),
    Recording(
        "gateio/cryptofeed-futures-v4-orderbookupdate-2023.jsonl",
        gate_by_rest("futures.order_book_update", "p", "s"),
        gate_update,
        362,
    ),
    Recording(
        "gateio/fastmm-v4-futures-obu-2026.jsonl",
        variant(
            "gateio",
            topic=lambda symbol: f"ob.{symbol}.50",
            messages=renamed("gateio", "channel", "spot.obu", "futures.obu"),
        ),
        gate_obu,
        53,
    ),
    Recording("upbit/cryptofeed-orderbook-simple-2021.jsonl", UPBIT_SIMPLE, upbit_simple, 145),
    Recording(
        "phemex/cryptofeed-orderbook-scaled-2021.jsonl", VENUES["phemex"], phemex, 1337, scales=phemex_scales
    ),
    Recording("bitfinex/bbgo-v2-p0book-2025.jsonl", BITFINEX_UNNUMBERED, bitfinex(), 3438, all_known=False),
]


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda one: one.file.split(".")[0])
def test_every_recorded_book_equals_its_rebuild(recording: Recording, captures: Path) -> None:
    run = Run(recording, captures / recording.file)
    with run.replay:
        run.play()
        assert sum(update is not None for update in run.parsed) == recording.updates
        for symbol, book in run.books.items():
            assert book.known, f"{symbol} never had a snapshot"
            compare(run.replay.book(symbol), book)
        assert run.totals() == (recording.checksums, 0)
        if recording.all_known:
            run.check_the_rest()
        if recording.venue.audit:
            headers = [run.replay.book(symbol).header for symbol in run.books]
            again = sum(update is not None and update.snapshot for update in run.parsed) - len(headers)
            assert sum(int(one["audits"]) for one in headers) == again > 0
            assert sum(int(one["audit_mismatches"]) for one in headers) == 0
