"""One file per exchange, each with its protocol written from the exchange's documentation."""

from __future__ import annotations

from appliance.simulator.exchange import Exchange

from .binance import Binance
from .bybit import Bybit
from .coinbase import Coinbase
from .kraken import Kraken
from .okx import Okx

EXCHANGES: dict[str, type[Exchange]] = {each.id: each for each in (Binance, Coinbase, Okx, Bybit, Kraken)}
