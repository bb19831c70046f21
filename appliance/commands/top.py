"""Show live best prices of what runs here, read from shared memory; the gateway is not asked.

On a terminal the table moves until Ctrl-C. Without one it is printed once, or every --interval seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from appliance.commands import add_config, add_json, config_of
from appliance.lines import json_line
from appliance.observe import Observer, book_fields, need_something
from appliance.top import show

EXAMPLES = """
  bookwire top
  bookwire top BTC-USDT kraken
  bookwire top --interval 5 | tee tops.txt
  bookwire top --json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("wanted", nargs="*", metavar="SYMBOL|EXCHANGE", help="only these (default: all)")
    parser.add_argument("--interval", type=float, metavar="S", help="without a terminal: a table so often")
    parser.add_argument("--once", action="store_true", help="one table, also on a terminal")
    add_json(parser)
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 after Ctrl-C or one table; 69 when nothing runs here."""
    config = config_of(arguments)
    wanted = [word if word.islower() else word.upper().replace("/", "-") for word in arguments.wanted]
    with Observer(config.box.shm_dir) as observer:
        exchanges = need_something(observer.look(), config)
        if arguments.json:
            for exchange in exchanges:
                for book in exchange.books:
                    if not wanted or book.symbol in wanted or book.exchange in wanted:
                        print(json_line(book_fields(book)))
            return 0
        moving = sys.stdout.isatty() and not arguments.once
        try:
            asyncio.run(show(observer, moving, arguments.interval, wanted))
        except KeyboardInterrupt:
            return 0
    return 0
