"""Connections replaced before the exchange cuts them: connect, overlap, switch, close.

One heir at a time, so that what ends together (all connections of a start, a day later) does not begin
together again. Where updates carry ids that prove what is old, and where snapshots are asked for, the
heir takes all books over when its subscriptions stand. Where a subscription brings a snapshot each book
is handed over by the engine in the moment its snapshot comes; what has none in time starts afresh.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from handlers._ffi import lib
from handlers.facts import Sync, Venue
from handlers.lines import CLOSE_NORMAL, Line, Phase
from handlers.logs import Log

OVERLAP_S = 60.0  # so long after an heir opened the books without a snapshot move too


class Native(Protocol):
    """What is asked of the native loop."""

    def bind(self, book: int, connection: int) -> None: ...

    def hand_over(self, book: int, connection: int) -> None: ...

    def resync(self, book: int, reason: int) -> None: ...

    def drop(self, connection: int, code: int = 0) -> None: ...

    def raw_book(self, book: int) -> Any: ...


class Rollover:
    """``lines`` is the keeper's own list, in which an heir takes its line's place.

    ``make`` builds a line for a connection id and the books of another line.
    """

    def __init__(
        self, venue: Venue, lines: list[Line], make: Callable[[int, Line], Line], native: Native, log: Log
    ) -> None:
        self.done = 0
        self._lines = lines
        self._make = make
        self._native = native
        self._log = log
        self._by_snapshot = venue.snapshot_request is None and venue.sync is not Sync.REST_SNAPSHOT
        self._heirs: dict[int, Line] = {}  # connection of the line that ends -> the one that takes over
        self._retired: set[int] = set()  # connections whose books went elsewhere
        self._spare: int | None = len(lines)

    @property
    def heirs(self) -> list[Line]:
        return list(self._heirs.values())

    def look(self, now: float) -> None:
        """Once a second: sets heirs up, and lets them take over when they can."""
        for line in self._lines:
            if line.ending(now) and line.connection not in self._heirs and self._spare is not None:
                heir = self._make(self._spare, line)
                self._heirs[line.connection], self._spare = heir, None
                for book in heir.books.values() if self._by_snapshot else ():
                    self._native.hand_over(book, heir.connection)
        for connection, heir in list(self._heirs.items()):
            if self._can_take_over(heir, now):
                self._take_over(connection, heir)

    def _can_take_over(self, heir: Line, now: float) -> bool:
        if not self._by_snapshot or heir.phase is not Phase.OPEN:
            return heir.ready
        waiting = []
        for symbol, book in heir.books.items():
            if self._moved(book, heir):
                heir.subscriptions.seen(symbol)
            elif self._native.raw_book(book).state != lib.BW_BOOK_DOWN:
                waiting.append(symbol)
        return not waiting or now - heir.opened_at > OVERLAP_S

    def _moved(self, book: int, heir: Line) -> bool:
        return bool(self._native.raw_book(book).connection == heir.connection)

    def closed(self, connection: int) -> bool:
        """A connection ended. True: it had handed everything over, nothing is to be done."""
        if connection in self._retired:
            self._retired.discard(connection)
            self._spare = connection
            return True
        heir = self._heirs.get(connection)
        if heir is not None and heir.phase is Phase.OPEN:
            self._take_over(connection, heir, closed=True)
            return True
        return False

    def _take_over(self, connection: int, heir: Line, *, closed: bool = False) -> None:
        """The heir carries the books from now on; the old connection goes, or (``closed``) is gone."""
        del self._heirs[connection]
        self._lines[:] = [heir if line.connection == connection else line for line in self._lines]
        for book in heir.books.values():
            if self._by_snapshot and self._moved(book, heir):
                continue
            self._native.bind(book, heir.connection)
            if self._by_snapshot and not closed:
                self._native.resync(book, lib.BW_REASON_START)
        self.done += 1
        self._log("rolled_over", old=connection, new=heir.connection)
        if closed:
            self._spare = connection
        else:
            self._retired.add(connection)
            self._native.drop(connection, CLOSE_NORMAL)
