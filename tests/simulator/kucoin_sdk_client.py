"""An independent client for test_kucoin_sdk.py: KuCoin's own SDK, unmodified but for its address and its CA.

It connects, waits for the welcome, subscribes, is answered, pings; the book of its messages is kept here.
Runs in an environment of its own. Argument: a JSON object (websocket_url, symbols); the CA is that of
$WEBSOCKET_CLIENT_CA_BUNDLE. On stdout, in JSON lines: that it is watching once every symbol has a book, then
an answer to each line on stdin, the books as they are at that moment.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from kucoin_universal_sdk.api.client import DefaultClient
from kucoin_universal_sdk.generate.uta.publicws.api_uta_public_ws import OrderbookDepth
from kucoin_universal_sdk.model.client_option import ClientOptionBuilder
from kucoin_universal_sdk.model.push_trade_type import PushTradeType
from kucoin_universal_sdk.model.websocket_option import WebSocketClientOptionBuilder


class Book:
    """A snapshot, and changes that each begin one after the last one's end."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        self.end = 0
        self.gaps = 0
        self.deltas = 0
        self.ready = threading.Event()

    def apply(self, event: dict[str, Any]) -> None:
        data = event["d"]
        if event["t"] == "snapshot":
            for levels in self.sides.values():
                levels.clear()
        else:
            self.deltas += 1
            self.gaps += data["O"] != self.end + 1
        self.end = data["C"]
        for side, levels in self.sides.items():
            for price, size in data[side]:
                if float(size):
                    levels[price] = size
                else:
                    levels.pop(price, None)
        self.ready.set()

    def told(self) -> dict[str, Any]:
        """Best level first."""
        bids, asks = (
            sorted(([float(price), float(size)] for price, size in levels.items()), reverse=side == "b")
            for side, levels in self.sides.items()
        )
        return {"bids": bids, "asks": asks, "end": self.end, "gaps": self.gaps, "deltas": self.deltas}


def main(order: dict[str, Any]) -> None:
    option = ClientOptionBuilder().set_websocket_client_option(WebSocketClientOptionBuilder().build()).build()
    socket = DefaultClient(option).ws_service().new_uta_public_ws(PushTradeType.SPOT)
    socket._ws_service._endpoint = order["websocket_url"]
    socket.start()
    books = {symbol: Book() for symbol in order["symbols"]}
    for symbol, book in books.items():
        socket.orderbook(symbol, OrderbookDepth.INCREMENT_10MS, book.apply)
    for symbol, book in books.items():
        if not book.ready.wait(30):
            raise TimeoutError(f"no book of {symbol}")
    print(json.dumps({"watching": True}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({symbol: book.told() for symbol, book in books.items()}), flush=True)
    socket.stop()


main(json.loads(sys.argv[1]))
