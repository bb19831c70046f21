"""Measures each way frames can take on this box with the same traffic: sockets, asleep or spinning; DPDK.

The traffic comes from a process in a namespace, on the kernel's TCP, over veth pairs (bench_interface: from
the other end of a configured interface's wire); each way is a process of its own that keeps one book in
shared memory, where this one reads what it did. Rounds take turns, the median of the rounds is told.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles

from appliance import wires
from appliance.config import Exchange
from appliance.paths import DRIVERS, Measured
from appliance.wires import Wires
from handlers.errors import UnavailableError
from handlers.path_end import EXCHANGE, Task
from handlers.shm import Segment
from handlers.shm_layout import RecordType

WAYS = ("sockets_epoll", "sockets_busy", *DRIVERS)
SETTLE_S = 0.5  # caches, rates of the clock
LOOK_S = 0.02
STOP_S = 10.0
LIVE_S = 30.0  # EAL, memory, driver, TLS
MESSAGES_MIN = 100  # fewer say nothing
PRIORITY = -18
THREAD = "bw-feed"  # BW_FEED_THREAD_NAME of feed.h


@dataclass(frozen=True)
class Options:
    """``seconds`` of each way and round."""

    seconds: float
    rounds: int
    rate: float


@dataclass(frozen=True)
class Outcome:
    """Of one way: what was measured, if anything, and why a round of it failed, if one did."""

    way: str
    measured: Measured | None
    reason: str = ""


def measure(run_dir: Path, options: Options, told: Callable[[str], None]) -> list[Outcome]:
    """All ways. Raises PermissionError (77) or UnavailableError (69) where wires cannot be made."""
    wires.check()
    run_dir.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Measured]] = {way: [] for way in WAYS}
    reasons = dict.fromkeys(WAYS, "")
    with tempfile.TemporaryDirectory(dir=run_dir, prefix="bench-") as name:
        directory, lines = Path(name), Wires(Path(name), (EXCHANGE,))
        try:
            lines.make()
            with _traffic(lines, directory, options.rate) as (port, ca_file):
                for number, way in itertools.product(range(options.rounds), WAYS):
                    told(f"round {number + 1} of {options.rounds}: {way}")
                    try:
                        task = _task(way, lines, directory, port, ca_file)
                        found[way].append(watch(task, options.seconds))
                    except UnavailableError as error:
                        reasons[way] = str(error)
        finally:
            lines.remove()
    return outcomes(found, reasons)


def outcomes(found: Mapping[str, Sequence[Measured]], reasons: Mapping[str, str]) -> list[Outcome]:
    """Of each way the median of its rounds."""
    return [Outcome(way, _median(found[way]) if found[way] else None, reasons[way]) for way in found]


def _median(rounds: Sequence[Measured]) -> Measured:
    return Measured(
        sum(one.messages for one in rounds),
        median(one.p50_us for one in rounds),
        median(one.p99_us for one in rounds),
        median(one.cycles_per_packet for one in rounds),
        median(one.waited for one in rounds),
    )


def cores() -> tuple[int, int]:
    """Of the traffic, and of the loop that is measured: two where there are two."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


@contextlib.contextmanager
def _traffic(lines: Wires, directory: Path, rate: float) -> Iterator[tuple[int, str]]:
    command = [sys.executable, "-P", "-m", "appliance.traffic", "0.0.0.0", str(rate), str(directory)]
    with _child(["ip", "netns", "exec", lines.namespace, *command]) as process:
        os.sched_setaffinity(process.pid, {cores()[0]})
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise UnavailableError("the traffic does not start", where=_words(process))
        told = json.loads(line)
        yield told["port"], told["ca_file"]


@contextlib.contextmanager
def _child(command: Sequence[str], *, until_stdin_ends: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Ends with the block, by SIGKILL where it must."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True, preexec_fn=_go_first
    )
    try:
        yield process
    finally:
        if not until_stdin_ends:
            process.terminate()
        try:
            process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _go_first() -> None:
    """Of the child: strangers on its core cost less. A session of its own is weighed against theirs."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
        Path("/proc/self/autogroup").write_text(str(PRIORITY))


def _words(process: subprocess.Popen[str]) -> str:
    _, errors = process.communicate(timeout=STOP_S)
    return (errors.strip().splitlines() or ["no word from it"])[-1]


def _task(way: str, lines: Wires, directory: Path, port: int, ca_file: str) -> Task:
    past, by_kernel = lines.names(EXCHANGE)
    usual = Task(
        str(directory), by_kernel, port, ca_file, way.removeprefix("sockets_"), cores()[1], None, None, ()
    )
    if way not in DRIVERS:
        return usual
    url = f"wss://{by_kernel}:{port}/"
    table = lines.table(EXCHANGE, Exchange(), {"websocket_url": url, "rest_url": url, "ca_file": ca_file})
    device = f"{way}:{table.interface}"
    return Task(
        str(directory), past, port, ca_file, "busy", cores()[1], device, table.interface, table.addresses
    )


def watch(task: Task, seconds: float) -> Measured:
    """One way for so long. Raises UnavailableError with why it cannot be measured."""
    command = [sys.executable, "-P", "-m", "handlers.path_end", json.dumps(asdict(task))]
    path = Path(task.directory) / f"{EXCHANGE}.shm"
    with _child(command, until_stdin_ends=True) as process, _live(path, process) as segment:
        _let_run(process, SETTLE_S)  # the loop sets its clock a hundred times a second
        return _watch(segment, process, seconds, spins=task.poll == "busy")


def _live(path: Path, process: subprocess.Popen[str]) -> Segment:
    """The process's segment once its book moves. Raises UnavailableError when it does not."""
    give_up = time.monotonic() + LIVE_S
    while time.monotonic() < give_up:
        _let_run(process, LOOK_S)
        with contextlib.suppress(UnavailableError):
            segment = Segment.open(path)
            its = segment.header["writer_pid"] == process.pid  # not the one before
            if its and segment.symbols and segment.books[0]["updates"] > 1:
                return segment
            segment.close()
    raise UnavailableError(f"nothing came in {LIVE_S:.0f} s")


def _let_run(process: subprocess.Popen[str], seconds: float) -> None:
    """So long, or raises UnavailableError when it ends."""
    assert process.stdout is not None
    ended, _, _ = select.select([process.stdout], [], [], seconds)
    if ended:
        raise UnavailableError(f"it ended: {_words(process)}")


def _watch(segment: Segment, process: subprocess.Popen[str], seconds: float, *, spins: bool) -> Measured:
    """A loop that spins uses all of its core: only turns that received something count."""
    ring, latencies = segment.records(), []
    messages, busy_ns, began = segment.stats["messages"], segment.busy_ns, time.monotonic()
    cpu_ns, waited_ns = scheduled_ns(process.pid, THREAD)
    end = began + seconds
    while time.monotonic() < end:
        _let_run(process, LOOK_S)
        latencies += [
            int(record.header["published_ns"]) - int(record.header["exchange_ns"])
            for record in ring
            if record.type is RecordType.DELTA
        ]
    messages, busy_ns = segment.stats["messages"] - messages, segment.busy_ns - busy_ns
    cpu_ns, waited_ns = (
        after - before
        for before, after in zip((cpu_ns, waited_ns), scheduled_ns(process.pid, THREAD), strict=True)
    )
    if len(latencies) < MESSAGES_MIN:
        raise UnavailableError(f"only {len(latencies)} updates came in {seconds:g} s")
    cuts = quantiles(latencies, n=100)
    cycles = (busy_ns if spins else cpu_ns) * (segment.cycles_per_second or 10**9) / 1e9
    waited = waited_ns / 1e9 / (time.monotonic() - began)
    return Measured(messages, cuts[49] / 1000, cuts[98] / 1000, cycles / messages, waited)


def scheduled_ns(pid: int, thread: str) -> tuple[int, int]:
    """CPU that the process's thread of that name has had, and how long it stood ready without any."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == thread:
            had, waited, _ = (task / "schedstat").read_text().split()
            return int(had), int(waited)
    raise UnavailableError(f"process {pid} has no thread {thread}")
