"""Wires for tests past the kernel: veth pairs into a namespace where the venues live on kernel TCP."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from privileged import need

from appliance.wires import interface_index
from dpdk_bindings import dpdk

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
PROGRAMS = REPOSITORY / "build" / "dev" / "dpdk_bindings" / "native" / "bypass"
OFFLOADS = ("tx", "off", "tso", "off", "gso", "off", "gro", "off")
_numbers = itertools.count()


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@dataclass
class Wire:
    """One veth pair: ``interface`` is here, its other end and the venue's addresses in the namespace.

    Networks are those of this process: another run on this machine has its own.
    """

    interface: str
    number: int

    def four(self, host: int) -> str:
        return f"10.{64 + os.getpid() // 256 % 128}.{os.getpid() % 256}.{self.number * 16 + host}"

    def six(self, host: int) -> str:
        return f"fd98:{os.getpid() % 65536:x}:{self.number}::{host}"

    @property
    def venue_four(self) -> str:
        return self.four(1)

    @property
    def venue_six(self) -> str:
        return self.six(1)

    @property
    def ours(self) -> tuple[str, str]:
        """To be taken over, IPv4 and IPv6."""
        return f"{self.four(2)}/28", f"{self.six(2)}/64"

    def give_addresses(self) -> None:
        """To the kernel's side, for a process to take over."""
        four, six = self.ours
        run("sysctl", "-qw", f"net.ipv6.conf.{self.interface}.disable_ipv6=0")
        run("ip", "addr", "replace", four, "dev", self.interface)
        run("ip", "-6", "addr", "replace", six, "dev", self.interface, "nodad")

    def forget_addresses(self) -> None:
        """The kernel's side has none any more: else it would reset what it did not connect."""
        run("ip", "addr", "flush", "dev", self.interface)
        run("sysctl", "-qw", f"net.ipv6.conf.{self.interface}.disable_ipv6=1")


@dataclass
class Lab:
    """A namespace, its wires, and the processes started in it or beside it."""

    namespace: str
    directory: Path
    wires: list[Wire] = field(default_factory=list)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)

    run = staticmethod(run)

    def wire(self) -> Wire:
        number = len(self.wires)
        mine = f"bw{os.getpid() % 100000}x{number}"
        theirs = f"bv{number}"
        index = interface_index(os.getpid(), number)
        peer = ("type", "veth", "peer", "name", theirs, "netns", self.namespace)
        run("ip", "link", "add", mine, "index", index, *peer)
        run("ip", "link", "set", mine, "up")
        run("ip", "-n", self.namespace, "link", "set", theirs, "up")
        # else veth hands over segments larger than a frame, with half a checksum
        run("ethtool", "-K", mine, *OFFLOADS)
        run("ip", "netns", "exec", self.namespace, "ethtool", "-K", theirs, *OFFLOADS)
        self.wires.append(Wire(mine, number))
        self._address_venue(self.wires[-1])
        return self.wires[-1]

    def _address_venue(self, wire: Wire) -> None:
        add = ("ip", "-n", self.namespace, "addr", "add")
        run(*add, f"{wire.venue_four}/28", "dev", f"bv{wire.number}")
        run(*add, f"{wire.venue_six}/64", "dev", f"bv{wire.number}", "nodad")

    def start(self, script: str, *arguments: object, inside: bool = False) -> subprocess.Popen[str]:
        prefix = ["ip", "netns", "exec", self.namespace] if inside else []
        command = [*prefix, sys.executable, str(HERE / script), *map(str, arguments)]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )
        self.processes.append(process)
        return process

    def bad_wire(self, *impairment: object) -> Wire:
        """As wire(), through a program in a namespace of its own: loss, reorder, duplicate, delay and jitter
        in us, seed, ns a byte (0: no limit of the rate)."""
        wire, between = self.wire(), f"{self.namespace}-w"
        run("ip", "netns", "add", between)
        self.namespaces.append(between)
        run("ip", "link", "del", wire.interface)  # both its ends
        ends = []
        for side, name in enumerate((wire.interface, f"bv{wire.number}")):
            owner = ["-n", self.namespace] if side else []
            end = f"w{side}"
            run("ip", *owner, "link", "add", name, "type", "veth", "peer", "name", end, "netns", between)
            run("ip", *owner, "link", "set", name, "up")
            run("ip", "-n", between, "link", "set", end, "up")
            inside = ["ip", "netns", "exec", self.namespace] if side else []
            run(*inside, "ethtool", "-K", name, *OFFLOADS)
            run("ip", "netns", "exec", between, "ethtool", "-K", end, *OFFLOADS)
            ends.append(end)
        self._address_venue(wire)
        self.program("bad-wire", *ends, *impairment, namespace=between, ready=True)
        return wire

    def program(
        self, name: str, *arguments: object, namespace: str | None = None, ready: bool = False
    ) -> subprocess.Popen[str]:
        """A C program of the build; ``ready``: returns when it says so."""
        prefix = ["ip", "netns", "exec", namespace] if namespace else []
        command = [*prefix, str(PROGRAMS / name), *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        assert process.stdout is not None
        assert not ready or process.stdout.readline() == "ready\n"
        return process

    def venue(self, port: int, updates: int, *addresses: str) -> subprocess.Popen[str]:
        """Started and listening. Its CA is the lab's from now on: one venue process a lab."""
        process = self.start("venue.py", self.directory, port, updates, *addresses, inside=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def exchange(self, inside: bool = False, **task: Any) -> subprocess.Popen[str]:
        task = {"directory": str(self.directory), "connections": 1, "interface": None} | task
        return self.start("exchange_process.py", json.dumps(task), inside=inside)

    def result(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        out, _ = process.communicate(timeout=110)
        assert process.returncode == 0, out
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    need("ip", "ethtool", "sysctl")
    lab = Lab(f"bw-{os.getpid()}-{next(_numbers)}", tmp_path)
    run("ip", "netns", "add", lab.namespace)
    run("ip", "-n", lab.namespace, "link", "set", "lo", "up")
    yield lab
    for process in lab.processes:
        process.kill()
        process.wait()
    for wire in lab.wires:
        subprocess.run(["ip", "link", "del", wire.interface], capture_output=True, check=False)
    for namespace in (lab.namespace, *lab.namespaces):
        run("ip", "netns", "del", namespace)


@pytest.fixture(scope="session")
def programs() -> None:
    """The C programs of these tests, built."""
    if reason := dpdk.why_not():
        pytest.skip(reason)
    command = [sys.executable, "-m", "mesonbuild.mesonmain", "compile", "-C", REPOSITORY / "build" / "dev"]
    run(*command, "tls-end", "bad-wire", "stack-end")


@pytest.fixture(scope="session")
def stack_end(programs: None) -> Iterator[Any]:
    """The stack on a net_ring port, one process for all: EAL starts only once in one."""
    from hostile_peer import Stack  # scapy takes a moment

    stack = Stack(PROGRAMS / "stack-end")
    yield stack
    stack.process.kill()
    stack.process.wait()


@pytest.fixture(params=["af_packet", "af_xdp"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["IPv4", "IPv6"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)
