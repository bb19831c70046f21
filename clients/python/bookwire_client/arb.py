"""What pays between two exchanges now: the newest rows of an ``arb:`` channel. No I/O."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Leg:
    """Where one side is traded. ``price``: of the best level; ``vwap``: of what is taken of the depth."""

    exchange: str
    price: float
    vwap: float
    age_ms: int


@dataclass(frozen=True)
class Opportunity:
    """Bought at one exchange, sold at the other, both taker fees paid. Money in the quote asset.

    ``age_ms``: of the older quote, as the box sent it; ``rows()`` tells it as of now.
    """

    symbol: str
    buy: Leg
    sell: Leg
    size: float
    notional: float
    profit: float
    net_bp: float
    age_ms: int
    confidence: float


def _leg(row: dict[str, Any]) -> Leg:
    return Leg(str(row["exchange"]), float(row["price"]), float(row["vwap"]), int(row["age_ms"]))


def _opportunity(row: dict[str, Any]) -> Opportunity:
    return Opportunity(
        str(row["symbol"]), _leg(row["buy"]), _leg(row["sell"]), float(row["size"]), float(row["notional"]),
        float(row["profit"]), float(row["net_bp"]), int(row["age_ms"]), float(row["confidence"]),
    )  # fmt: skip


class Arb:
    """One ``arb:`` channel. Books that are not LIVE are in no row: the box leaves them out."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.connected = False  # the client says so
        self.whole = False  # rows have come since it is connected
        self.ts = 0  # ms since the epoch: when the box made them
        self.left_out = 0  # rows beyond those the box sends
        self.snapshots = 0
        self.updated_s = self.heard_s = float("-inf")  # time.monotonic(): last message; that or a heartbeat
        self._rows: tuple[Opportunity, ...] = ()

    def apply(self, message: dict[str, Any]) -> None:
        """Takes a ``snapshot`` of the channel: whole rows each time."""
        self._rows = tuple(map(_opportunity, message["data"]))
        self.whole = True
        self.ts = int(message["ts"])
        self.left_out = int(message.get("left_out", 0))
        self.snapshots += 1
        self.updated_s = self.heard_s = time.monotonic()

    def fresh(self, within_s: float = 3.0) -> bool:
        """Connected, and heard of within so many seconds; the client asks for a heartbeat each second."""
        return self.connected and self.whole and time.monotonic() - self.heard_s <= within_s

    def rows(self, max_age_s: float = 3.0) -> tuple[Opportunity, ...]:
        """Most profit first, ages as of now. Left out: rows with a quote older than ``max_age_s``, and all
        of them while the channel is not ``fresh(max_age_s)``."""
        if not self.fresh(max_age_s):
            return ()
        since_ms = round((time.monotonic() - self.updated_s) * 1000)
        aged = (replace(row, age_ms=row.age_ms + since_ms) for row in self._rows)
        return tuple(row for row in aged if row.age_ms <= max_age_s * 1000)
