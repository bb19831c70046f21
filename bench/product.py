"""Bookwire as it runs: a TLS exchange at a given rate, a feed, the gateway, each on the core it is told.

Latencies are the product's own histograms (shared memory of the feed, statistics of the gateway), read
before and after the measured time; a percentile is the upper edge of its bucket, an eighth of an octave.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.certificates import Certificates
from bench.frames import Dataset
from bench.programs import HERE, start
from gateway.observe import read_gateway_stats
from handlers.shm import Segment, Stage
from handlers.shm_layout import histogram_floor_ns

READY_S = 20.0
Histogram = list[int]


@dataclass(frozen=True)
class Layout:
    """Which core is whose (no gateway: None), and how feed and gateway wait."""

    exchange_cpu: int
    feed_cpu: int
    gateway_cpu: int | None
    poll: str  # "busy" or "epoll"


@dataclass(frozen=True)
class Product:
    """A running one. ``snapshot`` gives every stage's histogram as it stands."""

    shm_dir: Path
    exchange: str
    gateway_port: int
    gateway_pid: int

    def snapshot(self) -> dict[str, Histogram]:
        with Segment.open(self.shm_dir / f"{self.exchange}.shm") as segment:
            found = {stage.name: [int(n) for n in segment.histogram(stage)] for stage in Stage}
        stats = read_gateway_stats(self.shm_dir / "gateway.stats")
        return found | ({name: list(buckets) for name, buckets in stats.latency.items()} if stats else {})


def between(before: dict[str, Histogram], after: dict[str, Histogram], stage: str) -> Histogram:
    return [b - a for a, b in zip(before[stage], after[stage], strict=True)]


def percentile_ns(histogram: Histogram, part: float) -> float:
    """Upper edge of the bucket that holds the part. Raises RuntimeError for an empty histogram."""
    wanted, seen = part * sum(histogram), 0
    if not wanted:
        raise RuntimeError("nothing was measured")
    for bucket, count in enumerate(histogram):
        seen += count
        if seen >= wanted:
            return float(histogram_floor_ns(bucket + 1))
    raise RuntimeError("unreachable: the parts of a histogram add up")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("the gateway did not start")


def started(stack: ExitStack, command: list[str], cpu: int) -> subprocess.Popen[str]:
    """A process that is gone when the stack is left: told to end, killed if it does not."""
    process = start(command, cpu)

    def stop() -> None:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(stop)
    return process


@contextmanager
def running(
    program: Path, certificates: Certificates, dataset: Dataset, rate: int, layout: Layout
) -> Iterator[Product]:
    """``program`` is tick_server. Raises RuntimeError when the book does not come to life."""
    with ExitStack() as stack:
        shm_dir = Path(
            stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm", prefix="bookwire-bench-"))
        )
        run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bookwire-run-")))
        port = free_port() if layout.gateway_cpu is not None else 0
        common = {"shm_dir": str(shm_dir), "run_dir": str(run_dir), "poll": layout.poll}
        gateway_pid = 0
        if layout.gateway_cpu is not None:
            settings = json.dumps({**common, "port": port, "cpu": layout.gateway_cpu})
            command = [sys.executable, str(HERE / "workers" / "gateway.py"), settings]
            gateway = started(stack, command, layout.gateway_cpu)
            wait_for_port(port, gateway)
            gateway_pid = gateway.pid
        exchange = started(
            stack,
            [str(program), certificates.leaf, certificates.key, str(dataset.path), str(rate)],
            layout.exchange_cpu,
        )
        assert exchange.stdout is not None
        order = {
            **common,
            "exchange": dataset.venue,
            "symbol": dataset.symbol,
            "cpu": layout.feed_cpu,
            "price_decimals": dataset.price_decimals,
            "quantity_decimals": dataset.quantity_decimals,
            "port": int(exchange.stdout.readline()),
            "ca_file": certificates.authority,
        }
        feed = started(
            stack, [sys.executable, str(HERE / "workers" / "feed.py"), json.dumps(order)], layout.feed_cpu
        )
        assert feed.stdout is not None
        if feed.stdout.readline() != "live\n":
            raise RuntimeError("the feed's book did not come to life")
        yield Product(shm_dir, dataset.venue, port, gateway_pid)
