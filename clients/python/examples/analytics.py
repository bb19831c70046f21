"""An analytics dashboard: how each exchange quotes a symbol. analytics.py [SECONDS] [SYMBOL]

Each second, over what was seen so far: share of time live, mean spread, what a market order of 50,000
quote units costs against the mid, and each exchange's share of the depth within 10 basis points.
"""

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass

from bookwire_client import Book, Client

URL = os.environ.get("BOOKWIRE_URL", "ws://127.0.0.1:8081/")
ORDER, WITHIN_BPS = 50_000.0, 10.0


@dataclass
class Figures:
    looks: int = 0
    live: int = 0
    spread_bps: float = 0.0  # sums over live looks
    cost_bps: float = 0.0
    near: float = 0.0

    def look(self, book: Book[float]) -> None:
        self.looks += 1
        mid, spread_bps = book.mid, book.spread_bps
        if not book.fresh() or mid is None or spread_bps is None:
            return
        self.live += 1
        self.spread_bps += spread_bps
        paid = book.average_price("buy", ORDER / mid)
        self.cost_bps += (paid / mid - 1) * 1e4 if paid is not None else float("nan")  # deeper than we look
        reach = mid * WITHIN_BPS / 1e4
        self.near += sum(each.quantity for each in book.bids + book.asks if abs(each.price - mid) <= reach)


async def main(seconds: float | None, symbol: str) -> None:
    async with asyncio.timeout(seconds), Client(URL) as client:
        names = next(row["exchanges"] for row in await client.symbols() if row["symbol"] == symbol)
        books = {name: await client.subscribe(f"{name}:{symbol}", depth=500, heartbeat=1) for name in names}
        figures = {name: Figures() for name in names}
        while True:
            for _ in range(10):
                await asyncio.sleep(0.1)
                for name, book in books.items():
                    figures[name].look(book)
            near = sum(each.near for each in figures.values()) or 1.0
            print(f"{symbol:<12} live %  spread bp  cost bp  depth share %")
            for name, each in figures.items():
                live = each.live or 1
                print(f"{name:<12} {100 * each.live / each.looks:>6.1f} {each.spread_bps / live:>10.3f} "
                      f"{each.cost_bps / live:>8.2f} {100 * each.near / near:>14.1f}")  # fmt: skip


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else None
    with contextlib.suppress(TimeoutError, KeyboardInterrupt):
        asyncio.run(main(seconds, sys.argv[2] if len(sys.argv) > 2 else "BTC-USDT"))
