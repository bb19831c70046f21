"""ccxt.pro: its own client decodes the text and its own handlers keep the book; only the network is cut.

The markets it would have loaded are given to it, its book is reset from the snapshot as its REST step
does, and every frame enters where the socket would have handed it over. ccxt checks Kraken's checksum
only when told to; it is left as it comes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import ccxt.pro
from worker import Book, Unfit, main

SYMBOLS = {
    "binance": "BTC/USDT",
    "coinbase": "BTC/USD",
    "okx": "BTC/USDT",
    "bybit": "BTC/USDT",
    "kraken": "BTC/USDT",
}
URLS = {
    "binance": "wss://stream.binance.com:9443/stream",
    "bybit": "wss://stream.bybit.com/v5/public/spot",
    "coinbase": "wss://advanced-trade-ws.coinbase.com",
    "okx": "wss://ws.okx.com/ws/v5/public",
    "kraken": "wss://ws.kraken.com/v2",
}


class CcxtPro:
    name = "ccxt.pro"
    waits = False
    takes_text = True

    def begin(self, venue: str, symbol: str, snapshot: str) -> Callable[[str], None]:
        if venue not in SYMBOLS:
            raise Unfit("no such exchange in the bench")
        self.symbol = SYMBOLS[venue]
        exchange = self.exchange = getattr(ccxt.pro, venue)({"newUpdates": False})
        base, quote = self.symbol.split("/")
        market = exchange.safe_market_structure(
            {
                "id": symbol,
                "symbol": self.symbol,
                "base": base,
                "quote": quote,
                "baseId": base,
                "quoteId": quote,
                "type": "spot",
                "spot": True,
                "active": True,
                "lowercaseId": symbol.lower(),
                "contract": False,
                "swap": False,
                "future": False,
                "option": False,
                "margin": False,
                "precision": {"amount": 1e-8, "price": 1e-2},
            }
        )
        exchange.set_markets([market])
        exchange.markets_by_id[symbol] = [exchange.markets[self.symbol]]
        client = exchange.client(URLS[venue])
        if venue == "binance":
            book = exchange.orderbooks[self.symbol] = exchange.order_book({}, 100_000)
            body = json.loads(snapshot)
            book.reset(exchange.parse_order_book(body, self.symbol) | {"nonce": body["lastUpdateId"]})
        else:
            depth = exchange.get_message_hash("orderbook", None, self.symbol) if venue == "kraken" else ""
            client.subscriptions[depth] = {"limit": 1000}  # as a subscription would have left it
            client.handle_text_or_binary_message(snapshot)
        take: Callable[[str], None] = client.handle_text_or_binary_message
        return take

    def book(self) -> Book:
        book: Any = self.exchange.orderbooks[self.symbol]
        return {
            "bid": [(row[0], row[1]) for row in book["bids"]],
            "ask": [(row[0], row[1]) for row in book["asks"]],
        }


if __name__ == "__main__":
    main(CcxtPro())
