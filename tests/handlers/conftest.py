"""What tests of this room share: a writer of shared memory that does what an exchange process does."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from handlers._ffi import ffi, lib

sys.path.insert(0, str(Path(__file__).parent))  # what several tests of this room share

Change = tuple[int, int, int, int]  # side, price, quantity, orders


class SegmentWriter:
    """What an exchange process does to its segment, in a few lines."""

    def __init__(self, path: Path, symbols: tuple[str, ...] = ("BTC-USDT", "ETH-USDT")) -> None:
        error = ffi.new("char[]", 512)
        keep = [ffi.new("char[]", os.fsencode(path)), ffi.new("char[]", b"binance")]
        spec = ffi.new("bw_shm_spec *", {
            "path": keep[0], "exchange": keep[1], "exchange_number": 1, "book_capacity": 8,
            "level_capacity": 8192, "chunk_capacity": 2048, "ring_bytes": 1 << 20,
        })  # fmt: skip
        self.writer = lib.bw_shm_writer_new(spec, error, 512)
        assert self.writer != ffi.NULL, ffi.string(error)
        for canonical in symbols:
            self.add(canonical)

    def add(self, canonical: str) -> int:
        base, quote = canonical.split("-")
        symbol = ffi.new("bw_symbol *", {
            "canonical": canonical.encode(), "native": (base + quote).encode(),
            "base": base.encode(), "quote": quote.encode(),
        })  # fmt: skip
        return int(lib.bw_shm_writer_add_book(self.writer, symbol, 2, 4, 1000))

    def publish(self, book: int, changes: list[Change], kind: int = lib.BW_RECORD_DELTA) -> None:
        native = lib.bw_shm_writer_book(self.writer, book)
        store, evicted = lib.bw_shm_writer_store(self.writer), ffi.new("int64_t *")
        changes = sorted(changes, key=lambda change: change[0])
        record = lib.bw_record_reserve(self.writer, len(changes))
        ffi.memmove(record, bytes(ffi.sizeof("bw_record")), ffi.sizeof("bw_record"))
        lib.bw_book_begin(native)
        for side, price, quantity, orders in changes:
            lib.bw_book_set(store, native, side, price, quantity, orders, evicted)
        native.sequence += 1
        native.published_ns = now_ns = time.time_ns()
        native.state = lib.BW_BOOK_LIVE
        lib.bw_book_end(store, native)
        record.type, record.book, record.sequence, record.state = kind, book, native.sequence, native.state
        record.venue_sequence = native.venue_sequence
        record.price_exponent, record.quantity_exponent = native.price_exponent, native.quantity_exponent
        levels = ffi.cast("bw_level *", record + 1)
        for i, (_, price, quantity, orders) in enumerate(changes):
            levels[i] = (price, quantity, orders, 0)
        asks = sum(change[0] for change in changes)
        lib.bw_record_commit(self.writer, record, len(changes) - asks, asks, now_ns)
        self.beat()

    def beat(self) -> None:
        """What the loop does at least every 100 ms: without it readers take the writer for stuck."""
        lib.bw_shm_writer_header(self.writer).heartbeat_ns = time.time_ns()

    def close(self) -> None:
        if self.writer != ffi.NULL:
            lib.bw_shm_writer_close(self.writer)
        self.writer = ffi.NULL


@pytest.fixture(scope="session")
def writer_class() -> type[SegmentWriter]:
    """For tests that make their writers themselves."""
    return SegmentWriter


@pytest.fixture
def path(shm_dir: Path) -> Path:
    return shm_dir / "binance.shm"


@pytest.fixture
def make_writer(path: Path) -> Iterator[Callable[[], SegmentWriter]]:
    """Makes writers of the segment at ``path``, one at a time; what is still open is closed afterwards."""
    made: list[SegmentWriter] = []

    def make() -> SegmentWriter:
        made.append(SegmentWriter(path))
        return made[-1]

    yield make
    for writer in made:
        writer.close()


@pytest.fixture
def writer(make_writer: Callable[[], SegmentWriter]) -> SegmentWriter:
    return make_writer()
