"""Small payloads of each venue through plan, engine and shared memory: the book, its stamps, its proof."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from handlers._ffi import lib
from handlers.capture import Replay
from handlers.facts import Instrument, Venue
from handlers.registry import VENUES
from handlers.shm import Book, Side
from handlers.shm_layout import BookState, VerifiedBy

DATA = Path(__file__).resolve().parent.parent / "data"


def payload(name: str) -> dict[str, Any]:
    return dict(orjson.loads((DATA / name / "book.json").read_bytes()))


def replay(name: str, told: dict[str, Any], **settings: Any) -> Replay:
    venue: Venue = replace(VENUES[name], depth=told.get("depth", VENUES[name].depth))
    scales = {name: told[name] for name in ("price_scale", "quantity_scale") if name in told}
    row = Instrument(told["symbol"], "A", "B", told["price_decimals"], told["quantity_decimals"], **scales)
    return Replay(venue, [row], **settings)


def play(run: Replay, told: dict[str, Any]) -> None:
    for frame in told["frames"]:
        if isinstance(frame, dict) and "rest" in frame:
            run.snapshot(told["symbol"], frame["rest"].encode())
        elif isinstance(frame, dict):
            run.frame(bytes.fromhex(frame["hex"]))
        else:
            run.frame(frame.encode())


def levels(book: Book, side: Side) -> list[tuple[Decimal, Decimal, int]]:
    rows = book.bids if side == "bids" else book.asks
    return [(*pair, int(row["orders"])) for pair, row in zip(book.decimals(side), rows, strict=True)]


def expected(rows: list[list[Any]]) -> list[tuple[Decimal, Decimal, int]]:
    return [(Decimal(row[0]), Decimal(row[1]), row[2] if len(row) > 2 else 0) for row in rows]


@pytest.mark.parametrize("name", VENUES)
def test_a_venues_messages_make_its_book(name: str) -> None:
    told = payload(name)
    with replay(name, told) as run:
        play(run, told)
        copy = run.book(told["symbol"])
        assert levels(copy, "bids") == expected(told["bids"])
        assert levels(copy, "asks") == expected(told["asks"])
        assert copy.state is BookState.LIVE
        assert copy.exchange_ns == told["exchange_ns"]
        assert copy.header["checksums_ok"] == told.get("checksums", 0)
        if "sequence" in told:
            assert copy.venue_sequence == told["sequence"]
        assert run.segment.stats["quarantined"] == 0
        assert run.segment.stats["decode_failures"] == 0


def test_okx_zero_checksum_is_a_state_of_the_verifier_not_an_error() -> None:
    told = payload("okx")
    with replay("okx", told) as run:
        play(run, told)
        copy = run.book(told["symbol"])
        assert copy.header["verifier_state"] == lib.BW_VERIFIER_NOT_SENT
        assert copy.verified_by is VerifiedBy.SEQUENCE
        assert copy.header["checksums_bad"] == 0


def test_a_flipped_digit_is_caught_by_krakens_checksum() -> None:
    told = payload("kraken")
    told["frames"][3] = told["frames"][3].replace('"qty":0.25000000', '"qty":0.35000000')
    with replay("kraken", told) as run:
        play(run, told)
        copy = run.book(told["symbol"])
        assert copy.header["checksums_bad"] >= 1
        assert copy.state is not BookState.LIVE


@pytest.mark.parametrize("name", ["binance", "coinbase", "okx", "bybit"])
def test_a_lost_update_takes_the_book_out_of_service(name: str) -> None:
    told = payload(name)
    lost = {"binance": 2, "coinbase": 2, "okx": 2, "bybit": 2}[name]
    del told["frames"][lost]
    if name == "bybit":  # what is left is one duplicate: make it two ahead
        told["frames"][-1] = told["frames"][-1].replace('"u":2876701', '"u":2876702')
    with replay(name, told) as run:
        play(run, told)
        assert run.book(told["symbol"]).state is not BookState.LIVE
        types = {event.type for event in run.events()}
        assert lib.BW_EVENT_GAP in types


def test_fewer_levels_than_the_venue_sends_keep_the_best_and_say_where_they_end() -> None:
    told = payload("binance")
    rows = [[f"0.0000{6000 - step}", "1.0"] for step in range(100)]
    asks = [[f"0.0000{7000 + step}", "2.0"] for step in range(100)]
    body = orjson.dumps({"lastUpdateId": 281916627, "bids": rows, "asks": asks})
    with replay("binance", told, levels_max=64) as run:
        run.snapshot(told["symbol"], body)
        copy = run.book(told["symbol"])
        assert levels(copy, "bids") == expected(rows[:64])
        assert levels(copy, "asks") == expected(asks[:64])
        assert copy.state is BookState.LIVE
        assert copy.header["side"]["verified_price"].tolist() == [5937, 7063], "beyond them nothing is known"
