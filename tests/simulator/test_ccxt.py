"""ccxt.pro, unmodified but for its URLs and CA, watches three symbols on each exchange.

After 1,000 updates its book is the simulator's true book at the same sequence, to the full depth it keeps.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.simulator.exchanges import EXCHANGES

SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
UPDATES = 1000
# what is asked of ccxt, and how deep the exchange then shows the book (None: all of it)
LIMITS: dict[str, tuple[int | None, int | None]] = {
    "binance": (None, None),
    "coinbase": (None, None),
    "gemini": (None, None),
    "cryptocom": (50, 50),
    "gateio": (400, 400),
    "gateio order_book_update": (100, None),
    "kucoin": (None, None),
    "kucoin obu": (None, 50),
    "upbit": (None, 15),
    "okx": (None, 400),
    "bybit": (200, 200),
    "kraken": (100, 100),
    "bitget": (None, 200),
    "bitget v3": (None, 1000),
    "bitget 2025": (None, 200),
    "htx": (150, 150),
    "htx late": (150, 150),
    "bitfinex": (100, 100),
    "bingx": (None, 100),
    "mexc": (None, None),
    "phemex": (None, 30),
    "lbank": (None, 100),
    "bitmart": (None, 100),
    "coinex": (50, 50),
    "ascendex": (None, None),
    "deribit": (None, None),
}
# where ccxt asks for no more than the best so many levels, the book has fewer
LEVELS = {"gateio order_book_update": 80, "kucoin": 80, "mexc": 80, "ascendex": 400}
# perpetuals: canonical names and ccxt's
PERPETUALS = {
    "phemex": {f"{base}-USDT-PERPETUAL": f"{base}/USDT:USDT" for base in ("BTC", "ETH", "SOL")},
    "deribit": {
        "BTC-PERPETUAL": "BTC/USD:BTC",
        "ETH-USDC-PERPETUAL": "ETH/USDC:USDC",
        "BTC-USDC": "BTC/USDC",
    },
}
# known to an older ccxt only
OLDER = ("ascendex", "bitmart", "coinex")
# the generation that ccxt takes when told so by an option or by the address
WAYS: dict[str, dict[str, Any]] = {
    "bitget v3": {"options": {"watchOrderBookForSymbols": {"uta": True}}},
    "gateio order_book_update": {"spot_query": "?gateeu"},
    "kucoin obu": {"options": {"watchOrderBook": {"uta": True, "utaDepth": "50"}}},
}
CHANNELS = {
    "gateio": "spot.obu",
    "gateio order_book_update": "spot.order_book_update",
    "kucoin": "/market/level2",
    "kucoin obu": "obu",
}
# how the exchange is played: with checksums, which ccxt verifies; with snapshots that are late
PLAYED = {"bitget 2025": ("bitget.form=2025",), "htx late": ("htx.snapshot_lag=3",)}
# refuses requests late in the calendar second of connecting, which ccxt does not heed
WITHOUT_LIMITS = {"cryptocom"}
Watch = Callable[..., Awaitable["Watcher"]]


class Watcher:
    """The client process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> dict[str, Any]:
        """The next line it says."""
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 60)
        if not line:
            assert self.process.stderr is not None
            pytest.fail(f"ccxt ended: {(await self.process.stderr.read()).decode()[-3000:]}")
        return dict(json.loads(line))

    async def books(self) -> dict[str, Any]:
        """Its books now."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        answer = await self.line()
        assert answer["failed"] == []
        return dict(answer["books"])


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """Start ccxt on an exchange; it has a book of every symbol when this returns."""
    started: list[asyncio.subprocess.Process] = []

    async def start(played: Any, limit: int | None, symbols: list[str], **way: Any) -> Watcher:
        older = played.exchange in OLDER
        variable = "BOOKWIRE_PEERS_OLD_PYTHON" if older else "BOOKWIRE_PEERS_PYTHON"
        default = Path(__file__).parents[2] / (".peers-old" if older else ".peers") / "bin" / "python"
        interpreter = Path(os.environ.get(variable, default))
        if not interpreter.exists():
            pytest.skip(f"no peers at {interpreter} (`make peers`, or {variable} names their interpreter)")
        order = {**played.where, "ca_file": played.simulator.ready()["ca_file"], "exchange": played.exchange}
        process = await asyncio.create_subprocess_exec(
            interpreter,
            Path(__file__).with_name("ccxt_client.py"),
            json.dumps({**order, **way, "symbols": symbols, "limit": limit}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=16 << 20,
        )
        started.append(process)
        watcher = Watcher(process)
        markets = await watcher.line()
        assert set(symbols) <= set(markets["markets"])
        assert await watcher.line() == {"watching": True}
        return watcher

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


def as_floats(rows: list[list[Any]]) -> list[list[float]]:
    """Levels as ccxt holds them."""
    return [[float(row[0]), float(row[1])] for row in rows]


@pytest.mark.parametrize("exchange", sorted(LIMITS))
async def test_its_book_is_the_true_book_after_a_thousand_updates(
    play: Any, watch: Watch, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # ccxt writes amounts below 1e-6 without exponent, which is not what Bitfinex hashes
    monkeypatch.setattr(EXCHANGES["bitfinex"], "amount_decimals", 6)
    await follow_a_thousand(play, watch, exchange, {each: each.replace("-", "/") for each in SYMBOLS})


@pytest.mark.parametrize("exchange", sorted(PERPETUALS))
async def test_its_books_of_perpetuals_are_the_true_ones(play: Any, watch: Watch, exchange: str) -> None:
    await follow_a_thousand(play, watch, exchange, PERPETUALS[exchange])


async def follow_a_thousand(play: Any, watch: Watch, exchange: str, names: dict[str, str]) -> None:
    """Watch 1,000 updates of the symbols, then compare at rest."""
    limit, depth = LIMITS[exchange]
    levels, symbols = LEVELS.get(exchange, 600), tuple(names)
    limits = exchange not in WITHOUT_LIMITS
    name, options = exchange.partition(" ")[0], PLAYED.get(exchange, ())
    played = await play(
        name, symbols=symbols, levels=levels, limits=limits, rate=20.0, paused=False, options=options
    )
    watcher = await watch(played, limit, [*names.values()], **WAYS.get(exchange, {}))
    spoken = {topic.channel for topic in played.host.exchange.topics}
    assert spoken == {CHANNELS[exchange]} if exchange in CHANNELS else spoken
    before = (await played.control("/counts"))["updates"]
    await played.control("/rate", {"rate": 400})
    while True:
        now = (await played.control("/counts"))["updates"]
        if all(now[symbol] - before[symbol] >= UPDATES for symbol in symbols):
            break
        await asyncio.sleep(0.1)
    await played.control("/pause", {})
    counts = await played.control("/counts")
    assert counts["unknown_requests"] == []
    if exchange == "bitget v3":
        assert {each["path"] for each in counts["connections"]} == {"/v3/ws/public"}

    query = f"?depth={depth}" if depth else ""
    true = {symbol: await played.control(f"/book/{symbol}{query}") for symbol in symbols}
    async with asyncio.timeout(20):
        while True:
            books = await watcher.books()
            wrong = [each for each in symbols if not is_same(books[names[each]], true[each])]
            if not wrong:
                break
            await asyncio.sleep(0.2)
    for symbol in symbols:
        book, expected = books[names[symbol]], true[symbol]
        assert len(book["bids"]) == len(expected["bids"]) >= min(depth or 400, 0.6 * levels)
        ids = expected["sequence"]
        sequence = ids.get("lastUpdateId") or ids.get("seqId") or ids.get("sequence") or ids.get("seqnum")
        if sequence is not None:  # what changed outside the levels shown may have moved it since
            assert book["nonce"] == sequence if depth is None else book["nonce"] <= sequence


def is_same(book: dict[str, Any], true: dict[str, Any]) -> bool:
    """Both sides, every level, in order."""
    return bool(
        as_floats(book["bids"]) == as_floats(true["bids"])
        and as_floats(book["asks"]) == as_floats(true["asks"])
    )
