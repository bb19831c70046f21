"""Ports for servers that tests start by number."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

LOWEST = 10_000


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, below those that the kernel gives to whoever asks for any: another
    process could be given one of these before it is used."""
    given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    chance, found = random.SystemRandom(), set[int]()
    while len(found) < count:
        port = chance.randrange(LOWEST, given)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.add(port)
    return sorted(found)
