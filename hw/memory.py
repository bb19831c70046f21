"""Memory that matters here: hugepages of each node, what may be locked, room for shared memory."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hw.tree import Tree

NODES = "sys/devices/system/node"


@dataclass(frozen=True)
class Hugepages:
    """Pages of one size on one node."""

    node: int
    page_bytes: int
    total: int
    free: int


@dataclass(frozen=True)
class Memory:
    """Bytes throughout. ``locked_bytes`` None is unlimited; ``shared_bytes`` is what /dev/shm may hold."""

    total_bytes: int
    available_bytes: int
    hugepages: tuple[Hugepages, ...]
    hugetlbfs: tuple[str, ...]  # mount points
    locked_bytes: int | None
    shared_bytes: int | None

    def free_hugepage_bytes(self, node: int | None = None) -> int:
        return sum(row.free * row.page_bytes for row in self.hugepages if node in (None, row.node))


def read(tree: Tree) -> Memory:
    info = dict(
        re.findall(r"^(\w+):\s+(\d+) kB$", tree.text("proc/meminfo") or "", re.MULTILINE),
    )
    total = int(info.get("MemTotal", 0)) << 10
    mounts = [line.split() for line in (tree.text("proc/mounts") or "").splitlines()]
    return Memory(
        total_bytes=total,
        available_bytes=int(info.get("MemAvailable", 0)) << 10,
        hugepages=tuple(_hugepages(tree)),
        hugetlbfs=tuple(row[1] for row in mounts if row[2] == "hugetlbfs"),
        locked_bytes=_locked(tree),
        shared_bytes=next((_size(row[3], total) for row in mounts if row[1] == "/dev/shm"), None),
    )


def _hugepages(tree: Tree) -> list[Hugepages]:
    places = [
        (int(name.removeprefix("node")), f"{NODES}/{name}/hugepages")
        for name in tree.names(NODES)
        if re.fullmatch(r"node\d+", name)
    ]
    if not any(tree.names(place) for _, place in places):
        places = [(0, "sys/kernel/mm/hugepages")]  # a kernel without NUMA
    return [
        Hugepages(
            node=node,
            page_bytes=int(size[1]) << 10,
            total=tree.number(f"{place}/{name}/nr_hugepages") or 0,
            free=tree.number(f"{place}/{name}/free_hugepages") or 0,
        )
        for node, place in places
        for name in tree.names(place)
        if (size := re.fullmatch(r"hugepages-(\d+)kB", name))
    ]


def _locked(tree: Tree) -> int | None:
    """Soft RLIMIT_MEMLOCK of this process."""
    found = re.search(r"^Max locked memory\s+(\S+)", tree.text("proc/self/limits") or "", re.MULTILINE)
    return int(found[1]) if found and found[1].isdigit() else None


def _size(options: str, total: int) -> int:
    """The size option of a tmpfs, bytes; half of the memory without one (tmpfs(5))."""
    found = re.search(r"(?:^|,)size=(\d+)([kmg%]?)", options)
    if not found:
        return total // 2
    number, unit = int(found[1]), found[2]
    if unit == "%":
        return total * number // 100
    return number << {"": 0, "k": 10, "m": 20, "g": 30}[unit]
