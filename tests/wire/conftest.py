"""A feed over the real loop, and exchanges to connect it to: a ``websockets`` server with a test CA."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from handlers._ffi import ffi, lib
from handlers.native_feed import Endpoint, Event, NativeFeed
from handlers.registry import VENUES
from handlers.settings import FeedSettings

EVENT_TIMEOUT_S = 10


@dataclass
class Authority:
    """A test CA and where its certificate lies."""

    ca: trustme.CA
    ca_file: Path

    def server(self, leaf: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """A server's context, for ``localhost`` unless told otherwise."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (leaf or self.ca.issue_cert("localhost")).configure_cert(context)
        return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca_file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca = trustme.CA()
    ca.cert_pem.write_to_path(ca_file)
    return Authority(ca, ca_file)


@dataclass
class Driven:
    """A running feed whose events are awaited."""

    feed: NativeFeed
    feed_path: Path  # of its segment
    waiting: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)

    def arrived(self) -> None:
        for event in self.feed.events():
            self.waiting.put_nowait(event)

    async def next(self, kind: int) -> Event:
        """The next event of the kind (enum bw_event_type); others are passed over."""
        async with asyncio.timeout(EVENT_TIMEOUT_S):
            while (event := await self.waiting.get()).type != kind:
                pass
        return event

    def connect(self, port: int, host: str = "localhost", secure: bool = True, connection: int = 0) -> None:
        self.feed.connect(connection, Endpoint("127.0.0.1", port, host, "/feed", secure), None)

    def connect_deflated(self, port: int) -> None:
        """As connect(), and offers permessage-deflate."""
        spec = ffi.new("bw_connect_spec *")
        spec.secure, spec.deflate, spec.port = 1, 1, port
        spec.address, spec.host, spec.path = b"127.0.0.1", b"localhost", b"/feed"
        assert lib.bw_feed_connect(self.feed._feed, spec) == 0


@pytest.fixture(params=["epoll", "busy"])
def poll(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make_feed(shm_dir: Path, run_dir: Path, poll: str) -> Iterator[list[NativeFeed]]:
    made: list[NativeFeed] = []
    yield made
    for feed in made:
        feed.close()


@pytest.fixture
async def driven(
    make_feed: list[NativeFeed], authority: Authority, shm_dir: Path, run_dir: Path, poll: str
) -> AsyncIterator[Driven]:
    """A feed of Bybit facts (snapshots come over the feed), not connected anywhere yet."""
    settings = FeedSettings(
        exchange="bybit",
        ca_file=authority.ca_file,
        poll=poll,
        shm_dir=shm_dir,
        run_dir=run_dir,
        levels_max=1000,
    )
    feed = NativeFeed(VENUES["bybit"], settings, books=4, connections=2)
    make_feed.append(feed)
    out = Driven(feed, settings.segment_path)
    loop = asyncio.get_running_loop()
    loop.add_reader(feed.event_fd, out.arrived)
    yield out
    loop.remove_reader(feed.event_fd)
