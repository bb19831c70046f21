"""The native loop as Python sees it: a plan, a segment, a thread, commands in, events out.

Everything here may be called on the main thread only; the loop runs on a thread of its own, inside one
C call that holds no lock of the interpreter. A command that finds the ring full waits in an outbox
until the next flush(), in order.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from handlers._ffi import ffi, lib
from handlers.errors import SetupError, UnavailableError
from handlers.facts import Instrument, Venue
from handlers.plan import Plan
from handlers.settings import FeedSettings

RING_BYTES = 16 << 20
PENDING_BYTES = 32 << 20
CROSSED_MAX = 20
BUSY_POLL_US = 50
EVENTS_A_CALL = 256
OUTBOX_MAX = 10_000


class Event(NamedTuple):
    """bw_event of control.h; ``book`` and ``connection`` are None where the event has none."""

    type: int
    connection: int | None
    book: int | None
    code: int
    a: int
    b: int
    time_ns: int
    text: bytes


class Endpoint(NamedTuple):
    """Where to connect: a resolved address, and the name the certificate must carry."""

    address: str
    port: int
    host: str
    path: str
    secure: bool


class BookView(NamedTuple):
    """State of a book as the loop keeps it. Times are ns since the epoch; not one consistent copy."""

    state: int
    reason: int
    venue_sequence: int
    updates: int
    last_data_ns: int
    cadence_ns: int
    state_since_ns: int


class NativeFeed:
    """Owns plan, segment and loop of one exchange. Raises SetupError where one cannot be made."""

    def __init__(
        self,
        venue: Venue,
        settings: FeedSettings,
        books: int,
        connections: int,
        network: int | None = None,
    ) -> None:
        """``network``: ``handle`` of a dpdk_bindings.dpdk.Network; None: the kernel sockets."""
        self.venue = venue
        self._thread: threading.Thread | None = None
        self._outbox: deque[Callable[[], int]] = deque()
        self._pieces: dict[int, bytearray] = {}
        self._result = 0
        self.plan = Plan(venue)
        self._shm: Any = _segment(venue, settings, books)
        spec = _feed_spec(venue, settings, connections)
        spec.plan, spec.shm = self.plan.handle, self._shm
        self._raw: Any = _raw_ring(venue, settings, self._shm) if settings.raw_ring_bytes else ffi.NULL
        spec.raw = self._raw
        ca = ffi.new("char[]", str(settings.ca_file).encode()) if settings.ca_file else ffi.NULL
        spec.ca_file = ca
        spec.network = ffi.NULL if network is None else ffi.cast("bw_network *", network)
        error = ffi.new("char[]", 256)
        self._feed: Any = lib.bw_feed_new(spec, error, len(error))
        if self._feed == ffi.NULL:
            lib.bw_raw_writer_close(self._raw)
            lib.bw_shm_writer_close(self._shm)
            raise UnavailableError(_text(error), where=settings.exchange)
        self._events: Any = ffi.new("bw_event[]", EVENTS_A_CALL)

    def add_book(self, row: Instrument) -> int:
        """Index of the new book."""
        request = ffi.new("bw_book_request *")
        symbol = request.symbol
        symbol.canonical, symbol.native = row.canonical.encode(), row.native.encode()
        symbol.base, symbol.quote = row.base.upper().encode(), row.quote.upper().encode()
        symbol.kind = int(row.kind)
        request.topic = self.venue.topic(row.native).encode()
        request.price_exponent, request.quantity_exponent = row.price_decimals, row.quantity_decimals
        request.price_scale, request.quantity_scale = row.price_scale, row.quantity_scale
        return self._added(request, row.native)

    def add_recorded(self, request: bytes | memoryview) -> int:
        """As add_book(), from the bw_book_request that a raw ring told."""
        asked = ffi.new("bw_book_request *")
        if len(request) != ffi.sizeof("bw_book_request"):
            raise SetupError("a recorded book of another version", where=self.venue.id)
        ffi.memmove(asked, request, len(request))
        return self._added(asked, bytes(ffi.string(asked.symbol.native)).decode())

    def _added(self, request: Any, name: str) -> int:
        book = lib.bw_feed_add_book(self._feed, request)
        if book < 0:
            raise SetupError(f"no book for {name}: {os.strerror(-book)}", where="shared memory")
        return int(book)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="native-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._result = lib.bw_feed_run(self._feed)

    def close(self) -> None:
        """Stops the loop, waits for its thread, marks the segment closed and removes it."""
        if self._thread is not None:
            while lib.bw_feed_stop(self._feed) == -errno.EAGAIN and self._thread.is_alive():
                self._thread.join(0.01)
            self._thread.join()
            self._thread = None
        lib.bw_feed_free(self._feed)
        lib.bw_raw_writer_close(self._raw)
        lib.bw_shm_writer_close(self._shm)
        self.plan.close()

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def result(self) -> int:
        """What bw_feed_run() returned: 0, or -errno."""
        return self._result

    @property
    def turns(self) -> int:
        """How often the loop has turned, as it says some times a second; 0 until it runs."""
        return int(lib.bw_shm_writer_stats(self._shm).loop_turns)

    @property
    def event_fd(self) -> int:
        """Becomes readable when events wait."""
        return int(lib.bw_feed_event_fd(self._feed))

    def events(self) -> Iterator[Event]:
        """All events that wait. Control messages that came in pieces are joined."""
        while True:
            count = lib.bw_feed_events(self._feed, self._events, EVENTS_A_CALL)
            for at in range(count):
                event = self._event(self._events[at])
                if event is not None:
                    yield event
            if count < EVENTS_A_CALL:
                return

    def _event(self, raw: Any) -> Event | None:
        connection = None if raw.connection == lib.BW_NO_CONNECTION else raw.connection
        book = None if raw.book == lib.BW_NO_BOOK else raw.book
        text = bytes(ffi.buffer(raw.text, raw.text_bytes))
        if raw.type == lib.BW_EVENT_CONTROL and connection is not None:
            pieces = self._pieces.setdefault(connection, bytearray())
            if raw.a == 0:
                pieces.clear()
            pieces += text
            if len(pieces) + raw.text_cut < raw.b:
                return None
            text = bytes(self._pieces.pop(connection))
        return Event(raw.type, connection, book, raw.code, raw.a, raw.b, raw.time_ns, text)

    def _post(self, command: Callable[[], int]) -> None:
        """Posts, or keeps for flush(). Order is kept."""
        if self._outbox or (result := command()) == -errno.EAGAIN:
            if len(self._outbox) >= OUTBOX_MAX:
                raise SetupError("the native loop takes no commands", where=self.venue.id)
            self._outbox.append(command)
        elif result < 0:
            raise SetupError(f"command refused: {os.strerror(-result)}", where=self.venue.id)

    def flush(self) -> None:
        """Posts what waits."""
        while self._outbox and self._outbox[0]() != -errno.EAGAIN:
            self._outbox.popleft()

    def connect(self, connection: int, to: Endpoint, source_address: str | None) -> None:
        spec = ffi.new("bw_connect_spec *")
        spec.connection, spec.secure, spec.port = connection, int(to.secure), to.port
        spec.address, spec.host, spec.path = to.address.encode(), to.host.encode(), to.path.encode()
        spec.source_address = (source_address or "").encode()
        self._post(lambda: int(lib.bw_feed_connect(self._feed, spec)))

    def send(self, connection: int, text: str) -> None:
        data = text.encode()
        self._post(lambda: int(lib.bw_feed_send_text(self._feed, connection, data, len(data))))

    def ping(self, connection: int) -> None:
        """A WebSocket ping frame."""
        self._post(lambda: int(lib.bw_feed_send_ping(self._feed, connection)))

    def drop(self, connection: int, code: int = 0) -> None:
        """Closes with a close frame of ``code``, or at once (0). A CLOSED event follows."""
        self._post(lambda: int(lib.bw_feed_close(self._feed, connection, code)))

    def bind(self, book: int, connection: int) -> None:
        self._post(lambda: int(lib.bw_feed_bind(self._feed, book, connection)))

    def release(self, book: int) -> None:
        """Nobody carries the book any more: it is out of service until take_back()."""
        self._post(lambda: int(lib.bw_feed_bind(self._feed, book, lib.BW_NO_CONNECTION)))
        self.set_state(book, lib.BW_BOOK_DOWN, lib.BW_REASON_OPERATOR)

    def take_back(self, book: int, connection: int) -> None:
        """The connection carries the book, which is in service again."""
        self.set_state(book, lib.BW_BOOK_SYNCING, lib.BW_REASON_START)
        self.bind(book, connection)

    @property
    def book_capacity(self) -> int:
        """Books there is room for."""
        return int(lib.bw_shm_writer_header(self._shm).book_capacity)

    def hand_over(self, book: int, connection: int) -> None:
        """The connection carries the book from the snapshot on that comes there."""
        self._post(lambda: int(lib.bw_feed_hand_over(self._feed, book, connection)))

    def load_snapshot(self, book: int, body: bytes) -> None:
        self._post(lambda: int(lib.bw_feed_load_snapshot(self._feed, book, body, len(body))))

    def resync(self, book: int, reason: int) -> None:
        self._post(lambda: int(lib.bw_feed_resync(self._feed, book, reason)))

    def set_state(self, book: int, state: int, reason: int) -> None:
        self._post(lambda: int(lib.bw_feed_set_state(self._feed, book, state, reason)))

    def add_bell(self, bell: bytes, fifo: bytes) -> None:
        self._post(lambda: int(lib.bw_feed_add_bell(self._feed, bell, fifo)))

    @property
    def engine(self) -> Any:
        """The engine, where no loop runs (replays)."""
        return lib.bw_feed_engine(self._feed)

    @property
    def writer(self) -> Any:
        return self._shm

    def raw_book(self, book: int) -> Any:
        """The book's header in shared memory, in place."""
        return lib.bw_shm_writer_book(self._shm, book)

    def book(self, book: int) -> BookView:
        raw = self.raw_book(book)
        return BookView(
            raw.state,
            raw.reason,
            raw.venue_sequence,
            raw.updates,
            raw.last_data_ns,
            raw.cadence_ns,
            raw.state_since_ns,
        )

    def connection(self, connection: int) -> Any:
        """A copy of bw_connection_view."""
        view = ffi.new("bw_connection_view *")
        lib.bw_feed_connection(self._feed, connection, view)
        return view

    @property
    def events_dropped(self) -> int:
        return int(lib.bw_feed_events_dropped(self._feed))


def _text(error: Any) -> str:
    return bytes(ffi.string(error)).decode(errors="replace")


def _feed_spec(venue: Venue, settings: FeedSettings, connections: int) -> Any:
    spec = ffi.new("bw_feed_spec *")
    busy = settings.poll == "busy"
    spec.poll = lib.BW_POLL_BUSY if busy else lib.BW_POLL_EPOLL
    spec.busy_poll_us = BUSY_POLL_US if busy else 0
    spec.cpu = -1 if settings.cpu is None else settings.cpu
    spec.connections_max = connections
    spec.frames = getattr(lib, f"BW_FRAMES_{venue.frames.upper()}")
    spec.message_bytes_max = venue.limits.message_bytes
    # a frame may hold what the venue sends, however few levels are kept
    spec.levels_max = 2 * max(settings.levels_max or 0, venue.levels_max)
    spec.crossed_max = CROSSED_MAX
    spec.pending_bytes = settings.pending_bytes or PENDING_BYTES
    return spec


def bytes_needed(venue: Venue, settings: FeedSettings, books: int) -> int:
    """Bytes of shared memory that ``books`` books of the venue take."""
    spec, _kept = _segment_spec(venue, settings, books)
    return int(lib.bw_shm_bytes_needed(spec))


def _segment(venue: Venue, settings: FeedSettings, books: int) -> Any:
    """Creates the shared memory."""
    settings.shm_dir.mkdir(parents=True, exist_ok=True)
    spec, _kept = _segment_spec(venue, settings, books)
    error = ffi.new("char[]", 512)
    writer = lib.bw_shm_writer_new(spec, error, len(error))
    if writer == ffi.NULL:
        do = "make room there, choose fewer symbols, or lower levels_max or ring_bytes"
        raise UnavailableError(_text(error), where=str(settings.segment_path), do=do)
    return writer


def _raw_ring(venue: Venue, settings: FeedSettings, writer: Any) -> Any:
    """Creates the ring of raw frames beside the segment."""
    segment, _kept = _segment_spec(venue, settings, 1)
    spec = ffi.new("bw_raw_spec *")
    path, exchange = ffi.new("char[]", str(settings.raw_path).encode()), ffi.new("char[]", venue.id.encode())
    spec.path, spec.exchange, spec.exchange_number = path, exchange, venue.number
    spec.level_capacity, spec.ring_bytes = segment.level_capacity, settings.raw_ring_bytes or 0
    spec.generation = lib.bw_shm_writer_header(writer).generation
    error = ffi.new("char[]", 512)
    ring = lib.bw_raw_writer_new(spec, error, len(error))
    if ring == ffi.NULL:
        lib.bw_shm_writer_close(writer)
        raise UnavailableError(
            _text(error), where=str(settings.raw_path), do="make room there, or record.raw = false"
        )
    return ring


def _segment_spec(venue: Venue, settings: FeedSettings, books: int) -> tuple[Any, Any]:
    """bw_shm_spec with room for every book's expected depth and two full ones, and what it points to."""
    levels = settings.levels_max or venue.levels_max
    chunk = lib.BW_CHUNK_LEVELS
    full = -(-levels // (chunk // 2)) + 1
    expected = -(-min(levels, venue.levels_expected) * 2 // chunk) + 1
    path = ffi.new("char[]", str(settings.segment_path).encode())
    exchange = ffi.new("char[]", venue.id.encode())
    spec = ffi.new("bw_shm_spec *")
    spec.path, spec.exchange, spec.exchange_number = path, exchange, venue.number
    spec.book_capacity, spec.level_capacity = books, levels
    spec.chunk_capacity = 2 * (min(books, 2) * full + max(0, books - 2) * expected)
    spec.ring_bytes = settings.ring_bytes or RING_BYTES
    return spec, (path, exchange)
