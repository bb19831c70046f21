"""Two hundred clients that ask for ranges of history, then four that have the past played as fast as it goes:
what the subscribers of the stream notice of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from typing import Any

import aiohttp
import numpy as np
import pytest
from box import Box, running
from play import until
from websockets.asyncio.client import connect

from gateway.observe import histogram_floors, read_gateway_stats

CLIENTS = 200
ROUNDS = 4  # of each kind, by turns
ROUND_S = 12.0
RATIO_MAX = 1.5  # of the best rounds' p99
EXCHANGES = "binance,okx,bybit"
CONFIG = "[record]\nrotate_s = 5\n[simulate]\nlevels = 200\n"
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


async def replays(url: str, from_ms: int) -> None:
    """As many as a gateway plays, until stdin ends; how many messages came, on stdout."""
    os.nice(19)
    found: Counter[int] = Counter()
    names = ("binance", "okx", "bybit", "binance")
    playing = [asyncio.create_task(one_replay(url, name, from_ms, found)) for name in names]
    await asyncio.to_thread(sys.stdin.read)
    for task in playing:
        task.cancel()
    ends = await asyncio.gather(*playing, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    print(json.dumps(found))


async def clients(url: str, from_ms: int) -> None:
    """All of them until stdin ends; how often each status came, on stdout."""
    os.nice(19)  # their own work is no part of what is measured
    found: Counter[int] = Counter()
    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with aiohttp.ClientSession(connector=connector) as session:
        asking = [asyncio.create_task(one_client(session, url, from_ms, found)) for _ in range(CLIENTS)]
        await asyncio.to_thread(sys.stdin.read)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    print(json.dumps(found))


async def load(box: Box, kind: str, from_ms: int) -> asyncio.subprocess.Process | None:
    pipe = asyncio.subprocess.PIPE
    if kind == "alone":
        return None
    url = box.websocket_url
    if kind == "asked":
        url = f"{box.http_url}/v1/history/binance/BTC-USDT/updates"
    return await asyncio.create_subprocess_exec(
        sys.executable, __file__, url, str(from_ms), stdin=pipe, stdout=pipe
    )


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
        p99: dict[str, list[float]] = {"alone": [], "asked": [], "played": []}
        answers = {kind: Counter[str]() for kind in p99}
        for _ in range(ROUNDS):
            for kind in p99:
                process = await load(box, kind, from_ms)
                await asyncio.sleep(3.0)  # processes start, connections open
                before = counts(box)
                await asyncio.sleep(ROUND_S)
                p99[kind].append(p99_us(counts(box) - before))
                if process is not None:
                    told, _ = await process.communicate(b"")
                    answers[kind].update(json.loads(told))
                print(f"{kind}: p99 from ring to first socket {p99[kind][-1]:.0f} us", flush=True)
        reading.cancel()
    best = {kind: min(rounds) for kind, rounds in p99.items()}
    print(f"best of {ROUNDS}, us: {best}; answers and messages: {answers}")
    assert set(answers["asked"]) <= {"200", "503"}
    assert answers["asked"]["200"] > CLIENTS / 4
    assert answers["played"]["200"] > 1000
    for kind in ("asked", "played"):
        assert best[kind] <= RATIO_MAX * best["alone"], p99


if __name__ == "__main__":
    busy = replays if sys.argv[1].startswith("ws:") else clients
    asyncio.run(busy(sys.argv[1], int(sys.argv[2])))
