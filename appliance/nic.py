"""Takes a network interface out of the kernel's hands and gives it back, step by step.

Every step is written down before it is taken, so that whoever finds the record can undo what may have been
done: the guard that waits for a confirmation, a later call, or a machine that has started again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from handlers.errors import SetupError, UnavailableError
from hw import addresses, ethtool
from hw.addresses import Addresses
from hw.errors import InterfaceError
from hw.nic import USER_DRIVERS, Nic
from hw.nic import read as read_nics
from hw.tree import Tree

SSH_PORT = 22
ESTABLISHED = "01"  # state in /proc/net/tcp
Kind = Literal["offload", "address", "ipv6", "driver"]


@dataclass(frozen=True)
class Step:
    """One change. ``after`` is what it sets, ``before`` what stood there and comes back."""

    kind: Kind
    name: str  # the feature, the address, the PCI device; empty where the interface has only one
    before: str
    after: str

    def told(self) -> str:
        return {
            "offload": f"switch {self.name} {self.after}",
            "address": f"take {self.name} from the kernel",
            "ipv6": "switch the kernel's IPv6 off on it",
            "driver": f"bind {self.name} to {self.after} instead of {self.before or 'no driver'}",
        }[self.kind]


@dataclass
class Record:
    """What was planned for an interface and how far it came; a file, replaced as a whole."""

    interface: str
    mac: str
    steps: list[Step]
    routes: list[tuple[str, str | None]]  # destination, gateway: they go with the addresses
    begun: int = 0  # steps that may have been taken
    confirmed: bool = False
    deadline: float = 0.0  # wall clock: not confirmed by then, it is rolled back
    path: Path = field(default_factory=Path, compare=False)

    def write(self) -> None:
        """Durable before anything is done: a machine that loses power must find it."""
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        told = asdict(self)
        del told["path"]
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w") as file:
            json.dump(told, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)

    @classmethod
    def read(cls, path: Path) -> Record:
        told = json.loads(path.read_text())
        told["steps"] = [Step(**step) for step in told["steps"]]
        told["routes"] = [tuple(route) for route in told["routes"]]
        return cls(**told, path=path)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Holds the record at ``path`` for this process: a guard whose time is up waits for steps that are under
    way. The kernel lets go of it when the holder dies.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def records(state_dir: Path) -> Iterator[Record]:
    """Of all interfaces that were taken."""
    for path in sorted(state_dir.glob("*.json")):
        yield Record.read(path)


def find(state_dir: Path, interface: str) -> Record:
    """Raises UnavailableError where nothing was done to it."""
    path = state_dir / f"{interface}.json"
    if not path.exists():
        raise UnavailableError(f"nothing was applied to {interface}", where=str(path))
    return Record.read(path)


def plan(interface: str, state_dir: Path, *, driver: str | None = None, root: Path = Path("/")) -> Record:
    """The steps for an interface: to user space with ``driver``, prepared for AF_XDP and AF_PACKET without.

    Raises UnavailableError for an interface that is not there, SetupError for a driver it cannot have.
    """
    nic = next((one for one in read_nics(Tree(root)) if one.interface == interface), None)
    if nic is None:
        names = ", ".join(one.name for one in read_nics(Tree(root)))
        raise UnavailableError(f"no network interface {interface}", do=f"choose one of: {names}")
    try:
        known = addresses.read(interface)
        features = ethtool.offloads(interface)
    except (InterfaceError, OSError) as error:
        raise UnavailableError(f"{interface} cannot be read: {error}") from error
    steps = [Step("offload", name, "on", "off") for name, is_on in features.items() if is_on]
    steps += [Step("address", str(one), "kernel", "none") for one in known.addresses if not one.is_link_local]
    if _ipv6(root, interface) == "0":
        steps.append(Step("ipv6", "", "0", "1"))
    if driver is not None:
        steps.append(_driver_step(nic, driver))
    routes = [
        (str(route.destination), str(route.gateway) if route.gateway else None)
        for route in known.routes
        if route.gateway is not None
    ]
    return Record(interface, known.mac, steps, routes, path=state_dir / f"{interface}.json")


def _driver_step(nic: Nic, driver: str) -> Step:
    if nic.pci is None:
        raise SetupError(f"{nic.name} is no PCI device", do="leave --driver out: AF_XDP needs none")
    if driver not in USER_DRIVERS:
        raise SetupError(
            f"driver {driver!r} is no user-space driver", do=f"use one of: {', '.join(USER_DRIVERS)}"
        )
    return Step("driver", nic.pci, nic.driver or "", driver)


def _ipv6(root: Path, interface: str) -> str | None:
    return Tree(root).text(f"proc/sys/net/ipv6/conf/{interface}/disable_ipv6")


def dangers(known: Addresses, root: Path = Path("/")) -> list[str]:
    """Why taking the interface could lock its operator out: the default route, or SSH that comes by it."""
    found = []
    if any(route.destination.prefixlen == 0 for route in known.routes):
        found.append("it carries the default route")
    mine = {str(one.ip) for one in known.addresses}
    session = os.environ.get("SSH_CONNECTION", "").split()
    if (len(session) == 4 and session[2] in mine) or mine & set(_ssh_addresses(Tree(root))):
        found.append("an SSH session comes by it")
    return found


def _ssh_addresses(tree: Tree) -> Iterator[str]:
    """Local addresses of established connections to port 22."""
    for table in ("proc/net/tcp", "proc/net/tcp6"):
        for line in (tree.text(table) or "").splitlines()[1:]:
            local, _, state = line.split()[1:4]
            host, port = local.split(":")
            if state == ESTABLISHED and int(port, 16) == SSH_PORT:
                words = [int(host[at : at + 8], 16).to_bytes(4, "little") for at in range(0, len(host), 8)]
                yield str(ip_address(b"".join(words)))


def apply(record: Record) -> None:
    """Takes the steps. Raises UnavailableError at the first that fails, with all before it undone."""
    for at, step in enumerate(record.steps):
        record.begun = at + 1
        record.write()
        try:
            _set(record.interface, step, step.after)
        except (OSError, NetlinkError) as error:
            rollback(record)
            raise UnavailableError(
                f"cannot {step.told()}: {error}; rolled back", where=record.interface
            ) from error


def rollback(record: Record) -> list[str]:
    """Undoes what may have been done, last first, and forgets the record. Returns what failed."""
    failures = []
    for step in reversed(record.steps[: record.begun]):
        try:
            _set(record.interface, step, step.before)
        except (OSError, NetlinkError) as error:
            failures.append(f"{step.told()}: {error}")
    with suppress(NetlinkError, OSError):
        restore_routes(record)
    if not failures:
        record.path.unlink(missing_ok=True)
    return failures


def restore_routes(record: Record) -> None:
    """Routes through gateways; those of the link itself come back with its addresses."""
    with IPRoute() as kernel:
        index = kernel.link_lookup(ifname=record.interface)[0]
        kernel.link("set", index=index, state="up")
        for destination, gateway in record.routes:
            kernel.route("replace", dst=destination, gateway=gateway, oif=index)


def _set(interface: str, step: Step, value: str) -> None:
    """Brings about one value; what stands already is left as it is."""
    if step.kind == "offload":
        ethtool.switch(interface, step.name, value == "on")
    elif step.kind == "address":
        address(interface, step.name, present=value == "kernel")
    elif step.kind == "ipv6":
        Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6").write_text(value)
    else:
        bind(step.name, value)


def address(interface: str, text: str, *, present: bool) -> None:
    """The kernel has the address ``192.0.2.2/24`` there, or has it not."""
    host, _, prefix = text.partition("/")
    with IPRoute() as kernel:
        index = kernel.link_lookup(ifname=interface)[0]
        try:
            kernel.addr("replace" if present else "del", index=index, address=host, prefixlen=int(prefix))
        except NetlinkError as error:
            if present or error.code != 99:  # EADDRNOTAVAIL: it is gone already
                raise


def bind(pci: str, driver: str, root: Path = Path("/")) -> None:
    """Gives a PCI device to a driver, "" to whichever the kernel finds for it."""
    devices = root / "sys/bus/pci/devices"
    current = Tree(root).target(f"sys/bus/pci/devices/{pci}/driver")
    if current == driver:
        return
    (devices / pci / "driver_override").write_text(driver or "\n")
    if current:
        (root / "sys/bus/pci/drivers" / current / "unbind").write_text(pci)
    (root / "sys/bus/pci/drivers_probe").write_text(pci)
    bound = Tree(root).target(f"sys/bus/pci/devices/{pci}/driver")
    if driver and bound != driver:
        raise OSError(f"{pci} went to {bound or 'no driver'}; is {driver} loaded?")


def as_json(record: Record) -> dict[str, Any]:
    told = asdict(record)
    del told["path"]
    return told
