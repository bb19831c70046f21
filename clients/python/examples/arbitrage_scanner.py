"""Every ordered pair of exchanges for every symbol, through the depth, after both taker fees.

arbitrage_scanner.py [SECONDS] [CAPITAL]: each second the best pairs, in basis points of CAPITAL (10000).
"""

import asyncio
import contextlib
import itertools
import os
import sys

from bookwire_client import Book, Client

URL = os.environ.get("BOOKWIRE_URL", "ws://127.0.0.1:8081/")
TAKER_BPS = {"binance": 10.0, "bybit": 10.0, "okx": 20.0}  # put in those of your own tier
OTHERS_BPS = 30.0


def fee_bps(book: Book[float]) -> float:
    return TAKER_BPS.get(book.channel.split(":")[0], OTHERS_BPS)


def net_bps(buy: Book[float], sell: Book[float], capital: float) -> float | None:
    """What is left of ``capital`` after buying here, selling there and both fees, in basis points."""
    if not (buy.fresh() and sell.fresh()):
        return None
    size = capital / buy.asks[0].price
    paid, got = buy.average_price("buy", size), sell.average_price("sell", size)
    if paid is None or got is None:
        return None  # not so much in the book
    return ((got * (1 - fee_bps(sell) / 1e4)) / (paid * (1 + fee_bps(buy) / 1e4)) - 1) * 1e4


async def main(seconds: float | None, capital: float) -> None:
    async with asyncio.timeout(seconds), Client(URL) as client:
        books: dict[str, list[Book[float]]] = {}
        for row in await client.symbols(quote="USDT"):
            channels = [f"{exchange}:{row['symbol']}" for exchange in row["exchanges"]]
            books[row["symbol"]] = [await client.subscribe(name, depth=100, heartbeat=1) for name in channels]
        while True:
            await asyncio.sleep(1)
            found = []
            for held in books.values():
                for buy, sell in itertools.permutations(held, 2):
                    if (net := net_bps(buy, sell, capital)) is not None:
                        found.append((net, buy.channel, sell.channel))
            live = sum(book.fresh() for held in books.values() for book in held)
            print(f"{live} fresh books, {len(found)} pairs")
            for net, bought, sold in sorted(found, reverse=True)[:5]:
                print(f"  buy {bought:<20} sell {sold:<20} net {net:8.2f} bps {net / 1e4 * capital:9.2f}")


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else None
    with contextlib.suppress(TimeoutError, KeyboardInterrupt):
        asyncio.run(main(seconds, float(sys.argv[2]) if len(sys.argv) > 2 else 10_000.0))
