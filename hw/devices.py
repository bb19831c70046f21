"""Network devices that poll-mode drivers can serve, by PCI id: which driver, bound how, and AF_XDP's ways.

Ids are those that DPDK 22.11's drivers carry (a test compares the table with the drivers installed).
Zero copy: the Linux release in which the kernel driver learned XDP_SETUP_XSK_POOL. A device not in the table
may still do AF_XDP in copy mode, where its kernel driver runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Binding = Literal["bifurcated", "vfio"]


@dataclass(frozen=True)
class Family:
    """Devices of one poll-mode driver.

    ``bifurcated``: the kernel driver stays and shares the device. ``vfio``: the kernel driver goes and
    vfio-pci (or uio_pci_generic, where there is a legacy interrupt) takes the device. ``zero_copy``: first
    kernel whose driver does AF_XDP without copying, None: never. ``virtual``: a function of a host's device.
    """

    name: str
    poll_mode_driver: str
    package: str  # Debian's, without its ABI suffix
    kernel_drivers: tuple[str, ...]
    vendor: int
    devices: frozenset[int]
    binding: Binding = "vfio"
    zero_copy: tuple[int, int] | None = None
    virtual: bool = False
    hardware_stamps: bool = False  # the poll-mode driver delivers receive times of the NIC


FAMILIES = (
    Family(
        "NVIDIA ConnectX-4 and later", "net_mlx5", "librte-net-mlx5", ("mlx5_core",), 0x15B3,
        frozenset((0x1013, 0x1014, 0x1015, 0x1016, 0x1017, 0x1018, 0x1019, 0x101A, 0x101B, 0x101C,
                   0x101D, 0x101E, 0x101F, 0x1021, 0xA2D2, 0xA2D3, 0xA2D6, 0xA2DC)),
        binding="bifurcated", zero_copy=(5, 3), hardware_stamps=True,
    ),
    Family(
        "Intel E810", "net_ice", "librte-net-ice", ("ice",), 0x8086,
        frozenset((0x0DBD, 0x0DCD, 0x124C, 0x124D, 0x124E, 0x124F, 0x151D, 0x1591, 0x1592, 0x1593,
                   0x1599, 0x159A, 0x159B, 0x1888, 0x188A, 0x188B, 0x188C, 0x188D, 0x188E, 0x1890,
                   0x1891, 0x1892, 0x1893, 0x1894, 0x1897, 0x1898, 0x1899, 0x189A, 0x579C, 0x579D,
                   0x579E, 0x579F)),
        zero_copy=(5, 5), hardware_stamps=True,
    ),
    Family(
        "Intel X710, XL710, X722", "net_i40e", "librte-net-i40e", ("i40e",), 0x8086,
        frozenset((0x0CF8, 0x0D58, 0x101F, 0x104E, 0x104F, 0x1572, 0x1574, 0x1580, 0x1581, 0x1583,
                   0x1584, 0x1585, 0x1586, 0x1587, 0x1588, 0x1589, 0x158A, 0x158B, 0x15FF, 0x374C,
                   0x37CE, 0x37CF, 0x37D0, 0x37D1, 0x37D2, 0x37D3)),
        zero_copy=(4, 20), hardware_stamps=True,
    ),
    Family(
        "Intel 82599, X520, X540, X550", "net_ixgbe", "librte-net-ixgbe", ("ixgbe",), 0x8086,
        frozenset((0x10B6, 0x10C6, 0x10C7, 0x10C8, 0x10DB, 0x10DD, 0x10E1, 0x10EC, 0x10F1, 0x10F4,
                   0x10F7, 0x10F8, 0x10F9, 0x10FB, 0x10FC, 0x1507, 0x1508, 0x150B, 0x1514, 0x1517,
                   0x151C, 0x1528, 0x1529, 0x152A, 0x154A, 0x154D, 0x1557, 0x1558, 0x155D, 0x1560,
                   0x1563, 0x15AA, 0x15AB, 0x15AC, 0x15AD, 0x15AE, 0x15B0, 0x15C2, 0x15C3, 0x15C4,
                   0x15C6, 0x15C7, 0x15C8, 0x15CA, 0x15CC, 0x15CE, 0x15D1, 0x15E4, 0x15E5)),
        zero_copy=(4, 20), hardware_stamps=True,
    ),
    Family(
        "Intel adaptive virtual function", "net_iavf", "librte-net-iavf", ("iavf",), 0x8086,
        frozenset((0x154C, 0x1571, 0x1889, 0x374D, 0x37CD)), virtual=True, hardware_stamps=True,
    ),
    Family(
        "Intel 82599 and X5xx virtual function", "net_ixgbe_vf", "librte-net-ixgbe", ("ixgbevf",), 0x8086,
        frozenset((0x10ED, 0x1515, 0x152E, 0x1530, 0x1564, 0x1565, 0x15A8, 0x15A9, 0x15B4, 0x15C5)),
        virtual=True,
    ),
    Family(
        "Intel I225, I226", "net_igc", "librte-net-igc", ("igc",), 0x8086,
        frozenset((0x0D9F, 0x125B, 0x125C, 0x125D, 0x125F, 0x15F2, 0x15F3, 0x15F8, 0x3100, 0x3102,
                   0x5503)), zero_copy=(5, 14),
    ),
    Family(
        "Intel I350, I210, 82576", "net_e1000_igb", "librte-net-e1000", ("igb",), 0x8086,
        frozenset((0x0438, 0x043A, 0x043C, 0x0440, 0x10A7, 0x10A9, 0x10C9, 0x10D6, 0x10E6, 0x10E7,
                   0x10E8, 0x150A, 0x150D, 0x150E, 0x150F, 0x1510, 0x1511, 0x1516, 0x1518, 0x1521,
                   0x1522, 0x1523, 0x1524, 0x1526, 0x1527, 0x1533, 0x1534, 0x1535, 0x1536, 0x1537,
                   0x1538, 0x1539, 0x1546, 0x157B, 0x157C, 0x1F40, 0x1F41, 0x1F45)), zero_copy=(6, 14),
        hardware_stamps=True,
    ),
    Family(
        "Intel 82540, 82574 (and as emulated)", "net_e1000_em", "librte-net-e1000",
        ("e1000", "e1000e"), 0x8086,
        frozenset((0x100E, 0x100F, 0x1010, 0x1011, 0x1012, 0x101D, 0x105E, 0x105F, 0x1060, 0x107D,
                   0x107E, 0x107F, 0x109A, 0x10A4, 0x10A5, 0x10B9, 0x10BC, 0x10D3, 0x10D5, 0x10D9,
                   0x10DA, 0x10F6, 0x1502, 0x150C, 0x153A, 0x153B, 0x1559, 0x155A, 0x156F, 0x1570,
                   0x15A0, 0x15A1, 0x15A2, 0x15A3, 0x15B7, 0x15B8, 0x15B9, 0x15BB, 0x15BC, 0x15BD,
                   0x15BE, 0x15D6, 0x15D7, 0x15D8, 0x15E3)),
    ),
    Family(
        "Amazon ENA", "net_ena", "librte-net-ena", ("ena",), 0x1D0F,
        frozenset((0xEC20, 0xEC21)), virtual=True,
    ),
    Family(
        "virtio", "net_virtio", "librte-net-virtio", ("virtio_net", "virtio-pci"), 0x1AF4,
        frozenset((0x1000, 0x1041)), zero_copy=(6, 11), virtual=True,
    ),
    Family("Google gVNIC", "net_gve", "librte-net-gve", ("gve",), 0x1AE0, frozenset((0x0042,)),
           zero_copy=(6, 4), virtual=True),
    Family("VMware vmxnet3", "net_vmxnet3", "librte-net-vmxnet3", ("vmxnet3",), 0x15AD, frozenset((0x07B0,)),
           virtual=True),
    Family(
        "Broadcom NetXtreme-E", "net_bnxt", "librte-net-bnxt", ("bnxt_en",), 0x14E4,
        frozenset((0x1606, 0x1609, 0x1614, 0x16C1, 0x16CB, 0x16CC, 0x16CD, 0x16D3, 0x16D6, 0x16D7,
                   0x16D8, 0x16D9, 0x16DC, 0x16DE, 0x16E0, 0x16E1, 0x16E2, 0x16E3, 0x16E4, 0x16EA,
                   0x16EC, 0x16EE, 0x16F0, 0x1750, 0x1751, 0x1752, 0x1800, 0x1801, 0x1802, 0x1803,
                   0x1804, 0x1805, 0x1806, 0x1807, 0xD800, 0xD802, 0xD804, 0xD812, 0xD814, 0xD818,
                   0xD82E)),
    ),
)  # fmt: skip


def family(vendor: int, device: int) -> Family | None:
    """The row of a PCI id."""
    return next((row for row in FAMILIES if row.vendor == vendor and device in row.devices), None)
