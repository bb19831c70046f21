"""KuCoin's own SDK follows the feed that ccxt does not: snapshot and increments of the best 500 levels."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

SYMBOLS = ("BTC-USDT", "ETH-USDT")
UPDATES = 1000
DEPTH = 500


def as_floats(rows: list[list[Any]]) -> list[list[float]]:
    return [[float(row[0]), float(row[1])] for row in rows]


async def test_its_increments_make_the_true_book_after_a_thousand_updates(play: Any) -> None:
    default = Path(__file__).parents[2] / ".peers" / "bin" / "python"
    interpreter = Path(os.environ.get("BOOKWIRE_PEERS_PYTHON", default))
    if not interpreter.exists():
        pytest.skip(
            f"no peers at {interpreter} (`make peers`, or BOOKWIRE_PEERS_PYTHON names their interpreter)"
        )
    played = await play("kucoin", symbols=SYMBOLS, levels=600, rate=20.0, paused=False)
    order = {"websocket_url": played.where["websocket_url"], "symbols": SYMBOLS}
    process = await asyncio.create_subprocess_exec(
        interpreter,
        Path(__file__).with_name("kucoin_sdk_client.py"),
        json.dumps(order),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "WEBSOCKET_CLIENT_CA_BUNDLE": played.simulator.ready()["ca_file"]},
        limit=16 << 20,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert json.loads(await asyncio.wait_for(process.stdout.readline(), 60)) == {"watching": True}
        assert {(topic.channel, topic.variant) for topic in played.host.exchange.topics} == {
            ("obu", "increment@10ms")
        }
        before = (await played.control("/counts"))["updates"]
        await played.control("/rate", {"rate": 400})
        async with asyncio.timeout(60):
            while True:
                now = (await played.control("/counts"))["updates"]
                if all(now[symbol] - before[symbol] >= UPDATES for symbol in SYMBOLS):
                    break
                await asyncio.sleep(0.1)
        await played.control("/pause", {})
        true = {symbol: await played.control(f"/book/{symbol}?depth={DEPTH}") for symbol in SYMBOLS}
        async with asyncio.timeout(20):
            while True:
                process.stdin.write(b"\n")
                books = json.loads(await process.stdout.readline())
                if all(is_same(books[symbol], true[symbol]) for symbol in SYMBOLS):
                    break
                await asyncio.sleep(0.2)
        for symbol in SYMBOLS:
            assert len(true[symbol]["bids"]) == len(true[symbol]["asks"]) == DEPTH
            assert books[symbol]["gaps"] == 0
            assert books[symbol]["deltas"] > 100
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def is_same(book: dict[str, Any], true: dict[str, Any]) -> bool:
    """Both sides, every level, in order."""
    return all(book[side] == as_floats(true[side]) for side in ("bids", "asks"))
