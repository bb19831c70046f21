"""Random books and updates of every exchange, encoded by its simulator, cut anywhere over reads: one book.

The simulator's protocol (no network of its own here) answers the venue's own subscribe frame; its WebSocket
frames go over a socket to the native connection, each piece read before the next is sent; the book in shared
memory must be the simulator's. Encoder and decoder share no code.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.simulator.connection import Connection
from appliance.simulator.exchange import Exchange, SimulatedBook
from appliance.simulator.exchanges import EXCHANGES
from appliance.simulator.faults import Marks
from appliance.simulator.flow import Flow
from appliance.simulator.instruments import make_instrument
from handlers._ffi import lib
from handlers.facts import Instrument, Sync
from handlers.native_feed import Endpoint, NativeFeed
from handlers.registry import VENUES
from handlers.settings import FeedSettings
from handlers.shm import Book, Segment
from handlers.shm_layout import BookState

SYMBOLS = ("BTC-USDT", "XRP-USDT")
PATIENCE_S = 10.0
UPGRADE_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
Levels = tuple[tuple[tuple[Decimal, Decimal], ...], ...]  # bids, asks


def until(happened: Callable[[], bool], what: str) -> None:
    """What another thread brings about in microseconds."""
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end, what
        time.sleep(0)


class Sink:
    """Where the simulator writes: the bytes that a client would get."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def write(self, data: bytes) -> None:
        self.bytes += data

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


class Played:
    """An exchange without network or clock: what would come later comes at the next look."""

    def __init__(self, name: str, seed: int, levels: int) -> None:
        kind = EXCHANGES[name]
        rows = [kind.adapt(make_instrument(symbol, levels)) for symbol in SYMBOLS]
        flows = [Flow(row, levels, f"{seed}:{row.symbol}") for row in rows]
        self.exchange: Exchange = kind(flows, seed, limits=False)
        if hasattr(self.exchange, "request_seconds"):
            self.exchange.request_seconds = 0.0  # how long it thinks before it answers
        self.exchange.later = lambda seconds, act: self._due.append(act)
        self.sink = Sink()
        self._due: list[Callable[[], None]] = []
        url = urlsplit(self.exchange.websocket_path)
        self.connection = Connection(1, self.sink, time.monotonic(), url.path)  # type: ignore[arg-type]
        self.exchange.on_open(self.connection, dict(parse_qsl(url.query)))

    def hear(self, text: str) -> None:
        self.exchange.on_text(self.connection, text)

    def step(self, book: SimulatedBook) -> None:
        changes = book.flow.step()
        book.updates += 1
        batch = self.exchange.encode(book, changes, Marks())
        for connection, raw in self.exchange.frames(batch) if batch else ():
            connection.send(raw)

    def sent(self) -> bytes:
        due, self._due = self._due, []
        for act in due:
            act()
        out = bytes(self.sink.bytes)
        self.sink.bytes.clear()
        return out

    def rest(self, path: str) -> bytes:
        url = urlsplit(path)
        route = self.exchange.routes().get(url.path) or self.exchange.route(url.path)
        assert route is not None, path
        return route(dict(parse_qsl(url.query))).body

    def truth(self, symbol: str, depth: int) -> Levels:
        book = self.exchange.books[symbol]
        row = book.instrument
        return tuple(
            tuple(
                (Decimal(price).scaleb(-row.price_decimals), Decimal(quantity).scaleb(-row.quantity_decimals))
                for price, quantity, _ in side.top(depth or None)
            )
            for side in book.flow.book.sides
        )


class Wire:
    """A native feed with one connection to a socket of ours."""

    def __init__(self, name: str, rows: Sequence[Instrument], directory: Path) -> None:
        told = FeedSettings(name, shm_dir=directory, run_dir=directory, poll="busy")
        self.feed = NativeFeed(VENUES[name], told, len(rows), 2)
        self.books = {row.canonical: self.feed.add_book(row) for row in rows}
        self.segment = Segment.open(told.segment_path)
        self.feed.start()
        for book in self.books.values():
            self.feed.bind(book, 0)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(PATIENCE_S)
            self.feed.connect(
                0, Endpoint("127.0.0.1", listener.getsockname()[1], "localhost", "/", False), None
            )
            self.peer, _ = listener.accept()
        self.peer.settimeout(PATIENCE_S)
        self.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._upgrade()
        self._read = self.feed.connection(0).bytes

    def _upgrade(self) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += self.peer.recv(4096)
        key = next(
            line.split(b":")[1].strip()
            for line in request.splitlines()
            if line.lower().startswith(b"sec-websocket-key:")
        )
        accept = base64.b64encode(hashlib.sha1(key + UPGRADE_KEY).digest())
        self.peer.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        until(lambda: any(event.type == lib.BW_EVENT_CONNECTED for event in self.feed.events()), "no upgrade")

    def send(self, pieces: Sequence[bytes]) -> None:
        """Each piece is read before the next is sent, so that reads end where pieces do."""
        for piece in filter(None, pieces):
            self.peer.sendall(piece)
            self._read += len(piece)
            until(lambda: self.feed.connection(0).bytes >= self._read, "the loop does not read")
            list(self.feed.events())

    def book(self, symbol: str) -> Book:
        return self.segment.book(self.books[symbol])

    def close(self) -> None:
        self.feed.close()
        self.peer.close()
        self.segment.close()


@contextmanager
def wired(name: str, rows: Sequence[Instrument]) -> Iterator[Wire]:
    with tempfile.TemporaryDirectory(prefix="bookwire-wire-") as directory:
        wire = Wire(name, rows, Path(directory))
        try:
            yield wire
        finally:
            wire.close()


def cut(data: bytes, places: Sequence[float]) -> list[bytes]:
    edges = [0, *sorted(int(place * len(data)) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def levels_of(book: Book) -> Levels:
    return tuple(book.decimals("bids")), tuple(book.decimals("asks"))


places = st.lists(st.floats(0, 1, exclude_max=True), max_size=6)
stretches = st.lists(
    st.tuples(st.lists(st.sampled_from(SYMBOLS), max_size=8), places), min_size=1, max_size=5
)


@pytest.mark.parametrize("name", VENUES)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 32), levels=st.integers(1, 400), opening=places, played=stretches)
def test_whatever_is_encoded_and_however_it_is_cut_the_book_is_the_same(
    name: str, seed: int, levels: int, opening: list[float], played: list[tuple[list[str], list[float]]]
) -> None:
    venue, exchange = VENUES[name], Played(name, seed, levels)
    listed = {
        row.canonical: row for row in venue.instruments(orjson.loads(exchange.rest(venue.symbols_path)))
    }
    rows = [listed[symbol] for symbol in SYMBOLS]
    with wired(name, rows) as wire:
        for text in venue.on_connect:
            exchange.hear(text)
        natives, most = [row.native for row in rows], venue.limits.subscriptions_per_request
        for at in range(0, len(natives), most):
            exchange.hear(venue.subscribe(natives if venue.whole_set else natives[at : at + most], at + 1))
        wire.send(cut(exchange.sent(), opening))
        for turn, (symbols, where) in enumerate(played):
            for symbol in symbols:
                exchange.step(exchange.exchange.books[symbol])
            wire.send(cut(exchange.sent(), where))
            if turn == 0:
                load(venue.id, exchange, wire, rows)
        for row in rows:
            true = exchange.truth(row.canonical, venue.depth)
            exact = lambda row=row, true=true: levels_of(wire.book(row.canonical)) == true  # noqa: E731
            until(exact, f"{name} {row.canonical} is not the exchange's book")
            assert wire.book(row.canonical).state is BookState.LIVE
        stats = wire.segment.stats
        assert (stats["quarantined"], stats["decode_failures"]) == (0, 0)


def load(name: str, exchange: Played, wire: Wire, rows: Sequence[Instrument]) -> None:
    """The snapshots, where they do not come by themselves: by REST or asked for on the connection."""
    venue = VENUES[name]
    for number, row in enumerate(rows):
        if venue.sync is Sync.REST_SNAPSHOT:
            body = exchange.rest(venue.snapshots[0].path(row.native))
            wire.feed.load_snapshot(wire.books[row.canonical], body)
        elif venue.sync is Sync.REQUESTED_SNAPSHOT:
            assert venue.snapshot_request is not None
            exchange.hear(venue.snapshot_request(row.native, 100 + number))
    wire.send([exchange.sent()])
