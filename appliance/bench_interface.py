"""Measures an interface that the configuration names: sockets on it, and the device that drives it.

The traffic comes from the other end of its wire, from `bookwire bench traffic` on another machine or on this
one's second port in a namespace. The interface goes from the kernel's hands into ours and back in each round,
by the steps of `bookwire nic` and with its guard, and ends in those it was found in.
"""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from appliance import nic
from appliance.bench_paths import LIVE_S, Options, Outcome, cores, outcomes, watch
from appliance.config import Exchange
from appliance.nic_record import Record, alone
from appliance.paths import Measured
from dpdk_bindings import devices, dpdk
from handlers.errors import SetupError, UnavailableError
from handlers.path_end import Task
from hw import addresses
from hw.errors import InterfaceError

DRIVER = "vfio-pci"  # of a PCI device that nobody has taken yet
SOCKETS = ("sockets_epoll", "sockets_busy")


@dataclass(frozen=True)
class FarEnd:
    """Where the traffic listens, and whom to trust for it."""

    host: str
    port: int
    ca_file: Path


class Hands:
    """In whose hands the interface is. ``guard`` starts what gives it back if this process dies."""

    def __init__(self, own: Exchange, state_dir: Path, guard: Callable[[Record], int]) -> None:
        if not own.device:
            raise SetupError("the exchange has no device", where="device", do='name one, as "af_xdp:eth1"')
        device = devices.parse(own.device)
        interface = own.interface or device.interface
        if interface is None:
            do = "name the kernel's interface, whose sockets it is compared with"
            raise SetupError(f"{own.device} has no interface", where="interface", do=do)
        self.way = device.kind
        self.interface = interface
        self.addresses = own.addresses
        self.routes: tuple[tuple[str, str | None], ...] = ()
        self._driver = DRIVER if device.kind == "pci" else None
        self._path = state_dir / f"{interface}.json"
        self._guard = guard

    @contextmanager
    def as_found(self) -> Iterator[None]:
        """The kernel has it inside; afterwards it is ours again if it was, and confirmed if that was."""
        if not self._path.exists():
            yield
            return
        with alone(self._path):
            before = Record.read(self._path)
            self._driver = next((step.after for step in before.steps if step.kind == "driver"), None)
            _undo(before)
        try:
            yield
        finally:
            with alone(self._path):
                again = self._plan()
                again.confirmed, again.deadline = before.confirmed, before.deadline
                nic.apply(again)

    @contextmanager
    def kernels(self) -> Iterator[None]:
        """The kernel has the addresses; those it had not it forgets again."""
        known = addresses.read(self.interface)
        if not self.addresses:
            self.addresses = tuple(str(one) for one in known.addresses if not one.is_link_local)
        if not self.addresses:
            do = "name addresses in the exchange's table of the configuration"
            raise UnavailableError(f"no IP address for {self.interface}", do=do)
        missing = [text for text in self.addresses if ip_interface(text) not in known.addresses]
        for text in missing:
            nic.address(self.interface, text, present=True)
        try:
            yield
        finally:
            for text in missing:
                nic.address(self.interface, text, present=False)

    @contextmanager
    def ours(self, for_s: float) -> Iterator[None]:
        """Taken from the kernel, for so long at most."""
        with alone(self._path):
            record = self._plan()
            if dangers := nic.dangers(addresses.read(self.interface)):
                what = f"{self.interface} is refused: {' and '.join(dangers)}"
                raise UnavailableError(what, do="measure another")
            self.routes = tuple(record.routes)
            record.deadline = time.time() + for_s
            record.write()
            guard = self._guard(record)
            nic.apply(record)
            try:
                yield
            finally:
                _undo(record)
                os.kill(guard, signal.SIGTERM)  # a child nobody waited for: still it

    def _plan(self) -> Record:
        return nic.plan(self.interface, self._path.parent, driver=self._driver)


def _undo(record: Record) -> None:
    if failures := nic.rollback(record):
        do = f"`bookwire nic rollback {record.interface}`"
        raise UnavailableError("; ".join(failures), where=record.interface, do=do)


def reached_by(interface: str, host: str) -> None:
    """Raises UnavailableError where the kernel sends to the host by another interface."""
    try:
        with IPRoute() as kernel:
            found = next(iter(kernel.route("get", dst=host, family=_family(host))))
            index = found.get_attr("RTA_OIF")
            name = next(iter(kernel.get_links(index))).get_attr("IFLA_IFNAME")
    except (NetlinkError, OSError) as error:
        raise UnavailableError(f"no route to {host}: {error}", where=interface) from error
    if name != interface:
        raise UnavailableError(
            f"the kernel reaches {host} by {name}, not by {interface}",
            do="listen on an address of the network at the other end of its wire",
        )


def _family(host: str) -> int:
    return socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET


def measure(
    run_dir: Path, hands: Hands, own: Exchange, far: FarEnd, options: Options, told: Callable[[str], None]
) -> list[Outcome]:
    """Both kinds of sockets and the device, in turns. Raises UnavailableError (69), SetupError (78)."""
    if reason := dpdk.why_not():
        raise UnavailableError(reason, do="as root: make build DPDK=1")
    run_dir.mkdir(parents=True, exist_ok=True)
    ways = (*SOCKETS, hands.way)
    found: dict[str, list[Measured]] = {way: [] for way in ways}
    reasons = dict.fromkeys(ways, "")
    with tempfile.TemporaryDirectory(dir=run_dir, prefix="bench-") as directory:

        def one(way: str, task: Task, number: int) -> None:
            told(f"round {number + 1} of {options.rounds}: {way} on {hands.interface}")
            try:
                found[way].append(watch(task, options.seconds))
            except UnavailableError as error:
                reasons[way] = str(error)

        usual = Task(directory, far.host, far.port, str(far.ca_file), "busy", cores()[1], None, None, ())
        try:
            with hands.as_found():
                for number in range(options.rounds):
                    with hands.kernels():
                        reached_by(hands.interface, far.host)
                        for way in SOCKETS:
                            one(way, replace(usual, poll=way.removeprefix("sockets_")), number)
                    with hands.ours(LIVE_S + options.seconds + 60):
                        one(hands.way, _device(usual, hands, own), number)
        except (InterfaceError, NetlinkError) as error:
            raise UnavailableError(str(error), where=hands.interface) from error
    return outcomes(found, reasons)


def _device(usual: Task, hands: Hands, own: Exchange) -> Task:
    return replace(
        usual,
        device=own.device,
        interface=hands.interface,
        addresses=hands.addresses,
        routes=hands.routes,
        hugepages=own.hugepages,
        memory_mib=own.memory_mib,
    )
