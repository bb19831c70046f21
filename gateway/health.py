"""Whether the box does its job: enough books live on enough exchanges, and a gateway that turns."""

from __future__ import annotations

from dataclasses import dataclass

from gateway import observe
from gateway.directory import SegmentDirectory
from gateway.settings import HttpSettings


@dataclass(frozen=True)
class Check:
    name: str
    good: bool
    detail: str

    def line(self) -> str:
        return f"[{'+' if self.good else '-'}] {self.name}: {self.detail}"


def book_checks(settings: HttpSettings, directory: SegmentDirectory) -> list[Check]:
    """Readiness: live exchanges and live books against their configured minimum."""
    live = [carrier.state_counts()["live"] for carrier in directory.carriers()]
    exchanges, books = sum(1 for count in live if count), sum(live)
    return [
        Check(
            "exchanges", exchanges >= settings.live_exchanges_min,
            f"{exchanges} live, at least {settings.live_exchanges_min} wanted",
        ),
        Check(
            "books", books >= settings.live_books_min,
            f"{books} live, at least {settings.live_books_min} wanted",
        ),
    ]  # fmt: skip


def gateway_check(settings: HttpSettings) -> Check:
    """Whether the gateway's native loop turned lately."""
    stats = observe.read_gateway_stats(settings.shm_dir / "gateway.stats")
    if stats is None:
        return Check("gateway", False, "not running")
    age_s = (observe.now_ns() - stats.counters["beat_ns"]) / 1e9
    good = stats.alive(observe.now_ns(), settings.writer_patience_ms)
    return Check("gateway", good, f"{stats.counters['clients']} clients, loop turned {age_s:.1f} s ago")
