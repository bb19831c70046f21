"""What is traded: symbols with plausible prices, ticks and steps."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from .numbers import step_text


@dataclass(frozen=True, slots=True)
class Instrument:
    """A pair. Prices are integers of 10**-price_decimals and multiples of `tick`; quantities likewise."""

    base: str
    quote: str
    price_decimals: int
    quantity_decimals: int
    start: int
    tick: int = 1

    @property
    def symbol(self) -> str:
        """Canonical name, BASE-QUOTE."""
        return f"{self.base}-{self.quote}"

    @property
    def tick_text(self) -> str:
        """Price tick, shortest form."""
        return step_text(self.price_decimals, self.tick)

    @property
    def step_text(self) -> str:
        """Quantity step, shortest form."""
        return step_text(self.quantity_decimals)


# base: (price in dollars, price decimals, quantity decimals)
_KNOWN = {
    "BTC": (64000.0, 2, 5),
    "ETH": (3200.0, 2, 4),
    "SOL": (150.0, 2, 3),
    "XRP": (0.6, 4, 1),
    "DOGE": (0.12, 5, 0),
    "ADA": (0.45, 4, 1),
    "LTC": (75.0, 2, 3),
    "AVAX": (28.0, 3, 2),
    "LINK": (14.0, 3, 2),
    "DOT": (6.0, 4, 2),
}
_QUOTE_DOLLARS = {"BTC": 64000.0, "ETH": 3200.0, "EUR": 1.08, "GBP": 1.27, "KRW": 0.0007}


def make_instrument(symbol: str, levels: int = 1000) -> Instrument:
    """The instrument of a canonical symbol; unknown bases get a price made from their name.

    The tick is fine enough that `levels` bids fit above zero.

    Raises ValueError for a name that is not BASE-QUOTE.
    """
    base, dash, quote = symbol.partition("-")
    if not dash or not base or not quote or "-" in quote or not (base + quote).isalnum():
        raise ValueError(f"symbol {symbol!r} is not of the form BASE-QUOTE, such as BTC-USDT")
    base, quote = base.upper(), quote.upper()
    if base in _KNOWN:
        dollars, price_decimals, quantity_decimals = _KNOWN[base]
    else:
        dollars = 1.0 + zlib.crc32(base.encode()) % 5000 / 100
        price_decimals, quantity_decimals = 4, 2
    price = dollars / _QUOTE_DOLLARS.get(quote, 1.0)
    while price * 10**price_decimals < max(5000, 5 * levels) and price_decimals < 8:
        price_decimals += 1
    return Instrument(base, quote, price_decimals, quantity_decimals, int(price * 10**price_decimals))
