"""Machines read right: eight that operators have, as trees, and this one."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import SHAPES
from trees import build

from hw.clock import synchronisation
from hw.devices import FAMILIES, family
from hw.errors import TreeError
from hw.machine import Machine, read
from hw.tree import Tree, cpu_list, cpu_text

# shape: packages, cores, CPUs, nodes, SMT, isolated, hugepages free (MiB), way to each NIC
FACTS: dict[str, tuple[int, int, int, int, bool, str, int, list[str]]] = {
    "one socket, no SMT, tuned, E810": (1, 16, 16, 1, False, "2-15", 8192, ["vfio", "vfio", "vfio"]),
    "two sockets, SMT, ConnectX on node 1": (2, 16, 32, 2, True, "", 4096, ["bifurcated"]),
    "two sockets, SMT off, X710, no IOMMU": (2, 24, 24, 2, False, "", 1024, ["uio"]),
    "AMD desktop, SMT, 82599, AF_XDP only": (1, 6, 12, 1, True, "", 0, ["af_xdp zero copy"]),
    "cloud VM, ENA, hypervisor": (1, 4, 8, 1, True, "", 0, ["af_xdp copy"]),
    "small VM, virtio": (1, 2, 2, 1, False, "", 0, ["uio"]),
    "laptop, Wi-Fi": (1, 4, 8, 1, True, "", 0, ["af_xdp copy"]),
    "ARM server, ConnectX": (1, 64, 64, 1, False, "", 2048, ["bifurcated"]),
    "container without sysfs": (1, 1, 1, 1, False, "", 0, []),
}


@pytest.fixture
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return read(build(tmp_path, SHAPES[request.param]))


@pytest.mark.parametrize(
    ("machine", "name"), [(name, name) for name in SHAPES], indirect=["machine"], ids=str
)
def test_a_machine_is_what_its_tree_says(machine: Machine, name: str) -> None:
    packages, cores, cpus, nodes, smt, isolated, hugepages_mib, ways = FACTS[name]
    assert (machine.cpus.packages, machine.cpus.cores, len(machine.cpus.cpus)) == (packages, cores, cpus)
    assert (len(machine.cpus.nodes), machine.cpus.smt) == (nodes, smt)
    assert cpu_text(machine.cpus.isolated) == isolated
    assert machine.memory.free_hugepage_bytes() == hugepages_mib << 20
    assert [machine.reach(nic).way for nic in machine.nics] == ways


def only(tmp_path: Path, name: str) -> Machine:
    return read(build(tmp_path, SHAPES[name]))


def test_a_tuned_machine(tmp_path: Path) -> None:
    machine = only(tmp_path, "one socket, no SMT, tuned, E810")
    cpus = machine.cpus
    assert (cpus.turbo, cpus.deep_idle, cpus.of(3).governor) == (False, (), "performance")
    assert cpus.nohz_full == cpus.rcu_nocbs == cpus.isolated
    assert machine.memory.locked_bytes is None
    assert machine.kernel.iommu
    assert machine.clocks.services == ("chronyd",)
    free, held = machine.nics[1], machine.nics[2]
    assert (free.interface, free.speed_mbit, free.rx_queues, free.clock) == ("ens1f0", 25000, 2, "ptp0")
    assert free.virtual_functions == (0, 128)
    assert (held.interface, held.driver, held.iommu_group, held.name) == (
        None,
        "vfio-pci",
        21,
        "0000:3b:00.1",
    )
    assert machine.clocks.hardware[0].device == "0000:3b:00.0"


def test_two_sockets_tell_nodes_siblings_and_what_slows_them(tmp_path: Path) -> None:
    machine = only(tmp_path, "two sockets, SMT, ConnectX on node 1")
    last = machine.cpus.of(31)
    assert (last.package, last.node, last.siblings) == (1, 1, frozenset({15, 31}))
    assert last.cache == frozenset({*range(8, 16), *range(24, 32)})
    assert (machine.cpus.turbo, machine.cpus.deep_idle) == (True, ("C6",))
    assert [row.free for row in machine.memory.hugepages] == [0, 2048]
    assert machine.nics[0].node == 1
    assert machine.kernel.steered
    assert machine.clocks.services == ("ptp4l", "phc2sys")


def test_a_small_shared_memory_is_seen(tmp_path: Path) -> None:
    machine = only(tmp_path, "small VM, virtio")
    assert machine.memory.shared_bytes == 64 << 20
    assert not machine.cpus.invariant_clock
    assert (machine.nics[0].interface, machine.nics[0].driver) == ("eth0", "virtio-pci")


def test_a_device_without_iommu_interrupt_and_no_iommu_mode_gets_a_clear_no(tmp_path: Path) -> None:
    machine = only(tmp_path, "cloud VM, ENA, hypervisor")
    reach = machine.reach(machine.nics[0])
    assert reach.way == "af_xdp copy"
    assert "no VFIO mode without IOMMU" in reach.why


def test_no_iommu_mode_where_the_kernel_has_it(tmp_path: Path) -> None:
    root = build(tmp_path, SHAPES["cloud VM, ENA, hypervisor"])
    switch = root / "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
    switch.parent.mkdir(parents=True)
    switch.write_text("Y\n")
    machine = read(root)
    assert machine.reach(machine.nics[0]).way == "vfio"
    assert "all memory" in machine.reach(machine.nics[0]).why


def test_an_empty_tree_is_an_unknown_machine_not_an_error(tmp_path: Path) -> None:
    machine = read(tmp_path)
    assert machine.nics == ()
    assert (machine.cpus.model, machine.kernel.release, machine.memory.total_bytes) == (
        "unknown",
        "unknown",
        0,
    )
    assert len(machine.cpus.cpus) == 1


def test_this_machine() -> None:
    machine = read()
    assert os.sched_getaffinity(0) <= {cpu.number for cpu in machine.cpus.cpus}
    assert machine.memory.total_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert machine.kernel.release == os.uname().release
    assert machine.cpus.architecture == os.uname().machine
    assert all(cpu.number in cpu.siblings for cpu in machine.cpus.cpus)


def test_the_clock_discipline_is_told() -> None:
    state = synchronisation()
    assert 0 <= state.error_ns <= 16 * 10**9  # NTP_PHASE_LIMIT: the kernel never says more


@given(st.frozensets(st.integers(0, 300)))
def test_lists_of_cpus_come_back(cpus: frozenset[int]) -> None:
    assert cpu_list(cpu_text(cpus)) == cpus


def test_a_stride_is_understood_and_nonsense_is_named() -> None:
    assert cpu_list("0-6:2,9") == {0, 2, 4, 6, 9}
    with pytest.raises(TreeError, match="'2-x' is no list of CPUs"):
        cpu_list("2-x")


def test_no_id_stands_in_two_families() -> None:
    ids = [(row.vendor, device) for row in FAMILIES for device in row.devices]
    assert len(ids) == len(set(ids))
    assert family(0x15B3, 0x101D) is FAMILIES[0]
    assert family(0x10EC, 0x8168) is None


def _installed_drivers() -> list[dict[str, object]]:
    """What DPDK's drivers on this machine say of themselves (PMD_INFO_STRING)."""
    paths = Path("/usr/lib").glob("*/dpdk/pmds-*/librte_net_*.so.*")
    return [
        json.loads(text)
        for path in paths
        for text in re.findall(rb"PMD_INFO_STRING= (\{.*?\})\x00", path.read_bytes())
    ]


def test_the_table_holds_the_ids_of_installed_drivers() -> None:
    drivers = {str(row["name"]): row["pci_ids"] for row in _installed_drivers() if row.get("pci_ids")}
    known = {row.poll_mode_driver.replace("net_mlx5", "mlx5_eth"): row for row in FAMILIES}
    compared = 0
    for name, ids in drivers.items():
        if name in known:
            assert isinstance(ids, list)
            assert {row[1] for row in ids if row[0] == known[name].vendor} <= known[name].devices
            compared += 1
    if not compared:
        pytest.skip("no poll-mode driver of a PCI device is installed (Debian: librte-net-virtio23)")


def test_a_tree_is_only_read(tmp_path: Path) -> None:
    root = build(tmp_path, SHAPES["two sockets, SMT, ConnectX on node 1"])
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    read(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before
    assert Tree(root).text("proc/none") is None
