"""What a client tells besides the books: connections lost and made, notices, errors, heartbeats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bookwire_client.arb import Arb
from bookwire_client.book import Book


@dataclass(frozen=True)
class Connected:
    """A connection stands; everything subscribed is asked for again on it."""

    attempt: int  # 1 for the first


@dataclass(frozen=True)
class Disconnected:
    """The connection ended: no book is ``live`` until it is back. ``retry_in_s`` None: closed for good."""

    reason: str
    code: int  # WebSocket close code, 1006 where none was received, 0 where no connection came about
    retry_in_s: float | None


@dataclass(frozen=True)
class ReconnectNotice:
    """The gateway is about to stop; the client reconnects by itself."""

    reason: str
    deadline_ms: int


@dataclass(frozen=True)
class BookChanged:
    """``book`` holds the message already. ``kind`` is ``snapshot`` or ``delta``."""

    book: Book[Any]
    kind: str
    message: dict[str, Any]


@dataclass(frozen=True)
class ArbChanged:
    """``arb`` holds the rows of the message already."""

    arb: Arb
    message: dict[str, Any]


@dataclass(frozen=True)
class StatusChanged:
    """A message of the ``status`` channel."""

    message: dict[str, Any]


@dataclass(frozen=True)
class Heartbeat:
    channel: str
    ts: int  # ms since the epoch


@dataclass(frozen=True)
class Refused:
    """The gateway answered a request with an error; codes are in docs/gateway.md."""

    code: int
    msg: str
    channel: str | None
    fatal: bool


@dataclass(frozen=True)
class EventsDropped:
    """This iterator was too slow and lost so many events; the books are right all the same."""

    count: int


@dataclass(frozen=True)
class Message:
    """Anything else, as it came: types that did not exist when this client was written."""

    message: dict[str, Any]


Event = (
    Connected
    | Disconnected
    | ReconnectNotice
    | BookChanged
    | ArbChanged
    | StatusChanged
    | Heartbeat
    | Refused
    | EventsDropped
    | Message
)


class RefusedError(Exception):
    """A request was answered with an error."""

    def __init__(self, refused: Refused) -> None:
        self.code = refused.code
        self.channel = refused.channel
        super().__init__(f"{refused.msg} (code {refused.code}, {refused.channel or 'no channel'})")
