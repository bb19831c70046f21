"""All 21 exchanges at once, three symbols each: live, within a laptop's means, and merged exactly."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import Decimal

import aiohttp
import psutil
import pytest
from box import EXCHANGES, Box, running, symbols_argument
from websockets.asyncio.client import ClientConnection, connect

from handlers.shm import Book
from handlers.shm_layout import BookState

SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
SYMBOL = SYMBOLS[0]
# What the README promises of 21 exchanges and three symbols each, simulators included.
MEMORY_BYTES = 2 << 30
CPU_PERCENT = 100.0  # of one core, when two are free for it
MEASURED_S = 5.0
DEPTH = 1000
LEAST_COMPARED = 20
Side = dict[Decimal, tuple[Decimal, Decimal]]  # price -> quantity, orders


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with running(*symbols_argument(SYMBOLS), config="[simulate]\nlevels = 60\n") as box:
        yield box


async def test_all_of_them_are_live(box: Box) -> None:
    assert tuple(box.ready["exchanges"]) == EXCHANGES
    assert box.ready["books_live"] == box.ready["books"] == len(EXCHANGES) * len(SYMBOLS)
    async with connect(box.websocket_url) as socket:
        await socket.send('{"op":"exchanges"}')
        rows = json.loads(await socket.recv())["data"]
    assert [(row["id"], row["symbols"], row["status"]) for row in rows] == [
        (name, len(SYMBOLS), "live") for name in EXCHANGES
    ]


def looked_at(process: psutil.Process) -> tuple[float, int]:
    """CPU seconds and bytes; none of one that is gone, as the ninja that a starting process asks."""
    try:
        return sum(process.cpu_times()[:2]), process.memory_full_info().pss
    except psutil.NoSuchProcess:
        return 0.0, 0


def test_memory_and_time_are_those_of_a_laptop(box: Box) -> None:
    family = box.family()
    before_s = [looked_at(process)[0] for process in family]
    begun_s = time.monotonic()
    time.sleep(MEASURED_S)
    took_s = time.monotonic() - begun_s
    after = [looked_at(process) for process in family]
    spent_s = sum(used_s - before for (used_s, _), before in zip(after, before_s, strict=True) if used_s)
    memory = sum(held for _, held in after)
    percent = 100 * spent_s / took_s
    print(
        f"{len(EXCHANGES)} exchanges, {box.ready['books']} books, {len(family)} processes: ready in "
        f"{box.ready['seconds']:.1f} s (start-up {sum(before_s):.1f} s of CPU), {memory / 1e6:.0f} MB, "
        f"{percent:.0f} % of one core"
    )
    assert memory < MEMORY_BYTES
    assert percent < CPU_PERCENT


class Consolidated:
    """The merged book as a subscriber rebuilds it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.sides: tuple[Side, Side] = ({}, {})
        self.messages = 0
        self._socket = socket

    async def follow(self, quiet_s: float) -> None:
        """Takes what comes until nothing has come for so long."""
        with suppress(TimeoutError):
            while True:
                self._take(await asyncio.wait_for(self._socket.recv(), quiet_s))

    def _take(self, text: str | bytes) -> None:
        message = json.loads(text, parse_float=Decimal, parse_int=Decimal)
        if message["type"] not in ("snapshot", "delta"):
            return
        self.messages += 1
        for levels, rows in zip(self.sides, (message["data"]["bids"], message["data"]["asks"]), strict=True):
            if message["type"] == "snapshot":
                levels.clear()
            for price, quantity, orders in rows:
                if quantity:
                    levels[price] = (quantity, orders)
                else:
                    levels.pop(price, None)


def merged(books: Sequence[Book]) -> tuple[Side, Side]:
    """What these books together make, in a few lines of our own."""
    sides: tuple[Side, Side] = ({}, {})
    for book in books:
        for total, name in zip(sides, ("bids", "asks"), strict=True):
            rows = getattr(book, name)
            for (price, quantity), row in zip(book.decimals(name), rows, strict=True):
                held = total.get(price, (Decimal(0), Decimal(0)))
                total[price] = (held[0] + quantity, held[1] + int(row["orders"]))
    return sides


async def each(box: Box, verb: str, **body: float) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=box.tls())) as session:
        for name in EXCHANGES:
            async with session.post(f"{box.simulator(name)['control_url']}/{verb}", json=body) as answer:
                assert answer.status == 200


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.long)])
async def test_the_consolidated_book_is_the_merge_of_the_single_ones(box: Box, seconds: int) -> None:
    """At instants in which no book moves, told by the books' sequences before and after."""
    compared = moved = 0
    await each(box, "rate", rate=3)
    async with connect(box.websocket_url, max_size=None) as socket:
        options = {"channel": f"consbook:{SYMBOL}", "depth": DEPTH, "mode": "inc", "interval": 0}
        await socket.send(json.dumps({"op": "subscribe", **options}))
        ours = Consolidated(socket)
        await ours.follow(0.005)
        with box.observer() as observer:
            observer.look()

            def books() -> list[Book]:
                segments = [observer.segment(name) for name in EXCHANGES]
                return [segment.book(SYMBOL) for segment in segments if segment is not None]

            end = time.monotonic() + seconds
            async with asyncio.timeout(seconds + 60):
                while time.monotonic() < end or compared < LEAST_COMPARED:
                    before = books()
                    assert [book.state for book in before] == [BookState.LIVE] * len(EXCHANGES)
                    await ours.follow(0.002)
                    if [book.sequence for book in books()] != [book.sequence for book in before]:
                        moved += 1
                    elif ours.sides == merged(before):
                        compared += 1
            await each(box, "pause")
            try:
                await ours.follow(0.5)
                assert ours.sides == merged(books())
            finally:
                await each(box, "resume")
                await each(box, "rate", rate=20)
    print(f"{ours.messages} messages, {compared} times equal, {moved} times a book moved meanwhile")
