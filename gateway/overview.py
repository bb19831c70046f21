"""The box at a glance, as one JSON document: each exchange's books, ages, counters and latency."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from gateway import observe
from gateway.directory import Carrier, SegmentDirectory
from gateway.interruptions import Interruptions
from gateway.settings import HttpSettings

WORST_FIRST = ("down", "resync", "stale", "syncing")
FEED_STATES = ("live", *reversed(WORST_FIRST))
LATENCY = "receive_to_publish"


def overview(
    settings: HttpSettings, directory: SegmentDirectory, interruptions: Interruptions
) -> dict[str, Any]:
    """Every exchange in the public order, also those that do not run here; ages in ms, latency in ns."""
    now_ns = observe.now_ns()
    stats = observe.read_gateway_stats(settings.shm_dir / "gateway.stats")
    gateway = {"up": False, "clients": 0, "subscriptions": 0}
    if stats is not None:
        counters = stats.counters
        gateway = {
            "up": stats.alive(now_ns, settings.writer_patience_ms),
            "clients": counters["clients"],
            "subscriptions": sum(
                value for name, value in counters.items() if name.startswith("subscriptions_")
            ),
        }
    return {
        "ts": now_ns // 1_000_000,
        "gateway": gateway,
        "exchanges": [
            {**_exchange(carrier, now_ns), "interruptions": interruptions.told(carrier.exchange.id)}
            for carrier in directory.carriers()
        ],
    }


def _exchange(carrier: Carrier, now_ns: int) -> dict[str, Any]:
    row = carrier.exchange
    about = {"id": row.id, "name": row.name, "number": row.number, "quote": row.quote}
    counts, total = carrier.state_counts(), len(carrier.books) - len(carrier.left)
    state, why = state_of(carrier, counts, total)
    if not carrier.alive:
        empty = {"age_ms": None, "updates": 0, "gaps": 0, "resyncs": 0, "latency": None}
        return {**about, "state": state, "why": why, "books": counts, "total": total, **empty}
    books = observe.book_sums(carrier)
    age_ms = max(0.0, (now_ns - books.last_data_ns) / 1e6) if books.last_data_ns else None
    told = {name: books.sums[name] for name in ("updates", "gaps", "resyncs")}
    latency = latency_of(observe.stage_buckets(carrier)[LATENCY], observe.histogram_floors())
    return {
        **about, "state": state, "why": why, "books": counts, "total": total, "age_ms": age_ms, **told,
        "latency": latency,
    }  # fmt: skip


def state_of(carrier: Carrier, counts: dict[str, int], total: int) -> tuple[str, str]:
    """``live`` only when every book is; else the worst state among them, and why in words."""
    if carrier.segment is None:
        return ("off", "does not run here") if not carrier.by_name else ("down", "its process is gone")
    if not carrier.alive:
        return "down", "its process does not answer"
    if counts["live"] == total:
        return "live", f"all {total} books"
    worst = next(state for state in WORST_FIRST if counts[state])
    return worst, ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def latency_of(buckets: list[int], floors: list[int]) -> dict[str, Any] | None:
    """Percentiles (a bucket's upper edge) and counts by octave, of what came since the process started."""
    total = sum(buckets)
    if not total:
        return None
    edges = [*floors[1:], floors[-1] * 2]
    pairs = list(zip(buckets, edges, strict=True))

    def percentile(share: float) -> int:
        seen = 0
        for count, edge in pairs:
            seen += count
            if seen >= share * total:
                return edge
        return edges[-1]

    used = [at for at, count in enumerate(buckets) if count]
    spans = groupby(range(used[0], used[-1] + 1), key=lambda at: floors[at].bit_length())
    octaves = [
        [1 << (bits - 1) if bits else 0, sum(buckets[at] for at in members)] for bits, members in spans
    ]
    return {"count": total, "p50_ns": percentile(0.5), "p99_ns": percentile(0.99), "octaves": octaves}
