"""The way of updates to the disk and back: full rings into the journal, the journal into books and Parquet.

What a recorder can take is measured before it is needed: from a full update ring, in a process of its own on
the measured core, onto the disk of $TMPDIR with an fdatasync() a file.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.cores import Cores
from bench.report import Report, Row, at_least
from gateway.channels import Channel, View
from gateway.player import carriers
from handlers._ffi import ffi, lib
from handlers.errors import UnavailableError
from handlers.logs import Log
from handlers.recording.parquet import arrow, convert_waiting
from handlers.recording.played import PlayedBook, steps
from handlers.recording.recorder import RecordSettings, Track

EXCHANGE, NUMBER, SYMBOL = "binance", 0, "BTC-USDT"
CHANNEL = Channel(f"{EXCHANGE}:{SYMBOL}", View.SINGLE, SYMBOL, EXCHANGE, NUMBER)
RING_BYTES = 16 << 20
CHANGES = 5  # a side
RECORD_BYTES = ffi.sizeof("bw_record") + 2 * CHANGES * ffi.sizeof("bw_level")
RECORDS = RING_BYTES // RECORD_BYTES * 9 // 10
LEVELS = 1000
COPIED_MIN = 0.5e6  # records a second: 21 exchanges at their busiest are a tenth of it


class Published:
    """A segment whose ring is nearly full of updates of one book."""

    def __init__(self, directory: Path) -> None:
        path = ffi.new("char[]", os.fsencode(directory / f"{EXCHANGE}.shm"))
        name = ffi.new("char[]", EXCHANGE.encode())
        spec, error = ffi.new("bw_shm_spec *"), ffi.new("char[]", 512)
        spec.path, spec.exchange, spec.exchange_number, spec.book_capacity = path, name, NUMBER, 1
        spec.level_capacity, spec.chunk_capacity, spec.ring_bytes = LEVELS, 4 * LEVELS, RING_BYTES
        self._writer = lib.bw_shm_writer_new(spec, error, len(error))
        if self._writer == ffi.NULL:
            raise RuntimeError(ffi.string(error).decode(errors="replace"))
        row = {"canonical": SYMBOL.encode(), "native": b"BTCUSDT", "base": b"BTC", "quote": b"USDT"}
        lib.bw_shm_writer_add_book(self._writer, ffi.new("bw_symbol *", row), 2, 5, time.time_ns())
        self._book = lib.bw_shm_writer_book(self._writer, 0)
        lib.bw_shm_writer_header(self._writer).state = lib.BW_SEGMENT_RUNNING
        lib.bw_book_begin(self._book)
        self._book.state, self._book.epoch = lib.BW_BOOK_LIVE, 1
        self._book.price_exponent, self._book.quantity_exponent = 2, 5
        lib.bw_book_end(lib.bw_shm_writer_store(self._writer), self._book)

    def fill(self) -> None:
        """The updates; the ring's book stays as it is, which no reader of the ring looks at."""
        for sequence in range(1, RECORDS + 1):
            record = lib.bw_record_reserve(self._writer, 2 * CHANGES)
            record.type, record.book, record.epoch, record.sequence = lib.BW_RECORD_DELTA, 0, 1, sequence
            record.price_exponent, record.quantity_exponent, record.state = 2, 5, lib.BW_BOOK_LIVE
            record.receive_ns = now_ns = time.time_ns()
            level = ffi.cast("bw_level *", record + 1)
            for at in range(2 * CHANGES):
                away = (sequence * 7 + at * 13) % 400 + 1
                level[at].price = 6_400_000 + (away if at >= CHANGES else -away)
                level[at].quantity = sequence + at
            lib.bw_record_commit(self._writer, record, CHANGES, CHANGES, now_ns)

    def close(self) -> None:
        lib.bw_shm_writer_close(self._writer)


def run(report: Report, cores: Cores, rounds: int) -> None:
    """Adds the section. Raises RuntimeError where the measuring process fell."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_measure, args=(cores.server, rounds, theirs))
    process.start()
    theirs.close()
    try:
        best: dict[str, float] = mine.recv()
    except EOFError as error:
        raise RuntimeError("the measuring process fell; its message is above") from error
    finally:
        process.join()
    report.add(
        "recording",
        at_least("update ring to journal", best["copied"] / 1e6, COPIED_MIN / 1e6, "M updates/s"),
        Row("the same, on the disk", f"{best['bytes'] / 1e6:,.0f} MB/s", note="one fdatasync()"),
        Row("journal to books (verify, replay)", f"{best['played'] / 1e6:,.2f} M updates/s"),
    )
    if "parquet" in best:
        report.add("recording", Row("journal to Parquet", f"{best['parquet'] / 1e6:,.2f} M rows/s"))


def _measure(core: int, rounds: int, out: Any) -> None:
    """The best of each over the rounds, in a process of its own."""
    os.sched_setaffinity(0, {core})
    log = Log("record", stream=io.StringIO())
    best: dict[str, float] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as where:
            base = Path(where)
            segment = Published(base)
            told = RecordSettings(base, base, base / "record", (EXCHANGE,), file_bytes=1 << 30)
            track = Track(told, EXCHANGE, log)
            track.poll(1.0)
            segment.fill()
            for name, rate in _round(track, told, log).items():
                best[name] = max(rate, best.get(name, 0.0))
            segment.close()
    out.send(best)


def _round(track: Track, told: RecordSettings, log: Log) -> dict[str, float]:
    """Rates a second of what was published: copied, on the disk, played, made Parquet."""
    begun_s = time.perf_counter()
    while track.poll(1.0):
        pass
    copied_s = time.perf_counter() - begun_s
    if track.counts.records != RECORDS:
        raise RuntimeError(f"{track.counts.records} of {RECORDS} updates were recorded")
    assert track.writer is not None
    track.writer.sync()
    found = {
        "copied": RECORDS / copied_s,
        "bytes": track.counts.bytes / (time.perf_counter() - begun_s),
    }
    track.close("stopped")
    begun_s = time.perf_counter()
    for _, number, row, levels in [next(carriers(told.dir, CHANNEL))]:
        book = PlayedBook(told.shm_dir, "played", number, row, levels)
        for _, payload, whole in steps(told.dir, EXCHANGE, SYMBOL, 0, time.time_ns()):
            book.apply(payload, whole)
        book.close()
    found["played"] = RECORDS / (time.perf_counter() - begun_s)
    begun_s = time.perf_counter()
    with suppress(UnavailableError):  # without the extra there is no Parquet to measure
        arrow()
        found["parquet"] = convert_waiting(told.dir, "zstd", log).rows / (time.perf_counter() - begun_s)
    return found
