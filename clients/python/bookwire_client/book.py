"""A book as snapshots and deltas leave it. No I/O: ``Client`` feeds it, tests and replays may as well."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Generic, Literal, NamedTuple, TypeVar

# Position is the exchange's number, which orders equal levels of a fullbook.
EXCHANGES = (
    "binance", "coinbase", "okx", "bybit", "kraken", "gemini", "cryptocom", "gateio", "kucoin", "upbit",
    "bitget", "mexc", "htx", "bitfinex", "bingx", "phemex", "lbank", "bitmart", "coinex", "ascendex",
    "deribit",
)  # fmt: skip
_NUMBER = dict(zip(EXCHANGES, range(len(EXCHANGES)), strict=True))

N = TypeVar("N", float, Decimal)


class Level(NamedTuple, Generic[N]):
    """``orders`` is 0 where the exchange tells no count; ``exchange`` is "" but in a fullbook."""

    price: N
    quantity: N
    orders: int
    exchange: str


class _Side(Generic[N]):
    """Levels by key: the price, in a fullbook (price, exchange). Sorted when looked at."""

    def __init__(self, number: Callable[[Any], N], descending: bool) -> None:
        self._number: Callable[[Any], N] = number
        self._sign = -1 if descending else 1
        self._levels: dict[tuple[N, str], Level[N]] = {}
        self._sorted: tuple[Level[N], ...] | None = ()

    def clear(self) -> None:
        self._levels.clear()
        self._sorted = ()

    def apply(self, rows: Iterable[list[Any]]) -> None:
        for row in rows:
            price, quantity = self._number(row[0]), self._number(row[1])
            exchange = str(row[3]) if len(row) > 3 else ""
            if quantity == 0:
                self._levels.pop((price, exchange), None)
            else:
                self._levels[price, exchange] = Level(price, quantity, int(row[2]), exchange)
            self._sorted = None

    def levels(self) -> tuple[Level[N], ...]:
        if self._sorted is None:
            self._sorted = tuple(sorted(self._levels.values(), key=self._place))
        return self._sorted

    def _place(self, level: Level[N]) -> tuple[N, N, int]:
        return self._sign * level.price, -level.quantity, _NUMBER.get(level.exchange, len(_NUMBER))


class Book(Generic[N]):
    """One channel's book. Numbers are floats, or exact Decimals where subscribed with ``exact=True``.

    ``live`` is False until a whole snapshot is there, while disconnected, and while the gateway shows the
    book empty because it is not known to be right: then what is left in it is for looking at only.
    Figures are None where a side they need is empty or too thin.
    """

    def __init__(self, channel: str, number: Callable[[Any], N]) -> None:
        self.channel = channel
        self.connected = False  # the client says so
        self.whole = False  # every page of the last snapshot has come
        self.ts = 0  # ms since the epoch: the box received the newest update in here
        self.seq = -1  # of the last message; -1 without stamps
        self.pub_ns = 0
        self.state = ""  # single exchanges with stamps: live, stale, resync, syncing, down
        self.snapshots = 0
        self.deltas = 0
        self.conflated = 0  # updates that were merged because we read too slowly
        self.updated_s = self.heard_s = float("-inf")  # time.monotonic(): last message; that or a heartbeat
        self._bids: _Side[N] = _Side(number, True)
        self._asks: _Side[N] = _Side(number, False)

    def apply(self, message: dict[str, Any]) -> None:
        """Takes a ``snapshot`` or ``delta`` message of the gateway."""
        data = message["data"]
        if message["type"] == "snapshot":
            self._bids.clear()
            self._asks.clear()
            self.snapshots += 1
        else:
            self.deltas += 1
        self._bids.apply(data["bids"])
        self._asks.apply(data["asks"])
        more = bool(message.get("more", False))
        if message["type"] == "snapshot" or not self.whole:
            self.whole = not more  # pages: a snapshot, then deltas, the last without "more"
        self.conflated += int(message.get("conflated", 0))
        self.ts = int(data["ts"])
        self.seq = int(data.get("seq", -1))
        self.pub_ns = int(data.get("pub_ns", 0))
        self.state = str(data.get("state", ""))
        self.updated_s = self.heard_s = time.monotonic()

    @property
    def live(self) -> bool:
        """Connected, whole, both sides there."""
        return self.connected and self.whole and bool(self.bids) and bool(self.asks)

    def fresh(self, within_s: float = 3.0) -> bool:
        """Live, and heard of within so many seconds: fit to act on. Subscribe with ``heartbeat=1`` for it,
        so that a quiet book is told from a dead connection."""
        return self.live and time.monotonic() - self.heard_s <= within_s

    @property
    def age_s(self) -> float:
        """Seconds since its last message reached us; a quiet book may be old and right."""
        return time.monotonic() - self.updated_s

    @property
    def bids(self) -> tuple[Level[N], ...]:
        """Best first."""
        return self._bids.levels()

    @property
    def asks(self) -> tuple[Level[N], ...]:
        """Best first. In a fullbook, equal prices: larger quantity first, then exchange number."""
        return self._asks.levels()

    @property
    def best_bid(self) -> Level[N] | None:
        return self.bids[0] if self.bids else None

    @property
    def best_ask(self) -> Level[N] | None:
        return self.asks[0] if self.asks else None

    @property
    def mid(self) -> N | None:
        bid, ask = self.best_bid, self.best_ask
        return None if bid is None or ask is None else (bid.price + ask.price) / 2

    @property
    def spread(self) -> N | None:
        """Negative where exchanges cross each other."""
        bid, ask = self.best_bid, self.best_ask
        return None if bid is None or ask is None else ask.price - bid.price

    @property
    def spread_bps(self) -> N | None:
        """Spread in basis points of the mid."""
        mid, spread = self.mid, self.spread
        return None if mid is None or spread is None else spread / mid * 10_000

    def quantity(self, side: Literal["bids", "asks"]) -> N | None:
        """The sum of a side's quantities, as deep as subscribed."""
        levels = self.bids if side == "bids" else self.asks
        total = None
        for level in levels:
            total = level.quantity if total is None else total + level.quantity
        return total

    def average_price(self, action: Literal["buy", "sell"], size: N) -> N | None:
        """What ``size`` base units cost on average a unit, walked through the depth before fees.

        None when the subscribed depth does not hold so much. ``buy`` walks the asks.
        """
        left, cost = size, size * 0
        for level in self.asks if action == "buy" else self.bids:
            taken = min(left, level.quantity)
            cost += taken * level.price
            left -= taken
            if left <= 0:
                return cost / size
        return None
