"""The gateway's counters, as the HTTP process reads them."""

from __future__ import annotations

from typing import Any

from gateway.observe import read_gateway_stats


def counters(gateway: Any) -> dict[str, int]:
    stats = read_gateway_stats(gateway.settings.shm_dir / "gateway.stats")
    assert stats is not None
    return stats.counters
