"""The receiving end of `bookwire bench paths`: one way, one connection, one book, until told to stop.

A process of its own, as EAL starts only once: `python -m appliance.path_end JSON`, the fields of Task. It
says `live` in a line once the book moves, and ends when its stdin does.
"""

from __future__ import annotations

import json
import select
import sys
import time
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
PATIENCE_S = 30.0
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
        hugepages=False,
    )
    network = Network(network_settings(settings)) if task.device else None
    feed = NativeFeed(venue(EXCHANGE), settings, 1, 1, network.handle if network else None)
    feed.add_book(Instrument("BTC/USDT", "BTC", "USDT", price_decimals=1, quantity_decimals=8))
    feed.bind(0, 0)
    feed.start()
    feed.connect(0, Endpoint(task.server, task.port, "localhost", "/", True), None)
    try:
        _until_live(feed, task)
        print("live", flush=True)
        sys.stdin.read()
    finally:
        feed.close()
        if network:
            network.close()


def _until_live(feed: NativeFeed, task: Task) -> None:
    give_up = time.monotonic() + PATIENCE_S
    ends = {getattr(lib, f"BW_EVENT_{name}") for name in ENDED}
    while feed.book(0).updates < 2:
        select.select([feed.event_fd], [], [], 0.05)
        for event in feed.events():
            if event.type in ends:
                raise UnavailableError(event.text.decode(errors="replace"), where=task.device or "sockets")
        if time.monotonic() > give_up:
            raise UnavailableError(f"nothing came in {PATIENCE_S:.0f} s", where=task.device or "sockets")


if __name__ == "__main__":
    try:
        run(Task(**json.loads(sys.argv[1])))
    except UnavailableError as failure:
        print(failure, file=sys.stderr)
        sys.exit(failure.exit_code)
