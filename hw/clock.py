"""Clocks: what the kernel counts time by, hardware clocks of NICs, and how well the time of day is held."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

from hw.tree import Tree

SOURCES = "sys/devices/system/clocksource/clocksource0"
STA_UNSYNC = 0x0040  # include/uapi/linux/timex.h
SERVICES = ("chronyd", "ntpd", "systemd-timesyn", "ptp4l", "phc2sys")  # as /proc/PID/comm cuts them


@dataclass(frozen=True)
class HardwareClock:
    name: str  # ptp0
    clock_name: str
    device: str | None  # PCI address of the NIC it belongs to


@dataclass(frozen=True)
class Clocks:
    source: str
    sources: tuple[str, ...]
    hardware: tuple[HardwareClock, ...]
    services: tuple[str, ...]


def read(tree: Tree) -> Clocks:
    running = {tree.text(f"proc/{entry}/comm") for entry in tree.names("proc") if entry.isdigit()}
    return Clocks(
        source=tree.text(f"{SOURCES}/current_clocksource") or "unknown",
        sources=tuple((tree.text(f"{SOURCES}/available_clocksource") or "").split()),
        hardware=tuple(
            HardwareClock(
                name,
                tree.text(f"sys/class/ptp/{name}/clock_name") or "",
                tree.target(f"sys/class/ptp/{name}/device"),
            )
            for name in tree.names("sys/class/ptp")
        ),
        services=tuple(name for name in SERVICES if name in running),
    )


@dataclass(frozen=True)
class Synchronisation:
    """What the kernel's clock discipline says. ``error_ns`` bounds how far the time of day may be off."""

    synchronised: bool
    error_ns: int
    offset_ns: int


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2) on 64-bit Linux, up to the fields read here."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 200),
    )


STA_NANO = 0x2000


def synchronisation() -> Synchronisation:
    """Of this machine, now: a system call, so it knows no root. Raises OSError where it is forbidden."""
    state = _Timex()  # modes 0: only read
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(state)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "adjtimex")
    unit = 1 if state.status & STA_NANO else 1000
    return Synchronisation(not state.status & STA_UNSYNC, state.maxerror * 1000, state.offset * unit)
