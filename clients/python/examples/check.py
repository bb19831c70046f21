"""Proves a box and this client: deltas must give the gateway's own snapshot of the same moment.

check.py [SECONDS] [CHANNEL ...]: one connection keeps books by deltas, another is sent whole snapshots. Each
second a line of JSON: what was compared, what differed, how many books are live, what broke on the way.
"""

import asyncio
import contextlib
import json
import os
import sys
from decimal import Decimal
from typing import Any

from bookwire_client import Book, BookChanged, Client, Disconnected, ReconnectNotice

URL = os.environ.get("BOOKWIRE_URL", "ws://127.0.0.1:8081/")
KEPT = 5_000  # moments that wait for the other connection
counts = dict.fromkeys(("compared", "different", "deltas", "emptied", "notices", "disconnects"), 0)
moments: tuple[dict[Any, Any], dict[Any, Any]] = ({}, {})  # book by moment: kept by deltas, sent whole


def meet(mine: dict[Any, Any], other: dict[Any, Any], moment: tuple[Any, ...], book: Any) -> None:
    """Compares the two books of a moment as soon as both are there."""
    mine[moment] = book
    if moment in other:
        counts["compared"] += 1
        counts["different"] += other[moment] != book
    if len(mine) > KEPT:
        del mine[next(iter(mine))]


def kept(book: Book[Any]) -> Any:
    return [[(*level[:3], *filter(None, level[3:])) for level in side] for side in (book.bids, book.asks)]


def sent(data: dict[str, Any]) -> Any:
    return [[(Decimal(row[0]), Decimal(row[1]), *row[2:]) for row in data[side]] for side in ("bids", "asks")]


async def follow(client: Client, channels: list[str], deltas: bool) -> None:
    events = client.events(room=100_000)
    for name in channels:
        await client.subscribe(name, depth=50, exact=True, interval=0 if deltas else 100,
                               mode="inc" if deltas else "snapshot")  # fmt: skip
    async for event in events:
        if isinstance(event, Disconnected):
            counts["disconnects"] += deltas
        elif isinstance(event, ReconnectNotice):
            counts["notices"] += deltas
        elif isinstance(event, BookChanged):
            book, data = event.book, event.message["data"]
            moment = (book.channel, data["seq"], data["pub_ns"])
            counts["deltas"] += event.kind == "delta"
            counts["emptied"] += deltas and not data["bids"] and event.kind == "snapshot"
            if not deltas:
                meet(moments[1], moments[0], moment, sent(data))
            elif book.whole and moment[1:] == (book.seq, book.pub_ns):  # it has not moved on meanwhile
                meet(moments[0], moments[1], moment, kept(book))


async def main(seconds: float | None, channels: list[str]) -> None:
    async with (
        asyncio.timeout(seconds),
        Client(URL) as client,
        Client(URL) as other,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(follow(client, channels, True))
        tasks.create_task(follow(other, channels, False))
        while True:
            await asyncio.sleep(1)
            live = sum(book.live for book in client.books.values())
            print(json.dumps({**counts, "live": live, "books": len(client.books)}), flush=True)


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else None
    wanted = sys.argv[2:] or [f"{kind}:BTC-USDT" for kind in ("top", "consbook", "fullbook", "binance")]
    with contextlib.suppress(TimeoutError, KeyboardInterrupt):
        asyncio.run(main(seconds, wanted))
