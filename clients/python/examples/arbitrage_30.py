"""Arbitrage in 30 lines: newest values, both fees, nothing stale. arbitrage_30.py [SECONDS] [SYMBOL]"""

import asyncio
import contextlib
import itertools
import os
import sys

from bookwire_client import Client

URL = os.environ.get("BOOKWIRE_URL", "ws://127.0.0.1:8081/")
TAKER = {"binance": 0.0010, "bybit": 0.0010, "okx": 0.0020}  # your own tier's; others 0.0030
THRESHOLD = 10.0  # quote units of profit


async def main(seconds: float | None, symbol: str) -> None:
    async with asyncio.timeout(seconds), Client(URL) as client:
        names = next(row["exchanges"] for row in await client.symbols() if row["symbol"] == symbol)
        books = {name: await client.subscribe(f"{name}:{symbol}", interval=0, heartbeat=1) for name in names}
        while True:
            await asyncio.sleep(0.1)  # the books move on by themselves: look at the newest, never at a queue
            fresh = [name for name in names if books[name].fresh(2.0)]  # else it is not there at all
            for buy, sell in itertools.permutations(fresh, 2):
                ask, bid = books[buy].asks[0], books[sell].bids[0]
                size = min(ask.quantity, bid.quantity)
                paid, got = ask.price * (1 + TAKER.get(buy, 0.003)), bid.price * (1 - TAKER.get(sell, 0.003))
                if (profit := size * (got - paid)) > THRESHOLD:
                    print(f"buy {size:g} at {buy} for {paid:.2f}, sell at {sell} for {got:.2f}: {profit:.2f}")
            print(f"{len(fresh)} of {len(names)} books fresh", end="\r", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(TimeoutError, KeyboardInterrupt):
        seconds = float(sys.argv[1]) if len(sys.argv) > 1 else None
        asyncio.run(main(seconds, sys.argv[2] if len(sys.argv) > 2 else "BTC-USDT"))
