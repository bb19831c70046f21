"""One update to many subscribers: the gateway, a bare loop of send() and socketify, same sockets, same run.

Servers run on one core, the receivers on another. When an update reached a subscriber is the kernel's
stamp on its packet, taken inside the server's send(), for all three alike. Latencies are measured with
the server spinning where it can (Bookwire, the bare loop); CPU a delivery with it sleeping between
updates, over the whole process. socketify polls its loop all the time, so its CPU says nothing.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench import frames
from bench.certificates import Certificates
from bench.cores import Cores, cpu_ns
from bench.frames import Dataset
from bench.product import Layout
from bench.product import running as product
from bench.programs import BUILD, HERE, PEERS, build, start
from bench.report import Report, Row, at_least, at_most, paired

UPDATE_BYTES = 1024
RATE = 100
MEASURED_S = 2.5
SETTLE_S = 0.7
FLOOR_TIMES = 1.1
MERGED = (16, 32, 64)  # updates socketify may merge into one write; its best counts
SATURATION_SUBSCRIBERS = 100
SATURATION_RATES = (15_000, 20_000, 25_000, 30_000)
CHANGES = 45  # make an update of about UPDATE_BYTES
SUBSCRIBE = json.dumps(
    {
        "op": "subscribe",
        "channel": "bybit:BTC-USDT",
        "depth": 200,
        "mode": "inc",
        "interval": 0,
        "stamps": True,
    }
)


@dataclass(frozen=True)
class Serving:
    """A server that is up: where, whose CPU counts, and what a client sends to be served."""

    port: int
    pid: int
    subscribe: str
    path: str = "/"


Server = Callable[[], AbstractContextManager[Serving]]


@dataclass(frozen=True)
class Fanout:
    """What the receivers saw: ns from published to the first and the last subscriber, CPU a delivery."""

    first_p50_ns: float
    first_p99_ns: float
    last_p50_ns: float
    last_p99_ns: float
    cpu_ns: float
    per_second: float


def receive(receivers: Path, cores: Cores, serving: Serving, count: int, stamped: bool) -> Fanout:
    """Subscribes ``count`` times, lets it settle, measures. Raises RuntimeError when nothing comes."""
    command = [
        str(receivers),
        str(serving.port),
        str(count),
        str(int(stamped)),
        serving.path,
        serving.subscribe,
    ]
    process = start(command, cores.client)
    assert process.stdin is not None
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError("receivers: the server did not take the subscribers")
    cores.rest(SETTLE_S)
    process.stdin.write("go\n")
    process.stdin.flush()
    before = cpu_ns(serving.pid)
    cores.rest(MEASURED_S)
    spent = cpu_ns(serving.pid) - before
    process.stdin.write("stop\n")
    process.stdin.flush()
    seen: dict[str, Any] = json.loads(process.stdout.readline())
    process.wait(timeout=10)
    if not seen["messages"]:
        raise RuntimeError("receivers: no message came")
    return Fanout(
        seen["first_p50_ns"],
        seen["first_p99_ns"],
        seen["last_p50_ns"],
        seen["last_p99_ns"],
        spent / seen["messages"],
        seen["messages"] / seen["seconds"],
    )


@contextmanager
def running(command: list[str], cpu: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server process that prints its port first."""
    process = start(command, cpu)
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def bare(program: Path, cores: Cores, count: int, how: str) -> Server:
    @contextmanager
    def serve() -> Iterator[Serving]:
        command = [str(program), str(count), str(UPDATE_BYTES), str(RATE), how]
        with running(command, cores.server) as (process, port):
            yield Serving(port, process.pid, "{}")

    return serve


def socketify(cores: Cores, rate: int, batch: int) -> Server:
    @contextmanager
    def serve() -> Iterator[Serving]:
        script = str(HERE / "workers" / "socketify_server.py")
        command = [str(PEERS / "bin" / "python"), script, str(UPDATE_BYTES), str(rate), str(batch)]
        with running(command, cores.server) as (process, port):
            yield Serving(port, process.pid, "{}")

    return serve


def gateway(
    program: Path | None, certificates: Certificates, dataset: Dataset, cores: Cores, rate: int, poll: str
) -> Server:
    @contextmanager
    def serve() -> Iterator[Serving]:
        layout = Layout(cores.client, cores.client, cores.server, "epoll", poll)
        with product(program, certificates, dataset, rate, layout) as found:
            yield Serving(found.gateway_port, found.gateway_pid, SUBSCRIBE)

    return serve


Seen = dict[str, list[Fanout]]


def rounds(receivers: Path, cores: Cores, servers: dict[str, Server], count: int, times: int) -> Seen:
    """Every server in turn, ``times`` times."""
    seen: Seen = {name: [] for name in servers}
    for _ in range(times):
        for name, server in servers.items():
            with server() as serving:
                seen[name].append(receive(receivers, cores, serving, count, stamped=True))
    return seen


def of(seen: Seen, name: str, field: str) -> list[float]:
    return [float(getattr(one, field)) for one in seen[name]]


def compare(seen: Seen, count: int) -> list[Row]:
    rows = [
        Row(
            f"{count} subscribers: {name}, last of them",
            f"{median(of(seen, name, 'last_p50_ns')) / 1000:,.0f} us",
            note=f"p99 {median(of(seen, name, 'last_p99_ns')) / 1000:,.0f} us; "
            f"first {median(of(seen, name, 'first_p50_ns')) / 1000:,.1f} us; "
            f"CPU {median(of(seen, name, 'cpu_ns')) / 1000:,.2f} us a delivery",
        )
        for name in seen
    ]
    if "Bookwire" in seen:
        last = paired(of(seen, "bare send()", "last_p50_ns"), of(seen, "Bookwire", "last_p50_ns"))
        spent = paired(of(seen, "bare send(), sleeping", "cpu_ns"), of(seen, "Bookwire, sleeping", "cpu_ns"))
        rows += [
            at_most(f"last of {count} subscribers, of the bare loop's", last, FLOOR_TIMES, "x"),
            at_most(f"CPU a delivery to {count} subscribers, of the bare loop's", spent, FLOOR_TIMES, "x"),
        ]
    return rows


def saturation(receivers: Path, cores: Cores, ours: dict[str, Server]) -> list[Row]:
    """Deliveries a second with updates as fast as they can be made, writes merged."""
    best: dict[str, float] = {}
    flooded = {f"socketify, {batch} merged": socketify(cores, 0, batch) for batch in MERGED}
    for name, server in (flooded | ours).items():
        with server() as serving:
            best[name] = receive(receivers, cores, serving, SATURATION_SUBSCRIBERS, stamped=False).per_second
    rows = [
        Row(f"saturation, {SATURATION_SUBSCRIBERS} subscribers: {name}", f"{rate / 1e6:,.2f} M/s")
        for name, rate in best.items()
    ]
    theirs = max(best[name] for name in flooded)
    if ours:
        value = max(best[name] for name in ours) / theirs
        rows.append(at_least("deliveries/s at saturation, of socketify's best", value, 1.0, "x"))
    return rows


def run(report: Report, cores: Cores, times: int) -> None:
    section = f"fan-out of {UPDATE_BYTES} byte updates, {RATE} a second"
    receivers, floor = build("receivers.c"), build("send_floor.c")
    exchange = build("tick_server.c", flags=("-lssl", "-lcrypto"))
    if receivers is None or floor is None or exchange is None:
        report.add(section, Row("fan-out", "not measured", note="no C compiler or no OpenSSL headers"))
        return
    dataset = frames.generated("bybit", BUILD, changes=CHANGES)
    with tempfile.TemporaryDirectory() as directory:
        certificates = Certificates.make(Path(directory))

        def ours(rate: int, poll: str, source: Path | None = exchange) -> Server:
            return gateway(source, certificates, dataset, cores, rate, poll)

        for count in (100, 1000):
            servers: dict[str, Server] = {
                "bare send()": bare(floor, cores, count, "busy"),
                "Bookwire": ours(RATE, "busy"),
                "bare send(), sleeping": bare(floor, cores, count, "sleep"),
                "Bookwire, sleeping": ours(RATE, "epoll"),
                "socketify": socketify(cores, RATE, 1),
            }
            report.add(section, *compare(rounds(receivers, cores, servers, count, times), count))
        flooded = {f"Bookwire, {rate} updates/s": ours(rate, "busy", None) for rate in SATURATION_RATES}
        report.add(section, *saturation(receivers, cores, flooded))
