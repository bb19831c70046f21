"""Devices that DPDK drives, by the name a person gives, and EAL's arguments for one of them.

``pci:0000:08:00.0`` is hardware (a port or a virtual function, bound to vfio-pci), the others need none:
``af_xdp:eth1`` and ``af_packet:eth1`` take an interface's frames from the kernel, ``tap:bw0`` makes an
interface, ``memif:/run/x.sock`` talks to another process (``memif-server:`` is the other end),
``pcap:in.pcap,out.pcap`` reads and writes files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dpdk_bindings.errors import BypassError

KINDS = ("pci", "af_xdp", "af_packet", "tap", "memif", "memif-server", "pcap")
INTERFACE_CHARACTERS_MAX = 15  # IFNAMSIZ - 1 of linux/if.h


@dataclass(frozen=True)
class Device:
    """``name`` is how EAL calls the port; ``interface`` the kernel's, where it has one beside it."""

    kind: str
    name: str
    arguments: tuple[str, ...]
    interface: str | None


def parse(text: str) -> Device:
    """Raises BypassError, which names the kinds there are."""
    kind, _, what = text.partition(":")
    if kind not in KINDS or not what:
        raise BypassError(f"no device {text!r}", f"use one of {', '.join(f'{name}:...' for name in KINDS)}")
    if kind == "pci":
        if not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", what):
            raise BypassError(f"{what!r} is no PCI address", "write it as lspci -D does: 0000:08:00.0")
        return Device(kind, what, ("-a", what), None)
    if "," in what and kind != "pcap":
        raise BypassError(f"a comma in {what!r}", "EAL would take what follows it for an option")
    if kind in ("af_xdp", "af_packet", "tap") and len(what) > INTERFACE_CHARACTERS_MAX:
        raise BypassError(f"{what!r} is no interface's name", "use at most 15 characters")
    driver = "net_memif0" if kind.startswith("memif") else f"net_{kind}0"
    return Device(kind, driver, ("--no-pci", f"--vdev={driver},{_options(kind, what)}"), _beside(kind, what))


def _beside(kind: str, what: str) -> str | None:
    return what if kind in ("af_xdp", "af_packet", "tap") else None


def _options(kind: str, what: str) -> str:
    if kind == "af_packet":  # a frame of 2 KiB a slot: 8 MiB of ring
        return f"iface={what},blocksz=65536,framesz=2048,framecnt=4096"
    if kind == "af_xdp":
        return f"iface={what},start_queue=0,queue_count=1"
    if kind == "tap":
        return f"iface={what}"
    if kind == "pcap":
        source, _, sink = what.partition(",")
        return f"rx_pcap={source},tx_pcap={sink or '/dev/null'}"
    role = "server" if kind == "memif-server" else "client"
    return f"role={role},socket={what},socket-abstract=no,zero-copy=no,rsize=11"


def eal_arguments(device: Device, prefix: str, cpu: int, memory_mib: int, hugepages: bool) -> tuple[str, ...]:
    """EAL for one process, one device, one thread: nothing shared, nothing left behind, no telemetry.

    With hugepages ``--in-memory`` leaves no file even after SIGKILL; without them EAL refuses it.
    """
    memory = ("--in-memory",) if hugepages else ("--no-huge", "--no-shconf")
    return (
        f"bookwire-{prefix}",
        f"--lcores=0@{cpu}",
        *memory,
        "-m",
        str(memory_mib),
        f"--file-prefix=bookwire-{prefix}",
        "--no-telemetry",
        "--log-level=*:error",
        *device.arguments,
    )
