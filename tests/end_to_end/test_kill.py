"""kill -9 of each process: it comes back, its books are right again, and nobody else notices.

Two readers run through a feed's death, copying every book as fast as they can: none may ever wait long,
whatever state a killed writer left its memory in.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress

import aiohttp
import pytest
from box import ROOMS, Box, running
from play import Player, until, watched
from websockets.asyncio.client import connect

from handlers.errors import UnavailableError
from handlers.registry import VENUES
from handlers.shm import ReadError, Segment

SYMBOL = "BTC-USDT"
# What the README promises, seconds from the kill until all is as before.
BACK_S = 20.0
READ_S = 0.5  # one copy of a book, on cores that are busy with everything else


EACH = [
    pytest.param(room, name, id=name, marks=[] if number == 0 else pytest.mark.long)
    for number, room in enumerate(ROOMS)
    for name in room
]


def started(room: Sequence[str]) -> AbstractContextManager[Box]:
    """A process for each simulator too, so that they fall one by one."""
    config = f"[simulate]\nlevels = 200\nprocesses = {len(room)}\n"
    return running("--symbols", f"{SYMBOL},ETH-USDT", "--exchanges", ",".join(room), config=config)


@pytest.fixture(scope="module")
def room(request: pytest.FixtureRequest) -> Sequence[str]:
    chosen: Sequence[str] = getattr(request, "param", ROOMS[0])
    return chosen


@pytest.fixture(scope="module")
def box(room: Sequence[str]) -> Iterator[Box]:
    with started(room) as box:
        yield box


class Reader(threading.Thread):
    """Copies all books of an exchange over and over, from whatever segment stands there."""

    def __init__(self, box: Box, exchange: str) -> None:
        super().__init__(daemon=True)
        self.copies = 0
        self.longest_s = 0.0
        self.stopped = threading.Event()
        self._path = box.shm_dir / f"{exchange}.shm"

    def run(self) -> None:
        segment: Segment | None = None
        while not self.stopped.wait(0.002):
            try:
                if segment is None or segment.replaced():
                    segment = Segment.open(self._path)
                for index in range(len(segment.symbols)):
                    begun_s = time.perf_counter()
                    with suppress(ReadError):  # said at once that it cannot be read: that is the promise
                        segment.book(index)
                    self.longest_s = max(self.longest_s, time.perf_counter() - begun_s)
                    self.copies += 1
            except UnavailableError:
                continue  # between two writers

    def finish(self) -> None:
        self.stopped.set()
        self.join(timeout=10)
        assert not self.is_alive(), "a reader hangs"
        assert self.copies > 0
        assert self.longest_s < READ_S, f"a copy took {self.longest_s:.2f} s"


@asynccontextmanager
async def player(box: Box, exchange: str) -> AsyncIterator[Player]:
    connector = aiohttp.TCPConnector(ssl=box.tls())
    async with aiohttp.ClientSession(connector=connector) as session:
        with box.observer() as observer:
            url = box.simulator(exchange)["control_url"]
            yield Player(exchange, SYMBOL, url, session, observer, depth=VENUES[exchange].depth)


def killed(box: Box, name: str) -> int:
    """Kills the process; returns its pid."""
    pid = box.pid(name)
    assert pid
    os.kill(pid, signal.SIGKILL)
    return pid


async def back(box: Box, name: str, old: int) -> None:
    def another() -> bool:
        return box.pid(name) not in (None, old)

    await until(another, BACK_S, f"{name}: another process")


async def right(exchange: str, box: Box) -> None:
    """Until the exchange's book is LIVE and equal to the true one while its flow stands still."""
    async with player(box, exchange) as hand:

        def live() -> bool:
            book = hand.book()
            return book is not None and book.state.name == "LIVE"

        await until(live, BACK_S, f"{exchange}: LIVE")
        await hand.pause()
        try:
            for _ in range(3):  # an exchange may need one more update to prove the last one
                await hand.step()
                await asyncio.sleep(0.15)
            await until(hand.is_right, BACK_S, f"{exchange}: equal to the exchange's own book")
        finally:
            await hand.resume()


@pytest.mark.parametrize(("room", "exchange"), EACH, indirect=["room"])
async def test_a_killed_feed_comes_back_and_nobody_else_notices(
    box: Box, room: Sequence[str], exchange: str
) -> None:
    others = [name for name in room if name != exchange]
    readers = [Reader(box, name) for name in (exchange, others[0])]
    with box.observer() as observer:
        for reader in readers:
            reader.start()
        async with watched(observer, others):
            begun_s = time.monotonic()
            old = killed(box, f"feed {exchange}")
            await back(box, f"feed {exchange}", old)
            await right(exchange, box)
            took_s = time.monotonic() - begun_s
    for reader in readers:
        reader.finish()
    print(
        f"feed {exchange}: right again after {took_s:.1f} s; longest copy {readers[0].longest_s * 1e3:.1f} ms"
    )


@pytest.mark.parametrize(("room", "exchange"), EACH, indirect=["room"])
async def test_a_killed_simulator_is_an_exchange_that_went_away(
    box: Box, room: Sequence[str], exchange: str
) -> None:
    with box.observer() as observer:
        async with watched(observer, [name for name in room if name != exchange]):
            begun_s = time.monotonic()
            old = killed(box, f"simulator {exchange}")
            await back(box, f"simulator {exchange}", old)
            await listening(box, exchange)
            await right(exchange, box)
            took_s = time.monotonic() - begun_s
    print(f"simulator {exchange}: right again after {took_s:.1f} s")


async def listening(box: Box, exchange: str) -> None:
    """Until the new simulator answers on the old port."""
    async with (
        asyncio.timeout(BACK_S),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=box.tls())) as session,
    ):
        while True:
            try:
                async with session.get(f"{box.simulator(exchange)['control_url']}/counts") as answer:
                    assert answer.status == 200
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)


async def test_a_killed_gateway_takes_subscribers_again_and_the_books_never_noticed(
    box: Box, room: Sequence[str]
) -> None:
    with box.observer() as observer:
        async with connect(box.websocket_url) as subscriber, watched(observer, room):
            await subscriber.send('{"op":"subscribe","channel":"consbook:BTC-USDT"}')
            assert "subscribed" in str(await subscriber.recv())
            old = killed(box, "gateway")
            await back(box, "gateway", old)
            begun_s = time.monotonic()
            while True:
                assert time.monotonic() - begun_s < BACK_S, "the gateway takes nobody again"
                try:
                    async with connect(box.websocket_url) as again:
                        await again.send('{"op":"subscribe","channel":"consbook:BTC-USDT"}')
                        assert "subscribed" in str(await again.recv())
                        assert '"snapshot"' in str(await again.recv())
                        break
                except OSError:
                    await asyncio.sleep(0.1)


async def test_a_killed_http_process_answers_again(box: Box, room: Sequence[str]) -> None:
    with box.observer() as observer:
        async with watched(observer, room), aiohttp.ClientSession() as session:
            old = killed(box, "http")
            await back(box, "http", old)
            async with asyncio.timeout(BACK_S):
                while True:
                    try:
                        async with session.get(f"{box.http_url}/readyz") as answer:
                            assert answer.status == 200
                            break
                    except aiohttp.ClientConnectionError:
                        await asyncio.sleep(0.1)


async def test_a_subscriber_sees_a_killed_exchange_leave_and_return(box: Box) -> None:
    """On the exchange's own channel: empty sides, then the book again, on one connection."""
    async with connect(box.websocket_url) as subscriber, asyncio.timeout(BACK_S * 2):
        await subscriber.send('{"op":"subscribe","channel":"bybit:BTC-USDT","mode":"inc","interval":0}')
        seen: list[str] = []
        old = 0
        async for text in subscriber:
            message = json.loads(text)
            if message["type"] == "snapshot":
                empty = not message["data"]["bids"] and not message["data"]["asks"]
                seen.append("empty" if empty else "full")
            if message["type"] == "delta" and not old:
                old = killed(box, "feed bybit")
            if seen[-2:] == ["empty", "full"] and old:
                break
        assert seen[0] == "full"
    await back(box, "feed bybit", old)
