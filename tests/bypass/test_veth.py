"""Exchange processes on DPDK devices against a venue on kernel TCP, over veth pairs. Needs root.

Frames still pass the kernel on veth: this shows that the path is right, not what a NIC would gain.
"""

from __future__ import annotations

import json
import signal
import sys

import pytest

UPDATES = 3000
FLOOD = 20_000  # frames
FLOODS = """
import socket, sys
interface, mac, count = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", "")), int(sys.argv[3])
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((interface, 0))
for number in range(count):
    out.send(mac + bytes((2, 0, 0, 0, 0, 77)) + b"\\x08\\x00" + number.to_bytes(4, "big") * 250)
"""
pytestmark = pytest.mark.root


def test_books_equal_those_of_sockets(lab, driver: str, family: str) -> None:
    wire = lab.wire()
    server = wire.venue_four if family == "IPv4" else wire.venue_six
    lab.venue(4443, UPDATES, wire.venue_four, wire.venue_six)
    task = {"server": server, "port": 4443, "updates": UPDATES}
    by_sockets = lab.result(lab.exchange(inside=True, device="sockets", name="sockets", **task))
    wire.give_addresses()
    bypassed = lab.result(
        lab.exchange(device=f"{driver}:{wire.interface}", interface=wire.interface, name="bypassed", **task)
    )
    assert bypassed["sequence"] == by_sockets["sequence"] == UPDATES
    assert bypassed["levels"] == by_sockets["levels"]
    assert len(bypassed["levels"][0]) > 20
    assert bypassed["facts"]["driver"] == f"net_{driver}"
    counters = bypassed["counters"]
    lost = (
        "port_missed",
        "port_no_buffer",
        "port_send_full",
        "no_memory",
        "drop_tcp_checksum",
    )
    assert {name: counters[name] for name in lost if counters[name]} == {}
    assert counters["segments"] > 1000
    assert min(by_sockets["busy_ns"], bypassed["busy_ns"]) > 1000 * UPDATES  # a microsecond each, at least
    every = bypassed["budget_every"]
    assert by_sockets["budget"] == dict.fromkeys(bypassed["budget"], UPDATES // every) | {"TCP": 0}
    assert bypassed["budget"] == dict.fromkeys(bypassed["budget"], UPDATES // every)
    assert (bypassed["state"], bypassed["result"]) == ("STOPPED", 0)


def test_connections_come_and_go_without_leaks(lab, driver: str) -> None:
    wire = lab.wire()
    lab.venue(4443, 50, wire.venue_four)
    wire.give_addresses()
    found = lab.result(
        lab.exchange(
            device=f"{driver}:{wire.interface}",
            interface=wire.interface,
            name="again",
            server=wire.venue_four,
            port=4443,
            updates=50,
            connections=40,
        )
    )
    closes = [event for event in found["events"] if event[0] == 2]
    assert [(code, status) for _type, code, status, _text in closes] == [(2, 1001)] * 40, found["events"][-6:]
    assert found["counters"]["connections"] <= 1  # the last one may still be closing
    assert found["counters"]["waiting_bytes"] == 0
    assert found["counters"]["no_memory"] == 0
    assert found["stats"]["connects"] == 40


def test_one_flooded_stopped_and_killed_leaves_the_other_without_a_gap(lab, driver: str) -> None:
    wires = [lab.wire(), lab.wire()]
    lab.venue(4443, 0, *(wire.venue_four for wire in wires))
    for wire in wires:
        wire.give_addresses()
    victim, other = (
        lab.exchange(
            device=f"{driver}:{wire.interface}",
            interface=wire.interface,
            name=name,
            server=wire.venue_four,
            port=4443,
            updates=0,
        )
        for wire, name in zip(wires, ("victim", "other"), strict=True)
    )
    assert json.loads(victim.stdout.readline())["sequence"] >= 1000
    assert json.loads(other.stdout.readline())["sequence"] >= 1000
    mac = lab.run("cat", f"/sys/class/net/{wires[0].interface}/address").strip()
    inside = ("ip", "netns", "exec", lab.namespace)
    lab.run(*inside, sys.executable, "-c", FLOODS, f"bv{wires[0].number}", mac, FLOOD)
    before = json.loads(victim.stdout.readline())["sequence"]
    assert json.loads(victim.stdout.readline())["sequence"] > before  # goes on itself
    victim.send_signal(signal.SIGSTOP)
    json.loads(other.stdout.readline())
    victim.kill()
    victim.wait()
    for _ in range(2):
        line = json.loads(other.stdout.readline())
    kinds = [event[0] for event in line["events"]]
    assert line["sequence"] >= 3000
    assert kinds.count(1) == 1  # connected once,
    assert not {2, 7, 8, 10, 13} & set(kinds), line[
        "events"
    ]  # and never closed, nor a gap or a mismatch seen
