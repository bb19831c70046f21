"""Run under the counting allocator: 50 subscribers receive updates, and what the loop allocates is printed.

Arguments: poll mode, directory for segments, directory for bells. Prints one line of JSON: subscribers,
updates published while counting, and the counts of malloc, calloc, realloc, memalign, free, mmap and
munmap on the gateway's thread. Half-way everybody sends a ping. ``joining`` is their sum while the
subscribers came, to show that it counts.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import sys
from pathlib import Path

from gateway_support import LIVE, PublishedBook, RandomFlow, Writer

from gateway.server import Server
from gateway.settings import GatewaySettings
from handlers.logs import Log

WARM_UP, COUNTED = 2000, 2000
SUBSCRIBERS = 50
PAUSE_S = 0.001  # between two updates: the subscribers here, in Python, shall keep up
PATIENCE_S = 60.0
MID = 6_400_000
KINDS = ("malloc", "calloc", "realloc", "memalign", "free", "mmap", "munmap")
CHANNELS = (
    {"channel": "binance:BTC-USDT", "depth": 50, "mode": "inc", "interval": 0},
    {"channel": "consbook:BTC-USDT", "depth": 20, "mode": "inc", "interval": 0},
    {"channel": "fullbook:BTC-USDT", "depth": 20, "mode": "inc", "interval": 10},
    {"channel": "top:BTC-USDT", "interval": 0},
    {"channel": "arb:BTC-USDT", "interval": 0},
    {"channel": "binance:BTC-USDT", "depth": 20, "mode": "snapshot", "interval": 0, "format": "binary"},
)
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Subscriber(asyncio.Protocol):
    """Upgrades, subscribes, and from then on only counts bytes."""

    def __init__(self, number: int) -> None:
        self.bytes = 0
        self.subscribed = asyncio.Event()
        self._request = json.dumps({"op": "subscribe", **CHANNELS[number % len(CHANNELS)]}).encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(UPGRADE)

    def data_received(self, data: bytes) -> None:
        if not self.bytes:
            assert data.startswith(b"HTTP/1.1 101"), data
            mask = bytes(4)
            size = len(self._request)
            self._transport.write(b"\x81\xfe" + size.to_bytes(2, "big") + mask + self._request)
        elif b'"subscribed"' in data:
            self.subscribed.set()
        self.bytes += len(data)

    def ping(self) -> None:
        """What is answered before everything else."""
        self._transport.write(b"\x89\x80" + bytes(4))


async def quiet(subscribers: list[Subscriber]) -> None:
    """Until everybody has what was sent."""
    seen = -1
    while (now := sum(each.bytes for each in subscribers)) != seen:
        seen = now
        await asyncio.sleep(0.2)


async def publish(writer: Writer, book: PublishedBook, flow: RandomFlow, updates: int) -> None:
    for _ in range(updates):
        flow.step(writer, book)
        await asyncio.sleep(PAUSE_S)


async def main(poll: str, shm_dir: Path, run_dir: Path) -> None:
    counter = ctypes.CDLL(None)
    settings = GatewaySettings(shm_dir, run_dir, port=0, poll=poll, writer_patience_ms=600_000)
    server = Server(settings, Log("gateway"))
    writer = Writer("binance", 0, shm_dir)
    book, flow = writer.add("BTC-USDT"), RandomFlow(1, MID)
    flow.fill(writer, book, LIVE)
    dear = Writer("okx", 2, shm_dir)  # buys above what the first one sells at, so that the two cross
    dear.reset(dear.add("BTC-USDT"), [(MID + 100_000, 10**12, 1)], [(MID + 100_100, 10**12, 1)])
    ready = asyncio.Event()
    serving = asyncio.create_task(server.serve(lambda host, port: ready.set()))
    await ready.wait()
    writer.attach_bell(run_dir)
    loop = asyncio.get_running_loop()
    subscribers: list[Subscriber] = []
    counter.count_alloc_start()
    for number in range(SUBSCRIBERS):
        subscriber = Subscriber(number)
        subscribers.append(subscriber)
        await loop.create_connection(lambda each=subscriber: each, "127.0.0.1", server.port)  # type: ignore[misc]
        async with asyncio.timeout(PATIENCE_S):
            await subscriber.subscribed.wait()
    counts = (ctypes.c_uint64 * len(KINDS))()
    counter.count_alloc_stop(counts)
    joining = sum(counts)
    await publish(writer, book, flow, WARM_UP)
    await quiet(subscribers)
    before = [each.bytes for each in subscribers]
    counter.count_alloc_start()
    await publish(writer, book, flow, COUNTED // 2)
    for subscriber in subscribers:
        subscriber.ping()
    await publish(writer, book, flow, COUNTED // 2)
    await quiet(subscribers)
    counter.count_alloc_stop(counts)
    assert all(each.bytes > some + COUNTED for each, some in zip(subscribers, before, strict=True))
    told = {"subscribers": SUBSCRIBERS, "updates": COUNTED, "joining": joining}
    print(json.dumps(told | dict(zip(KINDS, counts, strict=True))), flush=True)
    server.stop("done")
    await serving
    writer.close()
    dear.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
