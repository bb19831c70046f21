"""Seeded order flow with the shape of a real one.

Most changes are near the top, an update carries 1 to 40 levels (a heavy tail), the price walks on its tick
grid by levels being taken and the other side following, the book is never crossed and never empty.
The same seed and the same number of steps give the same book.
"""

from __future__ import annotations

import random
from math import log

from .book import ASK, BID, Change, Side, TrueBook
from .instruments import Instrument

LEVELS_MAX = 50_000
CHANGES_MAX = 40
_WALK_CHANCE = 0.15
_NOTIONAL_MEAN = 9_000.0


class Flow:
    """The order flow of one symbol; `book` is the truth after `step`."""

    def __init__(self, instrument: Instrument, levels: int, seed: str) -> None:
        self.instrument = instrument
        self.book = TrueBook()
        self._random = random.Random(seed)
        self._levels = max(1, min(levels, LEVELS_MAX))
        self._touched: dict[tuple[int, int], int] = {}
        price = instrument.start / 10**instrument.price_decimals
        worth = 1.0 if instrument.kind == "inverse" else price
        lots = 10**instrument.quantity_decimals / instrument.lot
        self._quantity_mean = max(2.0, _NOTIONAL_MEAN / worth * lots)
        middle = instrument.start // instrument.tick * instrument.tick
        for side, best in ((self.book.bids, middle), (self.book.asks, middle + instrument.tick)):
            self._fill(side, best)

    def _tail(self) -> float:
        """Exponentially distributed, mean 1."""
        return -log(1.0 - self._random.random())

    def _fill(self, side: Side, best: int) -> None:
        tick, price, prices = self.instrument.tick, best, []
        for index in range(self._levels):
            if price < tick:
                break
            prices.append(price)
            # dense at the top, thinner further out
            gap = 1 if index < 5 else 1 + int(self._tail() * min(3.0, index / 200))
            price -= side.sign * tick * gap
        for price in prices:
            side.levels[price] = self._level(price)
        side.keys = sorted(side.sign * price for price in prices)

    def _level(self, price: int, avoid: int = 0) -> tuple[int, int]:
        """A quantity (never `avoid`, never 0) and its order count."""
        rng = self._random
        quantity = 1 + int(self._tail() ** 2 * self._quantity_mean)
        if rng.random() < 0.2:
            # people like round sizes
            scale = 10 ** max(0, len(str(quantity)) - 1)
            quantity = max(scale, quantity // scale * scale)
        if quantity * self.instrument.lot == avoid:
            quantity += 1
        return quantity * self.instrument.lot, 1 + int(rng.random() * min(30, quantity))

    def step(self) -> list[Change]:
        """Make one update (1 to 40 changed levels, each price at most once) and return it."""
        rng, touched = self._random, self._touched
        touched.clear()
        count = min(CHANGES_MAX, 1 + int(self._tail() * 6.0))
        if rng.random() < _WALK_CHANCE:
            self._walk()
        tries = 0
        while len(touched) < count and tries < 2 * count:
            tries += 1
            self._touch(BID if rng.random() < 0.5 else ASK)
        changes = self._collect()
        if not changes:
            self._modify(BID, self.book.bids.best())
            changes = self._collect()
        return changes

    def _collect(self) -> list[Change]:
        sides, changes = self.book.sides, []
        for (number, price), before in self._touched.items():
            quantity, orders = sides[number].levels.get(price, (0, 0))
            if quantity != before:
                changes.append(Change(number, price, quantity, orders, before))
        return changes[:]

    def _put(self, number: int, price: int, quantity: int, orders: int) -> None:
        side = self.book.sides[number]
        self._touched.setdefault((number, price), side.levels.get(price, (0, 0))[0])
        side.put(price, quantity, orders)

    def _modify(self, number: int, price: int) -> None:
        held = self.book.sides[number].levels[price][0]
        before = self._touched.get((number, price), held)
        self._put(number, price, *self._level(price, avoid=before))

    def _walk(self) -> None:
        """The price moves: best levels of one side are taken and the other side follows."""
        rng, tick, start = self._random, self.instrument.tick, self.instrument.start
        middle = self.book.bids.best()
        up_chance = 0.5 + 0.4 * (1 - middle / start)  # pulled back towards the start over hours
        taken = ASK if rng.random() < up_chance else BID
        side, other = self.book.sides[taken], self.book.sides[1 - taken]
        for _ in range(1 + int(self._tail())):
            if len(side.keys) > max(1, self._levels // 2) and len(self._touched) < CHANGES_MAX - 2:
                self._put(taken, side.best(), 0, 0)
        room = abs(side.best() - other.best()) // tick - 1
        if room > 0:
            price = side.best() + side.sign * tick * (1 + int(rng.random() * min(room, 2)))
            self._put(1 - taken, price, *self._level(price))

    def _touch(self, number: int) -> None:
        """Change, add or remove one level, mostly near the top."""
        rng, side, tick = self._random, self.book.sides[number], self.instrument.tick
        where, held = rng.random(), len(side.keys)
        if where < 0.7:
            index = int(self._tail() * 5.0)
        elif where < 0.95:
            index = int(self._tail() * 60.0)
        else:
            index = int(rng.random() * held)
        price = side.sign * side.keys[max(0, held - 1 - index)]
        what = rng.random() + 0.25 * (1 if held < self._levels else -1)
        if what < 0.2 and held > max(1, self._levels // 2):
            worst = held > self._levels * 1.1
            self._put(number, side.sign * side.keys[0] if worst else price, 0, 0)
        elif what < 0.7:
            self._modify(number, price)
        else:
            self._add(number, price, tick)

    def _add(self, number: int, price: int, tick: int) -> None:
        """A new level near `price`; into the spread now and then, never across it."""
        rng, side = self._random, self.book.sides[number]
        if rng.random() < 0.15:
            fresh = side.best() + side.sign * tick
            if fresh == self.book.sides[1 - number].best():
                fresh = price
        else:
            fresh = price - side.sign * tick * (1 + int(rng.random() * 4))
        if fresh < tick:
            return
        if fresh in side.levels:
            self._modify(number, fresh)
        else:
            self._put(number, fresh, *self._level(fresh))
