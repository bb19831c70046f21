"""A line: one shard of an exchange's symbols and the connection that carries it, never given up.

Sans-I/O towards the network: a line says when it wants to be dialled, and is told what happened.
Commands go to the native loop; time is an argument, seconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Protocol

import orjson

from handlers.backoff import STABLE_S, Backoff
from handlers.facts import Answer, Venue
from handlers.logs import Log
from handlers.subscriptions import State, Subscriptions

CLOSE_NORMAL = 1000
NEAR_END_S = 600.0  # a connection is replaced so long before the venue's forced disconnect


class Commands(Protocol):
    """What a line asks of the native loop."""

    def send(self, connection: int, text: str) -> None: ...

    def drop(self, connection: int, code: int = 0) -> None: ...


class Phase(Enum):
    WAITING = "waiting"  # to be dialled at dial_at
    DIALLING = "dialling"
    OPEN = "open"
    CLOSING = "closing"


class Line:
    """``books`` are native symbol -> book. ``connection`` is the id the native loop knows it by.

    ``permit`` spends one message of what the venue allows the address, or says no.
    """

    def __init__(
        self,
        venue: Venue,
        connection: int,
        books: Mapping[str, int],
        commands: Commands,
        log: Log,
        permit: Callable[[], bool] = lambda: True,
    ) -> None:
        self.venue = venue
        self.connection = connection
        self.books = books
        self.phase = Phase.WAITING
        self.dial_at = 0.0
        self.opened_at = 0.0
        self.subscriptions = Subscriptions.of(venue, books)
        self.backoff = Backoff()
        self.leave_asked = False  # the venue said that it will cut the connection
        self._commands = commands
        self._log = log
        self.permit = permit
        self._pinged_at = 0.0
        self._close_reason = ""

    def dialled(self) -> None:
        self.phase = Phase.DIALLING

    def not_dialled(self, reason: str, now: float) -> None:
        """The attempt ended before the native loop took it (name resolution)."""
        self._retry(reason, now)

    def connected(self, now: float) -> None:
        self.phase = Phase.OPEN
        self.opened_at = self._pinged_at = now
        self.leave_asked = False
        self.subscriptions = Subscriptions.of(self.venue, self.books)
        for text in self.venue.on_connect:
            self._send(text, now)
        say = self._log if self.backoff.failures else self._log.detail  # again: who heard of the end hears it
        say("connected", connection=self.connection, symbols=len(self.books))

    def closed(self, reason: str, now: float, *, retry_s: float = 0.0) -> str:
        """The connection is gone. Returns the reason that counts: ours, where we closed it."""
        reason = self._close_reason or reason
        if self.phase is Phase.OPEN and now - self.opened_at >= STABLE_S:
            self.backoff.reset()
        self._retry(reason, now, retry_s)
        return reason

    def _retry(self, reason: str, now: float, retry_s: float = 0.0) -> None:
        delay = max(retry_s, self.backoff.fail())
        self.phase, self.dial_at = Phase.WAITING, now + delay
        self._close_reason = ""
        self.subscriptions = Subscriptions.of(self.venue, self.books)
        self._log("disconnected", connection=self.connection, reason=reason, retry_s=round(delay, 2))

    def reconnect(self, reason: str, *, at_once: bool = False) -> None:
        """Closes the connection; what follows its CLOSED event is another attempt."""
        if self.phase is Phase.OPEN:
            self.phase, self._close_reason = Phase.CLOSING, reason
            self._commands.drop(self.connection, 0 if at_once else CLOSE_NORMAL)

    def control(self, text: bytes, now: float) -> list[tuple[str, str]]:
        """Takes in a control message; returns (symbol, the venue's words) refused for good."""
        try:
            message = orjson.loads(text)
            said = self.venue.answer(message)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            self._log("answer_not_understood", connection=self.connection, text=_head(text))
            return []
        if said.kind == "leave":
            self.leave_asked = True
        if said.kind in ("leave", "refused") or (said.kind == "other" and said.reason):
            self._log(
                "venue_says", connection=self.connection, kind=said.kind, reason=said.reason or _head(text)
            )
        return self._answered(said, now)

    def _answered(self, said: Answer, now: float) -> list[tuple[str, str]]:
        if said.kind in ("leave", "other"):
            return []
        return [(symbol, said.reason) for symbol in self.subscriptions.answer(said, now)]

    def tick(self, now: float, room: int) -> int:
        """Sends what is due: pings, subscriptions of at most ``room`` symbols. Returns for how many."""
        if self.phase is not Phase.OPEN:
            return 0
        beat = self.venue.heartbeat
        if beat.every_s is not None and beat.text is not None and now - self._pinged_at >= beat.every_s:
            self._pinged_at = now
            self._send(beat.text, now)
        asked = self.subscriptions.requested
        left = room
        while (text := self.subscriptions.take(now, left, self.permit)) is not None:
            self._commands.send(self.connection, text)
            left = room - (self.subscriptions.requested - asked)
        late, exhausted = self.subscriptions.overdue(now)
        if late:
            self._log("unanswered", connection=self.connection, symbols=len(late), first=late[0])
        if exhausted:
            self.reconnect("subscriptions unanswered")
        return self.subscriptions.requested - asked

    def _send(self, text: str, now: float) -> None:
        self.subscriptions.spent(now)
        self.permit()  # counts; what keeps the connection is sent all the same
        self._commands.send(self.connection, text)

    def ending(self, now: float) -> bool:
        """Whether the venue is about to cut the connection, by its rule or by its word."""
        lifetime = self.venue.limits.lifetime_s
        if self.phase is not Phase.OPEN:
            return False
        return self.leave_asked or (lifetime is not None and now - self.opened_at > lifetime - NEAR_END_S)

    @property
    def ready(self) -> bool:
        """Open, and everything asked for stands or was refused."""
        settled = self.subscriptions.count(State.STANDING) + self.subscriptions.count(State.REFUSED)
        return self.phase is Phase.OPEN and settled == len(self.books)


def _head(text: bytes) -> str:
    return text[:120].decode(errors="replace")
