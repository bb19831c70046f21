"""What mends a book: a snapshot, over REST or asked for on its connection, or a fresh subscription.

On the asyncio thread. The native loop and the watch say what a book needs; here it is done once, within
the limits, again after growing delays, and never given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from handlers._ffi import lib
from handlers.backoff import Backoff
from handlers.comparison import Comparison
from handlers.facts import Instrument, Sync, Venue
from handlers.lines import Line
from handlers.logs import Log
from handlers.native_feed import NativeFeed
from handlers.rest import Rest
from handlers.snapshots import Snapshots
from handlers.subscriptions import State

REFUSED_RETRY_S = 300.0
SILENT_TRIES = 3  # fresh subscriptions of a book that never had any data
UNSYNCED_S = 30.0  # so many seconds' worth of snapshots may be under way at once
UNSYNCED_MIN = 20
STARTING = (lib.BW_BOOK_SYNCING, lib.BW_BOOK_RESYNC)


class Lines(Protocol):
    """Who carries what."""

    @property
    def all(self) -> Sequence[Line]: ...

    def of(self, book: int) -> Line: ...


class Repairs:
    """``rows`` are the instruments by book; ``spawn`` runs work in the background."""

    def __init__(
        self,
        venue: Venue,
        native: NativeFeed,
        rest: Rest,
        rows: Sequence[Instrument],
        lines: Lines,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        log: Log,
    ) -> None:
        self.states: list[int] = [lib.BW_BOOK_SYNCING] * len(rows)
        self.refused: dict[int, tuple[str, float]] = {}  # the venue's words, when to ask again
        self.left: set[int] = set()  # books that are not wanted any more
        self._venue = venue
        self._native = native
        self._rows = rows
        self._lines = lines
        self._spawn = spawn
        self._log = log
        self.snapshots: Snapshots | None = None  # over REST
        if venue.sync is Sync.REST_SNAPSHOT:
            self.snapshots = Snapshots(
                rest, venue.snapshots[0], lambda book: rows[book].native, native.load_snapshot, log
            )
        self._comparison = Comparison(venue, rest, native, rows, self, log)
        self._were_live: set[int] = set()
        self._postponed: set[int] = set()  # want a snapshot once they are subscribed
        self._restarts: dict[int, Backoff] = {}
        self._restart_at: dict[int, float] = {}

    # What is told

    def book_state(self, book: int, state: int) -> int:
        """Notes the new state; returns the one before."""
        before, self.states[book] = self.states[book], state
        if state == lib.BW_BOOK_LIVE:
            self._were_live.add(book)
            self.refused.pop(book, None)
            symbol, line = self._rows[book].native, self._lines.of(book)
            line.subscriptions.seen(symbol)
            line.snapshots.stands(symbol)
        return before

    def leave(self, book: int) -> None:
        """The book is not wanted any more: nothing is mended."""
        self.left.add(book)
        self._were_live.discard(book)
        self._postponed.discard(book)
        for kept in (self.refused, self._restarts, self._restart_at):
            kept.pop(book, None)
        if self.snapshots is not None:
            self.snapshots.forget(book)

    def enter(self, book: int) -> None:
        """One more book, or one that had left."""
        self.left.discard(book)
        if book == len(self.states):
            self.states.append(lib.BW_BOOK_SYNCING)

    def snapshot_result(self, book: int, result: int) -> None:
        """Of a snapshot that came, over REST or on the connection: 0 is good."""
        symbol, line = self._rows[book].native, self._lines.of(book)
        if self.snapshots is None:
            if result != 0:
                line.snapshots.again(symbol, time.monotonic())
            elif self.states[book] == lib.BW_BOOK_LIVE:  # else what follows it left a gap
                line.snapshots.stands(symbol)
        elif result == 0:
            self.snapshots.joined(book)
        else:
            self.snapshots.again(book, was_live=book in self._were_live)

    def want_snapshot(self, book: int) -> None:
        """A snapshot helps only where the updates after it will come: not while we resubscribe."""
        if book in self.left or (self.snapshots is None and self._venue.snapshot_request is None):
            return
        line, symbol = self._lines.of(book), self._rows[book].native
        if line.subscriptions.rows[symbol].state not in (State.STANDING, State.REQUESTED):
            self._postponed.add(book)
        elif self.snapshots is not None:
            self.snapshots.want(book, was_live=book in self._were_live)
        else:
            line.snapshots.want(symbol, time.monotonic())

    def restart(self, book: int, now: float) -> None:
        """A fresh subscription for the book: at once, or after a growing delay if that did not help.

        Some venues acknowledge what they do not know and send nothing: after a few tries that is a refusal.
        """
        if book in self._restart_at or book in self.left:
            return
        backoff = self._restarts.setdefault(book, Backoff())
        if backoff.failures >= SILENT_TRIES and book not in self._were_live:
            del self._restarts[book]
            self._lines.of(book).subscriptions.give_up(self._rows[book].native)
            self.refuse(book, "acknowledged, but nothing came", now)
            return
        delay = backoff.fail() if backoff.failures else 0.0
        backoff.failures = max(1, backoff.failures)
        self._restart_at[book] = now + delay
        self._restart_due(now)

    def settled(self, book: int) -> None:
        """The book held: its next trouble starts with short delays again."""
        self._restarts.pop(book, None)

    def refuse(self, book: int, words: str, now: float) -> None:
        self.refused[book] = (words, now + REFUSED_RETRY_S)
        self._native.set_state(book, lib.BW_BOOK_DOWN, lib.BW_REASON_REFUSED)
        self._log("subscription_refused", symbol=self._rows[book].native, reason=words)

    def compare(self, book: int) -> None:
        """A silent book against the venue's REST book, in the background."""
        self._spawn(self._comparison.silent(book))

    def quiet_start(self, book: int) -> None:
        """A subscribed book without a message: is the market quiet, or the subscription dead?"""
        if self.snapshots is not None and not self.snapshots.waits(book):
            self._spawn(self._comparison.quiet_start(book))
        elif self._venue.snapshot_request is not None:
            line, symbol = self._lines.of(book), self._rows[book].native
            if not line.snapshots.waits(symbol):
                line.snapshots.want(symbol, time.monotonic())

    def awaits_start(self, book: int) -> bool:
        """Whether the book has no levels and no snapshot is on its way."""
        starting = self.states[book] in STARTING and book not in self.left
        return starting and self.snapshots is not None and not self.snapshots.waits(book)

    # Time passing

    def tick(self, now: float) -> None:
        self._restart_due(now)
        for book in self._postponed & self._standing() if self._postponed else ():
            self._postponed.discard(book)
            self.want_snapshot(book)

    def _restart_due(self, now: float) -> None:
        for book in [book for book, at in self._restart_at.items() if at <= now]:
            del self._restart_at[book]
            self._lines.of(book).resubscribe(self._rows[book].native)
            if self._venue.snapshot_request is not None:
                self._postponed.add(book)

    def ask_refused_again(self, now: float) -> None:
        for book, (words, at) in self.refused.items():
            if at <= now:
                self.refused[book] = (words, now + REFUSED_RETRY_S)
                self._lines.of(book).subscriptions.resubscribe(self._rows[book].native)

    def _standing(self) -> set[int]:
        """Books whose subscription stands."""
        return {
            line.books[symbol]
            for line in self._lines.all
            for symbol, row in line.subscriptions.rows.items()
            if row.state is State.STANDING
        }

    def room(self) -> int:
        """How many more symbols may be subscribed now: deltas of books without snapshot take memory."""
        if self.snapshots is None:
            return 1 << 30
        rate, how = self._venue.limits.rest, self._venue.snapshots[0]
        most = max(UNSYNCED_MIN, int(rate.count / rate.per_s * UNSYNCED_S / how.weight))
        asked = (State.REQUESTED, State.STANDING)
        under_way: int = sum(
            row.state in asked and self.states[line.books[symbol]] != lib.BW_BOOK_LIVE
            for line in self._lines.all
            for symbol, row in line.subscriptions.rows.items()
        )
        return most - under_way

    async def run(self) -> None:
        """Fetches REST snapshots until cancelled, where the venue needs them."""
        if self.snapshots is not None:
            await self.snapshots.run()
