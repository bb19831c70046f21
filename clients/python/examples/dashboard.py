"""A price dashboard in the terminal: the best bid and offer of every symbol over all exchanges.

dashboard.py [SECONDS]
"""

import asyncio
import contextlib
import os
import sys

from bookwire_client import Book, Client

URL = os.environ.get("BOOKWIRE_URL", "ws://127.0.0.1:8081/")


def line(book: Book[float]) -> str:
    bid, ask, spread = book.best_bid, book.best_ask, book.spread_bps
    if not book.fresh() or bid is None or ask is None or spread is None:
        return f"{book.channel[4:]:<12} not live"
    prices = f"{bid.quantity:>12.4f} {bid.price:>12.4f} {ask.price:>12.4f} {ask.quantity:<12.4f}"
    return (
        f"{book.channel[4:]:<12} {prices} {spread:>7.2f} bp {book.age_s:>5.1f} s old {book.deltas:>8} updates"
    )


async def main(seconds: float | None) -> None:
    async with asyncio.timeout(seconds), Client(URL) as client:
        symbols = await client.symbols()
        books = [await client.subscribe(f"top:{row['symbol']}", heartbeat=1) for row in symbols[:40]]
        while True:
            await asyncio.sleep(0.5)
            if sys.stdout.isatty():
                print("\033[H\033[2J", end="")
            print(f"{client.url} {'connected' if client.connected else 'RECONNECTING'}, {len(books)} symbols")
            print("\n".join(line(book) for book in books), flush=True)


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else None
    with contextlib.suppress(TimeoutError, KeyboardInterrupt):
        asyncio.run(main(seconds))
