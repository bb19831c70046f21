"""Devices by name, EAL's arguments, settings that make no sense, what the kernel knows of an interface."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from dpdk_bindings import devices, dpdk
from dpdk_bindings.errors import BypassError
from hw import addresses
from hw.addresses import Neighbour, Route
from hw.errors import InterfaceError

SETTINGS = dpdk.NetworkSettings("af_packet:eth9", "okx", (ip_interface("192.0.2.2/24"),))


def test_hardware_is_allowed_alone_and_the_rest_needs_no_pci() -> None:
    assert devices.parse("pci:0000:08:00.0").arguments == ("-a", "0000:08:00.0")
    virtual = devices.parse("af_xdp:eth1")
    assert virtual.name == "net_af_xdp0"
    assert virtual.interface == "eth1"
    assert virtual.arguments == ("--no-pci", "--vdev=net_af_xdp0,iface=eth1,start_queue=0,queue_count=1")


@pytest.mark.parametrize(
    "text",
    ["eth1", "af_xdp:", "dpdk:eth1", "pci:08:00.0", "af_packet:eth1,qpairs=4", "tap:a-name-of-16-char"],
)
def test_what_is_no_device_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(BypassError) as refused:
        devices.parse(text)
    assert refused.value.do


def test_a_process_shares_nothing_and_leaves_nothing() -> None:
    with_pages = devices.eal_arguments(devices.parse("tap:bw0"), "okx", 3, 256, hugepages=True)
    assert {"--in-memory", "--no-telemetry", "--file-prefix=bookwire-okx", "--lcores=0@3"} <= set(with_pages)
    without = devices.eal_arguments(devices.parse("tap:bw0"), "okx", 3, 600, hugepages=False)
    assert {"--no-huge", "--no-shconf"} <= set(without)
    assert "--in-memory" not in without  # EAL refuses the two together


def test_an_installation_without_dpdk_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpdk, "_why_not", "it was built without libdpdk 22.11 or later")
    assert "libdpdk 22.11" in str(dpdk.why_not())
    with pytest.raises(BypassError, match="libdpdk-dev"):
        dpdk.Network(SETTINGS)


@pytest.mark.skipif(dpdk.why_not() is not None, reason=str(dpdk.why_not()))
def test_settings_that_make_no_sense_are_refused_before_anything_starts() -> None:
    with pytest.raises(BypassError, match="no IP address"):
        dpdk.Network(replace(SETTINGS, addresses=()))
    with pytest.raises(BypassError, match="MAC"):
        dpdk.Network(replace(SETTINGS, mac="02:00:00:00:00"))
    routes = tuple(Route(ip_network(f"10.{n}.0.0/16"), None) for n in range(65))
    with pytest.raises(BypassError, match="65 routes"):
        dpdk.Network(replace(SETTINGS, routes=routes))
    network = dpdk.Network(
        replace(SETTINGS, neighbours=(Neighbour(ip_address("192.0.2.1"), "02:00:00:00:00:01"),))
    )
    assert network.state == dpdk.State.NEW
    assert network.handle
    assert network.counters()["frames"] == 0
    assert network.set_routes(routes[:3]) is True
    assert network.set_routes(routes[:3]) is False  # the first ones still wait for the loop
    network.close()


@pytest.mark.root
def test_the_kernel_tells_addresses_routes_and_neighbours(lab) -> None:
    wire = lab.wire()
    wire.give_addresses()
    gateway = wire.venue_four
    lab.run("ip", "route", "add", "198.51.100.0/24", "via", gateway, "dev", wire.interface, "metric", "20")
    lab.run("ip", "route", "add", "198.51.100.0/24", "dev", wire.interface, "metric", "10")
    lab.run("ip", "neigh", "replace", gateway, "lladdr", "02:00:00:00:00:09", "dev", wire.interface)
    found = addresses.read(wire.interface)
    assert {ip_interface(address) for address in wire.ours} <= set(found.addresses)
    assert found.mtu == 1500
    to_test = [route for route in found.routes if route.destination == ip_network("198.51.100.0/24")]
    assert [route.gateway for route in to_test] == [None, ip_address(gateway)]  # the better metric first
    assert Neighbour(ip_address(gateway), "02:00:00:00:00:09") in found.neighbours


def test_an_interface_that_is_not_there_is_named() -> None:
    with pytest.raises(InterfaceError, match="nosuch0"):
        addresses.read("nosuch0")
