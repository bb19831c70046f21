"""Every exchange: a book rebuilt from its messages by an independent few lines is the true book."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from dialects import DIALECTS

EXCHANGES = ("binance", "coinbase", "okx", "bybit", "kraken", *DIALECTS)
pytestmark = pytest.mark.parametrize("exchange", EXCHANGES)


async def test_the_rebuilt_book_equals_the_true_book(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    btc, eth = await follow(played), await follow(played, "ETH-USDT")
    for _ in range(4):
        await played.step(100)
        for follower in (btc, eth):
            await follower.catch_up()
            assert await follower.is_right()
    one_frame = exchange not in DIALECTS or DIALECTS[exchange].one_frame_per_update
    assert 300 < btc.book.applied <= (401 + 1 if one_frame else 401 * 80)
    assert btc.book.bids != eth.book.bids


async def test_two_symbols_on_one_connection(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    btc = await follow(played)
    eth = await follow(played, "ETH-USDT", btc.client, read=False)
    if exchange == "coinbase" or (exchange in DIALECTS and DIALECTS[exchange].one_count_per_connection):
        eth.book.last = btc.book.last  # one count over all products
    await played.step(40)
    for message in await btc.client.everything():
        btc.book.apply(message)
        eth.book.apply(message)
    assert await eth.is_right()
    assert eth.book.applied >= 35
    if exchange in DIALECTS and not DIALECTS[exchange].adds:
        assert btc.book.applied == 1  # the second request took the place of the first
        return
    assert await btc.is_right()
    assert btc.book.applied >= 35


async def test_thin_and_deep_books(play: Any, follow: Any, exchange: str) -> None:
    for levels in (5, 3000):
        played = await play(exchange, levels=levels)
        follower = await follow(played)
        await played.step(150)
        await follower.catch_up()
        assert await follower.is_right()


async def test_unsubscribing_ends_the_flow_and_subscribing_again_starts_afresh(
    play: Any, follow: Any, exchange: str
) -> None:
    played = await play(exchange)
    follower = await follow(played)
    subscribe = follower.seen
    requests = {
        "binance": {"method": "UNSUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 5},
        "coinbase": {"type": "unsubscribe", "product_ids": ["BTC-USDT"], "channel": "level2"},
        "okx": {"op": "unsubscribe", "args": [{"channel": "books", "instId": "BTC-USDT"}]},
        "bybit": {"op": "unsubscribe", "args": ["orderbook.200.BTCUSDT"]},
        "kraken": {
            "method": "unsubscribe",
            "params": {"channel": "book", "symbol": ["BTC/USDT"], "depth": 100},
        },
    }
    assert subscribe
    if exchange in DIALECTS:
        requests[exchange] = DIALECTS[exchange].unsubscribe(follower)
    await follower.client.send(requests[exchange])
    acknowledges = exchange not in DIALECTS or DIALECTS[exchange].acknowledges
    assert len(await follower.catch_up()) == acknowledges
    await played.step(10)
    assert await follower.catch_up() == []
    await follower.subscribe()
    await played.step(10)
    await follower.catch_up()
    assert await follower.is_right()
    counts = await played.control("/counts")
    assert counts["updates"]["BTC-USDT"] == 20
    assert counts["subscriptions"]["BTC-USDT"] == 1


async def test_the_same_seed_gives_the_same_flow(play: Any, follow: Any, exchange: str) -> None:
    books = []
    for seed in (7, 7, 8):
        played = await play(exchange, seed=seed)
        await played.step(200)
        book = await played.control("/book/BTC-USDT")
        books.append((book["bids"], book["asks"], book["sequence"]))
        assert Decimal(book["bids"][0][0]) < Decimal(book["asks"][0][0])
    assert books[0] == books[1]
    assert books[0] != books[2]


async def test_the_flow_runs_at_its_rate_and_stops_when_paused(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    await played.control("/rate", {"rate": 400})
    await played.control("/resume", {})
    loop = asyncio.get_running_loop()
    started = loop.time()
    while (await played.control("/counts"))["updates"]["BTC-USDT"] < 300:
        await asyncio.sleep(0.02)
    elapsed = loop.time() - started
    assert 0.35 < elapsed < 20
    await played.control("/pause", {})
    before = await played.control("/book/BTC-USDT")
    follower = await follow(played)
    assert await follower.is_right()
    assert before == await played.control("/book/BTC-USDT")
