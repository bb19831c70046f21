"""Run the WebSocket gateway on the books that are in shared memory."""

from __future__ import annotations

import argparse
from dataclasses import replace

import msgspec

from appliance.commands import add_config, config_of
from appliance.config import Config
from appliance.placement import GATEWAY, core_of
from appliance.supervisor import command
from gateway.settings import ArbSettings, GatewaySettings, SettingsError
from handlers.errors import SetupError
from handlers.logs import Log

EXAMPLES = """
  bookwire gateway
  bookwire gateway --host 0.0.0.0 --port 9081
  bookwire gateway --from kafka://broker:9092/bookwire     of books that other boxes bring there
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--host", metavar="ADDRESS", help="instead of gateway.host")
    parser.add_argument("--port", type=int, metavar="N", help="instead of gateway.port")
    parser.add_argument(
        "--from", dest="origin", metavar="URL", help="books of a Kafka topic instead of this machine's own"
    )
    add_config(parser)


def settings(config: Config) -> GatewaySettings:
    """What the gateway is told. Raises SetupError where two settings contradict each other."""
    made = GatewaySettings(
        shm_dir=config.box.shm_dir,
        run_dir=config.box.run_dir,
        record_dir=config.box.data_dir / "record",
        **msgspec.structs.asdict(config.gateway),
        arb=ArbSettings(**msgspec.structs.asdict(config.arb)),
    )
    try:
        made.check()
    except SettingsError as error:
        raise SetupError(str(error), where="[gateway]", do="see docs/configuration.md") from error
    return made


def run(arguments: argparse.Namespace) -> int:
    """Until a signal."""
    listen = {"host": arguments.host, "port": arguments.port}

    def told() -> GatewaySettings:
        config = config_of(arguments, gateway=listen)
        return replace(settings(config), cpu=core_of(config, GATEWAY))

    first = told()
    from gateway.server import run as serve  # the native part, which other commands do without

    if arguments.origin is None:
        return serve(first, reread=told)
    from appliance.beside import running
    from handlers.sinks.kafka import Address, library

    library()
    Address.of(arguments.origin)
    where = ("--shm-dir", str(first.shm_dir), "--run-dir", str(first.run_dir))
    again = () if arguments.config is None else ("--config", str(arguments.config))
    with running("mirror", command("mirror", arguments.origin, *where, *again), Log("gateway")):
        return serve(first, reread=told)
