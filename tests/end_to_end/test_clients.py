"""Subscribers that know nothing of Bookwire: a Python one (`websockets`) and a Node one (`ws`).

On all four kinds of channel each gets ack, snapshot, deltas. Applying the deltas must give exactly the
snapshot of the same sequence: while the book moves, at the end, for a client that reads a hundredth of
what comes, and across a feed process that is killed and started again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import websockets
from node_room import node

CLIENTS = Path(__file__).parents[1] / "clients"
SYMBOL, DEPTH = "BTC-USDT", 50
KINDS = {
    "top": f"top:{SYMBOL}",
    "consbook": f"consbook:{SYMBOL}",
    "fullbook": f"fullbook:{SYMBOL}",
    "exchange": f"binance:{SYMBOL}",
}
SHORT = pytest.param(("binance", "okx"), 6.0, id="6s")
LONG = pytest.param(
    ("binance", "coinbase", "okx", "bybit", "kraken"), 60.0, id="60s",
    marks=(pytest.mark.long, pytest.mark.timeout(300)),
)  # fmt: skip
RATE = 50  # updates a second of each book
Rows = set[tuple[Any, ...]]


class Client:
    """The client process: a word on stdin, its state as one line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ask(self, word: str = "state") -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdin.write(f"{word}\n".encode())
        line = await asyncio.wait_for(self.process.stdout.readline(), 30)
        assert line, (await self.process.stderr.read()).decode()[-3000:]
        state = dict(json.loads(line))
        assert state["errors"] == []
        return state


Start = Callable[..., Awaitable[Client]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    started: list[asyncio.subprocess.Process] = []

    async def begin(language: str, url: str, pause_s: float = 0.0) -> Client:
        python = [sys.executable, str(CLIENTS / "python_client.py")]
        command = [node(), str(CLIENTS / "node_client.mjs")] if language == "node" else python
        order = {"url": url, "channels": list(KINDS.values()), "depth": DEPTH, "pause_s": pause_s}
        process = await asyncio.create_subprocess_exec(
            *command, json.dumps(order), limit=16 << 20, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        return Client(process)

    yield begin
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def serve(stack: Any, exchanges: tuple[str, ...]) -> str:
    """Simulators, feeds and the gateway; its URL, all books LIVE."""
    for exchange in exchanges:
        await stack.simulate(exchange, [SYMBOL, "ETH-USDT"], "--rate", str(RATE), "--levels", "400")
    for exchange in exchanges:
        await stack.feed(exchange)
    for exchange in exchanges:
        (await stack.segment(exchange)).close()
    url: str = await stack.gateway()
    return url


async def snapshot(url: str, channel: str) -> dict[str, Any]:
    """What a subscriber that comes now is given."""
    request = {"op": "subscribe", "channel": channel, "depth": DEPTH, "stamps": True, "numbers": "string"}
    async with asyncio.timeout(10), websockets.connect(url, max_size=16 << 20) as connection:
        await connection.send(json.dumps(request))
        while (message := json.loads(await connection.recv()))["type"] != "snapshot":
            assert message["type"] == "subscribed"
        return dict(message["data"])


def rows(levels: list[list[Any]]) -> Rows:
    """Levels as exact numbers, in no order."""
    return {(Decimal(level[0]), Decimal(level[1]), int(level[2]), *level[3:]) for level in levels}


def same(book: dict[str, Any], fresh: dict[str, Any]) -> bool:
    return all(rows(book[side]) == rows(fresh[side]) for side in ("bids", "asks"))


async def come_to_rest(stack: Any, exchanges: tuple[str, ...]) -> None:
    for exchange in exchanges:
        await stack.control(exchange, "/pause", {})


async def agree(url: str, client: Client) -> dict[str, Any]:
    """Waits until the resting client has, on every channel, what a new subscriber gets."""
    different: list[str] = list(KINDS.values())
    try:
        async with asyncio.timeout(30):
            while different:
                await asyncio.sleep(0.1)
                state = await client.ask()
                fresh = {name: await snapshot(url, name) for name in KINDS.values()}
                different = [name for name in fresh if not same(state["channels"][name], fresh[name])]
    except TimeoutError:
        pytest.fail(f"not the snapshot after all deltas: {different}")
    for name in KINDS.values():
        assert state["channels"][name]["seq"] <= fresh[name]["seq"]
    return state


def check_moving(state: dict[str, Any], seconds: float) -> None:
    """Ack, then one snapshot, then deltas; and equal to every snapshot of the same sequence."""
    for name, channel in state["channels"].items():
        assert channel["acknowledged"] == 1, name
        assert channel["snapshot"] == 1, name
        assert channel["delta"] >= seconds, name
    assert state["compared"] >= 4 * seconds
    assert state["different"] == 0


@pytest.mark.parametrize("language", ["python", "node"])
@pytest.mark.parametrize(("exchanges", "seconds"), [SHORT, LONG])
async def test_deltas_give_the_snapshot_of_the_same_sequence(
    stack: Any, start: Start, language: str, exchanges: tuple[str, ...], seconds: float
) -> None:
    url = await serve(stack, exchanges)
    client = await start(language, url)
    await asyncio.sleep(seconds)  # the full rate, for so long
    await come_to_rest(stack, exchanges)
    state = await agree(url, client)
    check_moving(state, seconds)
    full = rows(state["channels"][KINDS["fullbook"]]["bids"])
    assert {level[3] for level in full} <= set(exchanges)
    assert len(full) == DEPTH


@pytest.mark.parametrize(("exchanges", "seconds"), [SHORT, LONG])
async def test_a_client_a_hundred_times_too_slow_is_conflated_and_still_right(
    stack: Any, start: Start, exchanges: tuple[str, ...], seconds: float
) -> None:
    url = await serve(stack, exchanges)
    for exchange in exchanges:
        await stack.control(exchange, "/rate", {"rate": 400})  # fills what the sockets can hold at once
    fast = await start("python", url)
    await asyncio.sleep(1.0)
    channels = (await fast.ask())["channels"].values()
    per_second = sum(channel["delta"] + channel["snapshot"] for channel in channels)
    slow = await start("python", url, pause_s=100 / per_second)
    await asyncio.sleep(seconds)
    read = sum(channel["delta"] + channel["snapshot"] for channel in (await slow.ask())["channels"].values())
    assert 0 < read < 0.1 * per_second * seconds
    await come_to_rest(stack, exchanges)
    await slow.ask("drain")
    state = await agree(url, slow)
    assert sum(channel["conflated"] for channel in state["channels"].values()) > 0
    assert (await agree(url, fast))["different"] == 0


@pytest.mark.parametrize("language", ["python", "node"])
@pytest.mark.parametrize(("exchanges", "seconds"), [SHORT, LONG])
async def test_right_across_a_killed_and_restarted_exchange_process(
    stack: Any, start: Start, language: str, exchanges: tuple[str, ...], seconds: float
) -> None:
    url = await serve(stack, exchanges)
    client = await start(language, url)
    await asyncio.sleep(seconds / 3)
    await stack.kill("feed-binance")
    async with asyncio.timeout(15):
        while True:
            channels = (await client.ask())["channels"]
            shown = {level[3] for level in channels[KINDS["fullbook"]]["bids"]}
            if "binance" not in shown and not channels[KINDS["exchange"]]["bids"]:
                break
            await asyncio.sleep(0.05)
    assert shown
    assert shown <= set(exchanges) - {"binance"}
    await stack.feed("binance")
    (await stack.segment("binance")).close()
    async with asyncio.timeout(15):
        while not (await client.ask())["channels"][KINDS["exchange"]]["bids"]:
            await asyncio.sleep(0.05)
    await asyncio.sleep(seconds / 3)
    await come_to_rest(stack, exchanges)
    state = await agree(url, client)
    assert state["different"] == 0
    assert len(state["channels"][KINDS["exchange"]]["bids"]) == DEPTH
