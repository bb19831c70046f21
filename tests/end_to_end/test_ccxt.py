"""ccxt.pro, unmodified but for its URLs and CA, and Bookwire watch the same simulated exchange.

While the books move they are compared at the same sequence (where ccxt keeps one; at the same exchange
time where it keeps that); after 1,000 updates of each symbol the exchange is frozen and the books must
be equal, on both sides, to the full depth that ccxt keeps.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from handlers.shm import Book, Segment, Side

SYMBOLS = ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
UPDATES = 1000
LEVELS = 600
# what is asked of ccxt; the depth it then keeps; our field that is its key (None: it keeps none of ours)
SEQUENCE, TIME = "venue_sequence", "exchange_ns"
VENUES: dict[str, tuple[int | None, int, str | None]] = {
    "binance": (None, LEVELS - 50, SEQUENCE),
    "coinbase": (None, LEVELS - 50, TIME),
    "okx": (None, 390, SEQUENCE),
    "bybit": (200, 200, None),
    "kraken": (1000, LEVELS - 50, TIME),
}


class Ccxt:
    """The client process: one question, one answer."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 60)
        assert line, (await self.process.stderr.read()).decode()[-3000:]
        return dict(json.loads(line))

    async def ask(self, symbol: str, key: int | None = None) -> list[list[Any]]:
        assert self.process.stdin is not None
        question = {"symbol": symbol.replace("-", "/")} | ({} if key is None else {"key": key})
        self.process.stdin.write(json.dumps(question).encode() + b"\n")
        answer = await self.line()
        assert "failed" not in answer, answer
        return list(answer["books"])


Watch = Callable[[Any, str, int | None], Awaitable[Ccxt]]


@pytest.fixture
async def watch(peers_python: Path) -> AsyncIterator[Watch]:
    started: list[asyncio.subprocess.Process] = []

    async def start(stack: Any, exchange: str, limit: int | None) -> Ccxt:
        order = {
            **stack.where[exchange],
            "exchange": exchange,
            "ca_file": stack.ca_file,
            "limit": limit,
            "symbols": [symbol.replace("-", "/") for symbol in SYMBOLS],
        }
        process = await asyncio.create_subprocess_exec(
            peers_python, Path(__file__).parents[1] / "clients" / "ccxt_watch.py", json.dumps(order),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=32 << 20,
        )  # fmt: skip
        started.append(process)
        client = Ccxt(process)
        assert await client.line() == {"watching": True}
        return client

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def sides(book: Book, depth: list[int]) -> list[list[list[float]]]:
    """Our book as ccxt holds it: floats, cut to the depth it has."""
    names: tuple[Side, Side] = ("bids", "asks")
    return [
        [[float(price), float(quantity)] for price, quantity in book.decimals(side)[:most]]
        for side, most in zip(names, depth, strict=True)
    ]


def is_same(book: Book, theirs: list[Any]) -> bool:
    return sides(book, [len(side) for side in theirs]) == theirs


async def compare_moving(segment: Segment, client: Ccxt, key_field: str) -> int:
    """One comparison a symbol at the same key; how many keys ccxt had."""
    found = 0
    for symbol in SYMBOLS:
        book = segment.book(symbol)
        key = int(book.header[key_field])
        theirs = await client.ask(symbol, key)
        if not theirs:  # it has not come so far yet, or two updates came between two looks of ccxt
            continue
        assert any(is_same(book, each) for each in theirs), f"{symbol} differs at {key}"
        found += 1
    return found


@pytest.mark.parametrize("exchange", sorted(VENUES))
async def test_its_book_is_our_book_moving_and_at_rest(stack: Any, watch: Watch, exchange: str) -> None:
    limit, depth, key_field = VENUES[exchange]
    await stack.simulate(exchange, SYMBOLS, "--rate", "20", "--levels", str(LEVELS))
    await stack.feed(exchange)
    segment = await stack.segment(exchange)
    client = await watch(stack, exchange, limit)
    before = (await stack.control(exchange, "/counts"))["updates"]
    await stack.control(exchange, "/rate", {"rate": 200})
    compared = 0
    async with asyncio.timeout(60):
        while True:
            now = (await stack.control(exchange, "/counts"))["updates"]
            if all(now[symbol] - before[symbol] >= UPDATES for symbol in SYMBOLS):
                break
            if key_field is not None:
                compared += await compare_moving(segment, client, key_field)
            await asyncio.sleep(0.05)
    await stack.control(exchange, "/pause", {})
    for symbol in SYMBOLS:
        async with asyncio.timeout(20):
            while not is_same(book := segment.book(symbol), theirs := (await client.ask(symbol))[0]):
                await asyncio.sleep(0.1)
        assert min(len(side) for side in theirs) >= depth
        assert min(len(book.bids), len(book.asks)) >= depth
    assert key_field is None or compared >= 20
    assert sum(int(count) for count in segment.books["gaps"]) == 0
    segment.close()
