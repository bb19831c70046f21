"""nautilus_trader: the parsers of its own adapters where they are Python, its book for all venues.

Binance and Bybit frames go through the adapters' msgspec decoders and delta parsers. The other venues'
parsers are inside its Rust clients and cannot be called, so orjson reads those frames and the deltas
are made by its public constructors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import orjson
from nautilus_trader.adapters.binance.common.schemas.market import BinanceOrderBookMsg
from nautilus_trader.adapters.bybit.schemas.ws import decoder_ws_orderbook
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas
from nautilus_trader.model.enums import BookAction, BookType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Price, Quantity
from worker import Book, main

Rows = Iterable[tuple[str, str]]
BYBIT_DECIMALS = (1, 6)


def exact(level: Any) -> float:
    """A level's quantity by its decimal text; ``level.size()`` is rounded in binary."""
    return float(str(level.orders()[0].size))


class Nautilus:
    name = "nautilus_trader"
    waits = False
    takes_text = False

    def begin(self, venue: str, symbol: str, snapshot: bytes) -> Callable[[bytes], None]:
        self.id = InstrumentId.from_str("BTCUSDT.BENCH")
        self.orders = OrderBook(self.id, BookType.L2_MBP)
        self.binance_decoder = msgspec.json.Decoder(BinanceOrderBookMsg)
        self.bybit_decoder = decoder_ws_orderbook()
        take: Callable[[bytes], None] = getattr(self, venue)
        if venue == "binance":
            body = orjson.loads(snapshot)
            self.deltas(body["bids"], body["asks"], body["lastUpdateId"])
        else:
            take(snapshot)
        return take

    def binance(self, frame: bytes) -> None:
        message = self.binance_decoder.decode(frame)
        self.orders.apply_deltas(message.data.parse_to_order_book_deltas(instrument_id=self.id, ts_init=0))

    def bybit(self, frame: bytes) -> None:
        message = self.bybit_decoder.decode(frame)
        self.orders.apply_deltas(
            message.data.parse_to_deltas(
                self.id,
                BYBIT_DECIMALS[0],
                BYBIT_DECIMALS[1],
                message.ts * 1_000_000,
                0,
                snapshot=message.type == "snapshot",
            )
        )

    def okx(self, frame: bytes) -> None:
        for data in orjson.loads(frame)["data"]:
            self.deltas((row[:2] for row in data["bids"]), (row[:2] for row in data["asks"]), data["seqId"])

    def coinbase(self, frame: bytes) -> None:
        message = orjson.loads(frame)
        for event in message["events"]:
            sides: tuple[list[Any], list[Any]] = ([], [])
            for row in event["updates"]:
                sides[row["side"] != "bid"].append((row["price_level"], row["new_quantity"]))
            self.deltas(*sides, message["sequence_num"])

    def kraken(self, frame: bytes) -> None:
        for data in orjson.loads(frame)["data"]:
            bids = ((f"{row['price']:.1f}", f"{row['qty']:.8f}") for row in data["bids"])
            asks = ((f"{row['price']:.1f}", f"{row['qty']:.8f}") for row in data["asks"])
            self.deltas(bids, asks, 0)

    def deltas(self, bids: Rows, asks: Rows, sequence: int) -> None:
        out = []
        for side, rows in ((OrderSide.BUY, bids), (OrderSide.SELL, asks)):
            for price, size in rows:
                quantity = Quantity.from_str(size)
                action = BookAction.UPDATE if quantity > 0 else BookAction.DELETE
                order = BookOrder(side, Price.from_str(price), quantity, 0)
                out.append(OrderBookDelta(self.id, action, order, 0, sequence, 0, 0))
        self.orders.apply_deltas(OrderBookDeltas(self.id, out))

    def book(self) -> Book:
        return {
            "bid": [(float(str(level.price)), exact(level)) for level in self.orders.bids()],
            "ask": [(float(str(level.price)), exact(level)) for level in self.orders.asks()],
        }


if __name__ == "__main__":
    main(Nautilus())
