"""What a subscriber rebuilds is exactly what was published, whatever happens to the books."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack

import pytest
from gateway_support import DOWN, LIVE, RESYNC, STALE, RandomFlow, SubscriberBook, expected_side

CHANNELS = ["top:BTC-USDT", "consbook:BTC-USDT", "fullbook:BTC-USDT", "okx:BTC-USDT"]


class Follower:
    """One subscription and the book rebuilt from it."""

    def __init__(self, client, channel: str, depth: int) -> None:
        self.client = client
        self.channel = channel
        self.depth = depth
        self.book = SubscriberBook(full=channel.startswith("fullbook"))

    async def start(self, **options):
        self.book.apply(await self.client.subscribe(self.channel, depth=self.depth, **options))

    def shows(self, books, order) -> bool:
        return all(
            self.book.side(side, order) == expected_side(self.channel, books, side, self.depth, order)
            for side in (0, 1)
        )

    async def reach(self, books, order) -> None:
        while not self.shows(books, order):
            try:
                self.book.apply(await self.client.next(5))
            except TimeoutError:
                for side in (0, 1):
                    assert self.book.side(side, order) == expected_side(
                        self.channel, books, side, self.depth, order
                    )


def three_exchanges(gateway, flow_seed: int = 1):
    """Books of one symbol with different exponents, prices that meet."""
    books, flows = {}, {}
    for name, price_exponent, quantity_exponent in (("binance", 2, 5), ("okx", 1, 8), ("kraken", 4, 3)):
        writer = gateway.writer(name)
        books[name] = writer.add("BTC-USDT", price_exponent, quantity_exponent)
        scale = 10 ** (price_exponent - 1)
        flow = RandomFlow(flow_seed + price_exponent, 450000, 40)
        original = flow.side_rows
        flow.side_rows = lambda side, count, f=original, s=scale: [
            (p * s, q, n) for p, q, n in f(side, count)
        ]
        flows[name] = flow
        flow.fill(writer, books[name])
    return books, flows


@pytest.mark.parametrize(("mode", "interval"), [("inc", 0), ("inc", 20), ("snapshot", 0), ("snapshot", 20)])
async def test_every_channel_rebuilds_what_was_published(gateway, order, mode, interval):
    books, flows = three_exchanges(gateway)
    chance = random.Random(7)
    async with AsyncExitStack() as stack:
        running = []
        for channel in CHANNELS:
            for depth in (1, 7) if channel.startswith("full") else (7,):
                client = await stack.enter_async_context(gateway.client())
                follower = Follower(client, channel, 1 if channel.startswith("top") else depth)
                await follower.start(mode=mode, interval=interval, stamps=True)
                running.append(follower)
        for _ in range(150):
            name = chance.choice(list(books))
            event = chance.random()
            if event < 0.08:
                gateway.writers[name].state(books[name], chance.choice([STALE, RESYNC, DOWN, LIVE]))
            elif event < 0.14:
                flows[name].fill(gateway.writers[name], books[name], chance.choice([LIVE, LIVE, STALE]))
            else:
                for _ in range(chance.randint(1, 6)):
                    flows[name].step(gateway.writers[name], books[name])
            for follower in running:
                await follower.reach(books, order)


async def test_usd_and_usdt_are_never_mixed(gateway, order):
    writers = {name: gateway.writer(name) for name in ("coinbase", "kraken")}
    prices = {"BTC-USD": 4_500_000, "BTC-USDT": 4_400_000}
    books = {
        symbol: {name: writer.add(symbol, native=symbol) for name, writer in writers.items()}
        for symbol in prices
    }
    for symbol, price in prices.items():
        for at, (name, writer) in enumerate(writers.items()):
            writer.reset(books[symbol][name], [(price - at, 5, 1)], [(price + 1 + at, 7, 2)])
    for symbol in prices:
        for kind in ("top", "consbook", "fullbook"):
            async with gateway.client() as client:
                follower = Follower(client, f"{kind}:{symbol}", 20)
                await follower.start(mode="inc", interval=0)
                await follower.reach(books[symbol], order)
                writers["kraken"].change(books[symbol]["kraken"], bids=[(prices[symbol], 3, 1)])
                await follower.reach(books[symbol], order)
                writers["kraken"].change(books[symbol]["kraken"], bids=[(prices[symbol], 0, 0)])


async def test_with_interval_0_every_record_is_a_message_of_its_own(gateway, order):
    writer = gateway.writer("binance")
    book = writer.add("BTC-USDT")
    flow = RandomFlow(3, 4500000)
    flow.fill(writer, book)
    async with gateway.client() as client:
        follower = Follower(client, "binance:BTC-USDT", 20)
        await follower.start(mode="inc", interval=0, stamps=True)
        expected = {}
        for at in range(200):
            price = 4499990 + at % 7
            writer.change(book, bids=[(price, at + 1, 1)])
            expected[book.sequence] = [
                expected_side("binance:BTC-USDT", {"binance": book}, s, 20, order) for s in (0, 1)
            ]
            await asyncio.sleep(0)
        while follower.book.sequence < book.sequence:
            follower.book.apply(await client.next())
            assert [follower.book.side(side) for side in (0, 1)] == expected[follower.book.sequence]
        assert follower.book.messages > 100  # while it keeps up it merges nothing


async def test_a_killed_and_replaced_exchange_leaves_and_comes_back(gateway, order):
    books, flows = three_exchanges(gateway)
    async with gateway.client() as one, gateway.client() as two:
        single = Follower(one, "okx:BTC-USDT", 10)
        merged = Follower(two, "fullbook:BTC-USDT", 10)
        await single.start(mode="inc", interval=0)
        await merged.start(mode="inc", interval=0)
        gateway.writers["okx"].close()
        books["okx"].state = DOWN
        await single.reach(books, order)
        await merged.reach(books, order)
        writer = gateway.writer("okx")
        books["okx"] = writer.add("BTC-USDT", 3, 6)
        writer.reset(books["okx"], [(449990000, 5, 1)], [(450010000, 7, 2)])
        await single.reach(books, order)
        await merged.reach(books, order)
        for _ in range(20):
            flows["binance"].step(gateway.writers["binance"], books["binance"])
            writer.change(books["okx"], bids=[(449991000, 9, 1)])
        await single.reach(books, order)
        await merged.reach(books, order)
