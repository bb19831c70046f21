"""The vocabulary in which a venue file states its facts.

A venue is data: it names where things stand in the exchange's messages, which of the few sync rules
holds, how the checksum is made, what the limits are. ``handlers.plan`` compiles the message part for
the native decoder; ``handlers.feed`` acts on the rest. Paths are dotted keys from the message's root
(``"data.b"``); ``"data[].asks"`` walks every element of the array ``data``, each an update of its own;
``"data[0].asks"`` takes the one at a position, and ``"[1]"`` that of a message which is itself an array.
Durations are seconds, counts are plain numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from typing import Any, Literal


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
    REQUESTED_SNAPSHOT = 3  # on the same socket, as the answer to a request; updates are held until then


class Continuity(IntEnum):
    """How one update proves that it follows the last (enum bw_continuity in plan.h has the exact rules).

    LINK: ``previous`` is the last one's ``last``. NEXT: ``last`` is one more. RANGE: ``first`` is one
    more. CONNECTION: ``last`` counts all messages of the connection. OVERLAP: ``first`` is at most the
    last one's ``last``, which is below the new ``last``. COVERS: ``first`` at most one more. RISES:
    ``last`` is larger, by whatever step: no loss can be seen. JUMPS: NEXT, but larger steps are taken
    and counted. What follows by the rule, but not exactly, counts in the book's ``jumps``.
    """

    NONE = 0
    LINK = 1
    NEXT = 2
    RANGE = 3
    CONNECTION = 4
    OVERLAP = 5
    COVERS = 6
    RISES = 7
    JUMPS = 8


class Time(IntEnum):
    """How the venue writes its time (enum bw_time_format)."""

    NONE = 0
    S = 1
    MS = 2
    US = 3
    NS = 4
    ISO8601 = 5
    BY_SIZE = 6  # a whole number whose size tells its unit: S, MS, US or NS


class Form(IntEnum):
    """What a JSON value looks like (enum bw_form)."""

    OBJECT = 0
    ROWS = 1  # an array of arrays or objects, or an empty one
    ROW = 2  # an array that begins with a plain value
    TEXT = 3
    BARE = 4  # a number, true, false, null


@dataclass(frozen=True)
class Same:
    """A condition: the value is, letter by letter, that at ``path``."""

    path: str


Condition = str | Form | Same | None


@dataclass(frozen=True)
class Levels:
    """Levels at ``path``: tuples (positions are ints) or objects (positions are keys).

    ``side`` is "bids", "asks", "sign" (the quantity's: positive is a bid), or the key or position of a
    side field whose bid and ask values are ``bid`` and ``ask``. ``orders`` is the venue's order count,
    None where it sends none; with ``orders_delete`` a count of 0 removes the level whatever its
    quantity. Objects have string positions, tuples ints; the two are not mixed. ``forms`` says what may
    stand there besides rows: ROW is one level alone, OBJECT a ``{"price": "quantity"}``.
    """

    path: str
    side: str | int
    price: str | int = 0
    quantity: str | int = 1
    orders: str | int | None = None
    bid: str = ""
    ask: str = ""
    orders_delete: bool = False
    forms: Sequence[Form] = (Form.ROWS,)


@dataclass(frozen=True)
class Pairs:
    """A list at ``path`` of objects that hold a bid and an ask each; a price of 0 stands for none."""

    path: str
    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str


@dataclass(frozen=True)
class OneLevel:
    """A message that is itself one level: paths of its fields, and what the side field says."""

    price: str
    quantity: str
    side: str
    bid: str
    ask: str


@dataclass(frozen=True)
class Message:
    """One kind of message: recognised by ``when``, path -> what must stand there.

    That is a literal (of text, number, true, false or null), ``Same`` (what stands at another path), a
    ``Form``, or None for "something". The first message whose conditions hold counts, so the order in
    which a venue lists them matters; it may list several of one kind. The other fields are paths:
    ``first``, ``last``, ``previous`` of the venue's update ids, ``time``, ``checksum``, ``symbol`` (what
    ``Venue.topic`` makes of a native symbol); None where the message has none. A "checksum" message is
    about the book as all messages before it left it. ``binds`` of a "control" message that has a
    ``symbol``: the id there names that book in the ``symbol`` of this connection's data messages.
    """

    kind: Literal["snapshot", "delta", "rest_snapshot", "checksum", "heartbeat", "control"]
    when: Mapping[str, Condition] = field(default_factory=dict)
    symbol: str | None = None
    first: str | None = None
    last: str | None = None
    previous: str | None = None
    time: str | None = None
    checksum: str | None = None
    binds: str | None = None
    levels: Sequence[Levels | Pairs] = ()
    level: OneLevel | None = None


@dataclass(frozen=True)
class Checksum:
    """CRC-32 recipe over the best ``levels`` of each side.

    ``text``: "digits" are scaled integers without a point; "plain" is the shortest decimal; "received"
    keeps the zeros that the venue pads a book's numbers with; "javascript" is plain down to 1e-6 and
    has an exponent below. A checksum of 0 is none, unless the book is empty.
    """

    levels: int
    order: Literal["asks then bids", "bids then asks", "interleaved, bid first"]
    text: Literal["digits", "plain", "received", "javascript"]
    separator: str = ""
    signed: bool = False
    negative_asks: bool = False  # quantities of asks have a minus sign


@dataclass(frozen=True)
class Instrument:
    """One row of the venue's own symbol list. Decimals are those of tick and step.

    ``alias_of`` names the native symbol whose book this one is; such a row has no book of its own.
    Where messages hold scaled integers, ``price_scale`` and ``quantity_scale`` are their decimals.
    ``inverse``: settled in the base coin, quantities count the quote (deribit's ``BTC-PERPETUAL``).
    """

    native: str
    base: str
    quote: str
    price_decimals: int
    quantity_decimals: int
    kind: Kind = Kind.SPOT
    alias_of: str = ""
    price_scale: int = 0
    quantity_scale: int = 0
    inverse: bool = False

    @property
    def canonical(self) -> str:
        """``BTC-USDT`` is spot; ``BTC-USDT-PERPETUAL`` linear, ``BTC-PERPETUAL`` inverse."""
        pair = self.base if self.inverse else f"{self.base}-{self.quote}"
        return (pair if self.kind is Kind.SPOT else f"{pair}-{self.kind.name}").upper()


@dataclass(frozen=True)
class Rate:
    """At most ``count`` in any ``per_s`` seconds."""

    count: int
    per_s: float


@dataclass(frozen=True)
class RestSnapshot:
    """A way to fetch a book over REST: ``path`` of a native symbol, levels a side, what it costs."""

    path: Callable[[str], str]
    levels: int
    weight: int = 1


@dataclass(frozen=True)
class Limits:
    """What the venue allows one address or connection; the planner and the budget hold to it."""

    subscriptions_per_connection: int
    subscriptions_per_request: int
    requests: Rate  # messages we send on one connection
    connects: Rate  # connection attempts of one address
    rest: Rate  # REST weight of one address
    address_requests: Rate | None = None  # messages of one address, all its connections together
    operations: Rate | None = None  # subscribe and unsubscribe requests on one connection
    snapshot_requests: Rate | None = None  # requests for a snapshot on one connection
    connections: int | None = None  # of one address at a time
    symbols_weight: int = 1
    request_chars: int | None = None  # of all symbols' arguments on one connection
    argument_chars: int = 0  # of one argument around its symbol
    message_bytes: int = 8 << 20
    lifetime_s: float | None = None  # forced disconnect after
    weight_header: str | None = None  # response header that tells the weight used


WEBSOCKET_PING = "websocket ping"  # a Heartbeat.text that is a ping frame, not a message


@dataclass(frozen=True)
class Heartbeat:
    """Who says what to keep the connection: ``text`` is sent every ``every_s`` (None: nothing).

    ``text`` may be made of a number that counts up, where pings carry an id, or be WEBSOCKET_PING. What
    the server asks and we answer is no heartbeat of ours: see ``Answer``'s "reply".
    """

    every_s: float | None = None
    text: str | Callable[[int], str] | None = None
    silence_s: float = 60.0  # no frame at all for so long: the connection is dead
    text_reply: str = ""  # a whole non-JSON frame that is the answer ("pong")


@dataclass(frozen=True)
class Answer:
    """What a control message says.

    "taken" and "refused": about ``symbols``, or about ``request`` where the venue answers requests, or
    (neither given) about the oldest request that waits; "unsubscribed": a request to unsubscribe was
    taken, where the venue says so. "current": ``symbols`` are all that stand on the connection; "listed":
    ``symbols`` are all that ``request`` got, the others of it are refused without a word. "welcome": the
    connection may be used, pings are due ``every_s``. "reply": ``text`` must be sent back at once.
    "leave": the venue will cut this connection soon. "other": nothing to do.
    """

    kind: Literal[
        "taken", "unsubscribed", "refused", "current", "listed", "welcome", "reply", "leave", "other"
    ]
    symbols: tuple[str, ...] = ()  # native
    request: str | None = None  # our id, echoed
    reason: str = ""  # the venue's own words
    text: str = ""
    every_s: float | None = None


@dataclass(frozen=True)
class Token:
    """Where connections need a token: a POST to ``path`` of the REST origin before each of them.

    ``url`` makes the WebSocket address of the decoded answer. Where settings name another address than
    the venue's, only the answer's query is added to it.
    """

    path: str
    url: Callable[[Any], str]
    weight: int = 1


@dataclass(frozen=True)
class Lifecycle:
    """Whether the venue still serves. Only an "active" one is dialled without being asked for by name."""

    state: Literal["active", "doubtful", "ceased"] = "active"
    date: str = ""  # of the state, as precisely as known: 2026-09
    source: str = ""


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
    instruments: Callable[[Any], Iterable[Instrument]]  # decoded symbol list -> tradable rows
    subscribe: Callable[[Sequence[str], int], str]  # native symbols, request id -> frame
    unsubscribe: Callable[[Sequence[str], int], str] | None  # None: the venue knows no such request
    answer: Callable[[Any], Answer]  # a decoded control message
    messages: Sequence[Message]
    sync: Sync
    continuity: Continuity
    limits: Limits
    time_format: Time = Time.MS
    checksum: Checksum | None = None
    checksum_state: Literal["none", "verified", "not sent"] = "none"
    topic: Callable[[str], str] = lambda native: native  # how messages name a native symbol's book
    straddle: bool = False  # the first update may begin before the feed's snapshot and end behind it (LINK)
    audit: bool = False  # the feed's snapshot comes again and again: the book is compared with it
    protobuf: Mapping[str, int] = field(default_factory=dict)  # binary frames: path -> field number
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    frames: Literal["plain", "gzip", "deflate", "protobuf"] = "plain"  # what a binary frame holds
    token: Token | None = None
    welcome: bool = False  # nothing is subscribed before the venue's welcome message
    settle_s: float = 0.0  # nothing is sent so soon after connecting
    on_connect: Sequence[str] = ()  # frames sent once after connecting
    acknowledges: bool = True  # False: no answer to a subscription but its data
    whole_set: bool = False  # a subscribe frame names all symbols of the connection and replaces what stood
    resubscribe: Literal["unsubscribe", "again", "reconnect"] = "unsubscribe"  # how a book starts afresh
    snapshot_request: Callable[[str, int], str] | None = None  # native symbol, request id -> frame
    snapshot_levels: int = 0  # a side, where the connection's snapshot is cut: what lies beyond is unverified
    snapshots: Sequence[RestSnapshot] = ()  # deepest first; the feed takes the deepest it can afford
    depth: int = 0  # levels a side the venue keeps; 0 = whole book
    client_cuts: bool = False  # the client must cut to depth after every message
    levels_expected: int = 1000  # a side, for sizing
    levels_max: int = 16384  # a side; worst levels leave first
    quiet_floor_s: float = 30.0  # a symbol may be silent so long before it is suspect
    cadence_ms: int = 0  # how often the venue sends one book's changes; 0 = at once
    lifecycle: Lifecycle = Lifecycle()
    verified: Verified = Verified("", "")


def decimals(increment: str | float) -> int:
    """Decimals of a tick or step: "0.01000000" -> 2, "1e-08" -> 8, "5" -> 0."""
    exponent = Decimal(str(increment)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
