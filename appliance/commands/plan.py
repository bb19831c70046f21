"""Say what a start will cost each exchange's limits and this machine, before anything is dialled.

Names are counted as the books they can at most become; a pattern is counted with --list, which asks the
exchanges for their symbol lists, or as --books says. Times are what the limits alone make of it.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import msgspec

from appliance import paths
from appliance.commands import add_config, add_json, config_of, words
from appliance.commands.feed import settings
from appliance.config import Config
from appliance.lines import json_line
from appliance.placement import place_configured, told
from handlers.errors import UsageError
from handlers.facts import Venue
from handlers.feed import list_symbols
from handlers.logs import Log
from handlers.native_feed import bytes_needed
from handlers.planning import SPARE_BOOKS, VenuePlan, plan
from handlers.registry import venue as venue_of
from handlers.rest import Rest
from handlers.symbols import choose
from hw.machine import Machine
from hw.machine import read as read_machine

EXAMPLES = """
  bookwire plan
  bookwire plan --exchanges binance --symbols '*' --books 1500
  bookwire plan --config bookwire.toml --list --json
"""

STAND_IN = "BASE-QUOTE"  # as long as most names; a limit on request sizes counts characters


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--exchanges", metavar="LIST", help="instead of exchanges.enabled")
    parser.add_argument("--symbols", metavar="LIST", help="instead of exchanges.symbols")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--books", type=int, metavar="N", help="so many books on each exchange")
    group.add_argument("--list", action="store_true", help="ask the exchanges what they list")
    add_json(parser)
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 and the plan; 64 for a pattern that nothing counts."""
    if arguments.books is not None and arguments.books < 1:
        raise UsageError(f"--books is {arguments.books}", do="give at least 1")
    table = {"enabled": words(arguments.exchanges), "symbols": words(arguments.symbols)}
    config = config_of(arguments, exchanges=table)
    if arguments.list:
        names = asyncio.run(_listed(config))
    else:
        names = {name: _counted(venue_of(name), config, arguments.books) for name in config.exchanges.enabled}
    rows = [_plan(config, name, symbols) for name, symbols in names.items()]
    for row, memory in rows:
        if arguments.json:
            print(json_line({**asdict(row), "warm_up_s": row.warm_up_s, "shared_memory_bytes": memory}))
    if not arguments.json:
        print(_table(rows))
        print(_recording(config, sum(row.books for row, _ in rows)))
        machine = read_machine()
        print(told(place_configured(config, machine)))
        for line in _ways(config, machine):
            print(line)
    return 0


def _plan(config: Config, name: str, symbols: Sequence[str]) -> tuple[VenuePlan, int]:
    venue = venue_of(name)
    row = plan(venue, symbols)
    return row, bytes_needed(venue, settings(config, name), max(1, len(symbols)) + SPARE_BOOKS)


def _counted(venue: Venue, config: Config, books: int | None) -> list[str]:
    """Stand-ins for the native symbols that the configured names can become."""
    if books is not None:
        return [f"{STAND_IN}{number}" for number in range(books)]
    symbols = []
    for name in config.of(venue.id).symbols:
        if "*" in name or "?" in name:
            raise UsageError(
                f"{venue.id}: nobody knows yet how many books {name!r} becomes",
                where="symbols",
                do="add --list to ask the exchange, or --books N to suppose a number",
            )
        quotes = {venue.quote, "USDT"} if "-" not in name.replace("/", "-") else {""}
        symbols += [f"{name}-{quote}" for quote in sorted(quotes)]
    return symbols


def _ways(config: Config, machine: Machine) -> Iterator[str]:
    """How the frames of each exchange with a device come in, and why."""
    for name in config.exchanges.enabled:
        own = config.of(name)
        if not own.device or own.path == "sockets":
            continue
        choice = paths.of_exchange(config, msgspec.structs.asdict(own), lambda: machine)
        if choice is None:
            yield f"{name}: {own.device} or not at all"
        elif choice.sockets:
            yield f"{name}: sockets, not {own.device}; {choice.why}"
        else:
            yield f"{name}: {own.device}, sockets if it fails; {choice.why}"


async def _listed(config: Config) -> dict[str, list[str]]:
    """Native symbols that the configuration chooses from each exchange's own list."""
    log = Log("plan")

    async def one(name: str) -> list[str]:
        venue, told = venue_of(name), settings(config, name)
        told.run_dir.mkdir(parents=True, exist_ok=True)
        async with Rest(venue, told) as rest:
            rows = choose(venue, await list_symbols(venue, rest, log), told.symbols)
        return [row.native for row in rows]

    found = await asyncio.gather(*(one(name) for name in config.exchanges.enabled))
    return dict(zip(config.exchanges.enabled, found, strict=True))


# Measured: five simulated exchanges, 20 updates/s a book (docs/recording.md, "What it takes").
UPDATE_BYTES = 410
RAW_UPDATE_BYTES = 650
PARQUET_UPDATE_BYTES = 120
UPDATES_PER_S = 20.0


def _recording(config: Config, books: int) -> str:
    """What the recorder writes, and how long the budget lasts, at the simulators' pace."""
    record = config.record
    if not record.enabled:
        return "recording: off"
    each = UPDATE_BYTES + RAW_UPDATE_BYTES * record.raw + PARQUET_UPDATE_BYTES * record.parquet
    hour = each * UPDATES_PER_S * 3600 * max(1, books)
    hours = min(record.budget_bytes / hour, record.keep_hours)
    return (
        f"recording: {hour / 2**30:.2f} GiB an hour at {UPDATES_PER_S:g} updates/s a book; "
        f"{record.budget_bytes / 2**30:g} GiB hold {hours:.1f} h, then the oldest leaves"
    )


HEADINGS = ("exchange", "books", "connections", "books each", "requests", "REST weight", "warm-up s", "MiB")


def _table(rows: Sequence[tuple[VenuePlan, int]]) -> str:
    lines = [HEADINGS]
    for row, memory in rows:
        limit = f"of {row.rest_limit.count} in {row.rest_limit.per_s:g} s"
        lines.append(
            (
                row.venue,
                str(row.books),
                str(row.connections),
                str(row.books_per_connection),
                str(row.requests),
                f"{row.rest_weight:g} {limit}",
                f"{row.warm_up_s:.1f}",
                str(memory >> 20),
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    total = sum(memory for _, memory in rows) >> 20
    text = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    books = sum(row.books for row, _ in rows)
    connections = sum(row.connections for row, _ in rows)
    text.append(f"{books} books on {connections} connections, {total} MiB of shared memory")
    return "\n".join(text)
