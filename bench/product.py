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
from handlers.shm import Segment
from handlers.shm_layout import Stage, histogram_floor_ns

READY_S = 20.0
Histogram = list[int]


@dataclass(frozen=True)
class Layout:
    """Which core is whose (no gateway: None), and how they wait: "busy" or "epoll"."""

    exchange_cpu: int
    feed_cpu: int
    gateway_cpu: int | None
    feed_poll: str
    gateway_poll: str


@dataclass(frozen=True)
class Product:
    """A running one. ``snapshot`` gives every stage's histogram as it stands."""

    shm_dir: Path
    exchange: str
    gateway_port: int
    gateway_pid: int
    feed_pid: int

    def message_bytes(self) -> int:
        """What the gateway's messages have on average so far. Raises RuntimeError when it sent none."""
        stats = read_gateway_stats(self.shm_dir / "gateway.stats")
        if not stats or not stats.counters["messages_sent"]:
            raise RuntimeError("the gateway sent nothing")
        return stats.counters["bytes_sent"] // stats.counters["messages_sent"]

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


def worker(stack: ExitStack, name: str, order: dict[str, object], cpu: int) -> subprocess.Popen[str]:
    return started(stack, [sys.executable, str(HERE / "workers" / f"{name}.py"), json.dumps(order)], cpu)


def feed_from(
    stack: ExitStack,
    program: Path,
    certificates: Certificates,
    order: dict[str, object],
    rate: int,
    layout: Layout,
) -> subprocess.Popen[str]:
    """tick_server and the feed that is connected to it."""
    command = [str(program), certificates.leaf, certificates.key, str(order["path"]), str(rate)]
    exchange = started(stack, command, layout.exchange_cpu)
    assert exchange.stdout is not None
    port = int(exchange.stdout.readline())
    more = {"poll": layout.feed_poll, "cpu": layout.feed_cpu, "port": port, "ca_file": certificates.authority}
    return worker(stack, "feed", {**order, **more}, layout.feed_cpu)


@contextmanager
def running(
    program: Path | None, certificates: Certificates, dataset: Dataset, rate: int, layout: Layout
) -> Iterator[Product]:
    """``program`` is tick_server; None: updates go through the engine without an exchange in front.

    Raises RuntimeError when the book does not come to life.
    """
    with ExitStack() as stack:
        shm_dir, run_dir = (
            stack.enter_context(tempfile.TemporaryDirectory(dir=place, prefix="bookwire-bench-"))
            for place in ("/dev/shm", None)
        )
        port = gateway_pid = 0
        if layout.gateway_cpu is not None:
            port = free_port()
            settings = {
                "shm_dir": shm_dir,
                "run_dir": run_dir,
                "port": port,
                "cpu": layout.gateway_cpu,
                "poll": layout.gateway_poll,
            }
            gateway = worker(stack, "gateway", settings, layout.gateway_cpu)
            wait_for_port(port, gateway)
            gateway_pid = gateway.pid
        order: dict[str, object] = {
            "shm_dir": shm_dir, "run_dir": run_dir, "venue": dataset.venue, "symbol": dataset.symbol,
            "path": str(dataset.path), "price_decimals": dataset.price_decimals,
            "quantity_decimals": dataset.quantity_decimals,
        }  # fmt: skip
        if program is None:
            writer = worker(stack, "publisher", {**order, "rate": rate}, layout.feed_cpu)
        else:
            writer = feed_from(stack, program, certificates, order, rate, layout)
        assert writer.stdout is not None
        if writer.stdout.readline() != "live\n":
            raise RuntimeError("the book did not come to life")
        yield Product(Path(shm_dir), dataset.venue, port, gateway_pid, writer.pid)
