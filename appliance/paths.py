"""Which way frames take on this box, as `bookwire bench paths` measured it: a file in data_dir, and its use.

A verdict counts for the box, the kernel and the ways it was measured on, and for nothing else. What was
measured on an interface itself goes before what veth pairs said; a NIC's own driver is measured only so, else
its device goes past the kernel as it does without any verdict.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from appliance.config import Config
from dpdk_bindings import devices
from hw.machine import Machine

NAME = "paths.json"
VERSION = 1
EVEN = 1.05  # medians within 5 % are even: then the fewer cycles decide
WAITED_MAX = 0.1  # more, and the figures are somebody else's time slices
DRIVERS = ("af_packet", "af_xdp")


class Measured(msgspec.Struct, frozen=True):
    """One way. Latency from the exchange's send to the record in the ring, us; cycles of the loop.

    ``waited``: for what part of the time the loop stood ready and others had its core.
    """

    messages: int
    p50_us: float
    p99_us: float
    cycles_per_packet: float
    waited: float


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``taken`` is a date. ``paths``: sockets_epoll, sockets_busy, and a device's kind for what DPDK does, on
    veth pairs; ``interfaces``: the same of interfaces by name.
    """

    version: int
    taken: str
    box: dict[str, str]
    rate: float
    paths: dict[str, Measured]
    interfaces: dict[str, dict[str, Measured]] = {}


@dataclass(frozen=True)
class Choice:
    """``sockets`` None: nothing was measured that says it; then all is as it is without a verdict."""

    sockets: bool | None
    why: str


def fingerprint(machine: Machine) -> dict[str, str]:
    """What must be the same for a verdict to count."""
    cpus = machine.cpus
    return {"cpu": cpus.model, "cores": str(len(cpus.cpus)), "kernel": machine.kernel.release}


def write(
    config: Config,
    machine: Machine,
    rate: float,
    measured: Mapping[str, Measured],
    interface: str | None = None,
) -> Path:
    """Stores the verdict, whole or not at all; beside it stays what else was measured on the same box."""
    today, box = datetime.datetime.now(datetime.UTC).date().isoformat(), fingerprint(machine)
    before = read(config)
    kept = before if before and before.box == box else Verdict(VERSION, today, box, rate, {})
    if interface is None:
        verdict = Verdict(VERSION, today, box, rate, dict(measured), kept.interfaces)
    else:
        interfaces = kept.interfaces | {interface: dict(measured)}
        verdict = Verdict(VERSION, today, box, rate, kept.paths, interfaces)
    path = config.box.data_dir / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(verdict)))
    fresh.replace(path)
    return path


def read(config: Config) -> Verdict | None:
    """None where there is none, or one that this version does not understand."""
    try:
        verdict = msgspec.json.decode((config.box.data_dir / NAME).read_bytes(), type=Verdict)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return verdict if verdict.version == VERSION else None


def better(ways: Mapping[str, Measured], one: str, other: str) -> str:
    """The way with the lower median; of even ones that with the fewer cycles."""
    a, b = ways[one], ways[other]
    if max(a.p50_us, b.p50_us) <= EVEN * min(a.p50_us, b.p50_us):
        return one if a.cycles_per_packet <= b.cycles_per_packet else other
    return one if a.p50_us < b.p50_us else other


def choose(
    verdict: Verdict | None, device: str, poll: str, machine: Machine, interface: str | None = None
) -> Choice:
    """What ``path = "auto"`` makes of a device. Raises BypassError for what is no device."""
    parsed, sockets = devices.parse(device), f"sockets_{poll}"
    driver, name = parsed.kind, interface or parsed.interface or ""
    if verdict is None:
        return Choice(None, "not measured here; see bookwire bench paths")
    if verdict.box != fingerprint(machine):
        return Choice(None, f"measured on {verdict.taken} on another box or kernel: measure anew")
    own = verdict.interfaces.get(name, {})
    ways, where = (own, f" on {name}") if {driver, sockets} <= own.keys() else (verdict.paths, "")
    if not {driver, sockets} <= ways.keys():
        return Choice(None, f"{driver} is not among what was measured on {verdict.taken}")
    best = better(ways, driver, sockets)
    figures = f"{said(ways, driver)}, {said(ways, sockets)}"
    return Choice(best == sockets, f"measured{where} on {verdict.taken}: {figures}")


def said(ways: Mapping[str, Measured], name: str) -> str:
    """One way in a few words."""
    found = ways[name]
    return f"{name} p50 {found.p50_us:.1f} us, {found.cycles_per_packet:.0f} cycles a packet"


def of_exchange(config: Config, own: Mapping[str, Any], machine: Callable[[], Machine]) -> Choice | None:
    """For an exchange's settings, None where nothing is to be chosen."""
    if own["path"] != "auto" or not own["device"]:
        return None
    return choose(read(config), own["device"], own["poll"], machine(), own["interface"])
