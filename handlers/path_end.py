"""The receiving end of `bookwire bench paths`: one way, one connection, one book, until told to stop.

A process of its own, as EAL starts only once: `python -m handlers.path_end JSON`, the fields of Task. The
book in the segment says how it goes; it ends when its stdin does.
"""

from __future__ import annotations

import json
import select
import sys
from dataclasses import dataclass
from pathlib import Path

from dpdk_bindings.dpdk import Network
from handlers._ffi import lib
from handlers.datapath import network_settings
from handlers.errors import UnavailableError
from handlers.facts import Instrument
from handlers.native_feed import Endpoint, NativeFeed
from handlers.registry import venue
from handlers.settings import FeedSettings

EXCHANGE = "kraken"
ENDED = ("CLOSED", "STOPPED", "REFUSED")


@dataclass(frozen=True)
class Task:
    """``device`` None: sockets."""

    directory: str
    server: str
    port: int
    ca_file: str
    poll: str
    cpu: int | None
    device: str | None
    interface: str | None
    addresses: tuple[str, ...]
    routes: tuple[tuple[str, str | None], ...] = ()
    hugepages: bool = False
    memory_mib: int | None = None


def run(task: Task) -> None:
    directory = Path(task.directory)
    settings = FeedSettings(
        EXCHANGE,
        directory,
        directory,
        ca_file=Path(task.ca_file),
        poll="busy" if task.poll == "busy" else "epoll",
        cpu=task.cpu,
        levels_max=500,
        device=task.device,
        interface=task.interface,
        addresses=tuple(task.addresses),
        routes=tuple((destination, gateway) for destination, gateway in task.routes),
        hugepages=task.hugepages,
        memory_mib=task.memory_mib,
    )
    network = Network(network_settings(settings)) if task.device else None
    feed = NativeFeed(venue(EXCHANGE), settings, 1, 1, network.handle if network else None)
    feed.add_book(Instrument("BTC/USDT", "BTC", "USDT", price_decimals=1, quantity_decimals=8))
    feed.bind(0, 0)
    feed.start()
    feed.connect(0, Endpoint(task.server, task.port, "localhost", "/", True), None)
    try:
        _follow(feed, task)
    finally:
        feed.close()
        if network:
            network.close()


def _follow(feed: NativeFeed, task: Task) -> None:
    """Until stdin ends. Raises UnavailableError with what ended the connection."""
    ends = {getattr(lib, f"BW_EVENT_{name}") for name in ENDED}
    while True:
        ready, _, _ = select.select([feed.event_fd, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        for event in feed.events():
            if event.type in ends:
                raise UnavailableError(event.text.decode(errors="replace"), where=task.device or "sockets")


if __name__ == "__main__":
    try:
        run(Task(**json.loads(sys.argv[1])))
    except UnavailableError as failure:
        print(failure, file=sys.stderr)
        sys.exit(failure.exit_code)
