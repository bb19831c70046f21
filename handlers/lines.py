"""A line: one shard of an exchange's symbols and the connection that carries it, never given up.

Sans-I/O towards the network: a line says when it wants to be dialled, and is told what happened.
Commands go to the native loop; time is an argument, seconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

import orjson

from handlers.backoff import STABLE_S, Backoff
from handlers.facts import WEBSOCKET_PING, Answer, Venue
from handlers.logs import Log
from handlers.requested import Requested
from handlers.subscriptions import State, Subscriptions

CLOSE_NORMAL = 1000
NEAR_END_S = 600.0  # a connection is replaced so long before the venue's forced disconnect
WELCOME_S = 10.0  # a welcome message takes no longer


class Commands(Protocol):
    """What a line asks of the native loop."""

    def send(self, connection: int, text: str) -> None: ...

    def ping(self, connection: int) -> None: ...

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
        books: dict[str, int],
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
        self.snapshots = Requested(venue.limits.snapshot_requests)
        self.backoff = Backoff()
        self.leave_asked = False  # the venue said that it will cut the connection
        self._commands = commands
        self._log = log
        self.permit = permit
        self._pinged_at = 0.0
        self._pings = 0
        self._beat_s = venue.heartbeat.every_s
        self._greeted = False  # what is sent on connecting was sent
        self._welcome = False  # subscriptions may be sent
        self._close_reason = ""

    def dialled(self) -> None:
        self.phase = Phase.DIALLING

    def not_dialled(self, reason: str, now: float, *, retry_s: float = 0.0) -> None:
        """The attempt ended before the native loop took it (name resolution, token)."""
        self._retry(reason, now, retry_s)

    def connected(self, now: float) -> None:
        self.phase = Phase.OPEN
        self.opened_at = self._pinged_at = now
        self.leave_asked = self._greeted = False
        self._welcome = not self.venue.welcome
        self._start_over()
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
        self._start_over()
        self._log("disconnected", connection=self.connection, reason=reason, retry_s=round(delay, 2))

    def _start_over(self) -> None:
        self.subscriptions = Subscriptions.of(self.venue, self.books)
        self.snapshots = Requested(self.venue.limits.snapshot_requests)

    def leave(self, symbol: str) -> None:
        """The symbol is not wanted any more; no harm where it is none of this line's."""
        self.books.pop(symbol, None)
        self.subscriptions.leave(symbol)
        self.snapshots.stands(symbol)

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
        if said.kind == "reply" and self.phase is Phase.OPEN:
            self._send(said.text, now)
        elif said.kind == "welcome":
            self._welcome = True
            self._beat_s = said.every_s or self._beat_s
        if said.kind in ("leave", "other", "reply", "welcome"):
            return []
        return [(symbol, said.reason) for symbol in self.subscriptions.answer(said, now)]

    def resubscribe(self, symbol: str) -> None:
        """A fresh start of the symbol, as the venue allows it."""
        if self.venue.resubscribe == "reconnect":
            self.reconnect("fresh start")
        else:
            self.subscriptions.resubscribe(symbol)

    def tick(self, now: float, room: int) -> int:
        """Sends what is due: pings, subscriptions of at most ``room`` symbols. Returns for how many."""
        if self.phase is not Phase.OPEN or now - self.opened_at < self.venue.settle_s:
            return 0
        if not self._greeted:
            self._greeted = True
            for first in self.venue.on_connect:
                self._send(first, now)
        if not self._welcome:
            if now - self.opened_at > WELCOME_S:
                self.reconnect("no welcome")
            return 0
        self._beat(now)
        asked = self.subscriptions.requested
        left = room
        while (text := self.subscriptions.take(now, left, self.permit)) is not None:
            self._commands.send(self.connection, text)
            left = room - (self.subscriptions.requested - asked)
        self._ask_snapshots(now)
        late, exhausted = self.subscriptions.overdue(now)
        if late:
            self._log("unanswered", connection=self.connection, symbols=len(late), first=late[0])
        if exhausted:
            self.reconnect("subscriptions unanswered")
        return self.subscriptions.requested - asked

    def _beat(self, now: float) -> None:
        text = self.venue.heartbeat.text
        if self._beat_s is None or text is None or now - self._pinged_at < self._beat_s:
            return
        self._pinged_at = now
        self._pings += 1
        if text == WEBSOCKET_PING:
            self._commands.ping(self.connection)
        else:
            self._send(text if isinstance(text, str) else text(self._pings), now)

    def _ask_snapshots(self, now: float) -> None:
        request = self.venue.snapshot_request
        while request is not None and self.subscriptions.allows(now):
            native = self.snapshots.take(now)
            if native is None:
                return
            self._send(request(native, self.snapshots.sent), now)

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
