"""orjson and sortedcontainers: the few lines a careful Python program would write itself.

Argument: "checked", or "unchecked" to leave out the venue's checksum.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable
from itertools import islice
from typing import Any

import orjson
from sortedcontainers import SortedDict
from worker import Book, main


class Plain:
    """Prices and quantities are floats: the fastest choice, and exact enough to compare."""

    name = "orjson + sortedcontainers"
    waits = False
    takes_text = False

    def __init__(self, checked: bool) -> None:
        self.checked = checked

    def begin(self, venue: str, symbol: str, snapshot: bytes) -> Callable[[bytes], None]:
        self.bids, self.asks = SortedDict(), SortedDict()
        if venue == "kraken":  # it writes as many decimals as its checksum takes
            self.units = [
                10 ** len(re.search(rb'"%s":\d+\.(\d+)' % name, snapshot)[1]) for name in (b"price", b"qty")
            ]
        take: Callable[[bytes], None] = getattr(self, venue)
        if venue == "binance":
            body = orjson.loads(snapshot)
            self.apply(self.bids, body["bids"])
            self.apply(self.asks, body["asks"])
            self.last = body["lastUpdateId"]
        else:
            self.last = None
            take(snapshot)
        return take

    @staticmethod
    def apply(side: SortedDict, rows: list[Any]) -> None:
        for row in rows:
            price, quantity = float(row[0]), float(row[1])
            if quantity:
                side[price] = quantity
            else:
                side.pop(price, None)

    def binance(self, frame: bytes) -> None:
        data = orjson.loads(frame)["data"]
        if data["U"] > self.last + 1:
            raise ValueError(f"gap: {data['U']} after {self.last}")
        self.last = data["u"]
        self.apply(self.bids, data["b"])
        self.apply(self.asks, data["a"])

    def bybit(self, frame: bytes) -> None:
        data = orjson.loads(frame)["data"]
        if self.last is not None and data["u"] != self.last + 1:
            raise ValueError(f"gap: {data['u']} after {self.last}")
        self.last = data["u"]
        self.apply(self.bids, data["b"])
        self.apply(self.asks, data["a"])

    def okx(self, frame: bytes) -> None:
        for data in orjson.loads(frame)["data"]:
            if self.last is not None and data["prevSeqId"] != self.last:
                raise ValueError(f"gap: {data['prevSeqId']} after {self.last}")
            self.last = data["seqId"]
            self.apply(self.bids, data["bids"])
            self.apply(self.asks, data["asks"])

    def coinbase(self, frame: bytes) -> None:
        message = orjson.loads(frame)
        if self.last is not None and message["sequence_num"] != self.last + 1:
            raise ValueError(f"gap: {message['sequence_num']} after {self.last}")
        self.last = message["sequence_num"]
        for event in message["events"]:
            for row in event["updates"]:
                side = self.bids if row["side"] == "bid" else self.asks
                price, quantity = float(row["price_level"]), float(row["new_quantity"])
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)

    def kraken(self, frame: bytes) -> None:
        for data in orjson.loads(frame)["data"]:
            for side, rows in ((self.bids, data["bids"]), (self.asks, data["asks"])):
                for row in rows:
                    if row["qty"]:
                        side[row["price"]] = row["qty"]
                    else:
                        side.pop(row["price"], None)
            if self.checked and self.kraken_checksum() != data["checksum"]:
                raise ValueError(f"checksum: {data['checksum']} wanted")

    def kraken_checksum(self) -> int:
        """CRC-32 of the ten best asks, then bids: price, quantity, no point, no leading zeros."""
        price_unit, quantity_unit = self.units
        text = ""
        for side in (self.asks.items(), reversed(self.bids.items())):
            for price, quantity in islice(side, 10):
                text += f"{round(price * price_unit)}{round(quantity * quantity_unit)}"
        return zlib.crc32(text.encode())

    def book(self) -> Book:
        return {"bid": list(reversed(self.bids.items())), "ask": list(self.asks.items())}


if __name__ == "__main__":
    main(Plain(sys.argv[1] == "checked"))
