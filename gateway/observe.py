"""What the HTTP process can see of the other processes: segments, status files, gateway counters."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from gateway._ffi import ffi, lib
from gateway.directory import Carrier, text_of

HISTOGRAM_BUCKETS = 256
LATENCIES = (
    "published_to_seen",
    "published_to_first_sent",
    "published_to_last_sent",
    "received_to_first_sent",
)
STAGES = ("receive", "parse", "publish", "receive_to_publish")  # enum bw_stage
VERIFIERS = ("absent", "ok", "not_sent", "suspended")
BOOK_SUMS = ("updates", "gaps", "resyncs", "checksums_ok", "checksums_bad", "crossed",
             "audits", "audit_mismatches", "jumps", "rounded")  # fmt: skip


@dataclass(frozen=True)
class GatewayStats:
    """A copy of the gateway's counters. Histograms are counts by bucket."""

    counters: dict[str, int]
    latency: dict[str, list[int]]
    latency_sum_ns: dict[str, int]

    def alive(self, now_ns: int, patience_ms: int) -> bool:
        """Whether its loop turned lately."""
        return now_ns - self.counters["beat_ns"] < patience_ms * 1_000_000


def read_gateway_stats(path: Path) -> GatewayStats | None:
    """None when there is no gateway, or one of another version."""
    error = ffi.new("char[256]")
    stats = lib.bw_gateway_stats_open(str(path).encode(), error, 256)
    if stats == ffi.NULL:
        return None
    try:
        return GatewayStats(
            {
                text_of(lib.bw_gateway_counter_name(at)): lib.bw_gateway_counter_value(stats, at)
                for at in range(lib.bw_gateway_counter_count())
            },
            {
                name: [lib.bw_gateway_latency_bucket(stats, which, at) for at in range(HISTOGRAM_BUCKETS)]
                for which, name in enumerate(LATENCIES)
            },
            {name: lib.bw_gateway_latency_sum(stats, which) for which, name in enumerate(LATENCIES)},
        )
    finally:
        lib.bw_gateway_stats_close(stats)


def feed_counters(carrier: Carrier) -> dict[str, int]:
    """Counters of an exchange's process, by their native names."""
    return {
        text_of(lib.bw_counter_name(at)): lib.bw_counter_value(carrier.segment, at)
        for at in range(lib.bw_counter_count())
    }


def stage_buckets(carrier: Carrier) -> dict[str, list[int]]:
    """Stage latency histograms of an exchange's process: counts by bucket."""
    return {
        name: [lib.bw_stage_bucket(carrier.segment, stage, at) for at in range(HISTOGRAM_BUCKETS)]
        for stage, name in enumerate(STAGES)
    }


@dataclass
class BookSums:
    """Sums over an exchange's books, and what its newest data say.

    ``exchange_delay_ns``: from the exchange's own stamp on the newest update until we had read it, by two
    machines' clocks (below 0: theirs is ahead); None where the exchange stamps nothing.
    """

    sums: dict[str, int]
    verifiers: dict[str, int]
    last_data_ns: int
    exchange_delay_ns: int | None


def book_sums(carrier: Carrier) -> BookSums:
    """Reads every book's header once."""
    sums = dict.fromkeys(BOOK_SUMS, 0)
    verifiers = dict.fromkeys(VERIFIERS, 0)
    last_data_ns = newest_ns = 0
    delay_ns: int | None = None
    header = ffi.new("bw_book *")
    for book in range(len(carrier.books)):
        if lib.bw_book_read_header(carrier.segment, book, header) != 0:
            continue  # of a book that was taken out the sums go on: counters never fall
        for name in BOOK_SUMS:
            sums[name] += getattr(header, name)
        if header.verifier_state < len(VERIFIERS):
            verifiers[VERIFIERS[header.verifier_state]] += 1
        last_data_ns = max(last_data_ns, header.last_data_ns)
        if header.exchange_ns > 0 and header.receive_ns > newest_ns:
            newest_ns = header.receive_ns
            delay_ns = newest_ns - header.exchange_ns
    return BookSums(sums, verifiers, last_data_ns, delay_ns)


def book_rows(carrier: Carrier) -> list[tuple[str, str, int]]:
    """(symbol, state, sequence) of every book."""
    header = ffi.new("bw_book *")
    return [
        (book.canonical, text_of(lib.bw_state_word(header.state)), int(header.sequence))
        for at, book in enumerate(carrier.books)
        if not lib.bw_segment_book_left(carrier.segment, at)
        and lib.bw_book_read_header(carrier.segment, at, header) == 0
    ]


def histogram_floors() -> list[int]:
    """Smallest ns of each bucket."""
    return [int(lib.bw_histogram_floor(bucket)) for bucket in range(HISTOGRAM_BUCKETS)]


def read_feed_status(run_dir: Path, exchange: str) -> dict[str, Any]:
    """The exchange process's own status file; empty when there is none or it is half-readable."""
    try:
        status = orjson.loads((run_dir / f"{exchange}.status.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return status if isinstance(status, dict) else {}


def now_ns() -> int:
    return time.time_ns()
