"""Follow changes of one book (EXCHANGE:SYMBOL) or of all books of an exchange, read from its update ring.

One line a record: the levels of a delta (quantity 0: the level left), a reset, a change of state. Lost
records are told, never hidden.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from typing import Any

from appliance.commands import add_config, add_json, config_of
from appliance.commands.book import copied, split
from appliance.lines import json_line
from appliance.observe import Observer, need_something
from handlers.errors import UsageError
from handlers.shm import OverrunError, Record, Ring, Segment, decimals

EXAMPLES = """
  bookwire tail binance:BTC-USDT
  bookwire tail kraken --json | jq -c 'select(.type == "state")'
  bookwire tail okx:ETH-USDT --count 100
"""

LOOK_S = 0.01


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("channel", metavar="EXCHANGE[:SYMBOL]", help="whose changes")
    parser.add_argument("--count", type=int, metavar="N", help="end after N records")
    add_json(parser)
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 after --count records or Ctrl-C."""
    config = config_of(arguments)
    with Observer(config.box.shm_dir) as observer:
        need_something(observer.look(), config)
        if ":" in arguments.channel:
            exchange, symbol = split(arguments.channel)
            copied(observer, exchange, symbol, 1)  # says what is wrong with a name
        else:
            exchange, symbol = arguments.channel.lower(), None
            if observer.segment(exchange) is None:
                raise UsageError(f"exchange {exchange!r} does not run here", do="see `bookwire status`")
        try:
            asyncio.run(_follow(observer, exchange, symbol, arguments))
        except KeyboardInterrupt:
            return 0
    return 0


async def _follow(
    observer: Observer, exchange: str, symbol: str | None, arguments: argparse.Namespace
) -> None:
    segment: Segment | None = None
    ring: Ring | None = None
    told = 0
    while True:
        current = observer.segment(exchange)
        if current is not None and current is not segment:
            if segment is not None:
                print(f"bookwire: the process of {exchange} was started again", file=sys.stderr)
            segment, ring = current, current.records()
        if segment is not None and ring is not None:
            for record in _records(ring, exchange):
                name = segment.symbols[record.book].canonical
                if symbol in (None, name):
                    print(_line(exchange, name, record, arguments.json), flush=True)
                    told += 1
                    if told == arguments.count:
                        return
        await asyncio.sleep(LOOK_S)


def _records(ring: Ring, exchange: str) -> Iterator[Record]:
    """What has come; a loss is said on stderr."""
    try:
        yield from ring
    except OverrunError:
        print(
            f"bookwire: too slow for {exchange}: records were lost, going on with the newest", file=sys.stderr
        )


def _line(exchange: str, symbol: str, record: Record, as_json: bool) -> str:
    header = record.header
    exponents = int(header["price_exponent"]), int(header["quantity_exponent"])
    bids, asks = decimals(record.bids, *exponents), decimals(record.asks, *exponents)
    kind = record.type.name.lower()
    if as_json:
        fields: dict[str, Any] = {
            "type": kind,
            "exchange": exchange,
            "symbol": symbol,
            "sequence": record.sequence,
            "epoch": record.epoch,
            "state": record.state.name.lower(),
            "exchange_ns": int(header["exchange_ns"]),
            "receive_ns": int(header["receive_ns"]),
            "published_ns": int(header["published_ns"]),
            "bids": bids,
            "asks": asks,
        }
        return json_line(fields)
    levels = [
        f"{mark}{price:f}x{quantity:f}"
        for mark, side in (("b", bids), ("a", asks))
        for price, quantity in side
    ]
    told = " ".join(levels) if levels else record.state.name.lower()
    return f"{exchange}:{symbol} {record.sequence} {kind} {told}"
