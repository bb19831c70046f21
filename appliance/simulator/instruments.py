"""What is traded: symbols with plausible prices, ticks and steps."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

from .numbers import step_text


@dataclass(frozen=True, slots=True)
class Instrument:
    """A pair or its perpetual contract. Prices are integers of 10**-price_decimals and multiples of `tick`,
    quantities integers of 10**-quantity_decimals and multiples of `lot`.

    `kind` is spot, linear (a perpetual whose quantities are of the base) or inverse (a perpetual in dollars
    whose quantities are dollars too).
    """

    base: str
    quote: str
    price_decimals: int
    quantity_decimals: int
    start: int
    tick: int = 1
    kind: str = "spot"
    lot: int = 1

    @property
    def symbol(self) -> str:
        """Canonical name: BASE-QUOTE, BASE-QUOTE-PERPETUAL when linear, BASE-PERPETUAL when inverse."""
        pair = self.base if self.kind == "inverse" else f"{self.base}-{self.quote}"
        return pair if self.kind == "spot" else pair + _PERPETUAL

    @property
    def tick_text(self) -> str:
        """Price tick, shortest form."""
        return step_text(self.price_decimals, self.tick)

    @property
    def step_text(self) -> str:
        """Quantity step, shortest form."""
        return step_text(self.quantity_decimals, self.lot)


_PERPETUAL = "-PERPETUAL"
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

    Raises ValueError for a name of another form than BASE-QUOTE, BASE-QUOTE-PERPETUAL, BASE-PERPETUAL.
    """
    pair = symbol.upper().removesuffix(_PERPETUAL)
    kind = "spot" if pair == symbol.upper() else "linear" if "-" in pair else "inverse"
    base, dash, quote = (pair if kind != "inverse" else f"{pair}-USD").partition("-")
    if not dash or not base or not quote or "-" in quote or not (base + quote).isalnum():
        raise ValueError(
            f"symbol {symbol!r} is not of the form BASE-QUOTE, such as BTC-USDT, "
            "nor a perpetual's, BTC-USDT-PERPETUAL or BTC-PERPETUAL"
        )
    if base in _KNOWN:
        dollars, price_decimals, quantity_decimals = _KNOWN[base]
    else:
        dollars = 1.0 + zlib.crc32(base.encode()) % 5000 / 100
        price_decimals, quantity_decimals = 4, 2
    price = dollars / _QUOTE_DOLLARS.get(quote, 1.0)
    while price * 10**price_decimals < max(5000, 5 * levels) and price_decimals < 8:
        price_decimals += 1
    if kind == "inverse":
        quantity_decimals = 0
    start = int(price * 10**price_decimals)
    return Instrument(base, quote, price_decimals, quantity_decimals, start, kind=kind)


def skewed(instrument: Instrument, points: float) -> Instrument:
    """The same, its price so many basis points off: prices stay multiples of the tick."""
    return replace(instrument, start=int(instrument.start * (1 + points / 10_000))) if points else instrument
