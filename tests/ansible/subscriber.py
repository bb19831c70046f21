"""A subscriber that writes down what it saw of one book: one JSON line an event. Run in a box's network.

    python subscriber.py CHANNEL PORT

``{"at", "kind": "open" | "closed" | "refused" | "book" | "empty", "seq"}``; ``at`` is CLOCK_MONOTONIC in s. A
connection that was closed is dialled again every 20 ms; on one whose subscription was refused it asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time

import websockets


def say(kind: str, **more: object) -> None:
    print(json.dumps({"at": time.monotonic(), "kind": kind, **more}), flush=True)


async def once(channel: str, port: int) -> None:
    wanted = {"op": "subscribe", "channel": channel, "depth": 5, "interval": 0, "stamps": True, "mode": "inc"}
    async with websockets.connect(f"ws://127.0.0.1:{port}/") as ws:
        say("open")
        await ws.send(json.dumps(wanted))
        async for text in ws:
            message = json.loads(text)
            if message["type"] in ("snapshot", "delta"):
                data = message["data"]
                live = data.get("state", "live") == "live" and (message["type"] == "delta" or data["bids"])
                say("book" if live else "empty", seq=data["seq"])
            elif message["type"] == "error":
                say("refused")  # the symbol is not known yet
                await asyncio.sleep(0.1)
                await ws.send(json.dumps(wanted))


async def main(channel: str, port: int) -> None:
    while True:
        with contextlib.suppress(OSError, websockets.WebSocketException):
            await once(channel, port)
        say("closed")
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
