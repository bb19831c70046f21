"""Slow clients: bounded, told so, exact in the end, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
import os
import socket

import pytest
import pytest_asyncio
import websockets
from gateway_support import RandomFlow, SubscriberBook, expected_side, loads
from support_stats import counters

CHANNEL = "binance:BTC-USDT"


class SlowSocket:
    """A raw subscriber with a tiny receive buffer that reads only when told."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))


async def slow_client(gateway):
    """A client of ``websockets`` over a socket whose buffers are small: it can only keep up by reading."""
    raw = SlowSocket(gateway.server.port).socket
    raw.setblocking(False)
    return await websockets.connect(
        gateway.url.replace("localhost", "127.0.0.1"),
        sock=raw,
        compression=None,
        max_queue=1,
        max_size=1 << 20,
    )


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest_asyncio.fixture
async def small(make_gateway):
    return await make_gateway(send_buffer_bytes=8192, queue_bytes_max=64 << 10)


async def read_until_current(client, book, published, order, depth):
    while [book.side(s, order) for s in (0, 1)] != [
        expected_side(CHANNEL, {"binance": published}, s, depth, order) for s in (0, 1)
    ]:
        message = loads(await asyncio.wait_for(client.recv(), 10))
        if message["type"] in ("snapshot", "delta"):
            book.apply(message)


@pytest.mark.parametrize(
    ("mode", "slow"), [("inc", "conflate"), ("inc", "resnapshot"), ("snapshot", "conflate")]
)
async def test_a_client_that_does_not_read_is_conflated_and_ends_exact(small, order, mode, slow):
    gateway = small
    writer = gateway.writer("binance", ring_bytes=1 << 22)
    published = writer.add("BTC-USDT")
    flow = RandomFlow(5, 4500000, 200)
    flow.fill(writer, published)
    slow_one = await slow_client(gateway)
    request = {"op": "subscribe", "channel": CHANNEL, "depth": 100, "mode": mode, "interval": 0, "slow": slow}
    await slow_one.send(json.dumps(request))
    async with gateway.client() as fast:
        book = SubscriberBook()
        book.apply(await fast.subscribe(CHANNEL, depth=100, mode="inc", interval=0, stamps=True))
        before = resident_bytes()
        for _ in range(60):
            for _ in range(50):
                flow.step(writer, published)
            while book.sequence < published.sequence:
                book.apply(await fast.next(5))
        assert book.conflated == 0
        assert resident_bytes() - before < 48 << 20
    told = counters(gateway)
    assert told["slow_resnapshot" if slow == "resnapshot" else "slow_conflate"] >= 1
    rebuilt = SubscriberBook()
    await read_until_current(slow_one, rebuilt, published, order, 100)
    assert rebuilt.conflated > 1000
    assert rebuilt.messages < 3000
    await slow_one.close()


async def test_one_that_reads_at_a_hundredth_of_the_rate_is_exact_at_the_end(small, order):
    import json

    gateway = small
    writer = gateway.writer("binance", ring_bytes=1 << 22)
    published = writer.add("BTC-USDT")
    flow = RandomFlow(6, 4500000, 200)
    flow.fill(writer, published)
    slow_one = await slow_client(gateway)
    await slow_one.send(
        json.dumps({"op": "subscribe", "channel": CHANNEL, "depth": 100, "mode": "inc", "interval": 0})
    )
    rebuilt = SubscriberBook()
    assert loads(await slow_one.recv())["type"] == "subscribed"
    for _ in range(40):
        for _ in range(100):
            flow.step(writer, published)
        rebuilt.apply(loads(await asyncio.wait_for(slow_one.recv(), 10)))
        await asyncio.sleep(0.002)
    await read_until_current(slow_one, rebuilt, published, order, 100)
    await slow_one.close()


async def test_who_asks_to_be_disconnected_is(small):
    gateway = small
    writer = gateway.writer("binance", ring_bytes=1 << 22)
    published = writer.add("BTC-USDT")
    flow = RandomFlow(7, 4500000, 200)
    flow.fill(writer, published)
    slow_one = await slow_client(gateway)
    request = {
        "op": "subscribe",
        "channel": CHANNEL,
        "depth": 100,
        "mode": "inc",
        "interval": 0,
        "slow": "disconnect",
    }
    await slow_one.send(json.dumps(request))
    async with gateway.client() as fast:
        book = SubscriberBook()
        book.apply(await fast.subscribe(CHANNEL, depth=100, mode="inc", interval=0, stamps=True))
        for _ in range(40):
            for _ in range(50):
                flow.step(writer, published)
            while book.sequence < published.sequence:
                book.apply(await fast.next(5))

    async def read_to_the_end() -> None:
        while True:
            await asyncio.wait_for(slow_one.recv(), 5)

    with pytest.raises(websockets.ConnectionClosed) as closed:
        await read_to_the_end()
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1008
    assert counters(gateway)["slow_disconnect"] == 1


async def test_a_deep_first_snapshot_comes_in_pages_below_the_frame_limit(make_gateway, order):
    gateway = await make_gateway(frame_bytes_max=64 << 10, depth_max=5000)
    writer = gateway.writer("binance", levels=6000, ring_bytes=1 << 22)
    published = writer.add("BTC-USDT")
    rows = [[(4500000 + sign * at, at, 1) for at in range(1, 4001)] for sign in (-1, 1)]
    writer.reset(published, *rows)
    async with gateway.client(max_size=80 << 10) as client:
        book = SubscriberBook()
        first = await client.subscribe(CHANNEL, depth=5000, mode="inc")
        assert first["more"] is True
        book.apply(first)
        pages = 1
        more = True
        while more:
            message = await client.next()
            more = message.get("more", False)
            book.apply(message)
            pages += 1
        assert pages > 2
        for side in (0, 1):
            assert book.side(side) == expected_side(CHANNEL, {"binance": published}, side, 5000, order)
