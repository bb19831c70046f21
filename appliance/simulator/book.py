"""The true book of one symbol, exact integers only, and the windows that exchanges show of it."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import NamedTuple

BID, ASK = 0, 1


class Change(NamedTuple):
    """One level after an update. Quantity 0: the level is gone. `before` is the quantity it had (0: new)."""

    side: int
    price: int
    quantity: int
    orders: int
    before: int


class Side:
    """One side: `keys` ascend towards the best price (bids: price, asks: -price), so that work near the
    top moves little memory; `levels` maps price to (quantity, orders)."""

    __slots__ = ("keys", "levels", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.levels: dict[int, tuple[int, int]] = {}

    def best(self) -> int:
        """Best price; the flow keeps at least one level on each side."""
        return self.sign * self.keys[-1]

    def put(self, price: int, quantity: int, orders: int) -> None:
        """Set a level; quantity 0 removes it."""
        held = price in self.levels
        if quantity:
            self.levels[price] = (quantity, orders)
            if not held:
                insort(self.keys, self.sign * price)
        elif held:
            del self.levels[price]
            key = self.sign * price
            del self.keys[bisect_left(self.keys, key)]

    def top(self, depth: int | None = None) -> list[tuple[int, int, int]]:
        """(price, quantity, orders) from the best price on, at most `depth` of them."""
        keys = self.keys if depth is None else self.keys[-depth:] if depth > 0 else []
        levels, sign = self.levels, self.sign
        return [(sign * key, *levels[sign * key]) for key in reversed(keys)]

    def edge(self, depth: int) -> int | None:
        """Key of the worst level among the best `depth`; None when the whole side fits."""
        return self.keys[-depth] if len(self.keys) >= depth else None


class TrueBook:
    """Both sides of a symbol."""

    __slots__ = ("asks", "bids", "sides")

    def __init__(self) -> None:
        self.bids = Side(1)
        self.asks = Side(-1)
        self.sides = (self.bids, self.asks)

    def at_top(self, changes: list[Change], depth: int = 10) -> bool:
        """Did the changes, already made, touch the best `depth` levels?"""
        edges = [side.edge(depth) for side in self.sides]
        for change in changes:
            edge = edges[change.side]
            if edge is None or self.sides[change.side].sign * change.price >= edge:
                return True
        return False


class Window:
    """The best `depth` levels of each side, as exchanges with a fixed depth show them.

    After every update `shift` says what a viewer who holds the old window must be told: changed levels
    inside, levels that came (back) into the window, and, where `tell_leaving`, deletions of those pushed out.
    """

    __slots__ = ("_book", "_edges", "depth", "tell_leaving")

    def __init__(self, book: TrueBook, depth: int, *, tell_leaving: bool) -> None:
        self.depth = depth
        self.tell_leaving = tell_leaving
        self._book = book
        self._edges = [side.edge(depth) for side in book.sides]

    def shift(self, changes: list[Change]) -> list[Change]:
        """Translate changes already made to the book into changes of this window."""
        shown: list[Change] = []
        told: set[tuple[int, int]] = set()
        ends = [side.edge(self.depth) for side in self._book.sides]
        for change in changes:
            key = self._book.sides[change.side].sign * change.price
            old, new = self._edges[change.side], ends[change.side]
            was_inside = change.before > 0 and (old is None or key >= old)
            is_inside = change.quantity > 0 and (new is None or key >= new)
            told.add((change.side, change.price))
            if is_inside or (was_inside and change.quantity == 0):
                shown.append(change)
            elif was_inside and self.tell_leaving:
                shown.append(change._replace(quantity=0, orders=0))
        for number in (BID, ASK):
            shown += self._moved(number, self._edges[number], ends[number], told)
        self._edges = ends
        return shown

    def _moved(
        self, number: int, old: int | None, new: int | None, told: set[tuple[int, int]]
    ) -> list[Change]:
        """Levels that did not change themselves but crossed the window's edge."""
        if old == new or (old is None and new is None):
            return []
        side = self._book.sides[number]
        came = old is not None and (new is None or new < old)
        if not came and not self.tell_leaving:
            return []
        low, high = (new, old) if came else (old, new)
        first = 0 if low is None else bisect_left(side.keys, low)
        last = len(side.keys) if high is None else bisect_left(side.keys, high)
        moved = []
        for key in side.keys[first:last]:
            price = side.sign * key
            if (number, price) in told:
                continue
            quantity, orders = side.levels[price]
            moved.append(
                Change(number, price, quantity, orders, 0) if came else Change(number, price, 0, 0, quantity)
            )
        return moved
