"""Which exchanges there are, in the order subscribers know them, and which of them have facts."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

from handlers import venues
from handlers.errors import UsageError
from handlers.facts import Venue


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


def _found() -> dict[str, Venue]:
    """Facts of every file in ``handlers/venues``, by exchange number: a new file is a new exchange."""
    modules = [import_module(f"{venues.__name__}.{found.name}") for found in iter_modules(venues.__path__)]
    facts: list[Venue] = sorted((module.VENUE for module in modules), key=lambda venue: venue.number)
    return {venue.id: venue for venue in facts}


VENUES = _found()


def venue(exchange: str) -> Venue:
    """Facts of an exchange by its id. Raises UsageError for one nobody knows or that has none yet."""
    if exchange in VENUES:
        return VENUES[exchange]
    known = any(row.id == exchange for row in EXCHANGES)
    what = f"exchange {exchange!r} is {'not implemented yet' if known else 'unknown'}"
    raise UsageError(what, do=f"use one of: {', '.join(VENUES)}")
