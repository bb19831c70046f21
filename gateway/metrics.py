"""Prometheus text of the whole box, from shared memory and status files; nothing is asked of the loops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from typing import Any

from gateway import observe
from gateway.directory import Carrier, SegmentDirectory
from gateway.settings import HttpSettings

PREFIX = "bookwire_"
GAUGES = frozenset(
    {"largest_frame_bytes", "receive_queue_bytes", "pending_bytes_peak", "chunks_used", "connections_open"}
)
GATEWAY_GAUGES = frozenset({"clients", "groups", "mirrors", "ring_lag_bytes", "segments_open"})
DATAPATH_GAUGES = frozenset(
    {"waiting_bytes", "connections", "time_waits", "link_up", "port_buffers_free", "port_link_mbps"}
)
LE_NS = [1 << octave for octave in range(7, 35)]  # 128 ns .. 17 s


def product_version() -> str:
    try:
        return version("bookwire")
    except PackageNotFoundError:
        return "unknown"


class Exposition:
    """Collects samples by metric, so that each metric's HELP and TYPE stand once."""

    def __init__(self) -> None:
        self._metrics: dict[str, tuple[str, str, list[str]]] = {}

    def add(self, name: str, kind: str, text: str, value: float, /, **labels: str) -> None:
        """One sample of a gauge or counter."""
        self._samples(name, kind, text).append(f"{PREFIX}{name}{_labels(labels)} {_value(value)}")

    def histogram(self, name: str, text: str, buckets: list[int], sum_ns: float, **labels: str) -> None:
        """A histogram in seconds from counts by native bucket."""
        samples = self._samples(name, "histogram", text)
        below = list(accumulate(buckets))
        floors = observe.histogram_floors()
        for le_ns in LE_NS:
            at = sum(1 for floor in floors if floor < le_ns) - 1
            samples.append(
                f"{PREFIX}{name}_bucket{_labels({**labels, 'le': _value(le_ns / 1e9)})} {below[at]}"
            )
        samples.append(f"{PREFIX}{name}_bucket{_labels({**labels, 'le': '+Inf'})} {below[-1]}")
        samples.append(f"{PREFIX}{name}_sum{_labels(labels)} {_value(sum_ns / 1e9)}")
        samples.append(f"{PREFIX}{name}_count{_labels(labels)} {below[-1]}")

    def _samples(self, name: str, kind: str, text: str) -> list[str]:
        return self._metrics.setdefault(name, (kind, text, []))[2]

    def lines(self) -> Iterable[str]:
        for name, (kind, text, samples) in self._metrics.items():
            yield f"# HELP {PREFIX}{name} {text}"
            yield f"# TYPE {PREFIX}{name} {kind}"
            yield from samples

    def text(self) -> str:
        return "\n".join([*self.lines(), ""])


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    escaped = {
        key: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        for key, value in labels.items()
    }
    return "{" + ",".join(f'{key}="{value}"' for key, value in escaped.items()) + "}"


def _value(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _feed(out: Exposition, carrier: Carrier, settings: HttpSettings) -> None:
    exchange = carrier.exchange.id
    out.add("feed_up", "gauge", "1 while the exchange's process runs.", carrier.alive, exchange=exchange)
    if not carrier.alive:
        return
    for state, count in carrier.state_counts().items():
        out.add("books", "gauge", "Books by state.", count, exchange=exchange, state=state)
    for name, value in observe.feed_counters(carrier).items():
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
    books = observe.book_sums(carrier)
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
    for stage, buckets in observe.stage_buckets(carrier).items():
        middles = zip(buckets, observe.histogram_floors(), strict=True)
        about = sum(count * floor for count, floor in middles)
        out.histogram(
            "stage_latency_seconds", "Time spent in a stage.", buckets, about, exchange=exchange, stage=stage
        )
    if settings.symbol_labels:
        for symbol, state, sequence in observe.book_rows(carrier):
            out.add(
                "book_sequence", "gauge", "Our sequence number of the book.", sequence,
                exchange=exchange, symbol=symbol, state=state,
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


def exposition(settings: HttpSettings, directory: SegmentDirectory) -> str:
    """The whole page."""
    out = Exposition()
    out.add("build_info", "gauge", "Version of the product.", 1, version=product_version())
    for carrier in directory.carriers():
        _feed(out, carrier, settings)
        status = observe.read_status(settings.run_dir, carrier.exchange.id)
        if status:
            _feed_status(out, carrier.exchange.id, status)
    recorder = observe.read_status(settings.run_dir, "record")
    if recorder:
        _recorder(out, recorder)
    stats = observe.read_gateway_stats(settings.shm_dir / "gateway.stats")
    alive = stats is not None and stats.alive(observe.now_ns(), settings.writer_patience_ms)
    out.add("gateway_up", "gauge", "1 while the gateway's loop turns.", alive)
    if stats is not None:
        _gateway(out, stats)
    return out.text()
