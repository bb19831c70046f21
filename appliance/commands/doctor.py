"""Say what this box can do and what is wrong with it, each with the thing to do.

Exit code 0 when nothing stands in the way, 69 when something does. Nothing is changed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterator
from dataclasses import asdict

from appliance import measure, preflight
from appliance.commands import add_config, add_json, config_of
from appliance.config import Config
from appliance.doctor import Finding, Needs, examine, of_clock, of_distance, of_jitter, of_lifecycles, verdict
from appliance.lines import json_line
from appliance.placement import GATEWAY, Placement, place_configured
from dpdk_bindings.dpdk import MEMORY_MIB
from handlers.errors import UnavailableError
from handlers.registry import VENUES, venue
from hw.clock import synchronisation
from hw.machine import read

EXAMPLES = """
  bookwire doctor
  bookwire doctor --no-distance --json | jq -r 'select(.level == "failure") | .do'
"""

SIGNS = {"ok": "ok  ", "note": "note", "warning": "WARN", "failure": "FAIL"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--no-distance", dest="distance", action="store_false", help="dial no exchange")
    parser.add_argument("--no-spin", dest="spin", action="store_false", help="measure no core")
    add_json(parser)
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """0, or 69 with the failures."""
    config = config_of(arguments)
    machine = read()
    placement = place_configured(config, machine)
    findings = examine(machine, placement, needs_of(config))
    findings.extend(of_lifecycles(VENUES.values(), config.exchanges.enabled))
    findings.extend(_measured(config, placement, spin=arguments.spin, distance=arguments.distance))
    for row in findings:
        if arguments.json:
            print(json_line(asdict(row)))
        else:
            print(f"{SIGNS[row.level]}  {row.area:<11} {row.what}")
            if row.do:
                print(f"{'':<18}do: {row.do}")
    return UnavailableError.exit_code if verdict(findings) == "failure" else 0


def needs_of(config: Config) -> Needs:
    """What the configuration asks of the box."""
    spinning = [name for name in config.exchanges.enabled if config.of(name).poll == "busy"]
    if config.gateway.poll == "busy":
        spinning.append(GATEWAY)
    past = [
        table
        for table in map(config.of, config.exchanges.enabled)
        if table.device is not None and table.path != "sockets"
    ]
    hugepages = sum((table.memory_mib or MEMORY_MIB) << 20 for table in past if table.hugepages)
    return Needs(preflight.space_needed(config), tuple(spinning), bool(past), hugepages)


def _measured(config: Config, placement: Placement, *, spin: bool, distance: bool) -> Iterator[Finding]:
    try:
        yield of_clock(synchronisation())
    except OSError as error:
        yield Finding("note", "clock", f"its discipline cannot be asked: {error.strerror}")
    if spin:
        cores = {core for core in placement.cores.values() if core is not None}
        yield from of_jitter(measure.jitter(core) for core in sorted(cores or os.sched_getaffinity(0)))
    if distance:
        urls = {
            name: config.of(name).websocket_url or venue(name).websocket_url
            for name in config.exchanges.enabled
        }
        yield from of_distance(asyncio.run(measure.distances(urls)))
