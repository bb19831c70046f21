"""Everything this machine is, in one value, from one reading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hw import clock, cpu, kernel, memory, nic
from hw.clock import Clocks
from hw.cpu import Cpus
from hw.kernel import Kernel
from hw.memory import Memory
from hw.nic import Nic, Reach
from hw.tree import Tree


@dataclass(frozen=True)
class Machine:
    """See the rooms of its parts."""

    cpus: Cpus
    memory: Memory
    kernel: Kernel
    clocks: Clocks
    nics: tuple[Nic, ...]

    def reach(self, device: Nic) -> Reach:
        return nic.reach(device, self.kernel)


def read(root: Path = Path("/")) -> Machine:
    """The machine whose ``/proc`` and ``/sys`` stand below ``root``. Nothing is changed."""
    tree = Tree(root)
    return Machine(cpu.read(tree), memory.read(tree), kernel.read(tree), clock.read(tree), nic.read(tree))
