"""What the kernel knows of one interface's IP: addresses, routes, neighbours; read over netlink, not changed.

A process that takes an interface past the kernel takes these over first; afterwards the kernel may not
have them any more.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
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
from typing import Any

from hw.errors import InterfaceError

MAIN_TABLE = 254  # RT_TABLE_MAIN of linux/rtnetlink.h
UNICAST = 1  # RTN_UNICAST of linux/rtnetlink.h
TENTATIVE_OR_FAILED = 0x40 | 0x08  # IFA_F_TENTATIVE | IFA_F_DADFAILED of linux/if_addr.h
NEIGHBOUR_KNOWN = (
    0x02 | 0x04 | 0x08 | 0x10 | 0x80
)  # reachable, stale, delay, probe, permanent: linux/neighbour.h


@dataclass(frozen=True)
class Route:
    """Where a destination is reached: on the link itself if ``gateway`` is None."""

    destination: IPv4Network | IPv6Network
    gateway: IPv4Address | IPv6Address | None


@dataclass(frozen=True)
class Neighbour:
    """An address on the link and its MAC address as last seen, ``aa:bb:cc:dd:ee:ff``."""

    address: IPv4Address | IPv6Address
    mac: str


@dataclass(frozen=True)
class Addresses:
    """Of one interface. ``routes`` are the main table's, best metric first."""

    interface: str
    mac: str
    mtu: int
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    routes: tuple[Route, ...]
    neighbours: tuple[Neighbour, ...]


def read(interface: str) -> Addresses:
    """Raises InterfaceError if there is no such interface, or netlink does not answer."""
    # here: it costs each of many processes 10 MB, and only those past the kernel ask
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as kernel:
            index = next(iter(kernel.link_lookup(ifname=interface)), None)
            if index is None:
                raise InterfaceError(f"no network interface {interface}")
            link = next(iter(kernel.get_links(index)))
            addresses = [_address(row) for row in kernel.get_addr(index=index)]
            rows = [*kernel.get_routes(family=socket.AF_INET), *kernel.get_routes(family=socket.AF_INET6)]
            neighbours = [_neighbour(row) for row in kernel.get_neighbours(ifindex=index)]
    except (NetlinkError, OSError) as error:
        raise InterfaceError(f"netlink does not tell about {interface}: {error}") from error
    metrics = sorted(
        (
            (row.get_attr("RTA_PRIORITY") or 0, at, route)
            for at, row in enumerate(rows)
            for route in _routes(row, index)
        ),
        key=lambda item: item[:2],
    )
    return Addresses(
        interface,
        link.get_attr("IFLA_ADDRESS"),
        link.get_attr("IFLA_MTU"),
        tuple(address for address in addresses if address),
        tuple(route for _metric, _at, route in metrics),
        tuple(neighbour for neighbour in neighbours if neighbour),
    )


def _address(row: Any) -> IPv4Interface | IPv6Interface | None:
    """IFA_LOCAL is ours, IFA_ADDRESS may be the other end's (linux/if_addr.h); IPv6 has the second only."""
    flags = row.get_attr("IFA_FLAGS") or 0
    text = row.get_attr("IFA_LOCAL") or row.get_attr("IFA_ADDRESS")
    if text is None or flags & TENTATIVE_OR_FAILED:
        return None
    return ip_interface(f"{text}/{row['prefixlen']}")


def _routes(row: Any, index: int) -> list[Route]:
    if row.get_attr("RTA_TABLE") != MAIN_TABLE or row["type"] != UNICAST:
        return []
    anywhere = "0.0.0.0" if row["family"] == socket.AF_INET else "::"
    destination = ip_network(f"{row.get_attr('RTA_DST') or anywhere}/{row['dst_len']}")
    hops = row.get_attr("RTA_MULTIPATH") or []
    found = [
        (hop.get_attr("RTA_GATEWAY"), hop.get_attr("RTA_VIA")) for hop in hops if hop["oif"] == index
    ] or (
        [(row.get_attr("RTA_GATEWAY"), row.get_attr("RTA_VIA"))] if row.get_attr("RTA_OIF") == index else []
    )
    # a gateway of the other family (RFC 8950) is none that the user-space stack can ask for
    return [Route(destination, ip_address(gateway) if gateway else None) for gateway, via in found if not via]


def _neighbour(row: Any) -> Neighbour | None:
    address, mac = row.get_attr("NDA_DST"), row.get_attr("NDA_LLADDR")
    if address is None or mac is None or not row["state"] & NEIGHBOUR_KNOWN:
        return None
    parsed = ip_address(address)
    return None if parsed.is_multicast else Neighbour(parsed, mac)
