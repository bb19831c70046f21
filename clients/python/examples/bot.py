"""A paper-trading bot: follows the weight of the top five levels of one book. bot.py [SECONDS] [CHANNEL]

It acts on a fresh book only, pays the spread and the fee, and walks the depth for its price. Not advice.
"""

import asyncio
import contextlib
import os
import sys

from bookwire_client import BookChanged, Client

URL = os.environ.get("BOOKWIRE_URL", "ws://127.0.0.1:8081/")
SIZE, FEE_BPS, TILT = 0.01, 10.0, 0.65  # base units; taker fee; share of one side that makes us act


async def main(seconds: float | None, channel: str) -> None:
    position, cash = 0.0, 0.0
    async with asyncio.timeout(seconds), Client(URL) as client:
        book = await client.subscribe(channel, depth=20, interval=0, heartbeat=1)
        async for event in client.events():
            if not isinstance(event, BookChanged):
                print(event)
                continue
            if not book.fresh():
                continue  # resyncing, down or cut off: hands off
            bids = sum(level.quantity for level in book.bids[:5])
            tilt = bids / (bids + sum(level.quantity for level in book.asks[:5]))
            if tilt > TILT and position <= 0:
                sign, price = 1, book.average_price("buy", SIZE)
            elif tilt < 1 - TILT and position >= 0:
                sign, price = -1, book.average_price("sell", SIZE)
            else:
                continue
            if price is None:
                continue  # not so much on offer within the depth
            position += sign * SIZE
            cash -= sign * SIZE * price + SIZE * price * FEE_BPS / 10_000
            worth = cash + position * (book.mid or 0.0)
            print(
                f"{sign * SIZE:+.2f} at {price:.2f}: tilt {tilt:.2f}, position {position:+.2f}, {worth:+.2f}"
            )


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else None
    with contextlib.suppress(TimeoutError, KeyboardInterrupt):
        asyncio.run(main(seconds, sys.argv[2] if len(sys.argv) > 2 else "binance:BTC-USDT"))
