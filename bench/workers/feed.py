"""A feed process without its keeper: one book, one connection to ``tick_server``, the product's own loop.

Argument: one JSON object (venue, symbol, price_decimals, quantity_decimals, port, ca_file, shm_dir,
run_dir, poll, cpu). Prints "live" when the book is; ends when stdin does.
"""

from __future__ import annotations

import json
import select
import sys
from pathlib import Path
from typing import Any

from handlers.facts import Instrument
from handlers.native_feed import Endpoint, NativeFeed
from handlers.registry import venue as venue_of
from handlers.settings import FeedSettings
from handlers.shm_layout import BookState

TURN_S = 0.05


def main(order: dict[str, Any]) -> None:
    run_dir = Path(order["run_dir"])
    settings = FeedSettings(
        order["venue"], shm_dir=Path(order["shm_dir"]), run_dir=run_dir, ca_file=Path(order["ca_file"]),
        poll=order["poll"], cpu=order["cpu"],
    )  # fmt: skip
    native = NativeFeed(venue_of(order["venue"]), settings, 1, 1)
    try:
        decimals = order["price_decimals"], order["quantity_decimals"]
        book = native.add_book(Instrument(order["symbol"], "BTC", "USDT", *decimals))
        native.bind(book, 0)
        native.start()
        native.connect(0, Endpoint("127.0.0.1", order["port"], "localhost", "/", True), None)
        live = rung = False
        bell, fifo = run_dir / "gateway.bell", run_dir / "gateway.fifo"
        while not select.select([sys.stdin], [], [], TURN_S)[0]:
            if not rung and bell.exists():
                native.add_bell(bytes(bell), bytes(fifo))
                rung = True
            for event in native.events():
                print(event, file=sys.stderr)
            if not live and native.book(book).state == BookState.LIVE:
                live = True
                print("live", flush=True)
    finally:
        native.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
