"""Seeded order flow for the generated frames: a book of steady size whose changes crowd the top.

Written for the benchmarks alone; it knows no venue and shares nothing with the simulator or the
handlers. Prices and quantities are integers in units of the last decimal.
"""

from __future__ import annotations

import random
import zlib
from bisect import bisect_left, insort
from dataclasses import dataclass


@dataclass(frozen=True)
class Market:
    """A market's native symbol and the decimals of its prices and quantities."""

    symbol: str
    price_decimals: int
    quantity_decimals: int


@dataclass(frozen=True)
class Change:
    """A level now has this quantity; 0: it left."""

    side: str
    price: int
    quantity: int


class Flow:
    """The book behind the frames. ``keys`` ascend from the best level on either side."""

    def __init__(self, market: Market, depth: int, seed: int, changes: int | None = None) -> None:
        """``changes``: in every update; None: 1 to 40, 10 on average."""
        self.market, self.depth, self.changes = market, depth, changes
        self.random = random.Random(seed)
        self.levels: dict[str, dict[int, int]] = {"bid": {}, "ask": {}}
        self.keys: dict[str, list[int]] = {"bid": [], "ask": []}

    def quantity(self) -> int:
        unit = 10**self.market.quantity_decimals
        return max(1, int(self.random.lognormvariate(-2.0, 1.6) * unit))

    def snapshot(self) -> list[Change]:
        """``depth`` levels a side around a price of about 61,800 units, 1 to 5 ticks apart."""
        middle = 61_800 * 10**self.market.price_decimals
        changes = []
        for side, sign in (("bid", -1), ("ask", 1)):
            price = middle
            for _ in range(self.depth):
                price += sign * self.random.randint(1, 5)
                changes.append(self.set(side, price, self.quantity()))
        return changes

    def set(self, side: str, price: int, quantity: int) -> Change:
        sign = -1 if side == "bid" else 1
        levels, keys = self.levels[side], self.keys[side]
        if quantity and price not in levels:
            insort(keys, sign * price)
        if quantity:
            levels[price] = quantity
        elif price in levels:
            del levels[price]
            del keys[bisect_left(keys, sign * price)]
        return Change(side, price, quantity)

    def update(self) -> list[Change]:
        """One update, each price at most once."""
        count = self.changes or min(40, 1 + int(self.random.expovariate(1 / 9.6)))
        touched: dict[tuple[str, int], Change] = {}
        while len(touched) < count:
            change = self.change(touched)
            if change is not None:
                touched[change.side, change.price] = change
        return list(touched.values())

    def change(self, touched: dict[tuple[str, int], Change]) -> Change | None:
        """A change some 10 levels from the top on average; None if it would touch a price twice."""
        side = self.random.choice(("bid", "ask"))
        sign, keys = (-1 if side == "bid" else 1), self.keys[side]
        at = min(len(keys) - 1, int(self.random.expovariate(1 / 10)))
        price, kind = abs(keys[at]), self.random.random()
        if kind < 0.5:
            return None if (side, price) in touched else self.set(side, price, self.quantity())
        if kind < 0.5 + 0.25 * (len(keys) / self.depth) ** 8:
            return None if (side, price) in touched else self.set(side, price, 0)
        spread = keys[0] + self.keys["ask" if side == "bid" else "bid"][0]
        new = price + sign * self.random.randint(-4, 4)
        if at == 0:  # the spread is filled again from both sides
            new = price - sign * self.random.randint(1, max(1, spread // 2))
        crossing = keys[0] - sign * new >= spread
        if new in self.levels[side] or crossing or (side, new) in touched or len(keys) >= self.depth + 8:
            return None
        return self.set(side, new, self.quantity())

    def checksum(self) -> int:
        """CRC-32 over the digits of the best 10 asks, then of the best 10 bids: price, quantity."""
        text = "".join(
            f"{abs(key)}{self.levels[side][abs(key)]}"
            for side in ("ask", "bid")
            for key in self.keys[side][:10]
        )
        return zlib.crc32(text.encode())
