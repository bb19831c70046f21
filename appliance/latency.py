"""Where a message's time goes in an exchange's process, from its histograms in shared memory.

Percentiles are the upper edge of a bucket (an eighth of an octave), since the process started.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from appliance.observe import Observer
from gateway.overview import latency_of
from handlers import shm_layout
from handlers.shm import Segment
from handlers.shm_layout import Budget, Stage

TOTAL = "receive_to_publish"
FLOORS = [shm_layout.histogram_floor_ns(bucket) for bucket in range(shm_layout.HISTOGRAM_BUCKETS)]


def gather(observer: Observer, exchanges: Iterable[str]) -> list[dict[str, Any]]:
    """For --json, an entry an exchange that has a segment; a stage that was never measured is null."""
    found = ((name, observer.segment(name)) for name in exchanges)
    return [_of(name, segment) for name, segment in found if segment is not None]


def _of(name: str, segment: Segment) -> dict[str, Any]:
    stages = {part.name.lower(): latency_of(_counts(segment.budget(part)), FLOORS) for part in Budget}
    return {
        "exchange": name,
        "measured_one_in": segment.budget_every,
        "cycles_per_second": segment.cycles_per_second or None,
        "stages": stages,
        TOTAL: latency_of(_counts(segment.histogram(Stage.RECEIVE_TO_PUBLISHED)), FLOORS),
    }


def _counts(histogram: Any) -> list[int]:
    return [int(count) for count in histogram]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """For people: p50 and p99 of each stage, and of the whole way, which is measured in every message."""
    parts = [part.name.lower() for part in Budget]
    lines = [["exchange", *parts, "received to ring", "messages"]]
    for row in rows:
        cells = [_pair(row["stages"][part]) for part in parts]
        count = str(row[TOTAL]["count"]) if row[TOTAL] else "0"
        lines.append([row["exchange"], *cells, _pair(row[TOTAL]), count])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    every = next((row["measured_one_in"] for row in rows if row["measured_one_in"]), 0)
    note = f"p50, p99 in us since the start; stages of one message in {every}, tcp past the kernel only"
    return "\n".join([*(line.rstrip() for line in text), note])


def _pair(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return "-"
    return f"{told['p50_ns'] / 1000:.2f}, {told['p99_ns'] / 1000:.2f}"
