"""What all simulated exchanges share: topics, snapshots, sending, and how faults reach the wire.

An exchange is a subclass in `exchanges/`: it turns texts of clients into answers and changes of books into
messages. It does no I/O of its own: it is handed connections, texts, queries and the time.
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import orjson

from .book import ASK, BID, Change
from .connection import Connection, Topic, text_frame
from .faults import FaultBoard, Marks
from .flow import Flow
from .instruments import Instrument
from .views import View, Views

Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Route = Callable[[Query], Reply]
Later = Callable[[float, Callable[[], None]], object]


def json_reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """An HTTP answer in JSON."""
    return Reply(orjson.dumps(value), status, headers or {})


Batch = list[tuple[Topic, bytes]]


class Clock:
    """The exchange's idea of the time, which a fault can make jump."""

    def __init__(self) -> None:
        self.offset_ns = 0

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns() + self.offset_ns

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return self.now_ns() // 1_000_000

    def iso(self, digits: int = 6) -> str:
        """ISO 8601 in UTC with that many digits of the second."""
        now = self.now_ns()
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000))
        return f"{whole}.{now % 1_000_000_000:09d}"[: 20 + digits] + "Z"


class SimulatedBook:
    """A symbol's flow with the number of updates made so far."""

    __slots__ = ("flow", "instrument", "name", "state", "symbol", "updates", "views")

    def __init__(self, flow: Flow, name: str) -> None:
        self.flow = flow
        self.instrument: Instrument = flow.instrument
        self.symbol = flow.instrument.symbol
        self.name = name
        self.updates = 0
        self.state: Any = None  # the protocol's own ids and windows
        self.views = Views(flow.book)


class Exchange(ABC):
    """Base of the protocols."""

    id: ClassVar[str]
    default_quote: ClassVar[str] = "USDT"
    kinds: ClassVar[frozenset[str]] = frozenset({"spot"})
    """Kinds of instruments it lists: spot, linear, inverse."""
    websocket_path: ClassVar[str]
    numbered: ClassVar[bool] = False
    """Each connection counts its messages, so a message cannot be shared between connections."""
    has_checksum: ClassVar[bool] = False
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """What can be played in several ways, such as generations of messages: name to values, usual first."""
    ping_seconds: ClassVar[float | None] = None
    pong_seconds: ClassVar[float] = 60.0
    answers_pings: ClassVar[bool] = True
    """Does it answer the ping frames of clients?"""
    connections_max: ClassVar[int | None] = None
    """Connections of one address; one more is answered with status 429."""
    snapshot_seconds: float = 0.0
    """How long after a subscription its first message comes."""

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        self.clock = Clock()
        self.faults = FaultBoard()
        self.limits = limits
        self.random = random.Random(f"{seed}:{self.id}")
        self.books: dict[str, SimulatedBook] = {}
        self.by_name: dict[str, SimulatedBook] = {}
        self.topics: dict[Topic, dict[int, Connection]] = {}
        self.muted: set[tuple[int, Topic]] = set()
        self.chosen = {name: values[0] for name, values in self.options.items()}
        self.repeated: dict[Topic, float] = {}
        self.address = ""  # host:port, once it listens
        self.later: Later = lambda seconds, act: None  # set by the host
        for flow in flows:
            book = SimulatedBook(flow, self.native(flow.instrument))
            self.books[book.symbol] = self.by_name[book.name] = book
            self.prepare(book)

    @classmethod
    def adapt(cls, instrument: Instrument) -> Instrument:
        """The instrument with this exchange's decimals."""
        return instrument

    def choose(self, name: str, value: str) -> None:
        """Play an option in another way than the usual. Raises ValueError for what does not exist."""
        if value not in self.options.get(name, ()):
            offered = [f"{self.id}.{each}={'|'.join(values)}" for each, values in self.options.items()]
            raise ValueError(
                f"{self.id} has no option {name}={value}; there are: {', '.join(offered) or 'none'}"
            )
        self.chosen[name] = value

    # --- what a protocol supplies

    @abstractmethod
    def native(self, instrument: Instrument) -> str:
        """The exchange's name of a pair."""

    @abstractmethod
    def prepare(self, book: SimulatedBook) -> None:
        """Set `book.state`, the protocol's own ids and windows."""

    @abstractmethod
    def accepts(self, path: str) -> bool:
        """Is there a WebSocket at this path?"""

    @abstractmethod
    def routes(self) -> dict[str, Route]:
        """REST: GET path -> handler of its query. ``"POST /path"`` is a path that is posted to."""

    def route(self, path: str) -> Route | None:
        """REST: the handler of a path that carries arguments of its own, such as ``/book/BTCUSD/P0``."""
        return None

    @abstractmethod
    def on_text(self, connection: Connection, text: str) -> None:
        """A text message came."""

    @abstractmethod
    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        """Move the protocol's state past an update; messages for the topics that have subscribers."""

    @abstractmethod
    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        """The ids a client would know the current book by."""

    @abstractmethod
    def rest_error(self, status: int) -> bytes:
        """The body of a refusal over HTTP."""

    # --- what it may supply: these do nothing where an exchange has no such thing

    def admit(self, headers: Mapping[str, str]) -> Reply | None:
        """May a client that sends these headers connect now? The answer that refuses it, or None."""
        return None

    def on_open(self, connection: Connection, query: Query) -> None:  # noqa: B027
        """A connection was accepted."""

    def snapshot(self, topic: Topic) -> bytes | None:
        """The first message of a subscription, where the exchange sends one over the WebSocket."""
        return None

    def second(self, connections: Iterable[Connection], now: float) -> None:  # noqa: B027
        """Called each second: heartbeats, idle cuts, slow streams."""

    def notice(self, connection: Connection) -> None:  # noqa: B027
        """Announce that the server will close soon, where the exchange does so."""

    def restart(self, book: SimulatedBook) -> None:  # noqa: B027
        """The exchange's service restarted: ids begin anew where the exchange does that."""

    def data_frame(self, payload: bytes) -> bytes:
        """The frame that carries a message: text, unless the exchange sends binary or compressed ones."""
        return text_frame(payload)

    def frame_for(self, connection: Connection, payload: bytes) -> bytes:
        """The frame for this client, where clients of several generations are framed differently."""
        return self.data_frame(payload)

    def number(self, connection: Connection, payload: bytes) -> bytes:
        """Put the connection's message number into a payload (only for `numbered` exchanges)."""
        return payload

    def skip(self, connection: Connection, count: int) -> None:  # noqa: B027
        """Messages were lost that the client must be able to notice (only for `numbered` exchanges)."""

    # --- subscriptions

    def has_readers(self, symbol: str) -> bool:
        """Is anybody subscribed to the symbol?"""
        return any(topic.symbol == symbol and readers for topic, readers in self.topics.items())

    def subscribe(self, connection: Connection, topic: Topic, *, snapshot: bool = True) -> None:
        """Add a topic and send its snapshot (later, when the symbol is silent)."""
        self.topics.setdefault(topic, {})[connection.number] = connection
        connection.topics[topic] = None
        self.muted.discard((connection.number, topic))
        connection.lost.pop(topic, None)
        if not snapshot:
            return
        if self.snapshot_seconds > 0:
            connection.waiting.add(topic)
            connection.early.add(topic)
            self.later(self.snapshot_seconds, partial(self._first, connection, topic))
        elif topic.symbol and self.silent(topic.symbol):
            connection.waiting.add(topic)
        else:
            self._send_snapshot(connection, topic)

    def _first(self, connection: Connection, topic: Topic) -> None:
        """The time for a subscription's first message has come."""
        if topic in connection.early:
            connection.early.discard(topic)
            if not (topic.symbol and self.silent(topic.symbol)):
                connection.waiting.discard(topic)
                self._send_snapshot(connection, topic)

    def unsubscribe(self, connection: Connection, topic: Topic) -> bool:
        """Remove a topic; False when it was not there."""
        if topic not in connection.topics:
            return False
        del connection.topics[topic]
        connection.waiting.discard(topic)
        connection.early.discard(topic)
        self.muted.discard((connection.number, topic))
        self.topics[topic].pop(connection.number, None)
        if not self.topics[topic]:
            del self.topics[topic]
        return True

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        for topic in list(connection.topics):
            self.unsubscribe(connection, topic)

    def refused(self, symbol: str) -> bool:
        """Does a fault refuse subscriptions to this symbol now?"""
        return self.faults.take("refuse_subscription", symbol, time.monotonic()) is not None

    # --- sending

    def say(self, connection: Connection, payload: str | bytes) -> None:
        """Send a message outside the update flow."""
        raw = payload.encode() if isinstance(payload, str) else payload
        connection.send(self.frame_for(connection, self.number(connection, raw)))

    def _send_snapshot(self, connection: Connection, topic: Topic) -> None:
        payload = self.snapshot(topic)
        if payload is not None:
            self.say(connection, payload)

    def publish(self, topic: Topic, payload: bytes) -> None:
        """Send all readers of a topic a message that no update caused."""
        for connection, raw in self.frames([(topic, payload)]):
            connection.send(raw)

    def repeat_books(self, now: float, seconds: float) -> None:
        """Send the whole book of each topic again after so many seconds; call it from `second`."""
        due = {topic: self.repeated.get(topic, now) for topic in self.topics if topic.symbol}
        for topic, since in due.items():
            payload = self.snapshot(topic) if now - since >= seconds else None
            if payload is not None:
                due[topic] = now
                self.publish(topic, payload)
        self.repeated = due

    def silent(self, symbol: str) -> bool:
        """Is the symbol under a silence that only `resume` ends?"""
        fault = self.faults.find("silence", symbol, time.monotonic())
        return fault is not None and fault.options.get("until") != "resubscribe"

    def mute(self, symbol: str | None) -> None:
        """Let the present subscriptions die silently; new ones live."""
        for topic, readers in self.topics.items():
            if topic.symbol and symbol in (None, topic.symbol):
                self.muted.update((number, topic) for number in readers)

    def unmute(self, symbol: str | None) -> None:
        """End silences: snapshots that were held back go out, the rest goes on with what it lost missing."""
        if symbol is None:
            self.muted.clear()
        else:
            self.muted = {each for each in self.muted if each[1].symbol != symbol}
        for topic, readers in list(self.topics.items()):
            if symbol not in (None, topic.symbol) or (topic.symbol and self.silent(topic.symbol)):
                continue
            for connection in list(readers.values()):
                if topic in connection.waiting and topic not in connection.early:
                    connection.waiting.discard(topic)
                    self._send_snapshot(connection, topic)

    def frames(self, batch: Batch) -> list[tuple[Connection, bytes]]:
        """Render a batch: one frame for all readers of a topic, or one each where messages are numbered."""
        out: list[tuple[Connection, bytes]] = []
        for topic, payload in batch:
            readers = self.topics.get(topic)
            if not readers:
                continue
            shared = b"" if self.numbered else self.frame_for(next(iter(readers.values())), payload)
            quiet = self.silent(topic.symbol) if self.faults.armed else False
            for connection in readers.values():
                if topic in connection.early:
                    continue
                if quiet or (connection.number, topic) in self.muted:
                    if topic not in connection.waiting:
                        connection.lost[topic] = connection.lost.get(topic, 0) + 1
                    continue
                if topic in connection.lost:
                    self.skip(connection, connection.lost.pop(topic))
                if topic in connection.waiting:
                    # the silence ended by itself: the snapshot holds this update already
                    connection.waiting.discard(topic)
                    raw = self.frame_for(connection, self.number(connection, self.snapshot(topic) or payload))
                else:
                    own = self.numbered
                    raw = self.frame_for(connection, self.number(connection, payload)) if own else shared
                out.append((connection, raw))
        return out

    def crossing(self, book: SimulatedBook) -> Change:
        """A bid above the best ask that the true book does not hold."""
        asks = book.flow.book.asks
        price = asks.best() + book.instrument.tick
        return Change(BID, price, asks.levels[asks.best()][0] + 1, 1, 0)

    def top(self, book: SimulatedBook, depth: int | None = None) -> list[Change]:
        """The best levels (all when no depth is given) of both sides as changes, bids first."""
        return [
            Change(number, *row, 0)
            for number in (BID, ASK)
            for row in book.flow.book.sides[number].top(depth)
        ]

    def tells_leaving(self, topic: Topic) -> bool:
        """Does the exchange delete a level that leaves this topic's window, or must the client cut?"""
        return True

    def view(self, book: SimulatedBook, topic: Topic, last: int) -> View:
        """What the readers of a topic with a depth see; if nobody looked until now, they stand at `last`."""
        return book.views.open(topic, topic.depth, last, tell_leaving=self.tells_leaving(topic))

    def shifted(
        self, book: SimulatedBook, changes: list[Change], last: int
    ) -> list[tuple[Topic, View, list[Change]]]:
        """Move the views of a book past an update; what the readers of each must be told.

        A topic whose first message is held back gets its view now, standing at `last`.
        """
        shown = list(book.views.shift(changes, self.topics))
        for topic in self.topics:
            if topic.depth and topic.symbol == book.symbol:
                self.view(book, topic, last)
        return shown

    def split(self, changes: list[Change]) -> tuple[list[Change], list[Change]]:
        """Bids and asks of a list of changes."""
        return [each for each in changes if each.side == BID], [each for each in changes if each.side == ASK]
