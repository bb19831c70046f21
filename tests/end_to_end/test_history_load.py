"""Two hundred clients that ask for ranges of history, then four that have the past played as fast as it goes:
what the subscribers of the stream notice of them.

Whoever works for them stands still in every other window of two seconds, so that what else the machine does
weighs on both kinds of window alike.
"""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import aiohttp
import numpy as np
import psutil
import pytest
from box import Box, running
from play import until
from websockets.asyncio.client import connect

from gateway.observe import histogram_floors, read_gateway_stats
from handlers.background import stand_back

CLIENTS = 200
WINDOWS = 12  # with the load, and as many without, by turns
WINDOW_S, SETTLE_S = 2.0, 0.2
RATIO_MAX = 1.5  # of the medians of the windows' p99
EXCHANGES = "binance,okx,bybit"
CONFIG = "[record]\nrotate_s = 5\n[simulate]\nlevels = 200\nrate = 60\n"
WORKERS = ("multiprocessing.spawn", "gateway.player")  # of queries and of replays
STAGE = "published_to_first_sent"


def counts(box: Box) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The gateway's own histogram: from the ring to the first subscriber's socket."""
    stats = read_gateway_stats(box.shm_dir / "gateway.stats")
    assert stats is not None
    return np.asarray(stats.latency[STAGE])


def p99_us(histogram: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    below = np.cumsum(histogram)
    return histogram_floors()[int(np.searchsorted(below, below[-1] * 0.99))] / 1000


async def one_client(session: aiohttp.ClientSession, url: str, from_ms: int, found: Counter[int]) -> None:
    """Range after range; who is told to come again later does."""
    while True:
        query = {"from": str(from_ms), "to": str(int(time.time() * 1000)), "limit": "2000"}
        async with session.get(url, params=query) as answer:
            await answer.read()
            found[answer.status] += 1
            if answer.status == 503:
                await asyncio.sleep(float(answer.headers["Retry-After"]))


async def one_replay(url: str, exchange: str, from_ms: int, found: Counter[int]) -> None:
    """One replay after the other, every change of it."""
    async with connect(url, max_size=1 << 24) as client:
        while True:
            request = {"op": "subscribe", "channel": f"{exchange}:BTC-USDT", "mode": "inc", "interval": 0}
            await client.send(json.dumps({**request, "from": from_ms, "speed": 1000}))
            async for text in client:
                found[200] += 1
                if '"replayed"' in text[:20]:
                    break
                assert '"error"' not in text[:20], text


async def begun(found: Counter[int]) -> None:
    """Says so on stdout."""
    while not found[200]:
        await asyncio.sleep(0.05)
    print("begun", flush=True)


async def replays(url: str, from_ms: int) -> None:
    """As many as a gateway plays, until stdin ends; how many messages came, on stdout."""
    stand_back()  # their own work is no part of what is measured
    found: Counter[int] = Counter()
    names = ("binance", "okx", "bybit", "binance")
    playing = [asyncio.create_task(one_replay(url, name, from_ms, found)) for name in names]
    await begun(found)
    await asyncio.to_thread(sys.stdin.read)
    for task in playing:
        task.cancel()
    ends = await asyncio.gather(*playing, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    print(json.dumps(found))


async def clients(url: str, from_ms: int) -> None:
    """All of them until stdin ends; how often each status came, on stdout."""
    stand_back()  # their own work is no part of what is measured
    found: Counter[int] = Counter()
    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with aiohttp.ClientSession(connector=connector) as session:
        asking = [asyncio.create_task(one_client(session, url, from_ms, found)) for _ in range(CLIENTS)]
        await begun(found)
        await asyncio.to_thread(sys.stdin.read)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    print(json.dumps(found))


async def load(box: Box, kind: str, from_ms: int) -> asyncio.subprocess.Process:
    """Under way: something was answered."""
    pipe = asyncio.subprocess.PIPE
    url = box.websocket_url
    if kind == "asked":
        url = f"{box.http_url}/v1/history/binance/BTC-USDT/updates"
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, url, str(from_ms), stdin=pipe, stdout=pipe
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 180) == b"begun\n"
    return process


@contextmanager
def standing_still(box: Box, client: asyncio.subprocess.Process) -> Iterator[None]:
    """The clients and the product's processes that work for them; nothing else."""
    working = [psutil.Process(client.pid)]
    for process in box.family():
        with suppress(psutil.NoSuchProcess):
            if any(name in word for word in process.cmdline() for name in WORKERS):
                working.append(process)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in working:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        if number == signal.SIGSTOP:
            yield


async def window(box: Box) -> float:
    """p99 of the next two seconds."""
    await asyncio.sleep(SETTLE_S)
    before = counts(box)
    await asyncio.sleep(WINDOW_S)
    return p99_us(counts(box) - before)


async def compared(box: Box, kind: str, from_ms: int) -> tuple[float, Counter[str]]:
    """How many times as long the p99 is with the load as without it, and what the clients got."""
    alone, loaded = [], []
    client = await load(box, kind, from_ms)
    for _ in range(WINDOWS):
        with standing_still(box, client):
            alone.append(await window(box))
        loaded.append(await window(box))
    told, _ = await client.communicate(b"")
    found = Counter(json.loads(told))
    medians = statistics.median(alone), statistics.median(loaded)
    print(f"{kind}: p99 from ring to first socket, median of {WINDOWS} windows: alone {medians[0]:.0f} us, "
          f"with the load {medians[1]:.0f} us; {dict(found)}", flush=True)  # fmt: skip
    return medians[1] / medians[0], found


async def read_on(box: Box) -> None:
    """A subscriber of every change."""
    async with connect(box.websocket_url, max_size=1 << 24) as client:
        request = {"op": "subscribe", "channel": "consbook:BTC-USDT", "mode": "inc", "interval": 0}
        await client.send(json.dumps(request))
        async for _ in client:
            pass


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_queries_and_replays_do_not_move_the_streams_p99() -> None:
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    with running("--exchanges", EXCHANGES, "--symbols", "BTC-USDT,ETH-USDT", config=CONFIG) as box:
        from_ms = int(time.time() * 1000)
        parquet = box.run_dir / "data" / "simulated" / "record" / "parquet" / "binance" / "BTC-USDT"
        await until(lambda: len(list(parquet.glob("*.parquet"))) >= 2, 120, "there is history", every_s=0.5)
        reading = asyncio.create_task(read_on(box))
        asked, answers = await compared(box, "asked", from_ms)
        played, messages = await compared(box, "played", from_ms)
        reading.cancel()
    assert set(answers) <= {"200", "503"}
    assert answers["200"] > CLIENTS / 4  # who is told to come again does
    assert messages["200"] > 1000
    assert asked <= RATIO_MAX
    assert played <= RATIO_MAX


if __name__ == "__main__":
    busy = replays if sys.argv[1].startswith("ws:") else clients
    asyncio.run(busy(sys.argv[1], int(sys.argv[2])))
