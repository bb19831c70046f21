"""python -m appliance.simulator: play exchanges on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .exchanges import EXCHANGES
from .runner import run
from .settings import SimulatorSettings

_EXAMPLES = """examples:
  python -m appliance.simulator
  python -m appliance.simulator --exchange binance --exchange okx --symbols BTC-USDT,ETH-USDT --rate 50
  python -m appliance.simulator --exchange kraken --symbols BTC-USD --levels 20000 --faults faults.json

One JSON line on stdout says where the exchanges listen and which CA to trust. Stop with Ctrl-C.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the simulator, for this module and for `bookwire simulate`."""
    default = SimulatorSettings()
    parser.add_argument(
        "--exchange",
        action="append",
        metavar="NAME",
        help=f"an exchange to play, repeatable (default: all of {', '.join(EXCHANGES)})",
    )
    parser.add_argument(
        "--symbols",
        default=",".join(default.symbols),
        metavar="LIST",
        help="comma-separated: BTC-USDT; BTC takes the exchange's usual quote; "
        "kraken:BTC-USD for one exchange only (default: %(default)s)",
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=default.rate,
        metavar="N",
        help="updates per second and book, on average (default: %(default)g)",
    )
    parser.add_argument(
        "--burst",
        type=int,
        default=default.burst,
        metavar="N",
        help="updates that come at once in a burst, 1 for none (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=default.seed, help="of the order flow (default: %(default)s)"
    )
    parser.add_argument(
        "--levels",
        type=int,
        default=default.levels,
        metavar="N",
        help="book depth per side, 1 to 50000 (default: %(default)s)",
    )
    _add_server_arguments(parser, default)


def _add_server_arguments(parser: argparse.ArgumentParser, default: SimulatorSettings) -> None:
    """The options that are not about the order flow."""
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=default.state_dir,
        metavar="DIR",
        help="where the test CA lives (default: %(default)s)",
    )
    parser.add_argument("--host", default=default.host, help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="name or address that the certificate is for beside the local ones, repeatable",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=default.port,
        metavar="N",
        help="first port; 0 takes free ones (default: %(default)s)",
    )
    parser.add_argument(
        "--ports",
        type=lambda text: tuple(map(int, text.split(","))),
        default=default.ports,
        metavar="LIST",
        help="a port for each exchange, in their order, instead of --port",
    )
    parser.add_argument(
        "--faults", type=Path, metavar="FILE", help="fault script, JSON (see docs/simulator.md)"
    )
    parser.add_argument(
        "--age-limit",
        type=float,
        default=default.age_limit,
        metavar="SECONDS",
        help="close connections at this age (default: %(default)g)",
    )
    parser.add_argument(
        "--no-limits",
        dest="limits",
        action="store_false",
        help="do not enforce the exchanges' message and weight limits",
    )
    parser.add_argument(
        "--okx-checksums", action="store_true", help="OKX sends real checksums as before June 2026"
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME",
        help="EXCHANGE.NAME=VALUE, repeatable: play an exchange in another way, such as bitget.form=2025 "
        "(see docs/simulator.md)",
    )
    parser.add_argument(
        "--skew",
        action="append",
        default=[],
        metavar="EXCHANGE=BP",
        help="shift an exchange's prices by basis points, so that books cross; repeatable",
    )
    parser.add_argument("--paused", action="store_true", help="start with the flow frozen")


def settings_from(arguments: argparse.Namespace) -> SimulatorSettings:
    """Settings out of parsed options."""
    return SimulatorSettings(
        exchanges=tuple(arguments.exchange or EXCHANGES),
        rate=arguments.rate,
        burst=arguments.burst,
        symbols=tuple(filter(None, (entry.strip() for entry in arguments.symbols.split(",")))),
        seed=arguments.seed,
        levels=arguments.levels,
        state_dir=arguments.state_dir,
        host=arguments.host,
        names=tuple(arguments.name),
        port=arguments.port,
        ports=arguments.ports,
        faults=arguments.faults,
        limits=arguments.limits,
        age_limit=arguments.age_limit,
        okx_checksums=arguments.okx_checksums,
        options=tuple(arguments.option),
        skew=tuple(arguments.skew),
        paused=arguments.paused,
    )


def main(argv: list[str] | None = None) -> int:
    """Parse, run, exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m appliance.simulator",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    return run(settings_from(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
