"""Run everything in the foreground: one process an exchange, the gateway, HTTP.

Warm-up is shown on stderr; one ready line comes on stdout when every configured book is live and the
gateway answers; on a terminal a live table follows. Ctrl-C stops it all and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import sys
from typing import get_args

import msgspec

from appliance.commands import add_config, config_of, words
from appliance.config import Config, DataPath, Exchange
from appliance.supervisor import Options, up
from appliance.wires import Driver
from handlers.registry import VENUES

EXAMPLES = """
  bookwire up --simulate                         against built-in exchanges, no Internet needed
  bookwire up --simulate --seconds 60            stop by itself a minute after it is ready
  bookwire up --simulate -v                      with every step of every process on stderr
  bookwire up --exchanges okx,kraken --symbols BTC,ETH-USDT
  bookwire up --simulate --path dpdk             root: each exchange's process past the kernel, over veth
  bookwire up --config bookwire.toml --port 9081 --http-port 9080
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--simulate", action="store_true", help="play the exchanges on this machine")
    parser.add_argument("--exchanges", metavar="LIST", help="instead of exchanges.enabled")
    parser.add_argument(
        "--symbols",
        metavar="LIST",
        help="BTC-USDT, *-USDT, BTC (in the usual quote and USDT), kraken:BTC-USD",
    )
    parser.add_argument("--rate", type=float, metavar="N", help="simulated updates a second and symbol")
    parser.add_argument(
        "--path",
        choices=get_args(DataPath),
        help="instead of every exchange's own path; dpdk with --simulate: over wires made for it (root)",
    )
    parser.add_argument(
        "--driver",
        choices=get_args(Driver),
        default="af_packet",
        help="of those wires (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the simulated order flow")
    parser.add_argument(
        "--host", metavar="ADDRESS", help="listen here with both servers (default: 127.0.0.1)"
    )
    parser.add_argument("--port", type=int, metavar="N", help="of the WebSocket gateway (default: 8081)")
    parser.add_argument("--http-port", type=int, metavar="N", help="of HTTP (default: 8080)")
    parser.add_argument("--seconds", type=float, metavar="N", help="stop N seconds after being ready")
    parser.add_argument(
        "--top", action=argparse.BooleanOptionalAction, help="the live table (default: on a terminal)"
    )
    parser.add_argument(
        "--interval", type=float, metavar="S", help="without a terminal: a table every S seconds"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log every step, not only what matters")
    parser.add_argument("--json", action="store_true", help="the ready line as JSON, no table")
    add_config(parser)


def configured(arguments: argparse.Namespace) -> Config:
    """The configuration of a command line, as the file is now."""
    simulate = {"rate": arguments.rate, "seed": arguments.seed}
    symbols = words(arguments.symbols)
    if arguments.simulate and symbols:
        simulate["symbols"] = [symbol for symbol in symbols if "*" not in symbol] or None
    config = config_of(
        arguments,
        tuple(VENUES) if arguments.simulate else None,  # all can be played, also those that have ceased
        exchanges={"enabled": words(arguments.exchanges), "symbols": symbols},
        gateway={"host": arguments.host, "port": arguments.port},
        http={"host": arguments.host, "port": arguments.http_port},
        simulate=simulate,
    )
    if arguments.simulate and not symbols:
        listed = msgspec.structs.replace(config.exchanges, symbols=config.simulate.symbols)
        config = msgspec.structs.replace(config, exchanges=listed)
    if arguments.path is not None:
        given = {name: config.exchange.get(name, Exchange()) for name in config.exchanges.enabled}
        tables = {name: msgspec.structs.replace(own, path=arguments.path) for name, own in given.items()}
        config = msgspec.structs.replace(config, exchange={**config.exchange, **tables})
    return config


def run(arguments: argparse.Namespace) -> int:
    """Until a signal, --seconds, or a failure."""
    config = configured(arguments)
    table = sys.stdout.isatty() if arguments.top is None else arguments.top
    options = Options(
        simulate=arguments.simulate,
        seconds=arguments.seconds,
        as_json=arguments.json,
        table=table and not arguments.json,
        interval_s=arguments.interval,
        verbose=arguments.verbose,
        wires=arguments.driver if arguments.simulate and arguments.path == "dpdk" else None,
    )
    return up(config, options, lambda: configured(arguments))
