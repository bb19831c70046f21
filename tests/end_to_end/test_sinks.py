"""A box on simulators with all its sinks, real servers behind them, and a second gateway fed by the topic."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets
from box import Box, running
from ports import free_ports
from servers import KafkaServer, PostgresServer, until

psycopg = pytest.importorskip("psycopg")
pytest.importorskip("confluent_kafka")
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
CONFIG = """
[simulate]
levels = 200
[sinks]
name = "box"
[sinks.kafka]
url = "{kafka}"
[sinks.postgres]
url = "{postgres}"
"""
SUBSCRIBE = {"op": "subscribe", "channel": "binance:BTC-USDT", "depth": 200, "interval": 0, "stamps": True,
             "numbers": "string"}  # fmt: skip
Seen = dict[int, tuple[Any, Any]]


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaServer]:
    with KafkaServer() as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as made:
        made.start()
        yield made


@contextmanager
def gateway_from(url: str) -> Iterator[tuple[str, Path]]:
    """(WebSocket URL, run_dir) of a gateway elsewhere."""
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as shm, tempfile.TemporaryDirectory() as run:
        (port,) = free_ports(1)
        process = subprocess.Popen([
            sys.executable, "-P", "-m", "appliance.cli", "gateway", "--from", url, "--shm-dir", f"{shm}/shm",
            "--run-dir", run, "--port", str(port),
        ])  # fmt: skip
        try:
            yield f"ws://127.0.0.1:{port}/", Path(run)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert list(Path(shm).glob("shm/*.shm")) == [], "a stopped mirror leaves nothing"


async def watch(url: str, seen: Seen, empty: asyncio.Event) -> None:
    """Every view of the book by its number; ``empty`` when the book was taken out."""
    async for socket in websockets.connect(url, max_size=None):
        try:
            await socket.send(json.dumps(SUBSCRIBE))
            async for text in socket:
                told = json.loads(text)
                if told["type"] != "snapshot":
                    continue
                data = told["data"]
                if data["bids"] or data["asks"]:
                    seen[data["seq"]] = data["bids"], data["asks"]
                else:
                    empty.set()
        except websockets.ConnectionClosed:
            continue


async def for_event(met: Any, what: str, patience_s: float = 240) -> None:
    async with asyncio.timeout(patience_s):
        while not met():
            await asyncio.sleep(0.05)
    assert met(), what


def pid_of_mirror(run_dir: Path) -> int:
    return int(json.loads((run_dir / "mirror.status.json").read_bytes())["pid"])


async def compare(box: Box, url: str, run_dir: Path) -> None:
    here: Seen = {}
    there: Seen = {}
    gone = asyncio.Event()
    tasks = [
        asyncio.create_task(watch(box.websocket_url, here, asyncio.Event())),
        asyncio.create_task(watch(url, there, gone)),
    ]
    try:
        await for_event(lambda: len(here.keys() & there.keys()) > 100, "both show the book")
        os.kill(pid_of_mirror(run_dir), signal.SIGKILL)
        await asyncio.wait_for(gone.wait(), 60)
        count = len(there)
        await for_event(lambda: len(there) > count + 20, "the mirror is back")
        sink = box.pid("sink kafka")
        assert sink
        os.kill(sink, signal.SIGKILL)
        newest = max(here)
        await for_event(lambda: max(there) > newest + 50, "the sink is back")
        common = here.keys() & there.keys()
        assert len(common) > 100
        assert [seq for seq in sorted(common) if here[seq] != there[seq]] == []
        gone.clear()
        feed = box.pid("feed binance")
        assert feed
        os.kill(feed, signal.SIGKILL)
        await asyncio.wait_for(gone.wait(), 60)
        here.clear()
        there.clear()
        await for_event(lambda: len(here.keys() & there.keys()) > 50, "the restarted exchange")
        common = here.keys() & there.keys()
        assert [seq for seq in sorted(common) if here[seq] != there[seq]] == []
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_a_subscriber_elsewhere_gets_the_same_book_at_the_same_sequence(
    kafka: KafkaServer, postgres: PostgresServer
) -> None:
    config = CONFIG.format(kafka=kafka.url("books"), postgres=postgres.url)
    with (
        running("--exchanges", "binance,okx", "--symbols", "BTC-USDT", config=config) as box,
        gateway_from(kafka.url("books")) as (url, run_dir),
    ):
        asyncio.run(compare(box, url, run_dir))
        _rows_have_no_hole(postgres)
        status = json.loads((box.run_dir / "sink.postgres.status.json").read_bytes())
        assert status["lost"]["updates"] == 0
        told = subprocess.run(
            [sys.executable, "-P", "-m", "appliance.cli", "status", "--shm-dir", box.shm_dir, "--run-dir",
             box.run_dir],
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        assert "sink postgres   connected" in told
        assert "sink kafka      connected" in told


def _rows_have_no_hole(postgres: PostgresServer) -> None:
    """Of each book and process of the exchange: first to last, each once."""
    with psycopg.connect(postgres.url) as connection:

        def whole() -> bool:
            rows = connection.execute(
                "SELECT exchange, generation, min(sequence), max(sequence), count(*) FROM book_updates "
                "WHERE type <> 'snapshot' GROUP BY 1, 2"
            ).fetchall()
            connection.rollback()
            return len(rows) >= 3 and all(row[2] == 1 and row[3] == row[4] for row in rows)

        until(whole, "every sequence of every process from 1 on")
