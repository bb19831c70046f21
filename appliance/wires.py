"""Wires to the simulated exchanges for processes past the kernel: a namespace, a veth pair an exchange.

The exchanges live in the namespace on the kernel's TCP; each exchange's process drives its end of a pair by a
TCP stack of its own. One more pair, with an address at both ends, carries REST and the simulators' controls.
Names and addresses follow from run_dir, so that a later start takes away what a killed one left. Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec

from appliance.config import Exchange
from dpdk_bindings import dpdk
from handlers.errors import UnavailableError
from hw import ethtool

Driver = Literal["af_packet", "af_xdp"]
BENCHMARKS = IPv4Address("198.18.0.0")  # RFC 2544: a /15 for benchmarks, on no other network
BLOCK = 128  # addresses of one run: 32 networks of four
BLOCKS = (1 << 17) // BLOCK
MANAGEMENT = 31  # the last network of the block
PREFIX = 30


def check() -> None:
    """Raises PermissionError (77) or UnavailableError (69) where wires cannot be made or driven."""
    if os.geteuid() != 0:
        raise PermissionError(1, "namespaces and packet sockets need root (--path dpdk)")
    if reason := dpdk.why_not():
        do = "as root: make build DPDK=1; or leave --path out"
        raise UnavailableError(reason, where="--path dpdk", do=do)
    if shutil.which("ip") is None:
        raise UnavailableError("there is no `ip` here", where="--path dpdk", do="install iproute2")


class Wires:
    """The namespace of one run_dir and its pairs, the exchanges in the given order."""

    def __init__(self, run_dir: Path, exchanges: Sequence[str], driver: Driver = "af_packet") -> None:
        number = zlib.crc32(str(run_dir.resolve()).encode())
        self.namespace = f"bookwire-{number:08x}"
        self._number = number
        self._driver = driver
        self._at = {name: at for at, name in enumerate(exchanges)}
        self._stem = f"bw{number:08x}-"
        self._first = BENCHMARKS + (number % BLOCKS) * BLOCK

    def inside(self, command: Sequence[str], exchanges: Sequence[str]) -> list[str]:
        """A command that plays exchanges, on their side: at all addresses, with a certificate for them."""
        names = [part for exchange in exchanges for one in self.names(exchange) for part in ("--name", one)]
        return ["ip", "netns", "exec", self.namespace, *command, "--host", "0.0.0.0", *names]

    @property
    def source_address(self) -> str:
        """Of REST requests."""
        return self._ours(MANAGEMENT)

    def names(self, exchange: str) -> tuple[str, str]:
        """What the exchange's certificate must carry: where it is reached past the kernel, and by it."""
        return self._theirs(self._at[exchange]), self._theirs(MANAGEMENT)

    def interface(self, exchange: str) -> str:
        return f"{self._stem}{self._at[exchange]}"

    def table(self, exchange: str, table: Exchange, told: dict[str, str]) -> Exchange:
        """The exchange's settings: its device, its address, and the simulator's URLs by way of the wires."""
        venue, management = self.names(exchange)
        return msgspec.structs.replace(
            table,
            websocket_url=_at(told["websocket_url"], venue),
            rest_url=_at(told["rest_url"], management),
            ca_file=Path(told["ca_file"]),
            source_address=self.source_address,
            device=f"{self._driver}:{self.interface(exchange)}",
            interface=self.interface(exchange),
            addresses=(f"{self._ours(self._at[exchange])}/{PREFIX}",),
            hugepages=False,
        )

    def reached(self, told: dict[str, str]) -> dict[str, str]:
        """What a simulator said, with addresses that this side reaches by the kernel."""
        management = self._theirs(MANAGEMENT)
        return {key: _at(text, management) if key.endswith("_url") else text for key, text in told.items()}

    def make(self) -> None:
        """Everything anew. Raises UnavailableError with the command that failed."""
        self.remove()
        _run("ip", "netns", "add", self.namespace)
        _run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        for at in self._at.values():
            self._pair(at)
            (Path("/proc/sys/net/ipv6/conf") / f"{self._stem}{at}" / "disable_ipv6").write_text("1")
        self._pair(MANAGEMENT)
        _run("ip", "addr", "add", f"{self.source_address}/{PREFIX}", "dev", f"{self._stem}{MANAGEMENT}")

    def _pair(self, at: int) -> None:
        """Both ends up; the exchange's has its address, ours none: the kernel would reset our connections."""
        mine, other = f"{self._stem}{at}", f"{self._stem}{at}p"
        index = str(interface_index(self._number, at))
        _run("ip", "link", "add", mine, "index", index, "type", "veth", "peer", "name", other)
        for end in (mine, other):
            for feature, is_on in ethtool.offloads(end).items():
                if is_on:  # else segments come larger than a frame, with half a checksum
                    ethtool.switch(end, feature, False)
        _run("ip", "link", "set", other, "netns", self.namespace)
        _run("ip", "link", "set", mine, "up")
        _run("ip", "-n", self.namespace, "addr", "add", f"{self._theirs(at)}/{PREFIX}", "dev", other)
        _run("ip", "-n", self.namespace, "link", "set", other, "up")

    def remove(self) -> None:
        """Takes everything away, also what a killed run left."""
        for path in Path("/sys/class/net").glob(f"{self._stem}*"):
            subprocess.run(["ip", "link", "del", path.name], capture_output=True, check=False)
        if (Path("/run/netns") / self.namespace).exists():
            _run("ip", "netns", "del", self.namespace)

    def _theirs(self, at: int) -> str:
        return str(self._first + 4 * at + 1)

    def _ours(self, at: int) -> str:
        return str(self._first + 4 * at + 2)


def interface_index(number: int, at: int) -> int:
    """Of the interface ``at`` (below 32) of a run ``number``: unlike its siblings in bits 11 to 15.

    DPDK's af_packet driver joins the fanout group (process id ^ interface index) & 0xffff, one of a whole
    network namespace: neighbours among both numbers meet in it, and the second is refused.
    """
    return (1 + (number & 0x3FFF)) << 16 | at << 11 | number >> 14 & 0x7FF


def _at(url: str, host: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{host}:{parts.port}"))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnavailableError(
            f"{' '.join(command)}: {done.stderr.strip()}",
            where="the wires of --path dpdk",
            do="see docs/kernel-bypass.md",
        )
