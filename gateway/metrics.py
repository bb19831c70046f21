"""Prometheus text of the whole box, from shared memory and status files; nothing is asked of the loops."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gateway import observe
from gateway.directory import Carrier, SegmentDirectory
from gateway.exposition import Exposition
from gateway.overview import FEED_STATES, state_of
from gateway.settings import HttpSettings
from hw import clock

GAUGES = frozenset(
    {"largest_frame_bytes", "receive_queue_bytes", "pending_bytes_peak", "chunks_used", "connections_open"}
)
GATEWAY_GAUGES = frozenset({"clients", "groups", "mirrors", "ring_lag_bytes", "segments_open"})
DATAPATH_GAUGES = frozenset(
    {"waiting_bytes", "connections", "time_waits", "link_up", "port_buffers_free", "port_link_mbps"}
)
LE_BUDGET_NS = [1 << octave for octave in range(4, 25)]  # 16 ns .. 17 ms
LE_GAP_US = [1 << octave for octave in range(10, 33)]  # 1 ms .. 72 minutes


def product_version() -> str:
    try:
        return version("bookwire")
    except PackageNotFoundError:
        return "unknown"


def _feed(out: Exposition, carrier: Carrier, settings: HttpSettings) -> None:
    exchange = carrier.exchange.id
    wanted = settings.exchanges is None or exchange in settings.exchanges
    if not wanted and not carrier.by_name:
        return  # neither shall it run here nor did it
    counts, total = carrier.state_counts(), len(carrier.books) - len(carrier.left)
    _up(out, exchange, carrier.alive, state_of(carrier, counts, total)[0])
    if not carrier.alive:
        return
    _feed_seen(out, exchange, observe.feed_seen(carrier))
    if settings.symbol_labels:
        for row in observe.book_rows(carrier):
            _book(out, exchange, *row)


def _up(out: Exposition, exchange: str, alive: bool, state: str) -> None:
    out.add("feed_up", "gauge", "1 while the exchange's process runs.", alive, exchange=exchange)
    for each in FEED_STATES:
        is_so = each == ("down" if state == "off" else state)
        text = "1 for the exchange's state: live when all its books are, else that of the worst."
        out.add("feed_state", "gauge", text, is_so, exchange=exchange, state=each)


def _book(out: Exposition, exchange: str, symbol: str, state: str, sequence: int) -> None:
    out.add(
        "book_sequence", "gauge", "Our sequence number of the book.", sequence,
        exchange=exchange, symbol=symbol, state=state,
    )  # fmt: skip


def _feed_seen(out: Exposition, exchange: str, seen: observe.FeedSeen) -> None:
    for state, count in seen.states.items():
        out.add("books", "gauge", "Books by state.", count, exchange=exchange, state=state)
    for name, value in seen.counters.items():
        if name in GAUGES:
            out.add(f"feed_{name}", "gauge", f"Of the exchange's process: {name}.", value, exchange=exchange)
        else:
            out.add(
                f"feed_{name}_total",
                "counter",
                f"Of the exchange's process: {name}.",
                value,
                exchange=exchange,
            )
    books = seen.books
    out.add(
        "feed_last_data_timestamp_seconds", "gauge", "When any book last got data.", books.last_data_ns / 1e9,
        exchange=exchange,
    )  # fmt: skip
    if books.exchange_delay_ns is not None:
        out.add(
            "exchange_delay_seconds",
            "gauge",
            "From the exchange's stamp on the newest update until it was read, by both clocks.",
            books.exchange_delay_ns / 1e9,
            exchange=exchange,
        )
    told = {
        "updates": "book_updates", "gaps": "sequence_gaps", "resyncs": "book_resyncs",
        "checksums_ok": "checksums_ok", "checksums_bad": "checksum_failures", "crossed": "books_crossed",
        "audits": "book_audits", "audit_mismatches": "book_audit_mismatches", "jumps": "sequence_jumps",
        "rounded": "numbers_rounded",
    }  # fmt: skip
    for name, value in books.sums.items():
        out.add(f"{told[name]}_total", "counter", f"Summed over books: {name}.", value, exchange=exchange)
    for verifier, count in books.verifiers.items():
        out.add(
            "checksum_verifier_state",
            "gauge",
            "Books by verifier state.",
            count,
            exchange=exchange,
            state=verifier,
        )
    _times(out, exchange, seen)


def _times(out: Exposition, exchange: str, seen: observe.FeedSeen) -> None:
    """Stages that every message passes, the finer ones that some are measured in, and gaps of books."""
    for stage, buckets in seen.stages.items():
        out.histogram(
            "stage_latency_seconds", "Time spent in a stage.", buckets, exchange=exchange, stage=stage
        )
    for stage, buckets in seen.budget.items():
        text = "Time from one stage's border to the next, of one message in eight."
        out.histogram("budget_seconds", text, buckets, edges=LE_BUDGET_NS, exchange=exchange, stage=stage)
    out.add(
        "feed_busy_seconds_total", "counter", "Of the loop's turns that received something.",
        seen.busy_ns / 1e9, exchange=exchange,
    )  # fmt: skip
    text = "Summed over books: live with best bid >= best ask; counted when that is over."
    out.add("crossed_seconds_total", "counter", text, seen.crossed_ns / 1e9, exchange=exchange)
    out.histogram(
        "gap_seconds", "How long a book that had been live was not.", seen.gaps,
        edges=LE_GAP_US, per_s=1e6, exchange=exchange,
    )  # fmt: skip


def _clock(out: Exposition) -> None:
    """What the kernel's clock discipline says; exchange delays can be no truer than this clock."""
    try:
        state = clock.synchronisation()
    except OSError:
        return  # a sandbox may forbid adjtimex(2)
    _clock_state(out, state)


def _clock_state(out: Exposition, state: clock.Synchronisation) -> None:
    out.add("clock_synchronised", "gauge", "1 while something keeps the time of day.", state.synchronised)
    out.add(
        "clock_offset_seconds", "gauge", "Correction of the time of day under way.", state.offset_ns / 1e9
    )
    out.add(
        "clock_error_seconds", "gauge", "Bound of the time of day's error; grows unless synchronised.",
        state.error_ns / 1e9,
    )  # fmt: skip


def _feed_status(out: Exposition, exchange: str, status: Mapping[str, Any]) -> None:
    subscriptions = status.get("subscriptions", {})
    for state in ("requested", "acknowledged", "refused", "standing"):
        out.add(
            "subscriptions", "gauge", "Subscriptions at the exchange, by state.", subscriptions.get(state, 0),
            exchange=exchange, state=state,
        )  # fmt: skip
    for reason, count in status.get("reconnects", {}).items():
        out.add(
            "feed_reconnects_total",
            "counter",
            "Reconnects by reason.",
            count,
            exchange=exchange,
            reason=str(reason),
        )
    for reason, count in status.get("not_live", {}).items():
        text = "Times a live book stopped being live, by reason."
        out.add("books_not_live_total", "counter", text, count, exchange=exchange, reason=str(reason))
    _datapath(out, exchange, status.get("datapath", {}))
    rest = status.get("rest", {})
    out.add(
        "rest_requests_total", "counter", "REST requests sent.", rest.get("requests", 0), exchange=exchange
    )
    out.add(
        "rest_failures_total",
        "counter",
        "REST requests that failed.",
        rest.get("failures", 0),
        exchange=exchange,
    )
    if rest.get("limit"):
        out.add(
            "rest_weight_used_ratio", "gauge", "REST weight used of the budget.",
            rest.get("used", 0) / rest["limit"], exchange=exchange,
        )  # fmt: skip


def _datapath(out: Exposition, exchange: str, told: Mapping[str, Any]) -> None:
    """Sockets or past the kernel, and what the network past it counts."""
    if not told:
        return
    fell = str("reason" in told).lower()
    out.add(
        "datapath_info", "gauge", "How frames come in; fell_back: past the kernel was wanted and failed.", 1,
        exchange=exchange, kind=told["kind"], fell_back=fell,
    )  # fmt: skip
    for name, value in told.get("counters", {}).items():
        if name.startswith("drop_"):
            reason = name.removeprefix("drop_")
            text = "Frames and segments past the kernel that were dropped, by reason."
            out.add("datapath_drops_total", "counter", text, value, exchange=exchange, reason=reason)
        elif name in DATAPATH_GAUGES:
            out.add(
                f"datapath_{name}",
                "gauge",
                f"Of the network past the kernel: {name}.",
                value,
                exchange=exchange,
            )
        else:
            text = f"Of the network past the kernel: {name}."
            out.add(f"datapath_{name}_total", "counter", text, value, exchange=exchange)


def _gateway(out: Exposition, stats: observe.GatewayStats) -> None:
    for name, value in stats.counters.items():
        if name in ("started_ns", "beat_ns"):
            stem = name.removesuffix("_ns")
            out.add(
                f"gateway_{stem}_timestamp_seconds", "gauge", f"When the gateway's loop {stem}.", value / 1e9
            )
        elif name.startswith("subscriptions_"):
            kind = name.removeprefix("subscriptions_")
            out.add("gateway_subscriptions", "gauge", "Subscriptions by channel type.", value, type=kind)
        elif name.startswith("slow_"):
            policy = name.removeprefix("slow_")
            out.add(
                "gateway_slow_clients_total", "counter", "Times a client fell behind.", value, policy=policy
            )
        elif name.startswith("refused_"):
            limit = name.removeprefix("refused_")
            out.add("gateway_refused_total", "counter", "Refusals by limit.", value, limit=limit)
        elif name.startswith("ring_overruns"):
            out.add("ring_overruns_total", "counter", "Times a ring lapped the gateway.", value)
        elif name in ("bytes_sent", "messages_sent"):
            noun = name.removesuffix("_sent")
            out.add(f"gateway_sent_{noun}_total", "counter", f"Sent to subscribers: {noun}.", value)
        elif name in GATEWAY_GAUGES:
            out.add(f"gateway_{name}", "gauge", f"Of the gateway: {name}.", value)
        else:
            out.add(f"gateway_{name}_total", "counter", f"Of the gateway: {name}.", value)
    for name, buckets in stats.latency.items():
        out.histogram(
            "gateway_latency_seconds", "From the ring or the feed's socket to subscribers.", buckets,
            stats.latency_sum_ns[name], stage=name,
        )  # fmt: skip


def _sink(out: Exposition, told: Mapping[str, Any]) -> None:
    sink = str(told["kind"])
    up = observe.is_fresh(told)
    out.add("sink_up", "gauge", "1 while the sink's process runs.", up, sink=sink)
    out.add("sink_connected", "gauge", "1 while its target answers.", up and told["connected"], sink=sink)
    for name in ("rows", "batches", "duplicates", "failures", "retries"):
        out.add(f"sink_{name}_total", "counter", f"Of the sink: {name}.", told[name], sink=sink)
    for name in ("backlog_bytes", "backlog_files"):
        out.add(f"sink_{name}", "gauge", "Recorded and not delivered yet.", told[name], sink=sink)
    text = "Age of the newest block that was delivered, 0 without a backlog."
    out.add("sink_lag_seconds", "gauge", text, told["lag_s"], sink=sink)
    for what, value in told["lost"].items():
        text = "What the journal no longer had, or never had, for the sink."
        out.add("sink_lost_total", "counter", text, value, sink=sink, what=what)


def _mirror(out: Exposition, told: Mapping[str, Any]) -> None:
    up = observe.is_fresh(told)
    out.add("mirror_up", "gauge", "1 while the process that mirrors a topic runs.", up)
    for name in ("records", "snapshots", "beats", "unknown", "refused", "errors"):
        out.add(f"mirror_{name}_total", "counter", f"Of the mirror of a topic: {name}.", told[name])
    for exchange, each in told["exchanges"].items():
        text = "Age of the newest beat of the exchange's origin, -1: none came yet."
        out.add("mirror_beat_age_seconds", "gauge", text, each["age_s"], exchange=exchange)
        text = "Books that are not whole and wait for a copy."
        out.add("mirror_books_waiting", "gauge", text, each["books_waiting"], exchange=exchange)


def _recorder(out: Exposition, told: Mapping[str, Any]) -> None:
    """What the recorder says of itself once a second; a status that is older is a dead recorder's."""
    out.add("recorder_up", "gauge", "1 while the recorder writes its status.", observe.is_fresh(told))
    out.add("recorder_disk_bytes", "gauge", "What the recording takes of the disk.", told["bytes"])
    out.add("recorder_budget_bytes", "gauge", "What it may take.", told["budget_bytes"])
    out.add("recorder_files_removed_total", "counter", "Files that retention took.", told["files_removed"])
    out.add("recorder_sync_errors_total", "counter", "Times fdatasync() failed.", told["sync_errors"])
    out.add("recorder_cpu_seconds_total", "counter", "CPU time of the recorder.", told["cpu_seconds"])
    for exchange, counts in told["exchanges"].items():
        for name, value in counts.items():
            if name == "lag_bytes":
                text = "Bytes of the update ring that are not recorded yet."
                out.add("recorder_lag_bytes", "gauge", text, value, exchange=exchange)
            else:
                text = f"Of the recorder: {name.replace('_', ' ')}."
                out.add(f"recorder_{name}_total", "counter", text, value, exchange=exchange)


def described() -> list[tuple[str, str, list[str], str]]:
    """Every metric there can be, sorted: name, kind, labels, help. Past the kernel its counters are more."""
    out = Exposition()
    _build(out)
    _up(out, "", True, "live")
    _feed_seen(out, "", observe.empty_feed())
    _book(out, "", "", "", 0)
    counters = dict.fromkeys((*DATAPATH_GAUGES, "drop_"), 0)
    by_reason = {"reconnects": {"": 0}, "not_live": {"": 0}}
    status = {**by_reason, "rest": {"limit": 1}, "datapath": {"kind": "", "counters": counters}}
    _feed_status(out, "", status)
    _gateway_up(out, True)
    _gateway(out, observe.empty_gateway())
    _clock_state(out, clock.Synchronisation(synchronised=False, offset_ns=0, error_ns=0))
    _sink(out, observe.empty_sink())
    _mirror(out, observe.empty_mirror())
    _recorder(out, observe.empty_recorder())
    return sorted(out.described())


def _build(out: Exposition) -> None:
    out.add("build_info", "gauge", "Version of the product.", 1, version=product_version())


def _gateway_up(out: Exposition, alive: bool) -> None:
    out.add("gateway_up", "gauge", "1 while the gateway's loop turns.", alive)


def exposition(settings: HttpSettings, directory: SegmentDirectory) -> str:
    """The whole page."""
    out = Exposition()
    _build(out)
    _clock(out)
    for carrier in directory.carriers():
        _feed(out, carrier, settings)
        status = observe.read_status(settings.run_dir, carrier.exchange.id)
        if status:
            _feed_status(out, carrier.exchange.id, status)
    for told in observe.read_sink_statuses(settings.run_dir):
        _sink(out, told)
    if mirror := observe.read_status(settings.run_dir, "mirror"):
        _mirror(out, mirror)
    recorder = observe.read_status(settings.run_dir, "record")
    if recorder:
        _recorder(out, recorder)
    stats = observe.read_gateway_stats(settings.shm_dir / "gateway.stats")
    alive = stats is not None and stats.alive(observe.now_ns(), settings.writer_patience_ms)
    _gateway_up(out, alive)
    if stats is not None:
        _gateway(out, stats)
    return out.text()
