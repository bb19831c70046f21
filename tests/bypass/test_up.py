"""``bookwire up --simulate --path dpdk``: five exchanges on kernel TCP, five processes past it. Needs root.

What is held here is what must hold on any machine, however loaded: the same books as over sockets, no gap
and no new connection where a neighbour is killed, nothing left behind, and a loud way back to sockets.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from box import Box, running
from privileged import need

from appliance.wires import Wires
from handlers.errors import UnavailableError
from handlers.shm import Book, ReadError, Segment

EXCHANGES = ("binance", "coinbase", "okx", "bybit", "kraken")
SYMBOL = "BTC-USDT"
LEVELS = "[simulate]\nlevels = 200\n"
PATIENCE_S = 60.0
NUMBERED = (
    "binance",
    "okx",
    "bybit",
)  # by the book, not by the connection; the others: when all stands still
pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _able() -> None:
    need()


def until(what: str, holds: Callable[[], Any]) -> Any:
    """What the callable gives, once it is true; shared memory and files are looked at every 20 ms."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not {what} within {PATIENCE_S:.0f} s"
        time.sleep(0.02)
    return found


def told(box: Box, exchange: str) -> dict[str, Any]:
    """The status file of the exchange's process."""
    found: dict[str, Any] = json.loads((box.run_dir / f"{exchange}.status.json").read_bytes())
    return found


def copy(path: Path) -> Book | None:
    """The only book of a segment, None while it cannot be had."""
    try:
        with Segment.open(path) as segment:
            return segment.book(0) if len(segment.symbols) else None
    except (ReadError, UnavailableError):
        return None


def pause(box: Box, exchange: str) -> None:
    url = f"{box.simulator(exchange)['control_url']}/pause"
    request = urllib.request.Request(url, data=b"{}", headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, context=box.tls(), timeout=PATIENCE_S) as answer:
        assert answer.status == 200


@contextmanager
def by_sockets(box: Box, exchange: str, directory: Path) -> Iterator[Path]:
    """The same exchange's books by another process, over the kernel: its segment."""
    simulator = box.simulator(exchange)
    by_kernel = urlsplit(simulator["control_url"]).netloc
    stream = urlsplit(simulator["websocket_url"])._replace(netloc=by_kernel).geturl()
    config = directory / f"{exchange}.toml"
    config.write_text(
        f'[exchange.{exchange}]\nsymbols = ["{SYMBOL}"]\npath = "sockets"\nwebsocket_url = "{stream}"\n'
        f'rest_url = "https://{by_kernel}"\nca_file = "{simulator["ca_file"]}"\n'
    )
    places = ("--shm-dir", directory / "shm", "--run-dir", directory / "run", "--config", config)
    command = [sys.executable, "-m", "appliance.cli", "feed", exchange, *map(str, places)]
    process = subprocess.Popen(command)
    try:
        yield directory / "shm" / f"{exchange}.shm"
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)


def same(exchange: str, mine: Path, other: Path) -> bool:
    """Whether both processes have the same book at the exchange's same sequence."""
    depth = 10 if exchange == "kraken" else None  # its checksum proves the best ten only
    one, two = copy(mine), copy(other)
    if one is None or two is None or not one.decimals("bids"):
        return False
    sequences = [int(book.header["venue_sequence"]) for book in (one, two)]
    sides = [[book.decimals(side)[:depth] for side in ("bids", "asks")] for book in (one, two)]
    return sides[0] == sides[1] and (exchange not in NUMBERED or sequences[0] == sequences[1])


def test_five_exchanges_past_the_kernel(driver: str, tmp_path: Path) -> None:
    arguments = (
        "--path",
        "dpdk",
        "--driver",
        driver,
        "--symbols",
        SYMBOL,
        "--exchanges",
        ",".join(EXCHANGES),
    )
    with running(*arguments, config=LEVELS) as box, ExitStack() as beside:
        for name in EXCHANGES:
            path = until(f"a status of {name}", lambda name=name: told(box, name)["datapath"])
            assert path["kind"] == "dpdk"
            assert f"{driver}:" in path["device"]
        with urllib.request.urlopen(f"{box.http_url}/metrics", timeout=PATIENCE_S) as answer:
            metrics = answer.read().decode()
        assert 'bookwire_datapath_info{exchange="okx",kind="dpdk",fell_back="false"} 1' in metrics
        assert 'bookwire_datapath_drops_total{exchange="okx",reason="tcp_checksum"} 0' in metrics
        a_killed_one_leaves_the_others_alone(box)
        kernels = {name: beside.enter_context(by_sockets(box, name, tmp_path)) for name in EXCHANGES}
        for name, path in kernels.items():
            until(f"{name} by sockets", lambda path=path: (book := copy(path)) and book.state.name == "LIVE")
        for name in EXCHANGES:
            pause(box, name)
        for name, path in kernels.items():
            mine = box.shm_dir / f"{name}.shm"
            until(f"{name} the same both ways", lambda n=name, a=mine, b=path: same(n, a, b))


def a_killed_one_leaves_the_others_alone(box: Box) -> None:
    others = [name for name in EXCHANGES if name != "okx"]
    with box.observer() as observer:
        before = {row.exchange: row for row in observer.look()}
        victim = box.pid("feed okx")
        assert victim
        os.kill(victim, signal.SIGKILL)
        until("okx again", lambda: box.pid("feed okx") not in (None, victim))
        until("okx live again", lambda: {row.exchange: row for row in observer.look()}["okx"].all_live)
        fresh = {row.exchange: row for row in observer.look()}
        updates = {name: fresh[name].books[0].updates for name in others}
        assert all(updates[name] > before[name].books[0].updates for name in others)
        for name in others:
            was, now = before[name], fresh[name]
            assert (now.pid, now.counters["connects"]) == (was.pid, was.counters["connects"]), name
            assert (now.books[0].gaps, now.books[0].resyncs) == (was.books[0].gaps, was.books[0].resyncs)
    until("okx past the kernel again", lambda: told(box, "okx")["datapath"]["kind"] == "dpdk")


def traces(box: Box) -> list[str]:
    """Interfaces and namespaces of the box that are there."""
    wires = Wires(box.run_dir, ["okx"])
    stem = wires.interface("okx").rstrip("0123456789")
    links = [
        path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith(stem.split("-")[0])
    ]
    return links + [path.name for path in Path("/run/netns").glob(wires.namespace)]


def test_nothing_is_left_and_a_later_start_takes_away_what_a_killed_one_left() -> None:
    box = Box("--path", "dpdk", "--symbols", SYMBOL, "--exchanges", "okx", config=LEVELS)
    try:
        box.start()
        assert len(traces(box)) == 3  # its wire, that of REST, the namespace
        family = box.family()
        os.kill(family[0].pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(family[1:], timeout=PATIENCE_S)
        assert alive == []
        assert traces(box)
        box._end(box.process)
        box.start()
        assert len(traces(box)) == 3
        assert box.process
        box.process.send_signal(signal.SIGTERM)
        assert box.process.wait(timeout=PATIENCE_S) == 0
        assert traces(box) == []
    finally:
        box.stop()
        Wires(box.run_dir, ["okx"]).remove()


NO_SUCH = 'device = "af_packet:bwnosuch0"\naddresses = ["192.0.2.2/24"]\nhugepages = false\n'


def test_what_fails_falls_back_to_sockets_and_says_so() -> None:
    config = f"{LEVELS}[exchange.okx]\n{NO_SUCH}"
    with running("--symbols", SYMBOL, "--exchanges", "okx", config=config) as box:
        path = told(box, "okx")["datapath"]
        assert path["kind"] == "sockets"
        assert "start the network" in path["reason"]
        assert "bwnosuch0" in path["reason"]
        with urllib.request.urlopen(f"{box.http_url}/metrics", timeout=PATIENCE_S) as answer:
            metrics = answer.read().decode()
        assert 'bookwire_datapath_info{exchange="okx",kind="sockets",fell_back="true"} 1' in metrics
        processes = {each["name"]: each for each in box.status()["processes"]}
        assert processes["feed okx"]["restarts"] == 1
        until("the event", lambda: any(line.startswith("datapath_fell_back ") for line in box.messages))


def test_what_is_demanded_and_cannot_be_had_ends_the_run_with_the_reason() -> None:
    config = f'{LEVELS}[exchange.okx]\npath = "dpdk"\n{NO_SUCH}'
    box = Box("--symbols", SYMBOL, "--exchanges", "okx", config=config)
    try:
        done = subprocess.run(box.command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    finally:
        box.stop()
    assert (done.returncode, done.stdout) == (69, "")
    assert "start the network" in done.stderr
    assert "bwnosuch0" in done.stderr
    assert "name an interface of this machine" in done.stderr
