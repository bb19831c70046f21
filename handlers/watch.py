"""Looks for silence: of a connection, of a book that should move, of one that never starts.

Once a second, on the asyncio thread. What it finds it does not repair itself: it marks the book STALE
and asks the keeper for a fresh start, a snapshot, or a comparison with the venue's REST book.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from handlers._ffi import lib
from handlers.facts import Instrument, Sync, Venue
from handlers.lines import Line, Phase
from handlers.liveness import Silence, Step, judge, patience_s
from handlers.logs import Log
from handlers.native_feed import BookView, NativeFeed
from handlers.subscriptions import State

STUCK_S = 30.0  # a book that stands subscribed but is not live for so long is started over
ANSWER_S = 4.0  # a connection on which nothing follows a request for so long is dead
DATA_S = 20.0  # the same where only data answers: longer than between two pings of ours
QUIET_START_S = 3.0  # a subscribed book without any message so long is looked into


class Repairs(Protocol):
    """What the keeper does about it."""

    def restart(self, book: int, now: float) -> None: ...

    def settled(self, book: int) -> None: ...

    def quiet_start(self, book: int) -> None: ...

    def compare(self, book: int) -> None: ...


class Watch:
    """``rows`` are the instruments by book."""

    def __init__(
        self, venue: Venue, native: NativeFeed, rows: Sequence[Instrument], repairs: Repairs, log: Log
    ) -> None:
        self._venue = venue
        self._native = native
        self._rows = rows
        self._repairs = repairs
        self._log = log
        self._silences: defaultdict[int, Silence] = defaultdict(Silence)
        self._by_rest = venue.sync is Sync.REST_SNAPSHOT
        self._by_request = venue.snapshot_request is not None
        self._stuck_s = float("inf") if self._by_rest else STUCK_S

    def line(self, line: Line, now: float) -> None:
        """Looks at an open line and its books. ``now`` is the keeper's monotonic clock."""
        if line.phase is not Phase.OPEN:
            return
        now_ns = time.time_ns()
        heard_ns = self._native.connection(line.connection).last_receive_ns
        silent_s = min(now - line.opened_at, (now_ns - heard_ns) / 1e9)
        unanswered_s = line.subscriptions.unanswered_s(now)
        longest_s = ANSWER_S if self._venue.acknowledges else DATA_S
        deaf = unanswered_s > longest_s and silent_s > unanswered_s  # we spoke, and nothing came since
        if deaf or silent_s > self._venue.heartbeat.silence_s:
            line.reconnect("silent connection", at_once=True)
            return
        for symbol, row in line.subscriptions.rows.items():
            if row.state is State.STANDING:
                self._book(line, line.books[symbol], now, now_ns)

    def _book(self, line: Line, book: int, now: float, now_ns: int) -> None:
        view = self._native.book(book)
        stands_s = (now_ns - view.state_since_ns) / 1e9
        if view.state in (lib.BW_BOOK_LIVE, lib.BW_BOOK_STALE):
            if view.state == lib.BW_BOOK_LIVE and stands_s > STUCK_S:
                self._repairs.settled(book)
            self._silence(line, book, view, now, now_ns)
        elif (self._by_rest or self._by_request) and QUIET_START_S < stands_s < self._stuck_s:
            self._repairs.quiet_start(book)
        elif stands_s > STUCK_S:
            self._repairs.restart(book, now)

    def _silence(self, line: Line, book: int, view: BookView, now: float, now_ns: int) -> None:
        patience = patience_s(view.updates, view.cadence_ns / 1e9, self._venue.quiet_floor_s)
        silent_s = (now_ns - view.last_data_ns) / 1e9
        step = judge(self._silences[book], silent_s, patience, now)
        if step is Step.NONE:
            return
        symbol = self._rows[book].canonical
        self._log("silent_book", symbol=symbol, seconds=round(silent_s, 1), step=step.value)
        if step is Step.RECONNECT:
            line.reconnect("silent book", at_once=True)
            return
        self._native.set_state(book, lib.BW_BOOK_STALE, lib.BW_REASON_SILENT)
        if self._by_rest:
            self._repairs.compare(book)
        else:
            self._repairs.restart(book, now)
