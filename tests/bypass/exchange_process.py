"""An exchange process's loop on a device past the kernel, or on sockets; a process, as EAL starts only once.

One JSON object is its argument: device ("sockets", or as dpdk_bindings.devices has it), interface (whose
addresses it takes over from the kernel; null: none), server, port, directory, updates (of one connection; 0:
for ever), connections (one after the other), name. Prints a line of JSON at each thousandth update when for
ever, and one at the end: sequence, levels, counters, facts, what was published.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpdk_bindings.dpdk import Network, NetworkSettings
from handlers._ffi import lib
from handlers.facts import Instrument
from handlers.native_feed import Endpoint, NativeFeed
from handlers.registry import VENUES
from handlers.settings import FeedSettings
from handlers.shm import Segment
from handlers.shm_layout import Budget
from hw import addresses

PATIENCE_S = 60


@dataclass(frozen=True)
class Task:
    device: str
    interface: str | None
    server: str
    port: int
    directory: str
    updates: int
    connections: int
    name: str


def take_over(interface: str) -> addresses.Addresses:
    """What the kernel knew, which it forgets now: else it would reset what it did not connect."""
    found = addresses.read(interface)
    subprocess.run(["ip", "addr", "flush", "dev", interface], check=True)
    subprocess.run(["sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1"], check=True)
    return found


def open_network(task: Task) -> Network | None:
    if task.device == "sockets" or task.interface is None:
        return None
    kernel = take_over(task.interface)
    return Network(
        NetworkSettings(
            task.device,
            task.name,
            kernel.addresses,
            kernel.routes,
            kernel.neighbours,
            mtu=kernel.mtu,
            hugepages=False,
        )
    )


def run(task: Task) -> dict[str, Any]:
    directory = Path(task.directory)
    network = open_network(task)
    ca = directory / "ca.pem"
    settings = FeedSettings("bybit", directory / task.name, directory, ca_file=ca, levels_max=500)
    handle = network.handle if network else None
    feed = NativeFeed(VENUES["bybit"], settings, books=1, connections=1, network=handle)
    feed.add_book(Instrument("BTCUSDT", "BTC", "USDT", price_decimals=1, quantity_decimals=0))
    feed.bind(0, 0)
    feed.start()
    told = []
    for _ in range(task.connections):
        feed.connect(0, Endpoint(task.server, task.port, "localhost", "/", True), None)
        told += follow(feed, task)
    found: dict[str, Any] = {"events": told, "sequence": feed.book(0).venue_sequence}
    with Segment.open(settings.segment_path) as segment:
        book = segment.book(0)
        found["levels"] = [[[str(n) for n in level] for level in book.decimals(side)] for side in (0, 1)]
        found["stats"] = {name: int(value) for name, value in segment.stats.items()}
        found["budget"] = {part.name: int(segment.budget(part).sum()) for part in Budget}
        found["budget_every"], found["busy_ns"] = segment.budget_every, segment.busy_ns
    feed.close()
    found["result"] = feed.result
    if network:
        found |= {"counters": network.counters(), "facts": network.facts(), "state": network.state.name}
        network.close()
    return found


def follow(feed: NativeFeed, task: Task) -> list[list[Any]]:
    """Until the connection closed; acknowledges the last update so that the venue closes it."""
    told: list[list[Any]] = []
    give_up = time.monotonic() + PATIENCE_S
    said = acknowledged = 0
    while time.monotonic() < give_up or not task.updates:
        select.select([feed.event_fd], [], [], 0.01)
        for event in feed.events():
            told.append([event.type, event.code, event.a, event.text.decode(errors="replace")])
            if event.type in (lib.BW_EVENT_CLOSED, lib.BW_EVENT_STOPPED, lib.BW_EVENT_REFUSED):
                return told
        sequence = feed.book(0).venue_sequence
        if task.updates and feed.connection(0).messages == task.updates and not acknowledged:
            acknowledged = 1
            feed.send(0, "seen")
        if not task.updates and sequence // 1000 > said:
            said = sequence // 1000
            print(json.dumps({"sequence": sequence, "events": told}), flush=True)
    raise TimeoutError(
        f"the connection goes on after {PATIENCE_S} s, at update {feed.book(0).venue_sequence}"
    )


if __name__ == "__main__":
    print(json.dumps(run(Task(**json.loads(sys.argv[1])))), flush=True)
