"""Measure this box. `paths`: which way frames come in best, as root, with traffic of its own over veth pairs.

Sockets (epoll, and spinning) and DPDK (af_packet, af_xdp) take the same updates from a namespace; told are
CPU cycles a packet and the time from the exchange's send to the record in the ring. The verdict is kept in
data_dir and is what `path = "auto"` goes by. On veth frames pass the kernel either way: it says nothing
about a NIC.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

import msgspec

from appliance import bench_paths, paths
from appliance.bench_paths import Options, Outcome
from appliance.commands import add_config, add_json, config_of
from appliance.lines import json_line
from handlers.errors import UsageError
from hw.machine import read as read_machine

EXAMPLES = """
  bookwire bench paths
  bookwire bench paths --seconds 10 --rounds 5 --json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("what", choices=("paths",), help="what is measured")
    parser.add_argument(
        "--seconds", type=float, default=5.0, metavar="N", help="a way and round (default: 5)"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of which the median (default: 3)")
    parser.add_argument(
        "--rate", type=float, default=1000.0, metavar="N", help="updates a second (default: 1000)"
    )
    keep = parser.add_mutually_exclusive_group()
    keep.add_argument("--no-store", dest="store", action="store_false", help="keep no verdict")
    keep.add_argument("--force", action="store_true", help="keep it although others had the core")
    add_json(parser)
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """0, or 69 with the reason where it cannot be measured, 77 without root."""
    if arguments.seconds <= 0 or arguments.rounds < 1 or not 0 < arguments.rate <= 20_000:
        raise UsageError("nothing to measure", do="--seconds above 0, --rounds from 1, --rate up to 20000")
    config, machine = config_of(arguments), read_machine()
    options = Options(arguments.seconds, arguments.rounds, arguments.rate)
    outcomes = bench_paths.measure(config.box.run_dir, options, lambda text: print(text, file=sys.stderr))
    measured = {one.way: one.measured for one in outcomes if one.measured}
    disturbed = any(one.waited > paths.WAITED_MAX for one in measured.values())
    keeps = arguments.store and measured and (arguments.force or not disturbed)
    kept = str(paths.write(config, machine, options.rate, measured)) if keeps else None
    if arguments.json:
        rows = [{"way": one.way, "measured": one.measured and msgspec.to_builtins(one.measured),
                 "reason": one.reason} for one in outcomes]  # fmt: skip
        print(
            json_line({"rate": options.rate, "box": paths.fingerprint(machine), "ways": rows, "kept": kept})
        )
    else:
        print(_table(outcomes, measured))
        print(_end(kept, arguments.store and disturbed))
    return 0


def _end(kept: str | None, disturbed: bool) -> str:
    if kept:
        return f'kept in {kept}; path = "auto" goes by it'
    if disturbed:
        most = f"{paths.WAITED_MAX:.0%}"
        return f"not kept: others had the loop's core for more than {most} of the time; see --force"
    return "not kept"


def _table(outcomes: Sequence[Outcome], measured: Mapping[str, paths.Measured]) -> str:
    best = min(measured, key=lambda way: measured[way].p50_us, default="")
    lines = [f"{'way':<14}{'cycles a packet':>16}{'p50 us':>9}{'p99 us':>9}{'updates':>9}{'waited':>8}"]
    for one in outcomes:
        if one.measured is None:
            lines.append(f"{one.way:<14} not measured: {one.reason}")
            continue
        found = one.measured
        mark = "  lowest median" if one.way == best else ""
        lines.append(
            f"{one.way:<14}{found.cycles_per_packet:>16,.0f}{found.p50_us:>9.1f}{found.p99_us:>9.1f}"
            f"{found.messages:>9}{found.waited:>8.1%}{mark}"
        )
        if one.reason:
            lines.append(f"{'':<14} a round failed: {one.reason}")
    return "\n".join(lines)
