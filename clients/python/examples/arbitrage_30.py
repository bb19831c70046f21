"""Arbitrage in 30 lines: newest values, fees, nothing stale. arbitrage_30.py [SECONDS] [SYMBOL] [PROFIT]"""

import asyncio
import contextlib
import os
import sys

from bookwire_client import Client

URL = os.environ.get("BOOKWIRE_URL", "ws://127.0.0.1:8081/")
CAPITAL = 10_000.0  # most that a trade may cost, in the quote asset


async def main(seconds: float | None, symbol: str, threshold: float) -> None:
    async with asyncio.timeout(seconds), Client(URL) as client:
        # The box walks every pair of LIVE books through the depth, with the taker fees of its [arb.fees].
        arb = await client.subscribe_arb(symbol, min_bp=0, capital=CAPITAL)
        while True:
            await asyncio.sleep(0.1)  # the rows move on by themselves: look at the newest, never at a queue
            rows = arb.rows(max_age_s=2.0)  # none while nothing is heard, none with an old quote
            for row in (row for row in rows if row.profit > threshold):
                buy, sell = row.buy, row.sell
                print(
                    f"buy {row.size:g} at {buy.exchange} for {buy.vwap:.2f}, sell at {sell.exchange}"
                    f" for {sell.vwap:.2f}: {row.profit:.2f}, {row.net_bp:.1f} bp, {row.age_ms} ms old"
                )
            print(
                f"{len(rows)} pairs cross, {'heard' if arb.fresh(2.0) else 'not heard'}", end="\r", flush=True
            )


if __name__ == "__main__":
    with contextlib.suppress(TimeoutError, KeyboardInterrupt):
        given = [*sys.argv[1:], *("", "", "")][:3]
        asyncio.run(
            main(float(given[0]) if given[0] else None, given[1] or "BTC-USDT", float(given[2] or 10))
        )
