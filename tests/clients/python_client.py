"""A subscriber written with the `websockets` library: applies deltas and says what book it has.

Argument: one JSON object {"url", "channels", "depth", "pause_s"}. It subscribes to every channel with
deltas on one connection and, if ``pause_s`` is 0, with snapshots on another, to compare the two at the
same ``seq`` while the book moves. ``pause_s`` > 0: it waits so long between two messages.
Lines on stdin: "state" is answered with what it has, "drain" ends the pauses.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import websockets

Moment = tuple[int, int]  # seq and pub_ns: a restarted writer counts from the beginning again
Level = tuple[Any, ...]  # price, quantity, orders and in a fullbook the exchange
SMALL_BUFFER = 32768  # a slow client's: what stands in it cannot be conflated any more
# no pings of our own: a slow client would find the answer only behind all it has not read yet


class Channel:
    """One book as deltas leave it. A level's key is its price, in a fullbook (price, exchange)."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.counts = {"snapshot": 0, "delta": 0, "conflated": 0}
        self.sides: dict[str, dict[Level, Level]] = {"bids": {}, "asks": {}}
        self.seq = -1
        self.at: dict[Moment, int] = {}  # -> hash of the book at it

    def apply(self, message: dict[str, Any]) -> None:
        data = message["data"]
        self.counts[message["type"]] += 1
        self.counts["conflated"] += int(message.get("conflated", 0))
        for name, side in self.sides.items():
            if message["type"] == "snapshot":
                side.clear()
            for row in data[name]:
                level = tuple(row)
                key = (level[0], *level[3:])
                if level[1] == 0:
                    side.pop(key, None)
                else:
                    side[key] = level
        self.seq = int(data["seq"])
        self.moment: Moment = self.seq, int(data["pub_ns"])
        self.at[self.moment] = hash(self.book())

    def book(self) -> tuple[frozenset[Level], frozenset[Level]]:
        return frozenset(self.sides["bids"].values()), frozenset(self.sides["asks"].values())

    def state(self) -> dict[str, Any]:
        def rows(name: str) -> list[list[str]]:
            ordered = sorted(self.sides[name].values(), key=lambda level: level[0], reverse=name == "bids")
            return [[str(field) for field in level] for level in ordered]

        return {
            "acknowledged": self.acknowledged,
            "seq": self.seq,
            **self.counts,
            "bids": rows("bids"),
            "asks": rows("asks"),
        }


def loads(text: str | bytes) -> dict[str, Any]:
    """Numbers stay exact decimals, whether they have a point or not."""
    return dict(json.loads(text, parse_float=Decimal, parse_int=Decimal))


async def connect(url: str, slow: bool) -> websockets.ClientConnection:
    place = urlsplit(url)
    plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if slow:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    plain.connect((place.hostname, place.port))
    plain.setblocking(False)
    return await websockets.connect(
        url, sock=plain, max_size=16 << 20, max_queue=2 if slow else 64, ping_interval=None
    )


async def subscribe(connection: websockets.ClientConnection, order: dict[str, Any], mode: str) -> None:
    for channel in order["channels"]:
        await connection.send(
            json.dumps(
                {
                    "op": "subscribe",
                    "channel": channel,
                    "depth": order["depth"],
                    "mode": mode,
                    "interval": 0,
                    "stamps": True,
                }
            )
        )


class Client:
    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.pause_s: float = order["pause_s"]
        self.channels = {name: Channel() for name in order["channels"]}
        self.errors: list[Any] = []
        self.snapshots: list[tuple[str, Moment, int]] = []  # channel, when, hash

    async def read_deltas(self) -> None:
        connection = await connect(self.order["url"], self.pause_s > 0)
        await subscribe(connection, self.order, "inc")
        async for text in connection:
            message = loads(text)
            if message["type"] == "subscribed":
                self.channels[message["channel"]].acknowledged += 1
            elif message["type"] in ("snapshot", "delta"):
                self.channels[message["channel"]].apply(message)
            else:
                self.errors.append(text)
            if self.pause_s:
                await asyncio.sleep(self.pause_s)

    async def read_snapshots(self) -> None:
        connection = await connect(self.order["url"], False)
        await subscribe(connection, self.order, "snapshot")
        async for text in connection:
            message = loads(text)
            if message["type"] == "snapshot":
                seen = Channel()
                seen.apply(message)
                self.snapshots.append((message["channel"], seen.moment, hash(seen.book())))

    def state(self) -> dict[str, Any]:
        compared = [
            self.channels[name].at[moment] == book
            for name, moment, book in self.snapshots
            if moment in self.channels[name].at
        ]
        return {
            "channels": {name: channel.state() for name, channel in self.channels.items()},
            "errors": [str(error) for error in self.errors],
            "compared": len(compared),
            "different": compared.count(False),
        }

    async def run(self) -> None:
        tasks = [asyncio.create_task(self.read_deltas())]
        if not self.pause_s:
            tasks.append(asyncio.create_task(self.read_snapshots()))
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            for task in tasks:
                if task.done():
                    task.result()
                    raise ConnectionError("the gateway closed the connection")
            if line.strip() == "drain":
                self.pause_s = 0.0
            print(json.dumps(self.state()), flush=True)
        for task in tasks:
            task.cancel()


asyncio.run(Client(json.loads(sys.argv[1])).run())
