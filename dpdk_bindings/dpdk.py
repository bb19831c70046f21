"""A network past the kernel for one native loop: a DPDK device with the user-space TCP stack above it.

Importable everywhere; ``why_not()`` says what is missing where it cannot be used. The loop starts and
stops it, on its own thread; Python opens it, changes routes, reads counters.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, Protocol

from dpdk_bindings import devices
from dpdk_bindings._dpdk_ffi import ffi, lib
from dpdk_bindings._dpdk_ffi import why_not as _why_not
from dpdk_bindings.errors import BypassError

MEMORY_MIB = 256  # buffers of 2.3 KiB: 16383 to receive, 2047 to send; EAL's own; the driver's rings
MEMORY_MIB_WITHOUT_HUGEPAGES = 600
BUFFERS = (
    16383  # descriptors, 8192 segments out of order, bursts; a power of two less one fills the pool best
)
DESCRIPTORS = 1024


class RouteLike(Protocol):
    """As hw.addresses.Route."""

    @property
    def destination(self) -> IPv4Network | IPv6Network: ...
    @property
    def gateway(self) -> IPv4Address | IPv6Address | None: ...


class NeighbourLike(Protocol):
    """As hw.addresses.Neighbour."""

    @property
    def address(self) -> IPv4Address | IPv6Address: ...
    @property
    def mac(self) -> str: ...


class State(IntEnum):
    """enum bw_dpdk_state of dpdk_network.h."""

    NEW = 0
    FAILED = 1
    RUNNING = 2
    STOPPED = 3


@dataclass(frozen=True)
class NetworkSettings:
    """One process's device and its place in the IP network.

    ``mac`` None is the device's own. Routes: the longest prefix wins. IPv6 neighbours are asked for anew.
    """

    device: str  # devices.py lists the kinds
    name: str  # tells processes apart: EAL's file prefix
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    routes: tuple[RouteLike, ...] = ()
    neighbours: tuple[NeighbourLike, ...] = ()
    mac: str | None = None
    mtu: int = 1500
    cpu: int | None = None  # EAL's; the loop's own pin counts afterwards
    hugepages: bool = True
    memory_mib: int | None = None
    buffers: int = BUFFERS
    descriptors: int = DESCRIPTORS


def why_not() -> str | None:
    """Why there is no bypass in this installation, or None."""
    return f"no kernel bypass here: {_why_not}" if _why_not else None


class Network:
    """Owns the description of a network; the loop that is given ``handle`` starts it.

    Raises BypassError if this installation has no DPDK, or an address, route or device makes no sense.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        if reason := why_not():
            raise BypassError(reason, "install libdpdk-dev and build again, or use sockets")
        spec = ffi.new("bw_dpdk_spec *")
        self._kept = _fill(spec, settings)
        self._network: Any = lib.bw_dpdk_new(spec)
        if self._network == ffi.NULL:
            raise MemoryError("no memory for a network")

    @property
    def handle(self) -> int:
        """Address of a ``bw_network``, for the room that runs the loop."""
        return int(ffi.cast("uintptr_t", lib.bw_dpdk_network(self._network)))

    @property
    def state(self) -> State:
        return State(lib.bw_dpdk_state(self._network))

    def close(self) -> None:
        """After the loop ended."""
        lib.bw_dpdk_free(self._network)
        self._network = ffi.NULL

    def set_routes(self, routes: Sequence[RouteLike]) -> bool:
        """Replaces all routes at the loop's next look, 100 ms at most. False: earlier ones still wait."""
        if len(routes) > lib.BW_STACK_ROUTES_MAX:
            raise BypassError(f"{len(routes)} routes", f"the stack takes {lib.BW_STACK_ROUTES_MAX}")
        rows = ffi.new("bw_stack_route[]", len(routes))
        for row, route in zip(rows, routes, strict=True):
            _fill_route(row, route)
        return bool(lib.bw_dpdk_set_routes(self._network, rows, len(routes)) != -errno.EAGAIN)

    def counters(self) -> dict[str, int]:
        """By name, 100 ms old at most: the port's as ``port_*``, drops by reason as ``drop_*``."""
        stack, port = ffi.new("bw_stack_counters *"), ffi.new("bw_port_counters *")
        lib.bw_dpdk_counters(self._network, stack, port)
        found = {name: int(getattr(stack, name)) for name in _names("bw_stack_counters") if name != "drop"}
        found |= {f"port_{name}": int(getattr(port, name)) for name in _names("bw_port_counters")}
        return found | {f"drop_{name}": int(stack.drop[at]) for at, name in drop_names().items()}

    def facts(self) -> dict[str, Any]:
        """Of the port, once it runs: driver, mac, mtu, numa_node, and what the driver does for us."""
        facts = ffi.new("bw_port_facts *")
        lib.bw_dpdk_facts(self._network, facts)
        found: dict[str, Any] = {
            name: getattr(facts, name) for name in _names("bw_port_facts") if name not in ("driver", "mac")
        }
        found["driver"] = ffi.string(facts.driver).decode()
        found["mac"] = ":".join(f"{byte:02x}" for byte in facts.mac)
        return found


def drop_names() -> dict[int, str]:
    """Why a frame can be dropped, by number; ``none`` is left out."""
    return {at: ffi.string(lib.bw_drop_name(at)).decode() for at in range(1, lib.BW_DROP_COUNT)}


def _names(struct: str) -> list[str]:
    return [name for name, _field in ffi.typeof(struct).fields]


def _fill(spec: Any, settings: NetworkSettings) -> list[Any]:
    """Returns what must live as long as the spec."""
    device = devices.parse(settings.device)
    cpu = min(os.sched_getaffinity(0)) if settings.cpu is None else settings.cpu
    memory = settings.memory_mib or (MEMORY_MIB if settings.hugepages else MEMORY_MIB_WITHOUT_HUGEPAGES)
    arguments = devices.eal_arguments(device, settings.name, cpu, memory, settings.hugepages)
    kept = [ffi.new("char[]", text.encode()) for text in arguments]
    for at, text in enumerate(kept):
        spec.eal[at] = text
    spec.eal_count = len(kept)
    spec.port.device, spec.port.mtu = device.name.encode(), settings.mtu
    spec.port.buffers, spec.port.descriptors = settings.buffers, settings.descriptors
    if settings.mac:
        spec.port.mac = _mac(settings.mac)
    _fill_stack(spec.stack, settings)
    return kept


def _fill_stack(stack: Any, settings: NetworkSettings) -> None:
    _at_most("addresses", settings.addresses, lib.BW_LOCAL_ADDRESSES_MAX)
    _at_most("routes", settings.routes, lib.BW_STACK_ROUTES_MAX)
    if not settings.addresses:
        raise BypassError("no IP address", "give the interface one, or name addresses in the configuration")
    for row, address in zip(stack.address, settings.addresses, strict=False):
        row.address, row.six = _packed(address.ip), address.version == 6
        row.prefix = address.network.prefixlen
    for row, route in zip(stack.route, settings.routes, strict=False):
        _fill_route(row, route)
    neighbours = [item for item in settings.neighbours if item.address.version == 4]
    for row, neighbour in zip(stack.neighbour, neighbours, strict=False):
        row.address, row.mac = _packed(neighbour.address), _mac(neighbour.mac)
    stack.address_count, stack.route_count = len(settings.addresses), len(settings.routes)
    stack.neighbour_count = min(len(neighbours), lib.BW_STACK_NEIGHBOURS_MAX)
    stack.secret = [secrets.randbits(64), secrets.randbits(64)]


def _at_most(what: str, rows: Sequence[object], most: int) -> None:
    if len(rows) > most:
        raise BypassError(f"{len(rows)} {what}", f"one process takes {most}: name the ones it needs")


def _fill_route(row: Any, route: RouteLike) -> None:
    row.destination, row.six = _packed(route.destination.network_address), route.destination.version == 6
    row.prefix = route.destination.prefixlen
    row.gateway = _packed(route.gateway) if route.gateway else bytes(16)


def _packed(address: IPv4Address | IPv6Address) -> bytes:
    return address.packed.ljust(16, b"\0")


def _mac(text: str) -> bytes:
    try:
        parsed = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        parsed = b""
    if len(parsed) != 6:
        raise BypassError(f"{text!r} is no MAC address", "write it as aa:bb:cc:dd:ee:ff")
    return parsed
