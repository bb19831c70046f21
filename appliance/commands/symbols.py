"""List the symbols that run here, and the exchanges each is on; live ones stand without remark."""

from __future__ import annotations

import argparse

from appliance.commands import add_config, add_json, config_of
from appliance.lines import json_line
from appliance.observe import Observer, need_something
from appliance.slips import suggestion
from handlers.errors import UsageError

EXAMPLES = """
  bookwire symbols
  bookwire symbols kraken --quote USDT
  bookwire symbols --json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("exchange", nargs="?", help="only this exchange's")
    parser.add_argument("--quote", metavar="CURRENCY", help="only symbols quoted in it")
    add_json(parser)
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """0; 64 for an exchange that does not run here, 69 when nothing does."""
    config = config_of(arguments)
    with Observer(config.box.shm_dir) as observer:
        exchanges = need_something(observer.look(), config)
    names = [exchange.exchange for exchange in exchanges]
    if arguments.exchange and arguments.exchange not in names:
        raise UsageError(
            f"exchange {arguments.exchange!r} does not run here", do=suggestion(arguments.exchange, names)
        )
    rows: dict[str, list[tuple[str, str]]] = {}
    for exchange in exchanges:
        for book in exchange.books:
            quote = book.symbol.rpartition("-")[2]
            if arguments.exchange in (None, exchange.exchange) and arguments.quote in (None, quote):
                rows.setdefault(book.symbol, []).append((exchange.exchange, book.state))
    for symbol, places in sorted(rows.items()):
        if arguments.json:
            print(
                json_line(
                    {
                        "symbol": symbol,
                        "exchanges": [{"exchange": name, "state": state} for name, state in places],
                    }
                )
            )
        else:
            told = ", ".join(name if state == "live" else f"{name} ({state})" for name, state in places)
            print(f"{symbol:<16} {told}")
    return 0
