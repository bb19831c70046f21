"""The product's own processes for tests that look at it from outside: simulators, feeds, the gateway.

A ``stack`` starts them as the supervisor would, in directories of the test, on free ports, and leaves
none behind. What they said on stderr is shown when a test fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ports import free_ports

from handlers.errors import UnavailableError
from handlers.shm import Segment
from handlers.shm_layout import BookState

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
Process = asyncio.subprocess.Process


async def until(true: Callable[[], Any], within_s: float, what: str) -> Any:
    """Waits for a condition that nothing announces; its first true value, or a failed test."""
    try:
        async with asyncio.timeout(within_s):
            while not (value := true()):
                await asyncio.sleep(0.02)
            return value
    except TimeoutError:
        pytest.fail(f"{what}: not within {within_s} s")


class Stack:
    """Processes of one test. ``where`` holds each simulator's URLs."""

    def __init__(self, shm_dir: Path, run_dir: Path, logs: Path) -> None:
        self.shm_dir, self.run_dir, self.logs = shm_dir, run_dir, logs
        self.state_dir = logs
        self.where: dict[str, dict[str, str]] = {}
        self.symbols: dict[str, list[str]] = {}
        self.ca_file = ""
        self.processes: dict[str, Process] = {}
        self.session = aiohttp.ClientSession()

    async def start(self, name: str, *command: str, stdout: int | None = None) -> Process:
        with (self.logs / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                cwd=ROOT,
                stderr=log,
                stdout=stdout or log,
                stdin=asyncio.subprocess.DEVNULL,
            )
        self.processes[name] = process
        return process

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")[-4000:]

    async def simulate(self, exchange: str, symbols: list[str], *options: str) -> None:
        """A simulated exchange in a process of its own."""
        arguments = (
            "--exchange",
            exchange,
            "--symbols",
            ",".join(symbols),
            "--state-dir",
            str(self.state_dir),
        )
        name = f"simulator-{exchange}"
        process = await self.start(
            name, "-m", "appliance.simulator", *arguments, *options, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line, self.log(name)
        ready = json.loads(line)
        self.where[exchange], self.ca_file = ready["exchanges"][exchange], ready["ca_file"]
        self.symbols[exchange] = symbols

    async def control(self, exchange: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Asks (no body) or orders (body) the simulator's control API."""
        method, url = ("GET" if body is None else "POST"), self.where[exchange]["control_url"] + path
        context = ssl.create_default_context(cafile=self.ca_file)
        async with self.session.request(method, url, json=body, ssl=context) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def feed(self, exchange: str, **settings: Any) -> Process:
        """The exchange's feed process, pointed at its simulator."""
        place = self.where[exchange]
        given = {
            "exchange": exchange,
            "symbols": self.symbols[exchange],
            "websocket_url": place["websocket_url"],
            "rest_url": place["rest_url"],
            "ca_file": self.ca_file,
            "shm_dir": str(self.shm_dir),
            "run_dir": str(self.run_dir),
            **settings,
        }
        return await self.start(
            f"feed-{exchange}", str(TESTS / "clients" / "run_room.py"), "feed", json.dumps(given)
        )

    async def gateway(self, **settings: Any) -> str:
        """The gateway process; returns its URL once it accepts."""
        (port,) = free_ports(1)
        given = {"shm_dir": str(self.shm_dir), "run_dir": str(self.run_dir), "port": port, **settings}
        process = await self.start(
            "gateway", str(TESTS / "clients" / "run_room.py"), "gateway", json.dumps(given)
        )
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return f"ws://127.0.0.1:{port}/"
                except ConnectionRefusedError:
                    assert process.returncode is None, self.log("gateway")
                    await asyncio.sleep(0.05)

    async def kill(self, name: str) -> None:
        """kill -9, and the end of it."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def segment(self, exchange: str, within_s: float = 30) -> Segment:
        """The exchange's segment with every book LIVE."""

        def ready() -> Segment | None:
            process = self.processes.get(f"feed-{exchange}")
            assert process is None or process.returncode is None, self.log(f"feed-{exchange}")
            try:
                segment = Segment.open(self.shm_dir / f"{exchange}.shm")
            except UnavailableError:
                return None
            live = [int(state) for state in segment.books["state"]].count(BookState.LIVE)
            if live == len(self.symbols[exchange]) and segment.alive():
                return segment
            segment.close()
            return None

        try:
            segment: Segment = await until(ready, within_s, f"{exchange}: all books LIVE")
        except pytest.fail.Exception:
            print(self.log(f"feed-{exchange}"))
            raise
        return segment

    async def stop(self) -> None:
        await self.session.close()
        for process in reversed(self.processes.values()):
            if process.returncode is None:
                process.terminate()
        for name, process in self.processes.items():
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()
                print(f"{name} did not end on SIGTERM")


StartStack = Callable[[], Awaitable[Stack]]


@pytest.fixture
async def stack(shm_dir: Path, run_dir: Path, tmp_path: Path) -> AsyncIterator[Stack]:
    """Processes of this test; all are gone afterwards."""
    found = Stack(shm_dir, run_dir, tmp_path)
    yield found
    await found.stop()
    for log in sorted(tmp_path.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="session")
def peers_python() -> Path:
    """The interpreter that has ccxt; the test skips where there is none."""
    path = Path(os.environ.get("BOOKWIRE_PEERS_PYTHON", ROOT / ".peers" / "bin" / "python"))
    if not path.exists():
        pytest.skip(f"no peers at {path} (`make peers`, or BOOKWIRE_PEERS_PYTHON names their interpreter)")
    return path
