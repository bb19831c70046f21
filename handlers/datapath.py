"""How an exchange's frames come in: over the kernel's sockets, or by a network of its own past the kernel.

The network has to prove itself before a book is trusted to it: it starts, and its first connection gets past
TCP within PROOF_S. What fails ends the process, because EAL starts once in a process: the next one takes
sockets (``path = "auto"``) or is told why not (``path = "dpdk"``). A note in run_dir goes from one to the
next; it is written before the attempt, so that an attempt that kills its process counts as failed too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from pathlib import Path
from typing import Any

from dpdk_bindings import devices
from dpdk_bindings.dpdk import MEMORY_MIB, Network, NetworkSettings, State
from dpdk_bindings.errors import BypassError
from handlers._ffi import lib
from handlers.errors import FallBackError, SetupError, UnavailableError
from handlers.logs import Log
from handlers.native_feed import NativeFeed
from handlers.settings import FeedSettings
from hw import addresses
from hw.addresses import Addresses, Route
from hw.errors import InterfaceError

START_S = 30.0  # EAL, memory, driver; a slow NIC's link takes a second of it
PROOF_S = 15.0  # from the first dial until TCP is through: five SYNs
NOTE_S = 3600.0  # so long after a failure the next process that starts tries again
LOOK_S = 0.05
SURVIVED_NOT = "the process that tried it last ended before it had a connection"
PAST_TCP = frozenset(
    getattr(lib, f"BW_CLOSE_{name}") for name in ("PEER", "EOF", "TLS", "UPGRADE", "PROTOCOL", "TOO_LARGE")
)  # causes of a close that only a connection can have that stood


def note_path(run_dir: Path, exchange: str) -> Path:
    """Why the network past the kernel is not taken, in a line; not there: nothing speaks against it."""
    return run_dir / f"{exchange}.datapath"


def failure(run_dir: Path, exchange: str) -> str | None:
    """What the note says, None where there is none or it is too old to count."""
    path = note_path(run_dir, exchange)
    try:
        if time.time() - path.stat().st_mtime > NOTE_S:
            return None
        return path.read_text(encoding="utf-8").strip() or SURVIVED_NOT
    except FileNotFoundError:
        return None


class Datapath:
    """One process's way to its exchange: made before asyncio runs, then start, guarded, close.

    ``reason`` says why it is sockets where a device is named. Raises FallBackError (71),
    UnavailableError (69).
    """

    def __init__(self, settings: FeedSettings, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._note = note_path(settings.run_dir, settings.exchange)
        self._network: Network | None = None
        self._dialled_s: float | None = None
        self._answered = False
        self.reason: str | None = None
        if settings.path == "dpdk" and settings.device is None:
            do = 'name one, as "pci:0000:08:00.0" or "af_xdp:eth1"'
            raise SetupError('path is "dpdk" and there is no device', where="device", do=do)
        if settings.path == "auto" and settings.device is not None and settings.sockets_measured_better:
            log("datapath_chosen", kind="sockets", device=settings.device, reason=settings.measured)
        elif settings.path != "sockets" and settings.device is not None:
            self._open(settings)

    def _open(self, settings: FeedSettings) -> None:
        noted = failure(settings.run_dir, settings.exchange) if settings.path == "auto" else None
        if noted is not None:
            self._take_sockets(noted)
            return
        try:
            self._network = Network(network_settings(settings))
        except (BypassError, InterfaceError) as error:
            what = error.what if isinstance(error, BypassError) else str(error)
            do = error.do if isinstance(error, BypassError) else "name an interface of this machine"
            if settings.path == "dpdk":
                self._fail(what, do)
            self._take_sockets(f"{what}; {do}")

    def _take_sockets(self, reason: str) -> None:
        self.reason = reason
        self._log("datapath_fell_back", kind="sockets", device=self._settings.device, reason=reason)

    @property
    def kind(self) -> str:
        return "sockets" if self._network is None else "dpdk"

    @property
    def handle(self) -> int | None:
        """For NativeFeed."""
        return None if self._network is None else self._network.handle

    @property
    def source_address(self) -> str | None:
        """Of the exchange's connections; the network has its own."""
        return self._settings.source_address if self._network is None else None

    async def start(self, native: NativeFeed) -> None:
        """Starts the loop and waits until its network runs."""
        if self._network is None:
            native.start()
            return
        self._note.write_text(SURVIVED_NOT, encoding="utf-8")
        native.start()
        until = time.monotonic() + START_S
        while self._network.state is State.NEW and time.monotonic() < until:
            await asyncio.sleep(LOOK_S)
        if self._network.state is State.RUNNING:
            return
        while native.alive and time.monotonic() < until:  # its last word comes with its end
            await asyncio.sleep(LOOK_S)
        said = [event.text.decode(errors="replace") for event in native.events() if event.text]
        what = "; ".join(said) or f"the network did not start within {START_S:.0f} s"
        self._fail(what, _remedy(what, self._settings))

    async def guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs the work; ends it if the network does not prove itself in time."""
        task = asyncio.create_task(work)
        try:
            while self._network is not None and not self._answered and not task.done():
                if self._dialled_s is not None and time.monotonic() - self._dialled_s > PROOF_S:
                    self._fail(*self._silence())
                await asyncio.wait({task}, timeout=LOOK_S)
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def dialled(self) -> None:
        """The first connection is on its way: the time for the proof runs."""
        if self._dialled_s is None:
            self._dialled_s = time.monotonic()

    def connected(self) -> None:
        """A connection stands, or stood."""
        if not self._answered and self._network is not None:
            self._note.unlink(missing_ok=True)
            self._log.detail("datapath_proven", kind=self.kind, device=self._settings.device)
        self._answered = True

    def closed(self, cause: int) -> None:
        """A connection was closed: some causes prove that it stood."""
        if cause in PAST_TCP:
            self.connected()

    def _silence(self) -> tuple[str, str]:
        """How far it came, and what to do about it."""
        told = self._network.counters() if self._network else {}
        seen = {name: value for name, value in told.items() if value and _tells(name)}
        numbers = ", ".join(f"{name} {value}" for name, value in seen.items()) or "no frame came"
        is_up = bool(told.get("link_up")) and _carrier(self._settings)
        why, do = _reason(told, is_up)
        link, name = "up" if is_up else "down", self._settings.interface or self._settings.device
        what = f"no connection in {PROOF_S:.0f} s through {self._settings.device}"
        return f"{what}: {why} (link {link}; {numbers})", f'{do.format(name)}; or set path = "sockets"'

    def _fail(self, what: str, do: str) -> None:
        self._settings.run_dir.mkdir(parents=True, exist_ok=True)
        self._note.write_text(" ".join(f"{what}; {do}".split()), encoding="utf-8")
        kind = UnavailableError if self._settings.path == "dpdk" else FallBackError
        raise kind(what, where=self._settings.device or "device", do=do)

    def status(self) -> dict[str, Any]:
        """For the status file: what is taken, what is wanted, why not, and the network's counters by name."""
        told: dict[str, Any] = {"kind": self.kind, "wanted": self._settings.path}
        if self._settings.device is not None:
            told["device"] = self._settings.device
        if self.reason is not None:
            told["reason"] = self.reason
        if self._settings.measured is not None:
            told["measured"] = self._settings.measured
        if self._network is not None:
            told["counters"] = self._network.counters()
        return told

    def close(self) -> None:
        """After the loop ended."""
        if self._network is not None:
            self._network.close()

    def stopped(self) -> None:
        """The process was asked to end before the proof: that is not the network's fault."""
        if self._network is not None and not self._answered:
            self._note.unlink(missing_ok=True)


def _carrier(settings: FeedSettings) -> bool:
    """What the kernel says where the interface is its own: DPDK's drivers for those call every link up."""
    interface = devices.parse(settings.device or "").interface
    if interface is None:
        return True
    try:
        return Path(f"/sys/class/net/{interface}/carrier").read_text().strip() == "1"
    except OSError:  # switched off, or gone
        return False


def _reason(told: Mapping[str, int], is_up: bool) -> tuple[str, str]:
    """The first thing on the way that did not happen, and what to do; {} in it: the interface."""
    if not is_up:
        return "no link", "plug the cable of {} in, bring its other end up"
    if not told.get("segments") and told.get("drop_tcp_checksum"):
        return "wrong checksums", "switch the offloads off at the other end of {}, if that is a virtual one"
    if not told.get("segments") and not told.get("answers"):
        why = "nobody answers who has the next hop's address (ARP, neighbour discovery)"
        return why, "look at addresses, gateway and VLAN of {}"
    if not told.get("segments"):
        return "no packet of TCP came", "look at the gateway of {} and the firewall behind it"
    return "TCP was not established", "look at `bookwire doctor` and at what listens behind {}"


def _tells(name: str) -> bool:
    return name.startswith("drop_") or name in (
        "frames",
        "segments",
        "frames_sent",
        "port_missed",
        "questions",
        "answers",
    )


def _remedy(what: str, settings: FeedSettings) -> str:
    """For a network that does not start, by what EAL or the port said of it."""
    name, low = settings.interface or settings.device, what.lower()
    if settings.hugepages and ("hugepage" in low or "memory" in low):
        mib = settings.memory_mib or MEMORY_MIB
        return (
            f"reserve hugepages for {mib} MiB (vm.nr_hugepages); hugepages = false serves for trying things"
        )
    device = devices.parse(settings.device or "")
    if device.kind.startswith("af_") and not Path(f"/sys/class/net/{device.interface}").exists():
        return f"name an interface of this machine (`bookwire nic status`): there is no {device.interface}"
    if "no such device" in low:
        return (
            "install its driver's package (Debian: librte-net-*); give a PCI device to DPDK by "
            "`bookwire nic apply INTERFACE --driver vfio-pci`"
        )
    return f'look at `bookwire doctor` and at {name}, or set path = "sockets"'


def network_settings(settings: FeedSettings) -> NetworkSettings:
    """Addresses and routes as the settings say, else as the kernel has them on ``interface``.

    Raises BypassError where there are none, or where the kernel would answer beside us.
    """
    device = devices.parse(settings.device or "")
    interface = settings.interface or device.interface
    known = _known(interface, settings)
    kernels = tuple(one for one in known.addresses if not one.is_link_local) if known else ()
    if kernels and device.kind == "af_packet":
        raise BypassError(
            f"the kernel has {kernels[0]} on {interface} and would reset what it did not connect",
            f"take it from the kernel: bookwire nic apply {interface}",
        )
    own = tuple(ip_interface(text) for text in settings.addresses) or kernels
    if not own:
        raise BypassError(
            f"no IP address for {settings.device}",
            "name addresses in the exchange's table of the configuration",
        )
    return NetworkSettings(
        settings.device or "",
        settings.exchange,
        own,
        _routes(own, settings, known),
        known.neighbours if known else (),
        mtu=known.mtu if known else 1500,
        cpu=settings.cpu,
        hugepages=settings.hugepages,
        memory_mib=settings.memory_mib,
    )


def _known(interface: str | None, settings: FeedSettings) -> Addresses | None:
    """What the kernel knows; of a device that is the kernel's no more the settings name the addresses."""
    if interface is None:
        return None
    try:
        return addresses.read(interface)
    except InterfaceError:
        if settings.addresses:
            return None
        raise


def _routes(
    own: tuple[IPv4Interface | IPv6Interface, ...], settings: FeedSettings, known: Addresses | None
) -> tuple[Route, ...]:
    """As told, else as the kernel has them; each address's own network is on the link."""
    told = tuple(_route(*row) for row in settings.routes) or (known.routes if known else ())
    there = {route.destination for route in told}
    return (*told, *(Route(one.network, None) for one in own if one.network not in there))


def _route(destination: str, gateway: str | None) -> Route:
    found: IPv4Network | IPv6Network = ip_network(destination)
    by: IPv4Address | IPv6Address | None = ip_address(gateway) if gateway else None
    return Route(found, by)
