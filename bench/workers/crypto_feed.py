"""cryptofeed: each frame enters its feed's own ``message_handler``, without callbacks behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from cryptofeed.defines import L2_BOOK
from cryptofeed.exchanges import OKX, Binance, Bybit
from cryptofeed.symbols import Symbols
from worker import Book, Unfit, main

FEEDS = {"binance": Binance, "okx": OKX, "bybit": Bybit}
UNFIT = {
    "coinbase": "2.4.1 takes side 'offer' of a snapshot for no side: asks are lost",
    "kraken": "2.4.1 speaks the retired v1 protocol only",
}
NATIVE = {"binance": "BTCUSDT", "okx": "BTC-USDT", "bybit": "BTC/USDT"}


class CryptoFeed:
    name = "cryptofeed"
    waits = True
    takes_text = True

    def begin(self, venue: str, symbol: str, snapshot: str) -> Callable[[str], Awaitable[None]]:
        if venue not in FEEDS:
            raise Unfit(UNFIT[venue])
        kind = FEEDS[venue]
        info = {"tick_size": {"BTC-USDT": "0.01"}, "instrument_type": {"BTC-USDT": "spot"}}
        Symbols.set(kind.id, {"BTC-USDT": NATIVE[venue]}, info)
        self.feed = feed = kind(symbols=["BTC-USDT"], channels=[L2_BOOK], checksum_validation=False)
        connection = SimpleNamespace(uuid="bench", address="wss://stream.example/v5/public/spot")
        state = {"snapshot": snapshot}

        async def rest(_: str) -> str:
            return state["snapshot"]

        async def take(frame: str) -> None:
            if feed.id != "BINANCE" and state["snapshot"]:
                first, state["snapshot"] = state["snapshot"], ""
                await feed.message_handler(first, connection, 0.0)
            await feed.message_handler(frame, connection, 0.0)

        feed.http_conn = SimpleNamespace(read=rest)
        return take

    def book(self) -> Book:
        book: Any = self.feed._l2_book["BTC-USDT"].book
        return {"bid": self.side(book.bids), "ask": self.side(book.asks)}

    @staticmethod
    def side(side: Any) -> list[tuple[float, float]]:
        return [(float(price), float(side[price])) for price in side]


if __name__ == "__main__":
    main(CryptoFeed())
