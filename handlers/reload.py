"""Other symbols without a restart: added ones are subscribed, those left out leave, the rest is not touched.

On SIGHUP, on the asyncio thread. A book keeps its place in shared memory for as long as the process runs:
one that leaves is bound to no connection and DOWN by the operator, and comes back where it was. All of a
change is done or nothing: what has no place is said before anything is begun.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from handlers.errors import SetupError
from handlers.facts import Instrument, Venue
from handlers.lines import Line
from handlers.logs import Log
from handlers.native_feed import NativeFeed
from handlers.repairs import Repairs
from handlers.service import Service
from handlers.settings import FeedSettings


@dataclass(frozen=True)
class Change:
    """Names of what came and what left."""

    added: tuple[str, ...]
    removed: tuple[str, ...]


class Lines(Protocol):
    """The connections; ``all``: with the heirs of those that end soon."""

    serving: list[Line]

    @property
    def all(self) -> list[Line]: ...


class Wanted:
    """Which books are wanted. ``rows`` are the instruments by book, and grow."""

    def __init__(
        self, venue: Venue, native: NativeFeed, rows: list[Instrument], lines: Lines, repairs: Repairs
    ) -> None:
        self._venue = venue
        self._native = native
        self._rows = rows
        self._lines = lines
        self._repairs = repairs

    def change(self, wanted: Sequence[Instrument]) -> Change:
        """Makes the books those of ``wanted``. Raises SetupError, with nothing changed, where is no room."""
        names = {row.native for row in wanted}
        index = {row.native: book for book, row in enumerate(self._rows)}
        stands = {name for name, book in index.items() if book not in self._repairs.left}
        coming = [row for row in wanted if row.native not in stands]
        going = [index[name] for name in stands - names]
        room = self._native.book_capacity - len(self._rows)
        if sum(row.native not in index for row in coming) > room:
            what = f"no room for {len(coming)} more books, there is some for {room}"
            raise SetupError(what, where="symbols", do="restart the feed, which makes room")
        places = self._places(coming, {self._rows[book].native for book in going})
        for book in going:
            self._leave(book)
        for row, line in zip(coming, places, strict=True):
            self._enter(row, index.get(row.native), line)
        left = tuple(self._rows[book].canonical for book in going)
        return Change(tuple(row.canonical for row in coming), left)

    def _places(self, coming: Sequence[Instrument], going: set[str]) -> list[Line]:
        """A line for each, the emptiest first."""
        limits = self._venue.limits
        serving = self._lines.serving
        held = [[name for name in line.books if name not in going] for line in serving]
        places = []
        for row in coming:
            names = min(held, key=len)
            line = serving[held.index(names)]
            names.append(row.native)
            chars = sum(len(name) + limits.argument_chars for name in names)
            if len(names) > limits.subscriptions_per_connection or chars > (limits.request_chars or chars):
                do = "restart the feed, which takes more connections"
                raise SetupError(f"no connection has room for {row.native}", where="symbols", do=do)
            places.append(line)
        return places

    def _leave(self, book: int) -> None:
        name = self._rows[book].native
        for line in self._lines.all:
            line.leave(name)
        self._repairs.leave(book)
        self._native.release(book)

    def _enter(self, row: Instrument, book: int | None, line: Line) -> None:
        if book is None:
            book = self._native.add_book(row)
            self._rows.append(row)
        self._repairs.enter(book)
        line.books[row.native] = book
        for each in self._lines.all:
            if each.books is line.books:  # an heir carries the same
                each.subscriptions.add(row.native)
        self._native.take_back(book, line.connection)


class Reload:
    """Does what a SIGHUP asks for. ``reread`` gives the settings anew, ``choose`` the instruments they want.

    What cannot be done is logged, and all stays as it was.
    """

    def __init__(
        self,
        settings: FeedSettings,
        reread: Callable[[], FeedSettings],
        choose: Callable[[FeedSettings], Awaitable[list[Instrument]]],
        log: Log,
    ) -> None:
        self.asked = asyncio.Event()
        self._settings = settings
        self._reread = reread
        self._choose = choose
        self._log = log

    async def run(self, wanted: Wanted, service: Service) -> None:
        """Until cancelled."""
        while True:
            await self.asked.wait()
            self.asked.clear()
            service.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                fresh = self._reread()
                change = wanted.change(await self._choose(fresh))
            except SetupError as error:
                self._log("reload_refused", what=error.what, where=error.where or None, do=error.do or None)
            else:
                for_restart = [
                    field.name
                    for field in fields(fresh)
                    if field.name != "symbols"
                    and getattr(fresh, field.name) != getattr(self._settings, field.name)
                ]
                self._log(
                    "reloaded",
                    added=",".join(change.added),
                    removed=",".join(change.removed),
                    restart_for=",".join(for_restart) or None,
                )
            service.tell("READY=1")
