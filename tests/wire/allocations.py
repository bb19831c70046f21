"""Run under the counting allocator: streams updates over TLS into the loop, prints what it allocated.

Arguments: poll mode, directory for the segment, what frames hold (``Venue.frames``). Prints one line of
JSON: updates streamed while counting, and the counts of malloc, calloc, realloc, memalign, free, mmap and
munmap on the loop's thread.
"""

from __future__ import annotations

import asyncio
import ctypes
import gzip
import json
import ssl
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import trustme
from websockets.asyncio.server import ServerConnection, serve

from handlers.facts import Instrument
from handlers.native_feed import Endpoint, NativeFeed
from handlers.registry import VENUES
from handlers.settings import FeedSettings

WARM_UP, COUNTED = 3000, 10000
KINDS = ("malloc", "calloc", "realloc", "memalign", "free", "mmap", "munmap")


def message(number: int) -> str:
    """A snapshot first, then deltas that set, move and delete levels around the top."""
    levels = ",".join(f'["{100 - i * 0.5 - number % 7}","{number % 5 + i}"]' for i in range(10))
    asks = ",".join(f'["{101 + i * 0.5 + number % 7}","{number % 3 + i}"]' for i in range(10))
    kind = "snapshot" if number == 1 else "delta"
    return (
        f'{{"topic":"orderbook.200.BTCUSDT","ts":1731035685345,"type":"{kind}","data":{{"s":"BTCUSDT",'
        f'"b":[{levels}],"a":[{asks}],"u":{number},"seq":8}},"cts":1731035685342}}'
    )


def packed(text: str, frames: str) -> str | bytes:
    if frames == "gzip":
        return gzip.compress(text.encode(), 1)
    return zlib.compress(text.encode(), 1, -15) if frames == "deflate" else text


async def main(poll: str, directory: Path, frames: str) -> None:
    counter = ctypes.CDLL(None)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(directory / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    settings = FeedSettings(
        "bybit", directory, directory, ca_file=directory / "ca.pem", poll=poll, levels_max=500
    )
    venue = replace(VENUES["bybit"], frames=frames)
    feed = NativeFeed(venue, settings, books=1, connections=1)
    feed.add_book(Instrument("BTCUSDT", "BTC", "USDT", price_decimals=1, quantity_decimals=0))
    feed.bind(0, 0)
    feed.start()

    async def applied(number: int) -> None:
        async with asyncio.timeout(60):
            while feed.book(0).venue_sequence < number:
                await asyncio.sleep(0.01)
                list(feed.events())

    async def talk(connection: ServerConnection) -> None:
        for number in range(1, WARM_UP + 1):
            await connection.send(packed(message(number), frames))
        await applied(WARM_UP)
        counter.count_alloc_start()
        for number in range(WARM_UP + 1, WARM_UP + COUNTED + 1):
            await connection.send(packed(message(number), frames))
            if number % 1000 == 0:
                await connection.ping(str(number).encode())
        await applied(WARM_UP + COUNTED)
        counts = (ctypes.c_uint64 * len(KINDS))()
        counter.count_alloc_stop(counts)
        assert feed.connection(0).pings >= COUNTED // 1000
        print(json.dumps({"updates": COUNTED} | dict(zip(KINDS, counts, strict=True))))
        done.set()

    done = asyncio.Event()
    async with serve(talk, "127.0.0.1", 0, ssl=context, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        feed.connect(0, Endpoint("127.0.0.1", port, "localhost", "/", True), None)
        async with asyncio.timeout(60):
            await done.wait()
    feed.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "plain"))
