"""Bring what the recorder writes to a database or a broker: every update once, from where it stood last.

`bookwire up` starts those that the configuration names ([sinks.<kind>] url). It reads the journal at its own
offset and slows nobody; it may be stopped and started at any time. See docs/sinks.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
from pathlib import Path
from typing import Any

import msgspec

from appliance.commands import add_config, config_of, words
from appliance.config import Config
from handlers.errors import SetupError
from handlers.logs import Log
from handlers.sinks.delivery import Delivery, SinkSettings, Target, without_password

EXAMPLES = """
  bookwire sink postgres --to postgresql://bookwire@db.example.com/market
  bookwire sink questdb --to http://localhost:9000
  bookwire sink kafka --to kafka://localhost:9092/bookwire
  bookwire sink postgres --config bookwire.toml        to [sinks.postgres] url
"""
NICE = 5  # the feeds, the gateway and the recorder go first
KINDS = ("postgres", "questdb", "kafka")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--to", metavar="URL", help="instead of sinks.<kind>.url")
    parser.add_argument("--name", metavar="NAME", help="instead of sinks.name")
    parser.add_argument("--exchanges", metavar="LIST", help="instead of exchanges.enabled")
    add_config(parser)


def settings(config: Config, kind: str) -> SinkSettings:
    """What the sink is told. Raises SetupError where it has nowhere to go."""
    table = getattr(config.sinks, kind)
    if not table.url:
        raise SetupError("no target", where=f"[sinks.{kind}] url", do="name one there or by --to URL")
    return SinkSettings(
        kind=kind,
        name=config.sinks.name or socket.gethostname(),
        dir=config.box.data_dir / "record",
        run_dir=config.box.run_dir,
        exchanges=config.exchanges.enabled,
        url=without_password(table.url),
        batch_rows=table.batch_rows,
        interval_ms=table.interval_ms,
    )


def target(table: Any, told: SinkSettings, shm_dir: Path) -> Target:
    """The target of a kind, not opened yet."""
    if told.kind == "kafka":
        from handlers.sinks.kafka import Address, Kafka

        address = Address.of(table.url, table.properties)
        return Kafka(
            address,
            told.name,
            told.exchanges,
            shm_dir,
            partitions=table.partitions,
            snapshot_s=table.snapshot_s,
        )
    if told.kind == "questdb":
        from handlers.sinks.questdb import QuestDB

        return QuestDB(table.url, told.dir / "sinks" / f"questdb.{told.name}.offsets.json")
    from handlers.sinks.postgres import Postgres

    return Postgres(table.url, told.name, told.exchanges, hypertable=table.hypertable)


def run(arguments: argparse.Namespace) -> int:
    """Until a signal."""
    config = config_of(
        arguments, exchanges={"enabled": words(arguments.exchanges)}, sinks={"name": arguments.name}
    )
    table = getattr(config.sinks, arguments.kind)
    if arguments.to is not None:
        table = msgspec.structs.replace(table, url=arguments.to)
    sinks = msgspec.structs.replace(config.sinks, **{arguments.kind: table})
    told = settings(msgspec.structs.replace(config, sinks=sinks), arguments.kind)
    delivery = Delivery(told, target(table, told, config.box.shm_dir), Log("sink"))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: delivery.stop.set())
    os.nice(NICE)
    delivery.run()
    return 0
