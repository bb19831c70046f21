"""Play exchanges on this machine: real TLS, each exchange's own protocol, faults on command.

One JSON line on stdout says where they listen and which CA to trust.
"""

from __future__ import annotations

import argparse

from appliance.commands import words
from appliance.simulator.__main__ import add_arguments, settings_from
from appliance.simulator.exchanges import EXCHANGES
from appliance.simulator.runner import run as play
from appliance.slips import suggestion
from handlers.errors import UsageError

EXAMPLES = """
  bookwire simulate --exchange binance --symbols BTC-USDT,ETH-USDT --rate 50
  bookwire simulate --seed 7 --levels 20000 --port 9443
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Until a signal."""
    for name in arguments.exchange or ():
        if name not in EXCHANGES:
            raise UsageError(f"no simulator of {name!r}", where="--exchange", do=suggestion(name, EXCHANGES))
    if not words(arguments.symbols):
        raise UsageError("no symbols", where="--symbols", do="name at least one, BTC-USDT or BTC")
    return play(settings_from(arguments))
