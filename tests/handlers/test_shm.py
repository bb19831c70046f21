"""The Python reader against the C writer: views, copies, ring, life, and the errors a user meets."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handlers import shm, shm_layout
from handlers._ffi import lib
from handlers.errors import UnavailableError
from handlers.shm_layout import BookState, RecordType, SegmentState, Stage

Change = tuple[int, int, int, int]  # side, price, quantity, orders


def test_a_view_shows_what_is_written_without_reading_again(writer: Any, path: Path) -> None:
    with shm.Segment.open(path) as segment:
        books = segment.books
        assert books["sequence"].tolist() == [0, 0]
        writer.publish(1, [(0, 100, 5, 0), (1, 101, 6, 0)])
        assert books["sequence"].tolist() == [0, 1]
        assert books["state"].tolist() == [BookState.SYNCING, BookState.LIVE]
        assert books["top"]["price"][1, :, 0].tolist() == [100, 101]
        assert not books.flags.writeable


def test_symbols_grow_with_the_books(writer: Any, path: Path) -> None:
    with shm.Segment.open(path) as segment:
        assert [symbol.canonical for symbol in segment.symbols] == ["BTC-USDT", "ETH-USDT"]
        writer.add("SOL-USDT")
        assert segment.index("SOL-USDT") == 2
        assert segment.symbols[2].native == "SOLUSDT"
        assert len(segment.books) == 3
        with pytest.raises(KeyError):
            segment.book("DOGE-USDT")
        with pytest.raises(KeyError):
            segment.book(3)


def test_a_book_is_exact_in_decimals(writer: Any, path: Path) -> None:
    writer.publish(0, [(0, 6_000_001, 12_345, 7), (0, 5_999_999, 1, 0), (1, 6_000_003, 20_000, 1)])
    with shm.Segment.open(path) as segment:
        book = segment.book("BTC-USDT")
        best, next_best = book.decimals("bids")
        assert best == (Decimal("60000.01"), Decimal("1.2345"))
        assert next_best == (Decimal("59999.99"), Decimal("0.0001"))
        assert book.decimals("asks") == [(Decimal("60000.03"), Decimal("2.0000"))]
        assert book.bids["orders"].tolist() == [7, 0]
        assert (book.sequence, book.state, book.price_exponent) == (1, BookState.LIVE, 2)
        top = segment.top("BTC-USDT")
        assert top.bids.tolist() == book.bids.tolist()
        assert segment.book("BTC-USDT", depth=1).bids["price"].tolist() == [6_000_001]


def test_deep_book_and_ring_meet_without_gap_or_repetition(writer: Any, path: Path) -> None:
    chance = random.Random(7)
    model: dict[tuple[int, int], int] = {}

    def change() -> Change:
        side = chance.randrange(2)
        away = int(chance.expovariate(1 / 700))
        price = 50_001 + away if side else 50_000 - away
        quantity = chance.choice([0, chance.randrange(1, 10_000)])
        model[side, price] = quantity
        return side, price, quantity, 0

    def distinct(count: int) -> list[Change]:
        return list({(c[0], c[1]): c for c in (change() for _ in range(count))}.values())

    def held() -> dict[tuple[int, int], int]:
        return {place: quantity for place, quantity in model.items() if quantity}

    for _ in range(600):
        writer.publish(0, distinct(40))
    with shm.Segment.open(path) as segment:
        book, position = segment.book_at("BTC-USDT")
        got = {(0, int(level["price"])): int(level["quantity"]) for level in book.bids}
        got |= {(1, int(level["price"])): int(level["quantity"]) for level in book.asks}
        assert got == held()
        assert len(book.bids) > 1000
        assert (np.diff(book.bids["price"]) < 0).all()
        assert (np.diff(book.asks["price"]) > 0).all()
        ring = segment.records(position)
        for _ in range(50):
            writer.publish(0, distinct(40))
        for record in ring:
            assert record.type == RecordType.DELTA
            if record.sequence <= book.sequence:
                continue
            for side, levels in ((0, record.bids), (1, record.asks)):
                got |= {(side, int(level["price"])): int(level["quantity"]) for level in levels}
        assert {place: quantity for place, quantity in got.items() if quantity} == held()
        assert ring.overruns == 0


def test_an_overrun_is_told_and_the_ring_goes_on(writer: Any, path: Path) -> None:
    with shm.Segment.open(path) as segment:
        ring = segment.records()
        for _ in range(1 << 14):
            writer.publish(0, [(0, 100, 1, 0)])
        with pytest.raises(shm.OverrunError):
            list(ring)
        assert ring.overruns == 1
        writer.publish(1, [(1, 100, 1, 0)])
        (record,) = ring
        assert (record.book, record.sequence, len(record.bids), len(record.asks)) == (1, 1, 0, 1)


def test_closing_and_replacing_are_seen(writer: Any, make_writer: Any, path: Path) -> None:
    with shm.Segment.open(path) as segment:
        assert segment.alive()
        assert segment.exchange == "binance"
        assert segment.state is SegmentState.STARTING
        writer.close()
        assert not segment.alive()
        assert not path.exists()
        make_writer()
        assert segment.replaced()
        with shm.Segment.open(path) as other:
            assert other.generation > segment.generation


def test_views_outlive_close(writer: Any, path: Path) -> None:
    segment = shm.Segment.open(path)
    books = segment.books
    segment.close()
    assert books["price_exponent"].tolist() == [2, 2]
    with pytest.raises(ValueError, match="closed"):
        segment.book(0)


def test_a_missing_or_damaged_segment_says_so(path: Path) -> None:
    with pytest.raises(UnavailableError, match="No such file"):
        shm.Segment.open(path)
    path.write_bytes(b"x" * 10_000)
    with pytest.raises(UnavailableError, match="not a Bookwire segment"):
        shm.Segment.open(path)


def test_stats_are_named_and_complete(writer: Any, path: Path) -> None:
    stats = lib.bw_shm_writer_stats(writer.writer)
    stats.messages = 12
    stats.stage_ns[Stage.RECEIVE_TO_PUBLISHED][17] = 3
    with shm.Segment.open(path) as segment:
        assert segment.stats["messages"] == 12
        assert segment.histogram(Stage.RECEIVE_TO_PUBLISHED)[17] == 3
        # cffi knows every counter: none was added to the C list alone
        counters = shm_layout.STATS.itemsize // 8 - 4 * shm_layout.HISTOGRAM_BUCKETS
        assert len(segment.stats) == counters


def test_timing_is_read_by_stage_and_missing_from_an_older_writer(writer: Any, path: Path) -> None:
    timing = lib.bw_shm_writer_timing(writer.writer)
    timing.budget_ns[shm_layout.Budget.DECODE][40] = 5
    timing.cycles_per_second, timing.busy_ns = 2_600_000_000, 77
    with shm.Segment.open(path) as segment:
        assert segment.budget(shm_layout.Budget.DECODE)[40] == 5
        assert segment.budget(shm_layout.Budget.TCP).sum() == 0
        assert segment.budget_every == lib.BW_BUDGET_EVERY
        assert (segment.cycles_per_second, segment.busy_ns) == (2_600_000_000, 77)
    lib.bw_shm_writer_header(writer.writer).timing_offset = 0
    with shm.Segment.open(path) as segment:
        assert segment.budget(shm_layout.Budget.DECODE).sum() == 0
        assert (segment.budget_every, segment.cycles_per_second, segment.busy_ns) == (0, 0, 0)
    lib.bw_shm_writer_header(writer.writer).timing_offset = 1 << 40
    with pytest.raises(UnavailableError, match="parts lie outside"):
        shm.Segment.open(path)


def test_histogram_floors_invert_the_buckets() -> None:
    for bucket in range(shm_layout.HISTOGRAM_BUCKETS):
        floor = shm_layout.histogram_floor_ns(bucket)
        assert lib.bw_histogram_bucket(floor) == bucket
        assert bucket == 0 or lib.bw_histogram_bucket(floor - 1) == bucket - 1


def test_enumerations_match_the_header() -> None:
    for prefix, python in {
        "BW_BOOK": shm_layout.BookState,
        "BW_SEGMENT": shm_layout.SegmentState,
        "BW_REASON": shm_layout.Reason,
        "BW_RECORD": shm_layout.RecordType,
        "BW_VERIFIER": shm_layout.VerifierState,
        "BW_VERIFIED": shm_layout.VerifiedBy,
        "BW_BUDGET": shm_layout.Budget,
    }.items():
        for member in python.__members__.values():
            assert getattr(lib, f"{prefix}_{member.name}") == member
    assert len(shm_layout.Reason) == lib.BW_REASON_COUNT
    assert len(Stage) == lib.BW_STAGE_COUNT
    assert len(shm_layout.Budget) == lib.BW_BUDGET_COUNT
