"""What the HTTP process can see of the other processes: segments, status files, gateway counters."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from gateway._ffi import ffi, lib
from gateway.directory import STATES, Carrier, text_of

HISTOGRAM_BUCKETS = 256
STATUS_PATIENCE_S = 5.0
LATENCIES = (
    "published_to_seen",
    "published_to_first_sent",
    "published_to_last_sent",
    "received_to_first_sent",
)
STAGES = ("receive", "parse", "publish", "receive_to_publish")  # enum bw_stage
BUDGET = ("tcp", "tls", "websocket", "decode", "book", "ring")  # enum bw_budget
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


def budget_buckets(carrier: Carrier) -> dict[str, list[int]]:
    """Latency of each stage of some messages, counts by bucket; nothing of an older writer's segment."""
    if not lib.bw_has_timing(carrier.segment):
        return {}
    return {
        name: [lib.bw_budget_bucket(carrier.segment, part, at) for at in range(HISTOGRAM_BUCKETS)]
        for part, name in enumerate(BUDGET)
    }


def busy_ns(carrier: Carrier) -> int:
    """Of the loop's turns that received something."""
    return int(lib.bw_busy_ns(carrier.segment))


def crossed_ns(carrier: Carrier) -> int:
    """Summed over books: how long one was live with its best bid at or above its best ask."""
    return int(lib.bw_crossed_ns(carrier.segment))


def gap_buckets(carrier: Carrier) -> list[int]:
    """How long books that had been live were not, counts by bucket of microseconds."""
    return [lib.bw_gap_bucket(carrier.segment, at) for at in range(HISTOGRAM_BUCKETS)]


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


@dataclass
class FeedSeen:
    """All that metrics tell of a running exchange's process."""

    states: dict[str, int]
    counters: dict[str, int]
    books: BookSums
    busy_ns: int
    crossed_ns: int
    stages: dict[str, list[int]]
    budget: dict[str, list[int]]
    gaps: list[int]


def feed_seen(carrier: Carrier) -> FeedSeen:
    return FeedSeen(
        carrier.state_counts(),
        feed_counters(carrier),
        book_sums(carrier),
        busy_ns(carrier),
        crossed_ns(carrier),
        stage_buckets(carrier),
        budget_buckets(carrier),
        gap_buckets(carrier),
    )


def empty_feed() -> FeedSeen:
    """Every name there is, and nothing counted."""
    counters = {text_of(lib.bw_counter_name(at)): 0 for at in range(lib.bw_counter_count())}
    books = BookSums(dict.fromkeys(BOOK_SUMS, 0), dict.fromkeys(VERIFIERS, 0), 0, 0)
    none = [0] * HISTOGRAM_BUCKETS
    return FeedSeen(
        dict.fromkeys(STATES, 0),
        counters,
        books,
        0,
        0,
        dict.fromkeys(STAGES, none),
        dict.fromkeys(BUDGET, none),
        none,
    )


def empty_gateway() -> GatewayStats:
    """Every name there is, and nothing counted."""
    counters = {text_of(lib.bw_gateway_counter_name(at)): 0 for at in range(lib.bw_gateway_counter_count())}
    latency = {name: [0] * HISTOGRAM_BUCKETS for name in LATENCIES}
    return GatewayStats(counters, latency, dict.fromkeys(LATENCIES, 0))


def histogram_floors() -> list[int]:
    """Smallest ns of each bucket."""
    return [int(lib.bw_histogram_floor(bucket)) for bucket in range(HISTOGRAM_BUCKETS)]


def read_status(run_dir: Path, name: str) -> dict[str, Any]:
    """The own status file of an exchange's process, ``up``, ``record`` or ``mirror``; empty when there is
    none or it is half-readable."""
    try:
        status = orjson.loads((run_dir / f"{name}.status.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return status if isinstance(status, dict) else {}


def is_fresh(status: Mapping[str, Any]) -> bool:
    """Whether a status that is written each second was written lately."""
    return abs(time.time() - float(status["time"])) < STATUS_PATIENCE_S


def read_sink_statuses(run_dir: Path) -> list[dict[str, Any]]:
    """What each sink of this box wrote last; a stopped one leaves none."""
    found = []
    for path in sorted(run_dir.glob("sink.*.status.json")):
        try:
            found.append(orjson.loads(path.read_bytes()))
        except (OSError, orjson.JSONDecodeError):
            continue  # it has just ended
    return found


def empty_sink() -> dict[str, Any]:
    """What a sink that has done nothing would write."""
    counts = ("rows", "batches", "duplicates", "failures", "retries", "backlog_bytes", "backlog_files")
    told: dict[str, Any] = dict.fromkeys((*counts, "time", "lag_s"), 0)
    return {**told, "kind": "", "connected": False, "lost": {"": 0}}


def empty_recorder() -> dict[str, Any]:
    """What a recorder that has recorded nothing would write."""
    whole = ("time", "bytes", "budget_bytes", "files_removed", "sync_errors", "cpu_seconds")
    counts = ("records", "raw_records", "bytes", "books", "overruns", "gaps", "disk_errors", "files")
    of_one = dict.fromkeys((*counts, "oversize", "lag_bytes"), 0)
    return {**dict.fromkeys(whole, 0), "exchanges": {"": of_one}}


def empty_mirror() -> dict[str, Any]:
    """What a mirror that has mirrored nothing would write."""
    counts = ("time", "records", "snapshots", "beats", "unknown", "refused", "errors")
    return {**dict.fromkeys(counts, 0), "exchanges": {"": {"age_s": 0, "books_waiting": 0}}}


def now_ns() -> int:
    return time.time_ns()
