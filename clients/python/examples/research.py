"""Writes a study's raw material as CSV: research.py [SECONDS] [FILE] [SYMBOL]

One row for each update of each exchange, exact decimals, with the exchange's and the box's stamps; a row
with empty prices where a book was not live, so that no gap looks like a quiet market. The books are the
study's own, moved by the events: the client's may be ahead of an event that waited.
"""

import asyncio
import contextlib
import csv
import os
import sys
from decimal import Decimal

from bookwire_client import Book, BookChanged, Client, Disconnected

URL = os.environ.get("BOOKWIRE_URL", "ws://127.0.0.1:8081/")
STAMPS = ("channel", "seq", "exch_ms", "recv_ns")
PRICES = ("bid", "bid_qty", "ask", "ask_qty", "mid", "bid_depth", "ask_depth")


async def main(seconds: float | None, path: str, symbol: str) -> None:
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(STAMPS + PRICES)
        async with asyncio.timeout(seconds), Client(URL) as client:
            names = next(row["exchanges"] for row in await client.symbols() if row["symbol"] == symbol)
            books = {f"{name}:{symbol}": Book(f"{name}:{symbol}", Decimal) for name in names}
            events = client.events(room=1_000_000)
            for channel in books:
                await client.subscribe(channel, depth=50, exact=True, interval=0)
            async for event in events:
                if isinstance(event, Disconnected):
                    out.writerows([channel] for channel in books)  # nothing is known from here on
                if not isinstance(event, BookChanged):
                    print(event, file=sys.stderr)
                    continue
                book, data = books[event.book.channel], event.message["data"]
                book.apply(event.message)
                row = [book.channel, data["seq"], data["exch_ts"], data["recv_ns"]]
                if book.whole and (bid := book.best_bid) and (ask := book.best_ask):
                    row += [bid.price, bid.quantity, ask.price, ask.quantity, book.mid]
                    row += [book.quantity("bids"), book.quantity("asks")]
                out.writerow(row)


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else None
    given = dict(enumerate(sys.argv))
    with contextlib.suppress(TimeoutError, KeyboardInterrupt):
        asyncio.run(main(seconds, given.get(2, "study.csv"), given.get(3, "BTC-USDT")))
