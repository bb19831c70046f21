"""Made-up machines: a few words become the /proc and /sys that such a machine shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

INTEL = "fpu aes avx2 avx512f avx512vbmi2 constant_tsc nonstop_tsc"


@dataclass(frozen=True)
class Card:
    """A PCI network device."""

    address: str
    vendor: int
    device: int
    driver: str | None
    interface: str | None = None
    node: int = -1
    group: int | None = None
    functions: tuple[int, int] = (0, 0)
    pin: int = 1
    clock: bool = False
    carrier: int = 1


@dataclass(frozen=True)
class Shape:
    """A machine. ``siblings`` is threads a core; CPUs are numbered as Linux does: first threads first."""

    packages: int = 1
    cores: int = 4  # of each package
    siblings: int = 1
    nodes: int = 1
    flags: str = INTEL
    model: str = "Some CPU"
    governor: str | None = None
    turbo: str | None = None  # "intel 0" writes no_turbo, "boost 1" writes boost
    idle: tuple[tuple[str, int], ...] = ()
    command_line: str = ""
    isolated: str = ""
    memory_gib: int = 16
    hugepages: tuple[int, ...] = ()  # 2 MiB pages of each node
    locked: str = "8388608"
    shm: str = "rw,nosuid,nodev"
    release: str = "6.1.0-38-amd64"
    cards: tuple[Card, ...] = ()
    modules: tuple[str, ...] = ()
    running: tuple[str, ...] = ("systemd",)
    clocksource: str = "tsc"
    arm: bool = False
    extra: dict[str, str] = field(default_factory=dict)


def build(root: Path, shape: Shape) -> Path:
    """Writes the machine below ``root`` and returns it."""
    files = {
        "proc/cmdline": shape.command_line,
        "proc/cpuinfo": _cpuinfo(shape),
        "proc/meminfo": f"MemTotal: {shape.memory_gib << 20} kB\nMemAvailable: {shape.memory_gib << 19} kB",
        "proc/mounts": f"tmpfs /dev/shm tmpfs {shape.shm} 0 0",
        "proc/self/limits": f"Max locked memory         {shape.locked}    {shape.locked}    bytes",
        "proc/sys/kernel/osrelease": shape.release,
        "proc/interrupts": "           CPU0\n 40:  5  PCI-MSI eth0-rx-0\nNMI:  0  Non-maskable",
        "proc/irq/40/smp_affinity_list": "0",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": shape.clocksource,
        "sys/devices/system/clocksource/clocksource0/available_clocksource": f"{shape.clocksource} hpet",
    }
    for number, name in enumerate(shape.running, 100):
        files[f"proc/{number}/comm"] = name
    for name in shape.modules:
        files[f"sys/module/{name}/refcnt"] = "0"
    files |= dict(_cpus(shape)) | dict(_memory(shape)) | shape.extra
    for name, text in files.items():
        _write(root / name, text)
    for card in shape.cards:
        _card(root, card)
    return root


def _write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())


def _cpuinfo(shape: Shape) -> str:
    if shape.arm:
        return f"processor\t: 0\nFeatures\t: fp asimd aes\nCPU implementer\t: 0x41\nCPU part\t: {shape.model}"
    return f"processor\t: 0\nmodel name\t: {shape.model}\nflags\t\t: {shape.flags}\n\nprocessor\t: 1"


def _cpus(shape: Shape) -> Iterable[tuple[str, str]]:
    at = "sys/devices/system/cpu"
    physical = shape.packages * shape.cores
    count = physical * shape.siblings
    yield f"{at}/online", f"0-{count - 1}" if count > 1 else "0"
    yield f"{at}/isolated", shape.isolated
    if shape.turbo:
        kind, value = shape.turbo.split()
        yield f"{at}/intel_pstate/no_turbo" if kind == "intel" else f"{at}/cpufreq/boost", value
    for cpu in range(count):
        package, core = cpu % physical // shape.cores, cpu % shape.cores
        mates = [cpu % physical + physical * thread for thread in range(shape.siblings)]
        neighbours = [other for other in range(count) if other % physical // shape.cores == package]
        yield f"{at}/cpu{cpu}/topology/physical_package_id", str(package)
        yield f"{at}/cpu{cpu}/topology/core_id", str(core)
        yield f"{at}/cpu{cpu}/topology/core_cpus_list", ",".join(map(str, mates))
        yield f"{at}/cpu{cpu}/cache/index0/size", "32K"
        yield f"{at}/cpu{cpu}/cache/index3/size", "32768K"
        yield f"{at}/cpu{cpu}/cache/index3/shared_cpu_list", ",".join(map(str, neighbours))
        if shape.governor:
            yield f"{at}/cpu{cpu}/cpufreq/scaling_governor", shape.governor
        for number, (name, latency) in enumerate(shape.idle):
            yield f"{at}/cpu{cpu}/cpuidle/state{number}/name", name
            yield f"{at}/cpu{cpu}/cpuidle/state{number}/latency", str(latency)
            yield f"{at}/cpu{cpu}/cpuidle/state{number}/disable", "0"
    for node in range(shape.nodes):
        mine = [
            cpu
            for cpu in range(count)
            if cpu % physical // shape.cores * shape.nodes // shape.packages == node
        ]
        yield f"sys/devices/system/node/node{node}/cpulist", ",".join(map(str, mine))


def _memory(shape: Shape) -> Iterable[tuple[str, str]]:
    for node, pages in enumerate(shape.hugepages):
        at = f"sys/devices/system/node/node{node}/hugepages/hugepages-2048kB"
        yield f"{at}/nr_hugepages", str(pages)
        yield f"{at}/free_hugepages", str(pages // 2)


def _card(root: Path, card: Card) -> None:
    pci = root / "sys/bus/pci/devices" / card.address
    for name, text in {
        "class": "0x020000",
        "vendor": f"0x{card.vendor:04x}",
        "device": f"0x{card.device:04x}",
        "numa_node": str(card.node),
        "sriov_numvfs": str(card.functions[0]),
        "sriov_totalvfs": str(card.functions[1]),
    }.items():
        _write(pci / name, text)
    _write(pci / "config", bytes(0x3D) + bytes((card.pin,)) + bytes(2))
    if card.driver:
        _link(pci / "driver", f"../../drivers/{card.driver}")
    if card.group is not None:
        _link(pci / "iommu_group", f"../../../../kernel/iommu_groups/{card.group}")
        (root / f"sys/kernel/iommu_groups/{card.group}").mkdir(parents=True, exist_ok=True)
    if card.clock:
        _write(pci / "ptp/ptp0/clock_name", "nic")
        _write(root / "sys/class/ptp/ptp0/clock_name", "nic")
        _link(root / "sys/class/ptp/ptp0/device", f"../../../bus/pci/devices/{card.address}")
    if card.interface:
        below = pci / "virtio0/net" if card.driver == "virtio-pci" else pci / "net"
        (below / card.interface).mkdir(parents=True)
        net = root / "sys/class/net" / card.interface
        for name, text in {
            "type": "1",
            "address": "02:00:00:00:00:01",
            "mtu": "1500",
            "speed": "25000",
        }.items():
            _write(net / name, text)
        _write(net / "carrier", str(card.carrier))
        for queue in ("rx-0", "rx-1", "tx-0"):
            (net / "queues" / queue).mkdir(parents=True, exist_ok=True)


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
