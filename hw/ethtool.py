"""Offloads of an interface by the ioctl that ethtool(8) uses; the switches a poll-mode driver wants off.

Numbers are those of linux/ethtool.h and linux/sockios.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from contextlib import suppress

SIOCETHTOOL = 0x8946
IFREQ_BYTES = 40
FEATURES = {  # ETHTOOL_G..., ETHTOOL_S...
    "tx checksums": (0x16, 0x17),
    "tso": (0x1E, 0x1F),
    "gso": (0x23, 0x24),
    "gro": (0x2B, 0x2C),
}


def _value(interface: str, command: int, value: int = 0) -> int:
    """One ETHTOOL_G or ETHTOOL_S (struct ethtool_value); raises OSError where the driver does not know it."""
    pair = (ctypes.c_uint32 * 2)(command, value)
    request = struct.pack("16sP", interface.encode(), ctypes.addressof(pair)).ljust(IFREQ_BYTES, b"\0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, request)
    return pair[1]


def offloads(interface: str) -> dict[str, bool]:
    """Which are on; those that the driver does not have are left out."""
    found = {}
    for name, (get, _) in FEATURES.items():
        with suppress(OSError):
            found[name] = _value(interface, get) != 0
    return found


def switch(interface: str, name: str, on: bool) -> None:
    """Raises OSError where the driver refuses."""
    _value(interface, FEATURES[name][1], int(on))
