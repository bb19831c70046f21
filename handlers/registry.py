"""Which exchanges there are, in the order subscribers know them, and which of them have facts."""

from __future__ import annotations

from typing import NamedTuple

from handlers.errors import UsageError
from handlers.facts import Venue
from handlers.venues import binance, bybit, coinbase, kraken, okx


class Exchange(NamedTuple):
    """A row of the public list; ``number`` is the exchange's id in binary formats."""

    number: int
    id: str
    name: str
    quote: str


EXCHANGES: tuple[Exchange, ...] = tuple(
    Exchange(number, *row)
    for number, row in enumerate(
        [
            ("binance", "Binance", "USDT"),
            ("coinbase", "Coinbase", "USD"),
            ("okx", "OKX", "USDT"),
            ("bybit", "Bybit", "USDT"),
            ("kraken", "Kraken", "USDT"),
            ("gemini", "Gemini", "USD"),
            ("cryptocom", "Crypto.com", "USDT"),
            ("gateio", "Gate.io", "USDT"),
            ("kucoin", "KuCoin", "USDT"),
            ("upbit", "Upbit", "USDT"),
            ("bitget", "Bitget", "USDT"),
            ("mexc", "MEXC", "USDT"),
            ("htx", "HTX", "USDT"),
            ("bitfinex", "Bitfinex", "USD"),
            ("bingx", "BingX", "USDT"),
            ("phemex", "Phemex", "USDT"),
            ("lbank", "LBank", "USDT"),
            ("bitmart", "BitMart", "USDT"),
            ("coinex", "CoinEx", "USDT"),
            ("ascendex", "AscendEX", "USDT"),
            ("deribit", "Deribit", "USD"),
        ]
    )
)

VENUES: dict[str, Venue] = {
    module.VENUE.id: module.VENUE for module in (binance, coinbase, okx, bybit, kraken)
}


def venue(exchange: str) -> Venue:
    """Facts of an exchange by its id. Raises UsageError for one nobody knows or that has none yet."""
    if exchange in VENUES:
        return VENUES[exchange]
    known = any(row.id == exchange for row in EXCHANGES)
    what = f"exchange {exchange!r} is {'not implemented yet' if known else 'unknown'}"
    raise UsageError(what, do=f"use one of: {', '.join(VENUES)}")
