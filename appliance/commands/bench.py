"""Measure this box. `paths`: which way frames come in best, as root, with traffic of its own over veth pairs.

Sockets (epoll, and spinning) and DPDK (af_packet, af_xdp) take the same updates from a namespace; told are
CPU cycles a packet and the time from the exchange's send to the record in the ring. The verdict is kept in
data_dir and is what `path = "auto"` goes by. On veth frames pass the kernel either way: it says nothing
about a NIC. With --exchange its own interface and device are measured instead, with `traffic` at the other
end of the wire: another machine (clocks in step), or this one's second port in a namespace.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

import msgspec

from appliance import bench_interface, bench_paths, paths, traffic
from appliance.bench_interface import FarEnd, Hands
from appliance.bench_paths import Options, Outcome
from appliance.commands import add_config, add_json, config_of
from appliance.commands.nic import guard
from appliance.config import Config
from appliance.lines import json_line
from appliance.nic_record import STATE_DIR
from handlers.errors import UsageError
from handlers.registry import venue
from hw.machine import read as read_machine

EXAMPLES = """
  bookwire bench paths
  bookwire bench paths --seconds 10 --rounds 5 --json
  bookwire bench traffic --listen 10.0.0.1:9443 --directory far
  bookwire bench paths --exchange okx --far-end 10.0.0.1:9443 --ca-file far/ca.pem
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("what", choices=("paths", "traffic"), help="what is measured; or the far end of it")
    far = parser.add_argument_group("an interface of the configuration")
    far.add_argument("--exchange", metavar="ID", help="whose interface and device are measured")
    far.add_argument("--far-end", metavar="HOST:PORT", help="where `bench traffic` listens")
    far.add_argument("--ca-file", type=Path, metavar="FILE", help="which that printed")
    far.add_argument("--listen", metavar="HOST:PORT", help="of `bench traffic`; port 0: any")
    far.add_argument("--directory", type=Path, metavar="DIR", help="of `bench traffic`: its CA")
    far.add_argument("--state-dir", type=Path, default=STATE_DIR, metavar="DIR", help="as `bookwire nic`")
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
    if arguments.what == "traffic":
        return _traffic(arguments)
    config, machine = config_of(arguments), read_machine()
    options = Options(arguments.seconds, arguments.rounds, arguments.rate)
    interface, outcomes = _measure(arguments, config, options)
    measured = {one.way: one.measured for one in outcomes if one.measured}
    disturbed = any(one.waited > paths.WAITED_MAX for one in measured.values())
    keeps = arguments.store and measured and (arguments.force or not disturbed)
    kept = str(paths.write(config, machine, options.rate, measured, interface)) if keeps else None
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


def _measure(
    arguments: argparse.Namespace, config: Config, options: Options
) -> tuple[str | None, Sequence[Outcome]]:
    """The interface, None: veth pairs of our own; and what was found."""

    def told(text: str) -> None:
        print(text, file=sys.stderr)

    if arguments.exchange is None:
        return None, bench_paths.measure(config.box.run_dir, options, told)
    if not arguments.far_end or not arguments.ca_file:
        do = "run `bookwire bench traffic` there and give --far-end and --ca-file"
        raise UsageError("nothing to measure with at the other end of the wire", do=do)
    host, port = _host_and_port(arguments.far_end)
    if os.geteuid() != 0:
        raise PermissionError(1, "taking an interface from the kernel needs root")
    own = config.of(venue(arguments.exchange).id)
    hands = Hands(own, arguments.state_dir, guard)
    far = FarEnd(host, port, arguments.ca_file)
    return hands.interface, bench_interface.measure(config.box.run_dir, hands, own, far, options, told)


def _traffic(arguments: argparse.Namespace) -> int:
    """Until a signal."""
    if not arguments.listen or not arguments.directory:
        raise UsageError("traffic from where?", do="give --listen and --directory")
    arguments.directory.mkdir(parents=True, exist_ok=True)
    traffic.main(*_host_and_port(arguments.listen), arguments.rate, arguments.directory)
    return 0


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        return str(ip_address(host.strip("[]"))), int(port)
    except ValueError as error:
        raise UsageError(f"{text!r} is no address and port", do="as 10.0.0.1:9443, [fd00::1]:9443") from error


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
