"""The kernel: version, parameters, IOMMU, modules for user-space drivers, interrupts and their CPUs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hw.cpu import command_line
from hw.tree import Tree


@dataclass(frozen=True)
class Interrupt:
    """One line of /proc/interrupts. ``cpus`` are those it may be delivered to."""

    number: int
    name: str
    cpus: frozenset[int]


@dataclass(frozen=True)
class Kernel:
    """``iommu`` is whether devices stand in groups, so that vfio can hand them out safely."""

    release: str
    parameters: dict[str, str]
    iommu: bool
    modules: frozenset[str]  # of those that matter here: loaded or built in
    no_iommu_mode: bool | None  # vfio's unsafe mode; None: this kernel has none
    interrupts: tuple[Interrupt, ...]
    steered: bool  # irqbalance runs, which moves interrupts onto any CPU
    lockdown: str | None


MODULES = ("vfio_pci", "uio_pci_generic", "vfio", "af_packet", "xdp_diag")


def read(tree: Tree) -> Kernel:
    return Kernel(
        release=tree.text("proc/sys/kernel/osrelease") or "unknown",
        parameters=command_line(tree),
        iommu=bool(tree.names("sys/kernel/iommu_groups")),
        modules=frozenset(name for name in MODULES if tree.exists(f"sys/module/{name}")),
        no_iommu_mode=_no_iommu(tree),
        interrupts=tuple(_interrupts(tree)),
        steered=_runs(tree, "irqbalance"),
        lockdown=_chosen(tree.text("sys/kernel/security/lockdown")),
    )


def _no_iommu(tree: Tree) -> bool | None:
    text = tree.text("sys/module/vfio/parameters/enable_unsafe_noiommu_mode")
    return None if text is None else text in ("Y", "1")


def _interrupts(tree: Tree) -> list[Interrupt]:
    found = []
    for line in (tree.text("proc/interrupts") or "").splitlines()[1:]:
        row = re.match(r"\s*(\d+):((?:\s+\d+)+)\s+(.*)$", line)
        if not row:
            continue  # NMI and other kinds without a number
        cpus = tree.cpus(f"proc/irq/{row[1]}/smp_affinity_list")
        found.append(Interrupt(int(row[1]), row[3].split()[-1], cpus or frozenset()))
    return found


def _runs(tree: Tree, name: str) -> bool:
    """Whether a process of that name runs."""
    return any(entry.isdigit() and tree.text(f"proc/{entry}/comm") == name for entry in tree.names("proc"))


def _chosen(text: str | None) -> str | None:
    """The bracketed word of a choice: ``none [integrity] confidentiality``."""
    found = re.search(r"\[(\w+)\]", text or "")
    return found[1] if found else None
