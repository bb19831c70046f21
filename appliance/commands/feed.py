"""Run one exchange's process: connect, decode, keep the books, publish them in shared memory."""

from __future__ import annotations

import argparse
from dataclasses import replace

import msgspec

from appliance.commands import add_config, config_of
from appliance.config import Config
from appliance.placement import core_of
from handlers.registry import venue
from handlers.settings import FeedSettings

EXAMPLES = """
  bookwire feed binance
  bookwire feed kraken --config bookwire.toml
"""

RAW_RING_BYTES = 64 << 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("exchange", help="id of the exchange, as `bookwire exchanges` lists it")
    add_config(parser)


def settings(config: Config, exchange: str) -> FeedSettings:
    """What the exchange's process is told."""
    own = config.of(venue(exchange).id)
    return FeedSettings(
        exchange=exchange,
        shm_dir=config.box.shm_dir,
        run_dir=config.box.run_dir,
        raw_ring_bytes=RAW_RING_BYTES if config.record.raw else None,
        **msgspec.structs.asdict(own),
    )


def run(arguments: argparse.Namespace) -> int:
    """Until a signal."""
    config = config_of(arguments)
    told = settings(config, arguments.exchange)
    told = replace(told, cpu=core_of(config, arguments.exchange))
    from handlers.feed import run as keep  # the native part, which other commands do without

    return keep(told)
