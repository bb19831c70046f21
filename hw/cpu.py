"""Processors: which share a core, a cache, a node; which the kernel leaves alone; what slows their clock."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hw.tree import Tree, cpu_list

CPU = "sys/devices/system/cpu"
DEEP_IDLE_US = 10  # waking from a state takes longer than this: a poll loop must not fall into it


@dataclass(frozen=True)
class Cpu:
    """One logical processor. ``siblings`` share its core (SMT), itself included; ``cache`` its last level."""

    number: int
    package: int
    core: int
    node: int
    siblings: frozenset[int]
    cache: frozenset[int]
    governor: str | None  # None: the kernel does not steer the clock (virtual machines)


@dataclass(frozen=True)
class Cpus:
    """All processors that are online, and what the kernel was told about them.

    ``isolated``, ``nohz_full``, ``rcu_nocbs``: CPUs of these kernel parameters. ``turbo``: whether the clock
    may rise above nominal; None where unknown. ``deep_idle``: states that take more than 10 µs to leave.
    """

    model: str
    architecture: str
    hypervisor: bool
    features: frozenset[str]
    cpus: tuple[Cpu, ...]
    isolated: frozenset[int]
    nohz_full: frozenset[int]
    rcu_nocbs: frozenset[int]
    turbo: bool | None
    deep_idle: tuple[str, ...]
    last_level_cache_bytes: int

    @property
    def packages(self) -> int:
        return len({cpu.package for cpu in self.cpus})

    @property
    def cores(self) -> int:
        return len({cpu.siblings for cpu in self.cpus})

    @property
    def smt(self) -> bool:
        return any(len(cpu.siblings) > 1 for cpu in self.cpus)

    @property
    def nodes(self) -> tuple[int, ...]:
        return tuple(sorted({cpu.node for cpu in self.cpus}))

    @property
    def invariant_clock(self) -> bool:
        """Whether the cycle counter runs evenly on all of them (ARM's generic timer always does)."""
        if self.architecture == "aarch64":
            return True
        return {"constant_tsc", "nonstop_tsc"} <= self.features

    def of(self, number: int) -> Cpu:
        return next(cpu for cpu in self.cpus if cpu.number == number)


def read(tree: Tree) -> Cpus:
    info = _info(tree)
    parameters = command_line(tree)
    online = tree.cpus(f"{CPU}/online") or frozenset({0})
    nodes = _nodes(tree)
    features = frozenset((info.get("flags") or info.get("Features") or "").split())
    return Cpus(
        model=info.get("model name") or info.get("CPU part") or "unknown",
        architecture=_architecture(tree, info),
        hypervisor="hypervisor" in features or tree.exists("sys/hypervisor/type"),
        features=features,
        cpus=tuple(_cpu(tree, number, nodes) for number in sorted(online)),
        isolated=tree.cpus(f"{CPU}/isolated") or frozenset(),
        nohz_full=_cpus_of(tree.text(f"{CPU}/nohz_full")) or _cpus_of(parameters.get("nohz_full")),
        rcu_nocbs=_cpus_of(parameters.get("rcu_nocbs")),
        turbo=_turbo(tree),
        deep_idle=_deep_idle(tree, min(online)),
        last_level_cache_bytes=_cache_bytes(tree, min(online)),
    )


def command_line(tree: Tree) -> dict[str, str]:
    """Kernel parameters; of one that stands twice the last counts. A bare word has an empty value."""
    words = re.findall(r'(?:[^\s"]|"[^"]*")+', tree.text("proc/cmdline") or "")
    pairs = (word.partition("=") for word in words)
    return {name: value.strip('"') for name, _, value in pairs}


def _info(tree: Tree) -> dict[str, str]:
    """Fields of the first processor in /proc/cpuinfo."""
    first = (tree.text("proc/cpuinfo") or "").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _architecture(tree: Tree, info: dict[str, str]) -> str:
    if "CPU implementer" in info or "Features" in info:
        return "aarch64"
    return "x86_64" if "flags" in info else (tree.text("proc/sys/kernel/arch") or "unknown")


def _cpu(tree: Tree, number: int, nodes: dict[int, int]) -> Cpu:
    at = f"{CPU}/cpu{number}"
    siblings = tree.cpus(f"{at}/topology/core_cpus_list")
    if siblings is None:
        siblings = tree.cpus(f"{at}/topology/thread_siblings_list")  # its name before Linux 5.2
    caches = [name for name in tree.names(f"{at}/cache") if name.startswith("index")]
    cache = tree.cpus(f"{at}/cache/{caches[-1]}/shared_cpu_list") if caches else None
    return Cpu(
        number=number,
        package=_at_least_0(tree.number(f"{at}/topology/physical_package_id")),
        core=_at_least_0(tree.number(f"{at}/topology/core_id"), number),
        node=nodes.get(number, 0),
        siblings=siblings or frozenset({number}),
        cache=cache or siblings or frozenset({number}),
        governor=tree.text(f"{at}/cpufreq/scaling_governor"),
    )


def _at_least_0(value: int | None, otherwise: int = 0) -> int:
    """The kernel writes -1 for what firmware does not tell."""
    return otherwise if value is None or value < 0 else value


def _nodes(tree: Tree) -> dict[int, int]:
    """Node of each CPU."""
    found = {}
    for name in tree.names("sys/devices/system/node"):
        if re.fullmatch(r"node\d+", name):
            for cpu in tree.cpus(f"sys/devices/system/node/{name}/cpulist") or ():
                found[cpu] = int(name.removeprefix("node"))
    return found


def _cpus_of(text: str | None) -> frozenset[int]:
    """A list of CPUs; ``(null)`` and ``all`` are what the kernel writes for none and for no list."""
    if not text or not text[0].isdigit():
        return frozenset()
    return cpu_list(text)


def _turbo(tree: Tree) -> bool | None:
    off = tree.number(f"{CPU}/intel_pstate/no_turbo")
    if off is not None:
        return off == 0
    boost = tree.number(f"{CPU}/cpufreq/boost")
    return None if boost is None else boost == 1


def _deep_idle(tree: Tree, cpu: int) -> tuple[str, ...]:
    at = f"{CPU}/cpu{cpu}/cpuidle"
    return tuple(
        tree.text(f"{at}/{state}/name") or state
        for state in tree.names(at)
        if (tree.number(f"{at}/{state}/latency") or 0) > DEEP_IDLE_US
        and tree.number(f"{at}/{state}/disable") != 1
    )


def _cache_bytes(tree: Tree, cpu: int) -> int:
    at = f"{CPU}/cpu{cpu}/cache"
    caches = [name for name in tree.names(at) if name.startswith("index")]
    text = (tree.text(f"{at}/{caches[-1]}/size") if caches else None) or "0"
    unit = {"K": 1 << 10, "M": 1 << 20}.get(text[-1].upper(), 1)
    return int(text.rstrip("KkMm") or 0) * unit
