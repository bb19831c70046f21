"""Writes a study's raw material as CSV: research.py [SECONDS] [FILE] [SYMBOL]

One row for each update of each exchange, exact decimals, with the exchange's and the box's stamps; a row with
empty prices where a book was not live, so that no gap looks like a quiet market. Read it with
``pandas.read_csv(FILE, parse_dates=["recv_ns"])``.
"""

import asyncio
import contextlib
import csv
import os
import sys

from bookwire_client import BookChanged, Client

URL = os.environ.get("BOOKWIRE_URL", "ws://127.0.0.1:8081/")
COLUMNS = (
    "channel",
    "seq",
    "exch_ms",
    "recv_ns",
    "bid",
    "bid_qty",
    "ask",
    "ask_qty",
    "mid",
    "bid_depth",
    "ask_depth",
)


async def main(path: str, symbol: str) -> None:
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(COLUMNS)
        async with Client(URL) as client:
            names = next(row["exchanges"] for row in await client.symbols() if row["symbol"] == symbol)
            events = client.events(room=1_000_000)
            for name in names:
                await client.subscribe(f"{name}:{symbol}", depth=50, exact=True, interval=0)
            async for event in events:
                if not isinstance(event, BookChanged):
                    print(event, file=sys.stderr)
                    continue
                book, data = event.book, event.message["data"]
                stamps = (book.channel, data["seq"], data["exch_ts"], data["recv_ns"])
                if not book.live:
                    out.writerow(stamps)
                    continue
                bid, ask = book.bids[0], book.asks[0]
                depths = (book.quantity("bids"), book.quantity("asks"))
                out.writerow((*stamps, bid.price, bid.quantity, ask.price, ask.quantity, book.mid, *depths))


if __name__ == "__main__":
    arguments = dict(enumerate(sys.argv))
    with contextlib.suppress(TimeoutError, KeyboardInterrupt):
        study = main(arguments.get(2, "study.csv"), arguments.get(3, "BTC-USDT"))
        asyncio.run(asyncio.wait_for(study, float(arguments[1]) if 1 in arguments else None))
