"""Which process runs on which core: feeds near the NIC, siblings idle, a core kept for everything else.

``place`` is pure: a machine and the exchanges' weights go in, a table comes out, which ``bookwire plan``
prints and each process obeys. A core that the configuration names is taken as said.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appliance.config import Config
from handlers.facts import Venue
from handlers.registry import venue
from hw.cpu import Cpu, Cpus
from hw.machine import Machine, read
from hw.tree import cpu_text

GATEWAY = "gateway"
AT_ONCE_PER_S = 20.0  # updates of a book of an exchange that sends each change as it happens


@dataclass(frozen=True)
class Placement:
    """``cores``: of each process, None where the scheduler may choose. ``why``: in a line, for people."""

    cores: Mapping[str, int | None]
    housekeeping: frozenset[int]
    why: str

    def shared(self) -> dict[int, list[str]]:
        """Cores with more than one process."""
        by_core: dict[int, list[str]] = {}
        for name, core in self.cores.items():
            if core is not None:
                by_core.setdefault(core, []).append(name)
        return {core: names for core, names in by_core.items() if len(names) > 1}


def weight(venue: Venue, books: int) -> float:
    """Updates a second that an exchange's books may bring, from its cadence: how much core it wants."""
    return books * (1000 / venue.cadence_ms if venue.cadence_ms else AT_ONCE_PER_S)


def usable(machine: Machine, allowed: Iterable[int], node: int | None = None) -> list[Cpu]:
    """One CPU of each core that work may be pinned to, those near ``node`` first.

    Isolated cores where there are any; else all but the core of the lowest CPU, which is left to the
    kernel, to Python and to everything else.
    """
    cpus = {cpu.number: cpu for cpu in machine.cpus.cpus if cpu.number in set(allowed)}
    if not cpus:
        return []
    kept = cpus[min(cpus)].siblings
    free = [cpu for cpu in cpus.values() if cpu.number not in kept]
    isolated = [cpu for cpu in free if cpu.number in machine.cpus.isolated]
    first_of_core = {min(cpu.siblings & cpus.keys()): cpu for cpu in isolated or free}
    return sorted(first_of_core.values(), key=lambda cpu: (node is not None and cpu.node != node, cpu.number))


def place(
    machine: Machine,
    weights: Mapping[str, float],
    allowed: Iterable[int],
    *,
    node: int | None = None,
    fixed: Mapping[str, int] | None = None,
) -> Placement:
    """A core for each exchange of ``weights`` and for the gateway; ``fixed`` are those already decided.

    With too few cores, exchanges share isolated ones, the lightest together; on a machine without isolated
    cores nobody is pinned then: its scheduler knows better what else runs.
    """
    allowed = frozenset(allowed)
    fixed = dict(fixed or {})
    taken = set(fixed.values())
    pool = [cpu.number for cpu in usable(machine, allowed, node) if cpu.number not in taken]
    names = [name for name in sorted(weights, key=lambda name: -weights[name]) if name not in fixed]
    wanted = names if GATEWAY in fixed else [*names, GATEWAY]
    if len(pool) >= len(wanted):
        cores = {**dict(zip(wanted, pool, strict=False)), **fixed}
        why = "a core of its own for each exchange and the gateway"
        return _placement(machine, allowed, cores, why)
    if machine.cpus.isolated & set(pool) and len(pool) >= 2:
        gateway = fixed.get(GATEWAY, pool[-1])
        shared = _share(names, weights, [core for core in pool if core != gateway])
        why = f"{len(pool)} isolated cores for {len(wanted)} processes: the quiet share"
        return _placement(machine, allowed, {**shared, **fixed, GATEWAY: gateway}, why)
    why = f"{len(pool)} cores for {len(wanted)} processes: left to the scheduler"
    return Placement({**dict.fromkeys(wanted), **fixed}, allowed - taken, why)


def _share(names: list[str], weights: Mapping[str, float], pool: list[int]) -> dict[str, int]:
    """Heaviest first, each onto the core with the least on it."""
    load = dict.fromkeys(pool, 0.0)
    cores = {}
    for name in names:
        core = min(pool, key=lambda one: load[one])
        cores[name] = core
        load[core] += weights[name]
    return cores


def _placement(machine: Machine, allowed: frozenset[int], cores: Mapping[str, int], why: str) -> Placement:
    used = {sibling for core in cores.values() for sibling in _siblings(machine, core)}
    return Placement(cores, allowed - used, why)


def _siblings(machine: Machine, core: int) -> frozenset[int]:
    return next((cpu.siblings for cpu in machine.cpus.cpus if cpu.number == core), frozenset({core}))


def place_configured(config: Config, machine: Machine) -> Placement:
    """Where the configured processes go, on the CPUs that this process may use."""
    tables = {name: config.of(name) for name in config.exchanges.enabled}
    fixed = {name: table.cpu for name, table in tables.items() if table.cpu is not None}
    if config.gateway.cpu is not None:
        fixed[GATEWAY] = config.gateway.cpu
    weights = {name: weight(venue(name), len(table.symbols)) for name, table in tables.items()}
    return place(machine, weights, may_use(machine.cpus, os.sched_getaffinity(0)), fixed=fixed)


def may_use(cpus: Cpus, mask: Iterable[int]) -> frozenset[int]:
    """CPUs of an affinity mask, with the isolated ones where it is the mask that all processes start with.

    Linux leaves isolated CPUs out of the first process's mask, and so of everybody's who did not ask for one.
    A narrower mask (taskset, a cpuset) is somebody's wish.
    """
    mask = frozenset(mask)
    everybodys = {cpu.number for cpu in cpus.cpus} - cpus.isolated
    return mask | cpus.isolated if mask == everybodys else mask


def core_of(config: Config, process: str) -> int | None:
    """The core of one process of this machine; None where the scheduler may choose.

    Each process works it out for itself, from the same configuration and machine as all the others.
    """
    return place_configured(config, read()).cores.get(process)


def told(placement: Placement) -> str:
    """The placement for people, a line a core."""
    by_core: dict[int | None, list[str]] = {}
    for name, core in placement.cores.items():
        by_core.setdefault(core, []).append(name)
    lines = [
        f"core {core:<3} {', '.join(names)}"
        for core, names in sorted(by_core.items(), key=str)
        if core is not None
    ]
    if None in by_core:
        lines.append(f"any core  {', '.join(by_core[None])}")
    lines.append(f"everything else: {cpu_text(placement.housekeeping) or 'none'}")
    return f"{placement.why}\n" + "\n".join(f"  {line}" for line in lines)
