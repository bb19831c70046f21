"""The vocabulary in which a venue file states its facts.

A venue is data: it names where things stand in the exchange's messages, which of the few sync rules
holds, how the checksum is made, what the limits are. ``handlers.plan`` compiles the message part for
the native decoder; ``handlers.feed`` acts on the rest. Paths are dotted keys from the message's root
(``"data.b"``); ``"data[].asks"`` walks every element of the array ``data``, each an update of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Kind(IntEnum):
    """What an instrument is; part of its key, so spot and perpetual never meet."""

    SPOT = 0
    PERPETUAL = 1
    FUTURE = 2


class Sync(IntEnum):
    """Where a book starts from (enum bw_sync_rule)."""

    FEED_SNAPSHOT = 0
    REST_SNAPSHOT = 1
    SNAPSHOTS_ONLY = 2


class Continuity(IntEnum):
    """How one update proves that it follows the last (enum bw_continuity)."""

    NONE = 0
    LINK = 1
    NEXT = 2
    RANGE = 3
    CONNECTION = 4


class Time(IntEnum):
    """How the venue writes its time (enum bw_time_format)."""

    NONE = 0
    S = 1
    MS = 2
    US = 3
    NS = 4
    ISO8601 = 5


@dataclass(frozen=True)
class Levels:
    """Levels at ``path``: tuples (positions are ints) or objects (positions are keys).

    ``side`` is "bids", "asks", or the key or position of a side field whose bid and ask values are
    ``bid`` and ``ask``. ``orders`` is the venue's order count, None where it sends none.
    """

    path: str
    side: str | int
    price: str | int = 0
    quantity: str | int = 1
    orders: str | int | None = None
    bid: str = ""
    ask: str = ""


@dataclass(frozen=True)
class Message:
    """One kind of message: recognised by ``when`` (path -> literal, or None for "present")."""

    kind: str  # "snapshot", "delta", "rest_snapshot", "heartbeat", "control"
    when: Mapping[str, str | None] = field(default_factory=dict)
    symbol: str | None = None
    first: str | None = None
    last: str | None = None
    previous: str | None = None
    time: str | None = None
    checksum: str | None = None
    levels: Sequence[Levels] = ()


@dataclass(frozen=True)
class Checksum:
    """CRC-32 recipe over the best ``levels`` of each side."""

    levels: int
    order: str  # "asks then bids", "interleaved, bid first"
    text: str  # "digits" (scaled integers, no point), "plain" (shortest decimal)
    separator: str = ""
    signed: bool = False


@dataclass(frozen=True)
class Instrument:
    """One row of the venue's own symbol list. Decimals are those of tick and step."""

    native: str
    base: str
    quote: str
    price_decimals: int
    quantity_decimals: int
    kind: Kind = Kind.SPOT

    @property
    def canonical(self) -> str:
        return f"{self.base}-{self.quote}".upper()


@dataclass(frozen=True)
class Limits:
    """What the venue allows one address or connection; the planner and the budget hold to it."""

    subscriptions_per_connection: int
    subscriptions_per_request: int
    requests_per_second: float  # subscribe messages on one connection
    connects_per_minute: float  # connection attempts of one address
    rest_weight_per_minute: int
    rest_weight_snapshot: int = 1
    rest_weight_symbols: int = 1
    request_chars_max: int | None = None  # length of all arguments on one connection
    message_bytes_max: int = 8 << 20
    lifetime_s: int | None = None  # forced disconnect after
    weight_header: str | None = None  # response header that tells the weight used


@dataclass(frozen=True)
class Heartbeat:
    """Who says what to keep the connection: ``text`` is sent every ``every_s`` (None: nothing)."""

    every_s: float | None = None
    text: str | None = None
    silence_s: float = 60.0  # no frame at all for so long: the connection is dead
    text_reply: str = ""  # a whole non-JSON frame that is the answer ("pong")


@dataclass(frozen=True)
class Acknowledgement:
    """What a control message says about subscriptions: which symbols (or request) were taken or refused."""

    request: str | None = None  # our id, echoed
    symbols: tuple[str, ...] = ()  # native symbols
    refused: str | None = None  # the venue's reason


@dataclass(frozen=True)
class Verified:
    """When the facts were last checked, and by what evidence."""

    date: str
    evidence: str


@dataclass(frozen=True)
class Venue:
    """Everything Bookwire knows about one exchange."""

    id: str
    number: int
    name: str
    quote: str
    websocket_url: str
    rest_url: str  # origin of REST requests
    symbols_path: str
    instruments: Callable[[Any], Iterable[Instrument]]  # decoded symbol list -> rows
    subscribe: Callable[[Sequence[str], str], str]  # native symbols, request id -> frame
    unsubscribe: Callable[[Sequence[str], str], str]
    acknowledge: Callable[[Any], Acknowledgement | None]  # decoded control message
    messages: Sequence[Message]
    sync: Sync
    continuity: Continuity
    limits: Limits
    time_format: Time = Time.MS
    checksum: Checksum | None = None
    checksum_state: str = "none"  # "none", "verified", "not sent"
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    on_connect: Sequence[str] = ()  # frames sent once after connecting
    snapshot_path: Callable[[str], str] | None = None  # native symbol -> REST path
    depth: int = 0  # levels a side the venue keeps; 0 = whole book
    client_cuts: bool = False  # the client must cut to depth after every message
    levels_expected: int = 1000  # for sizing
    levels_max: int = 16384
    quiet_floor_s: float = 30.0  # a symbol may be silent so long before it is suspect
    cadence_ms: int = 0
    lifecycle: str = "active"
    verified: Verified = Verified("", "")
