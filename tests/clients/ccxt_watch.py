"""An independent client for the end-to-end tests: ccxt.pro, unmodified but for its URLs and its CA.

Runs in the peers' environment. Argument: one JSON object (exchange, websocket_url, rest_url, ca_file,
symbols, limit). Says {"watching": true} when every symbol has a book, then answers each line on stdin:
{"symbol", "key"} gets every book it had at that key, {"symbol"} the book it has now. The key is ccxt's
nonce (the exchange's own sequence) where it keeps one, else the exchange's time in ns.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import ccxt.pro

KEPT = 600  # books a symbol
Seen = deque[tuple[int, list[Any], list[Any]]]


def redirect(value: Any, hosts: dict[str, str]) -> Any:
    """ccxt's table of URLs with its hosts replaced, paths kept."""
    if isinstance(value, dict):
        return {key: redirect(each, hosts) for key, each in value.items()}
    if isinstance(value, str) and "://" in value:
        parts = urlsplit(value.replace("{hostname}", "host"))
        return hosts[parts.scheme] + parts.path if parts.scheme in hosts else value
    return value


def nanoseconds(time: str | None) -> int:
    """ns since the epoch of the exchange's own ISO 8601 text, as many digits as it has."""
    if time is None:
        return 0
    whole, _, fraction = time.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0"))


async def watch(exchange: Any, symbol: str, limit: int | None, seen: Seen, counts: dict[str, int]) -> None:
    while True:
        book = await exchange.watch_order_book(symbol, limit)
        key = book["nonce"] if book["nonce"] is not None else nanoseconds(book["datetime"])
        seen.append((key, [row[:2] for row in book["bids"]], [row[:2] for row in book["asks"]]))
        counts[symbol] += 1


def answer(
    exchange: Any, seen: dict[str, Seen], counts: dict[str, int], asked: dict[str, Any]
) -> dict[str, Any]:
    symbol = asked["symbol"]
    if "key" in asked:
        return {"books": [[bids, asks] for key, bids, asks in seen[symbol] if key == asked["key"]]}
    book = exchange.orderbooks[symbol]
    return {
        "books": [[[row[:2] for row in book["bids"]], [row[:2] for row in book["asks"]]]],
        "updates": counts[symbol],
    }


async def main(order: dict[str, Any]) -> None:
    exchange = getattr(ccxt.pro, order["exchange"])({"cafile": order["ca_file"], "newUpdates": False})
    hosts = {"https": order["rest_url"], "wss": "/".join(order["websocket_url"].split("/")[:3])}
    exchange.urls["api"] = redirect(exchange.urls["api"], hosts)
    if order["exchange"] in ("binance", "okx", "bybit"):
        exchange.options["fetchMarkets"] = {"types": ["spot"]}
    loop = asyncio.get_running_loop()
    try:
        await exchange.load_markets()
        counts = dict.fromkeys(order["symbols"], 0)
        seen: dict[str, Seen] = {symbol: deque(maxlen=KEPT) for symbol in counts}
        tasks = [
            asyncio.create_task(watch(exchange, each, order["limit"], seen[each], counts)) for each in counts
        ]
        while not all(counts.values()):
            await asyncio.sleep(0.01)
            for task in tasks:
                if task.done():
                    await task
        print(json.dumps({"watching": True}), flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            failed = [repr(task.exception()) for task in tasks if task.done()]
            found = {"failed": failed} if failed else answer(exchange, seen, counts, json.loads(line))
            print(json.dumps(found), flush=True)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await exchange.close()


asyncio.run(main(json.loads(sys.argv[1])))
