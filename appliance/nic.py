"""Takes a network interface out of the kernel's hands and gives it back, step by step.

Every step is written down before it is taken, so that whoever finds the record can undo what may have been
done: the guard that waits for a confirmation, a later call, or a machine that has started again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from appliance.nic_record import Record, Step
from handlers.errors import SetupError, UnavailableError
from hw import addresses, ethtool
from hw.addresses import Addresses
from hw.errors import InterfaceError
from hw.nic import USER_DRIVERS, Nic
from hw.nic import read as read_nics
from hw.tree import Tree

SSH_PORT = 22
ESTABLISHED = "01"  # state in /proc/net/tcp


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
