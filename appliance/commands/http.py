"""Run the HTTP process: REST, health and metrics of the books that are in shared memory."""

from __future__ import annotations

import argparse

import msgspec

from appliance.commands import add_config, config_of
from appliance.config import Config
from gateway.settings import ArbSettings, HttpSettings, SettingsError
from handlers.errors import SetupError

EXAMPLES = """
  bookwire http
  bookwire http --host 0.0.0.0 --port 9080
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--host", metavar="ADDRESS", help="instead of http.host")
    parser.add_argument("--port", type=int, metavar="N", help="instead of http.port")
    add_config(parser)


def settings(config: Config) -> HttpSettings:
    """What the HTTP process is told. Raises SetupError where two settings contradict each other."""
    made = HttpSettings(
        shm_dir=config.box.shm_dir,
        run_dir=config.box.run_dir,
        websocket_port=config.gateway.port,
        record_dir=config.box.data_dir / "record",
        exchanges=tuple(config.exchanges.enabled),
        **msgspec.structs.asdict(config.http),
        arb=ArbSettings(**msgspec.structs.asdict(config.arb)),
    )
    try:
        made.check()
    except SettingsError as error:
        raise SetupError(str(error), where="[http]", do="see docs/configuration.md") from error
    return made


def run(arguments: argparse.Namespace) -> int:
    """Until a signal."""
    listen = {"host": arguments.host, "port": arguments.port}
    told = settings(config_of(arguments, http=listen))
    from gateway.rest import run as serve  # the native part, which other commands do without

    return serve(told)
