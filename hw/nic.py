"""Network interfaces and the devices below them, and by which way a process could take frames from each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from hw import devices
from hw.kernel import Kernel
from hw.tree import Tree

PCI = "sys/bus/pci/devices"
NETWORK_CLASS = 0x02  # PCI base class: network controller
INTERRUPT_PIN_AT = 0x3D  # PCI configuration: 0 is no legacy interrupt (PCI 3.0, section 6.2.4)
USER_DRIVERS = ("vfio-pci", "uio_pci_generic", "igb_uio")
Way = Literal["bifurcated", "vfio", "uio", "af_xdp zero copy", "af_xdp copy", "none"]


@dataclass(frozen=True)
class Nic:
    """A network device. ``interface`` is None while a user-space driver holds it, ``pci`` if virtual."""

    interface: str | None
    pci: str | None
    vendor: int
    device: int
    driver: str | None
    node: int | None
    mac: str | None
    mtu: int | None
    carrier: bool | None  # None: the interface is down, or there is none
    speed_mbit: int | None
    rx_queues: int
    tx_queues: int
    iommu_group: int | None
    virtual_functions: tuple[int, int]  # in use, possible
    legacy_interrupt: bool | None
    clock: str | None  # its hardware clock
    interrupts: frozenset[int]
    firmware: str | None

    @property
    def name(self) -> str:
        return self.interface or self.pci or "?"

    @property
    def family(self) -> devices.Family | None:
        return devices.family(self.vendor, self.device)


@dataclass(frozen=True)
class Reach:
    """The best way to a device's frames past the kernel, and why not a better one."""

    way: Way
    why: str


def read(tree: Tree) -> tuple[Nic, ...]:
    """Devices on PCI first, in order, then interfaces of other kinds; loopback is none."""
    by_pci = {
        address: next(iter(tree.names(f"{PCI}/{address}/net") or _below_virtio(tree, address)), None)
        for address in tree.names(PCI)
        if (tree.number(f"{PCI}/{address}/class") or 0) >> 16 == NETWORK_CLASS
    }
    others = [
        name
        for name in tree.names("sys/class/net")
        if name not in by_pci.values() and tree.number(f"sys/class/net/{name}/type") == 1
    ]
    return tuple(
        [_nic(tree, interface, address) for address, interface in by_pci.items()]
        + [_nic(tree, name, None) for name in others]
    )


def _below_virtio(tree: Tree, address: str) -> list[str]:
    """virtio puts a device of its own between the PCI function and the interface."""
    return [
        name
        for between in tree.names(f"{PCI}/{address}")
        if re.fullmatch(r"virtio\d+", between)
        for name in tree.names(f"{PCI}/{address}/{between}/net")
    ]


def _nic(tree: Tree, interface: str | None, address: str | None) -> Nic:
    net, pci = f"sys/class/net/{interface}", f"{PCI}/{address}"
    node = tree.number(f"{pci}/numa_node") if address else None
    carrier = tree.number(f"{net}/carrier") if interface else None
    speed = tree.number(f"{net}/speed") if interface else None
    queues = tree.names(f"{net}/queues") if interface else []
    group = tree.target(f"{pci}/iommu_group") if address else None
    return Nic(
        interface=interface,
        pci=address,
        vendor=(tree.number(f"{pci}/vendor") or 0) if address else 0,
        device=(tree.number(f"{pci}/device") or 0) if address else 0,
        driver=tree.target(f"{pci}/driver") if address else tree.target(f"{net}/device/driver"),
        node=node if node is not None and node >= 0 else None,
        mac=tree.text(f"{net}/address") if interface else None,
        mtu=tree.number(f"{net}/mtu") if interface else None,
        carrier=None if carrier is None else carrier == 1,
        speed_mbit=speed if speed is not None and speed > 0 else None,
        rx_queues=sum(name.startswith("rx-") for name in queues),
        tx_queues=sum(name.startswith("tx-") for name in queues),
        iommu_group=int(group) if group and group.isdigit() else None,
        virtual_functions=(
            tree.number(f"{pci}/sriov_numvfs") or 0,
            tree.number(f"{pci}/sriov_totalvfs") or 0,
        ),
        legacy_interrupt=_legacy_interrupt(tree, pci) if address else None,
        clock=next(iter(tree.names(f"{pci}/ptp")), None) if address else None,
        interrupts=frozenset(int(name) for name in tree.names(f"{pci}/msi_irqs")) if address else frozenset(),
        firmware=_firmware(tree, pci) if address else None,
    )


def _legacy_interrupt(tree: Tree, pci: str) -> bool | None:
    space = tree.data(f"{pci}/config")
    return None if space is None or len(space) <= INTERRUPT_PIN_AT else space[INTERRUPT_PIN_AT] != 0


def _firmware(tree: Tree, pci: str) -> str | None:
    """Where the driver tells it as a file (mlx5); others only tell ethtool."""
    for name in tree.names(f"{pci}/infiniband"):
        return tree.text(f"{pci}/infiniband/{name}/fw_ver")
    return None


def reach(nic: Nic, kernel: Kernel) -> Reach:
    """By which way a poll-mode driver gets at the device, on this kernel, as it is now."""
    family = nic.family
    if nic.pci is None:
        return Reach("af_xdp copy", "no PCI device below it: AF_XDP or AF_PACKET only")
    if family is None:
        why = f"PCI id {nic.vendor:04x}:{nic.device:04x} is in no poll-mode driver we know"
        return Reach("af_xdp copy", why) if nic.interface else Reach("none", why)
    if family.binding == "bifurcated":
        return Reach("bifurcated", f"{family.name}: the kernel driver stays")
    if kernel.iommu:
        return Reach("vfio", f"{family.name}: vfio-pci behind the IOMMU")
    if kernel.no_iommu_mode:
        return Reach("vfio", f"{family.name}: vfio-pci without an IOMMU; the device can reach all memory")
    if nic.legacy_interrupt and kernel.lockdown in (None, "none"):
        return Reach("uio", f"{family.name}: no IOMMU; uio_pci_generic by its legacy interrupt")
    missing = "no IOMMU, no legacy interrupt, and this kernel has no VFIO mode without IOMMU"
    if not nic.interface:
        return Reach("none", missing)
    if family.zero_copy and release_at_least(kernel.release, family.zero_copy):
        return Reach("af_xdp zero copy", f"{missing}; {nic.driver} does AF_XDP without copying")
    return Reach("af_xdp copy", missing)


def release_at_least(release: str, wanted: tuple[int, int]) -> bool:
    """Whether a kernel release such as 6.1.0-38-amd64 is so new."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return found is not None and (int(found[1]), int(found[2])) >= wanted
