"""An independent client for test_ccxt.py: ccxt.pro, unmodified but for its URLs and its CA.

Runs in an environment of its own. Argument: a JSON object (exchange, websocket_url, rest_url, ca_file,
symbols, limit, and perhaps options of ccxt and a query for its spot address). On stdout, in JSON lines: the
markets it loaded, then that it is watching once every symbol has a book, then an answer to each line on
stdin, the books as they are at that moment.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from urllib.parse import urlsplit

import ccxt.pro

CCXT_NAMES = {"gateio": "gate"}


def redirect(value: Any, hosts: dict[str, str]) -> Any:
    """ccxt's table of URLs with its hosts replaced, paths kept."""
    if isinstance(value, dict):
        return {key: redirect(each, hosts) for key, each in value.items()}
    if isinstance(value, str) and "://" in value:
        parts = urlsplit(value.replace("{hostname}", "host"))
        return hosts[parts.scheme] + parts.path if parts.scheme in hosts else value
    return value


def say(message: dict[str, Any]) -> None:
    """One line on stdout."""
    print(json.dumps(message), flush=True)


async def watch(exchange: Any, symbol: str, limit: int | None, updates: dict[str, int]) -> None:
    """Watch for ever, counting what comes."""
    while True:
        await exchange.watch_order_book(symbol, limit)
        updates[symbol] += 1


async def main(order: dict[str, Any]) -> None:
    """Watch the symbols; answer until stdin ends."""
    name = CCXT_NAMES.get(order["exchange"], order["exchange"])
    exchange = getattr(ccxt.pro, name)({"cafile": order["ca_file"], "newUpdates": False})
    hosts = {"https": order["rest_url"], "wss": "/".join(order["websocket_url"].split("/")[:3])}
    exchange.urls["api"] = redirect(exchange.urls["api"], hosts)
    if order["exchange"] in ("binance", "okx", "bybit", "bitget", "gateio", "kucoin"):
        exchange.options["fetchMarkets"] = {"types": ["spot"]}
    elif order["exchange"] == "htx":
        exchange.options["fetchMarkets"] = {"types": {"spot": True}}
    if order["exchange"] == "gemini":
        exchange.options["fetchCurrencies"] = {"webApiEnable": False}  # reads them off a web page
    exchange.options = exchange.deep_extend(exchange.options, order.get("options", {}))
    if "spot_query" in order:
        exchange.urls["api"]["spot"] += order["spot_query"]
    loop = asyncio.get_running_loop()
    try:
        await exchange.load_markets()
        say({"markets": sorted(exchange.markets)})
        updates = dict.fromkeys(order["symbols"], 0)
        tasks = [asyncio.create_task(watch(exchange, each, order["limit"], updates)) for each in updates]
        while not all(updates.values()):
            await asyncio.sleep(0.01)
            for task in tasks:
                if task.done():
                    await task
        say({"watching": True})
        while await loop.run_in_executor(None, sys.stdin.readline):
            books = {
                symbol: {
                    "bids": [row[:2] for row in exchange.orderbooks[symbol]["bids"]],
                    "asks": [row[:2] for row in exchange.orderbooks[symbol]["asks"]],
                    "nonce": exchange.orderbooks[symbol]["nonce"],
                    "updates": updates[symbol],
                }
                for symbol in updates
            }
            failed = [repr(task.exception()) for task in tasks if task.done()]
            say({"books": books, "failed": failed})
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await exchange.close()


asyncio.run(main(json.loads(sys.argv[1])))
