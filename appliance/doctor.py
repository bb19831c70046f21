"""What this box can do, and what is wrong with it: each finding with the exact thing to do.

``examine`` looks at a machine that was read and is pure; ``appliance.measure`` adds what must be measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from appliance.measure import Distance, Jitter
from appliance.placement import Placement
from handlers.facts import Venue
from hw.clock import Synchronisation
from hw.machine import Machine
from hw.nic import USER_DRIVERS
from hw.tree import cpu_text

Level = Literal["ok", "note", "warning", "failure"]
JITTER_WARNING_NS = 100_000
CLOCK_WARNING_NS = 1_000_000  # recorded stamps compare to a millisecond, as exchanges' own do
FAR_MS = 50.0


@dataclass(frozen=True)
class Finding:
    """``what`` is seen; ``do`` what to do about it, a command where one does it."""

    level: Level
    area: str
    what: str
    do: str = ""


@dataclass(frozen=True)
class Needs:
    """What the configuration asks of the box."""

    shared_bytes: int
    busy: tuple[str, ...]  # processes that poll without sleeping
    bypass: bool = False  # some exchange's frames shall come past the kernel
    hugepage_bytes: int = 0  # all such exchanges together


def examine(machine: Machine, placement: Placement, needs: Needs) -> list[Finding]:
    """All that can be said without measuring."""
    return [
        *_processors(machine, placement, needs),
        *_isolation(machine, placement, needs),
        *_memory(machine, needs),
        *_nics(machine, needs),
        *_clocks(machine),
    ]


def _processors(machine: Machine, placement: Placement, needs: Needs) -> Iterator[Finding]:
    cpus = machine.cpus
    counts = (
        (cpus.packages, "socket"),
        (cpus.cores, "core"),
        (len(cpus.cpus), "CPU"),
        (len(cpus.nodes), "node"),
    )
    shape = ", ".join(f"{count} {word}{'s' if count > 1 else ''}" for count, word in counts)
    yield Finding("ok", "cpu", f"{cpus.model}: {shape}")
    yield Finding("ok" if None not in placement.cores.values() else "note", "placement", placement.why)
    shared = {name for names in placement.shared().values() for name in names}
    homeless = [name for name in needs.busy if placement.cores.get(name) is None or name in shared]
    if homeless:
        what = f"{', '.join(homeless)} shall spin but has no core of its own"
        yield Finding(
            "failure", "cpu", what, 'use poll = "epoll", fewer exchanges, or a machine with more cores'
        )
    if "aes" not in cpus.features:
        yield Finding(
            "warning", "cpu", "no AES instructions: TLS costs many times more", "use another machine"
        )
    if not cpus.invariant_clock:
        yield Finding(
            "warning",
            "cpu",
            "the cycle counter is not invariant: stamps may drift",
            "use a host whose CPU tells constant_tsc and nonstop_tsc",
        )
    slow = [cpu.number for cpu in cpus.cpus if cpu.governor not in (None, "performance")]
    if slow:
        what = f"frequency governor of CPUs {cpu_text(set(slow))} is {cpus.of(slow[0]).governor!r}"
        yield Finding("warning", "cpu", what, "cpupower frequency-set -g performance")
    if cpus.deep_idle:
        what = f"idle states that take long to leave: {', '.join(cpus.deep_idle)}"
        yield Finding("warning", "cpu", what, "cpupower idle-set -D 10, or processor.max_cstate=1 at boot")


def _isolation(machine: Machine, placement: Placement, needs: Needs) -> Iterator[Finding]:
    cores = {core for core in placement.cores.values() if core is not None}
    cpus, kernel = machine.cpus, machine.kernel
    if not cores:
        return
    text = cpu_text(cores)
    open_to_all = cores - cpus.isolated
    if open_to_all:
        parameters = f"isolcpus=managed_irq,domain,{text} nohz_full={text} rcu_nocbs={text}"
        level: Level = "warning" if needs.busy or needs.bypass else "note"
        what = f"the scheduler uses cores {cpu_text(open_to_all)} for other work too"
        yield Finding(level, "isolation", what, f"boot with {parameters}")
    else:
        yield Finding("ok", "isolation", f"cores {text} are isolated")
        ticking = cores - cpus.nohz_full
        if ticking:
            yield Finding(
                "warning",
                "isolation",
                f"cores {cpu_text(ticking)} still get the timer tick",
                f"boot with nohz_full={text} rcu_nocbs={text}",
            )
    if kernel.steered:
        yield Finding(
            "warning",
            "interrupts",
            "irqbalance moves interrupts onto any core",
            f"IRQBALANCE_BANNED_CPULIST={text} in /etc/default/irqbalance",
        )
    strays = [row for row in kernel.interrupts if row.cpus and row.cpus <= cores]
    if strays:
        names = ", ".join(f"{row.number} ({row.name})" for row in strays[:5])
        yield Finding(
            "note",
            "interrupts",
            f"on these cores alone: {names}",
            f"unless a feed's own queue: write {cpu_text(placement.housekeeping)} to its smp_affinity_list",
        )


def _memory(machine: Machine, needs: Needs) -> Iterator[Finding]:
    memory = machine.memory
    need = f"{needs.shared_bytes >> 20} MiB"
    if memory.shared_bytes is None:
        yield Finding(
            "failure",
            "memory",
            "no tmpfs on /dev/shm",
            "mount -t tmpfs tmpfs /dev/shm, or name another box.shm_dir",
        )
    elif memory.shared_bytes < needs.shared_bytes:
        what = f"books and rings need {need} of shared memory, /dev/shm holds {memory.shared_bytes >> 20} MiB"
        size = -(-needs.shared_bytes * 5 // 4 >> 30)
        yield Finding(
            "failure",
            "memory",
            what,
            f"mount -o remount,size={max(1, size)}g /dev/shm (containers: --shm-size)",
        )
    else:
        yield Finding("ok", "memory", f"shared memory: {need} of {memory.shared_bytes >> 20} MiB")
    if needs.bypass:
        yield from _bypass_memory(machine, needs.hugepage_bytes)


def _bypass_memory(machine: Machine, needed: int) -> Iterator[Finding]:
    memory = machine.memory
    free = memory.free_hugepage_bytes()
    total = sum(row.total * row.page_bytes for row in memory.hugepages)
    if total < needed or not total:
        pages = -(-max(needed, 512 << 20) // (2 << 20))
        has = f"they have {total >> 20} MiB" if total else "there are none"
        yield Finding(
            "failure",
            "hugepages",
            f"{needed >> 20} MiB of hugepages are wanted, {has}",
            f"sysctl vm.nr_hugepages={pages}, and in /etc/sysctl.d to keep it",
        )
    else:
        yield Finding("ok", "hugepages", f"{needed >> 20} MiB wanted of {total >> 20} MiB, {free >> 20} free")
    nodes = {nic.node for nic in machine.nics if nic.node is not None and nic.family}
    for node in sorted(nodes):
        if free and not memory.free_hugepage_bytes(node):
            where = f"/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB/nr_hugepages"
            yield Finding(
                "warning", "hugepages", f"none on node {node}, where a NIC is", f"echo 1024 > {where}"
            )
    if memory.locked_bytes is not None and memory.locked_bytes < 256 << 20:
        what = f"only {memory.locked_bytes >> 20} MiB may be locked"
        yield Finding(
            "warning",
            "limits",
            what,
            "LimitMEMLOCK=infinity in the unit, or memlock in /etc/security/limits.d",
        )


def _nics(machine: Machine, needs: Needs) -> Iterator[Finding]:
    best = False
    for nic in machine.nics:
        reach = machine.reach(nic)
        best |= reach.way not in ("none", "af_xdp copy")
        state = (
            "bound to user space"
            if nic.driver in USER_DRIVERS
            else {True: "link", False: "no link"}.get(nic.carrier or False, "")
        )
        level: Level = "ok" if reach.way not in ("none", "af_xdp copy") else "note"
        yield Finding(
            level, "nic", f"{nic.name} ({nic.driver or 'no driver'}, {state}): {reach.way}; {reach.why}"
        )
    if needs.bypass and not best:
        do = "stay with sockets, boot with intel_iommu=on or amd_iommu=on, or use a NIC of hw/devices.py"
        yield Finding("warning", "nic", "no device that a poll-mode driver reaches without copying", do)


def _clocks(machine: Machine) -> Iterator[Finding]:
    clocks = machine.clocks
    if machine.cpus.architecture == "x86_64" and clocks.source != "tsc":
        able = "tsc" in clocks.sources
        do = (
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource"
            if able
            else "boot with tsc=reliable if the host promises it"
        )
        yield Finding(
            "warning", "clock", f"the kernel counts time by {clocks.source}, not by the cycle counter", do
        )
    if not clocks.services:
        yield Finding("warning", "clock", "nothing keeps the time of day right", "apt install chrony")
    else:
        yield Finding("ok", "clock", f"time of day: {', '.join(clocks.services)}")


def of_clock(state: Synchronisation) -> Finding:
    bound = f"within {state.error_ns / 1e6:.1f} ms"
    if not state.synchronised:
        return Finding(
            "warning",
            "clock",
            "the kernel's clock is not synchronised",
            "apt install chrony, then `chronyc waitsync`",
        )
    if state.error_ns > CLOCK_WARNING_NS:
        return Finding(
            "note", "clock", f"time of day is right {bound}", "a nearer time source, or PTP, makes it finer"
        )
    return Finding("ok", "clock", f"time of day is right {bound}")


def of_jitter(rows: Iterable[Jitter]) -> Iterator[Finding]:
    for row in rows:
        lost = row.lost_ns / row.spun_ns
        what = (
            f"core {row.core}: worst interruption {row.worst_ns / 1000:.0f} µs, {lost:.1%} of the time lost"
        )
        bad = row.worst_ns > JITTER_WARNING_NS
        yield Finding(
            "warning" if bad else "ok",
            "jitter",
            what,
            "isolate the core; stop what else runs on it" if bad else "",
        )


def of_distance(rows: Iterable[Distance]) -> Iterator[Finding]:
    for row in rows:
        if row.milliseconds is None:
            do = "check DNS, routes and firewall; some exchanges refuse some countries"
            yield Finding("warning", "distance", f"{row.exchange}: {row.host} not reached: {row.reason}", do)
        else:
            far = row.milliseconds > FAR_MS
            what = f"{row.exchange}: {row.milliseconds:.1f} ms to {row.host}"
            yield Finding(
                "note" if far else "ok",
                "distance",
                what,
                "a box nearer to it sees its books sooner" if far else "",
            )


def of_lifecycles(venues: Iterable[Venue], enabled: Collection[str]) -> Iterator[Finding]:
    """Exchanges that no longer serve: why they are not dialled, and a warning where one is enabled."""
    for venue in venues:
        life = venue.lifecycle
        if life.state == "active":
            continue
        what = f"{venue.id} is {life.state} since {life.date}: {life.source}"
        if venue.id in enabled:
            yield Finding("warning", "exchanges", what, f"take {venue.id} out of exchanges.enabled")
        else:
            yield Finding("note", "exchanges", f"{what}; not dialled unless named")


def verdict(findings: Iterable[Finding]) -> Level:
    """The worst level found."""
    order: tuple[Level, ...] = ("ok", "note", "warning", "failure")
    return max((row.level for row in findings), key=order.index, default="ok")
