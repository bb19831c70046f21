"""Run one exchange's process: connect, decode, keep the books, publish them in shared memory."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from appliance import paths
from appliance.commands import add_config, config_of
from appliance.config import Config
from appliance.nic_record import STATE_DIR, Record
from appliance.placement import core_of
from handlers.registry import venue
from handlers.settings import FeedSettings
from hw.machine import read as read_machine

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
    own = msgspec.structs.asdict(config.of(venue(exchange).id))
    if own["device"] and own["interface"] and not own["addresses"]:
        own |= taken_over(own["interface"])
    choice = paths.of_exchange(config, own, read_machine) if own["device"] else None
    if choice is not None:
        own |= {"measured": choice.why, "sockets_measured_better": choice.sockets is True}
    return FeedSettings(
        exchange=exchange,
        shm_dir=config.box.shm_dir,
        run_dir=config.box.run_dir,
        raw_ring_bytes=RAW_RING_BYTES if config.record.raw else None,
        **own,
    )


def taken_over(interface: str, state_dir: Path = STATE_DIR) -> dict[str, tuple[Any, ...]]:
    """Addresses and routes that the kernel had before `bookwire nic apply` took them; {} where it did not."""
    path = state_dir / f"{interface}.json"
    if not path.exists():
        return {}
    record = Record.read(path)
    taken = tuple(step.name for step in record.steps[: record.begun] if step.kind == "address")
    return {"addresses": taken, "routes": tuple(record.routes)} if taken else {}


def run(arguments: argparse.Namespace) -> int:
    """Until a signal."""

    def told() -> FeedSettings:
        config = config_of(arguments)
        return replace(settings(config, arguments.exchange), cpu=core_of(config, arguments.exchange))

    first = told()
    from handlers.feed import run as keep  # the native part, which other commands do without

    return keep(first, told)
