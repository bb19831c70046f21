"""Recordings of venues with sessions of their own kinds, beside a rebuild of a few lines (test_captures).

Where a recording is of another product or an older generation than the venue file speaks, a test-local
variant of the facts says the difference.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rebuild import Level, Recording, Run, Update, both, compare, lines

from handlers.capture import Replay
from handlers.facts import Continuity, Instrument, Levels, Message, RestSnapshot, Sync, Venue
from handlers.registry import VENUES


def ascendex(message: Any, _: str) -> Update | None:
    if message.get("m") not in ("depth", "depth-snapshot"):
        return None
    data = message["data"]
    snapshot = message["m"] == "depth-snapshot"
    return Update(message["symbol"], both(data, "bids", "asks"), snapshot=snapshot, last=data["seqnum"])


def bitget(message: Any, _: str) -> Update | None:
    if "action" not in message or message["arg"].get("channel") != "books":
        return None
    (data,) = message["data"]
    snapshot = message["action"] == "snapshot"
    return Update(message["arg"]["instId"], both(data, "bids", "asks"), snapshot=snapshot)


def deribit(message: Any, _: str) -> Update | None:
    params = message.get("params", {})
    if not params.get("channel", "").startswith("book."):
        return None
    data = params["data"]
    levels: list[Level] = [
        (side, Decimal(price), Decimal(amount) * (action != "delete"), 0)
        for side in ("bids", "asks")
        for action, price, amount in data[side]
    ]
    return Update(data["instrument_name"], levels, snapshot=data["type"] == "snapshot")


def htx_whole(message: Any, _: str) -> Update | None:
    if ".depth.step0" not in message.get("ch", ""):
        return None
    return Update(message["ch"].split(".")[1], both(message["tick"], "bids", "asks"), snapshot=True)


def kucoin_classic(message: Any, url: str) -> Update | None:
    if url:
        data = message["data"]
        symbol = re.search(r"symbol=([\w-]+)", url)
        assert symbol is not None
        return Update(symbol[1], both(data, "bids", "asks"), snapshot=True, last=int(data["sequence"]))
    if message.get("subject") != "trade.l2update":
        return None
    data = message["data"]
    levels = [row for row in both(data["changes"], "bids", "asks") if row[1]]  # price 0: nothing changed
    return Update(data["symbol"], levels, last=data["sequenceEnd"])


def variant(name: str, **changes: Any) -> Venue:
    return replace(VENUES[name], **changes)


HTX_WHOLE = variant(
    "htx",
    topic=lambda symbol: f"market.{symbol}.depth.step0",
    sync=Sync.SNAPSHOTS_ONLY,
    continuity=Continuity.NONE,
    depth=0,
    messages=[
        Message(
            "snapshot",
            when={"tick.version": None, "tick.bids": None},
            symbol="ch",
            time="ts",
            levels=(Levels("tick.bids", "bids"), Levels("tick.asks", "asks")),
        ),
        *VENUES["htx"].messages[1:5],
    ],
)
BITGET_BEFORE_IDS = variant(
    "bitget",
    continuity=Continuity.NONE,
    straddle=False,
    checksum_state="verified",
    messages=[replace(one, last=None, previous=None) for one in VENUES["bitget"].messages],
)
KUCOIN_CLASSIC = variant(
    "kucoin",
    sync=Sync.REST_SNAPSHOT,
    depth=0,
    levels_max=65_536,
    levels_expected=5000,
    snapshots=(RestSnapshot(lambda symbol: f"/api/v3/market/orderbook/level2?symbol={symbol}", 0),),
    messages=[
        Message(
            "delta",
            when={"subject": "trade.l2update"},
            symbol="data.symbol",
            first="data.sequenceStart",
            last="data.sequenceEnd",
            time="data.time",
            levels=(Levels("data.changes.bids", "bids"), Levels("data.changes.asks", "asks")),
        ),
        Message(
            "rest_snapshot",
            last="data.sequence",
            levels=(Levels("data.bids", "bids"), Levels("data.asks", "asks")),
        ),
        Message("control", when={"type": "welcome"}),
        Message("control", when={"type": "ack"}),
    ],
)

RECORDINGS = [
    Recording("ascendex/cryptofeed-spot-v1-depth-2021.jsonl", VENUES["ascendex"], ascendex, 287),
    Recording("ascendex/cryptofeed-futures-v2-depth-2022.jsonl", VENUES["ascendex"], ascendex, 267),
    Recording("bitget/gct-v2-spot-books-checksum-2025.jsonl", BITGET_BEFORE_IDS, bitget, 2, 1),
    Recording(
        "_older/bitget/cryptofeed-v1-spot-books-checksum-2022.jsonl.gz", BITGET_BEFORE_IDS, bitget, 443, 443
    ),
    Recording(
        "_older/bitget/cryptofeed-v1-mix-books-checksum-2022.jsonl.gz", BITGET_BEFORE_IDS, bitget, 194, 194
    ),
    Recording("deribit/cryptofeed-v2-options-raw-2021.jsonl", VENUES["deribit"], deribit, 46),
    Recording("htx/cryptofeed-coinswap-depth-2022.jsonl.gz", HTX_WHOLE, htx_whole, 1274),
    Recording("htx/cryptofeed-linearswap-depth-2022.jsonl.gz", HTX_WHOLE, htx_whole, 1588),
    Recording("kucoin/cryptofeed-classic-spot-level2-2021.jsonl.gz", KUCOIN_CLASSIC, kucoin_classic, 3862),
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
        run.check_the_rest()


def test_quantities_that_no_fixed_point_holds_are_rounded_and_counted(captures: Path) -> None:
    """HTX prints binary noise (18 decimals); prices stay exact, and each rounded number is counted."""
    frames = [text for text, _ in lines(captures / "htx/cryptofeed-spot-depthstep0-2021.jsonl")]
    updates = [htx_whole(json.loads(text, parse_float=Decimal), "") for text in frames]
    symbols = dict.fromkeys(update.symbol for update in updates if update is not None)
    rounded = 0
    with Replay(HTX_WHOLE, [Instrument(symbol, symbol, "B", 0, 0) for symbol in symbols]) as run:
        for text, update in zip(frames, updates, strict=True):
            run.frame(text.encode())
            if update is None:
                continue
            copy = run.book(update.symbol)
            half = Decimal(5).scaleb(-copy.quantity_exponent - 1)
            for side, sign in (("bids", -1), ("asks", 1)):
                stated = sorted((sign * row[1], row[2]) for row in update.levels if row[0] == side)
                held = copy.decimals("bids" if side == "bids" else "asks")
                assert [price for price, _ in held] == [sign * price for price, _ in stated]
                for (_, quantity), (_, exact) in zip(held, stated, strict=True):
                    assert abs(quantity - exact) <= half
                    rounded += quantity != exact
        assert len([update for update in updates if update]) == 292
        counted = sum(int(run.book(symbol).header["rounded"]) for symbol in symbols)
        assert counted >= rounded > 0
