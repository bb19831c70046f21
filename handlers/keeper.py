"""Keeps an exchange's books right: acts on what the native loop tells, and on time passing.

One object an exchange process, on the asyncio thread. The loop's events come in bursts through
``drain``; a tick ten times a second sends what limits allow, and once a second looks for silence,
connections near their end, readers' bells, and writes the status file. It never gives up on a book.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

from handlers import status
from handlers._ffi import lib
from handlers.budget import SharedBudget
from handlers.datapath import Datapath
from handlers.dialling import DialError, Dialler
from handlers.doorbell import Doorbell
from handlers.facts import Instrument, Venue
from handlers.lines import Line, Phase
from handlers.logs import Log
from handlers.native_feed import Event, NativeFeed
from handlers.refusals import stay_away_s, words
from handlers.reload import Wanted
from handlers.repairs import Repairs
from handlers.rest import Rest
from handlers.rollover import Rollover
from handlers.settings import FeedSettings
from handlers.telling import routine, standing, told
from handlers.watch import Watch

TICK_S = 0.1
SECOND_S = 1.0
ANSWERED_AT_ONCE = (
    lib.BW_EVENT_CONNECTED,
    lib.BW_EVENT_CONTROL,
    lib.BW_EVENT_NEED_SNAPSHOT,
    lib.BW_EVENT_NEED_RESUBSCRIBE,
)
CLOSE_CAUSES = {
    getattr(lib, f"BW_CLOSE_{name}"): name.lower()
    for name in (
        "ASKED", "PEER", "EOF", "CONNECT", "TLS", "UPGRADE", "PROTOCOL", "TOO_LARGE", "UTF8", "TIMEOUT", "IO",
        "SEND_FULL",
    )
}  # fmt: skip


class Lines:
    """The connections: ``serving``, and beside them the heirs of those that end soon."""

    def __init__(self, serving: list[Line], rows: Sequence[Instrument], native: NativeFeed) -> None:
        self.serving = serving
        self.rollover: Rollover | None = None
        self._rows = rows
        self._native = native

    @property
    def all(self) -> list[Line]:
        return [*self.serving, *(self.rollover.heirs if self.rollover else ())]

    def at(self, connection: int) -> Line | None:
        return next((line for line in self.all if line.connection == connection), None)

    def of(self, book: int) -> Line:
        """The line that carries the book now."""
        symbol = self._rows[book].native
        carrier = self.at(self._native.raw_book(book).connection)
        if carrier is not None and symbol in carrier.books:
            return carrier
        return next(line for line in self.serving if symbol in line.books)


class Keeper:
    """``books`` are the instruments in order of their book index; ``lines`` share them out."""

    def __init__(
        self,
        venue: Venue,
        settings: FeedSettings,
        native: NativeFeed,
        rest: Rest,
        books: list[Instrument],
        lines: list[Line],
        datapath: Datapath,
        log: Log,
    ) -> None:
        self.venue = venue
        self.failed = False
        self._settings = settings
        self._native = native
        self._rest = rest
        self._rows = books
        self._datapath = datapath
        self._log = log
        self._dialler = Dialler(venue, settings.websocket_url, rest)
        self._connects = SharedBudget(
            settings.run_dir, venue.id, "connects", venue.limits.connects, settings.source_address
        )
        self._lines = Lines(lines, books, native)
        self._rollover = self._lines.rollover = Rollover(venue, lines, self._make_heir, native, log)
        self._repairs = Repairs(venue, native, rest, books, self._lines, self._spawn, log)
        self.wanted = Wanted(venue, native, books, self._lines, self._repairs)
        self._watch = Watch(venue, native, books, self._repairs, log)
        self._doorbell = Doorbell(settings.run_dir, native)
        self._reconnects: Counter[str] = Counter()
        self._not_live: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def _make_heir(self, connection: int, line: Line) -> Line:
        return Line(self.venue, connection, line.books, self._native, self._log, line.permit)

    async def run(self) -> None:
        """Until cancelled, or until the native loop ends by itself (then ``failed`` is set)."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._native.event_fd, self.drain)
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._tick_seconds()), group.create_task(self._repairs.run())]
                while not self.failed:
                    self.tick(time.monotonic())
                    await asyncio.sleep(TICK_S)
                for helper in helpers:
                    helper.cancel()
        finally:
            loop.remove_reader(self._native.event_fd)
            for task in self._tasks:
                task.cancel()

    # What the native loop tells

    def drain(self) -> None:
        now = time.monotonic()
        acts = False
        for event in self._native.events():
            self._dispatch(event, now)
            acts |= event.type in ANSWERED_AT_ONCE
        if acts:
            self.tick(now)

    def _dispatch(self, event: Event, now: float) -> None:
        if event.book in self._repairs.left:  # told before it left, or that it did
            if event.type == lib.BW_EVENT_BOOK_STATE:
                self._repairs.states[event.book] = event.a
        elif event.type == lib.BW_EVENT_BOOK_STATE and event.book is not None:
            self._book_state(event.book, event.a, event.code)
        elif event.type == lib.BW_EVENT_NEED_SNAPSHOT and event.book is not None:
            self._repairs.want_snapshot(event.book)
        elif event.type == lib.BW_EVENT_NEED_RESUBSCRIBE and event.book is not None:
            self._repairs.restart(event.book, now)
        elif event.type == lib.BW_EVENT_SNAPSHOT_RESULT and event.book is not None:
            self._repairs.snapshot_result(event.book, event.a)
        elif event.connection is not None and event.book is None:
            self._connection_event(event, event.connection, now)
        elif event.type == lib.BW_EVENT_STOPPED:
            self.failed = True
        else:
            self._note(event)

    def _connection_event(self, event: Event, connection: int, now: float) -> None:
        line = self._lines.at(connection)
        if event.type == lib.BW_EVENT_CONNECTED:
            self._datapath.connected()
        if event.type == lib.BW_EVENT_CLOSED:
            self._datapath.closed(event.code)
            self._closed(event, connection, line, now)
        elif line is None or event.type == lib.BW_EVENT_QUARANTINE:
            self._note(event)
        elif event.type == lib.BW_EVENT_CONNECTED:
            line.connected(now)
        elif event.type == lib.BW_EVENT_CONTROL:
            for symbol, why in line.control(event.text, now):
                self._repairs.refuse(line.books[symbol], why, now)
        elif event.type == lib.BW_EVENT_GAP:  # of the whole connection: no book of it can be trusted
            self._note(event)
            line.reconnect("gap", at_once=True)
        else:
            self._note(event)

    def _closed(self, event: Event, connection: int, line: Line | None, now: float) -> None:
        if self._rollover.closed(connection) or line is None:
            return
        cause = CLOSE_CAUSES.get(event.code, str(event.code))
        said = event.text.decode(errors="replace").strip()
        retry_s = 0.0
        if event.code == lib.BW_CLOSE_UPGRADE:
            retry_s = stay_away_s(event.a, float(event.b), upgrade=True)
        if retry_s:
            self._connects.open(retry_s, words(event.a))
        detail = f"{cause} {event.a} {said}".strip() if event.a or said else cause
        self._log("closed", connection=connection, cause=detail)
        self._reconnects[line.closed(cause, now, retry_s=retry_s)] += 1

    def _note(self, event: Event) -> None:
        """Logs what needs no action."""
        name, fields = told(event)
        symbol = None if event.book is None else self._rows[event.book].canonical
        say = self._log.detail if routine(event) else self._log
        say(name, symbol=symbol, connection=event.connection, **fields)

    def _book_state(self, book: int, state: int, reason: int) -> None:
        before = self._repairs.book_state(book, state)
        if before == lib.BW_BOOK_LIVE and state != before:
            why = standing(state, reason)
            self._not_live[why["reason"]] += 1
            self._log("book_not_live", symbol=self._rows[book].canonical, **why)

    # Time passing

    def tick(self, now: float) -> None:
        """Sends what is due and allowed."""
        self._native.flush()
        room = self._repairs.room()
        for line in self._lines.all:
            if line.phase is Phase.WAITING and line.dial_at <= now:
                self._dial(line, now)
            room -= line.tick(now, room)
        self._repairs.tick(now)

    def _dial(self, line: Line, now: float) -> None:
        wait = self._connects.take()
        if wait > 0:
            line.dial_at = now + wait
            return
        line.dialled()
        self._spawn(self._connect(line))

    async def _connect(self, line: Line) -> None:
        try:
            endpoint = await self._dialler.next()
        except DialError as error:
            self._reconnects[error.cause] += 1
            line.not_dialled(str(error), time.monotonic(), retry_s=error.retry_s)
            return
        self._datapath.dialled()
        self._native.connect(line.connection, endpoint, self._datapath.source_address)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick_seconds(self) -> None:
        while True:
            now = time.monotonic()
            for line in list(self._lines.serving):
                self._watch.line(line, now)
            self._rollover.look(now)
            self._repairs.ask_refused_again(now)
            self._doorbell.look()
            status.write(self._settings.status_path, self.status())
            await asyncio.sleep(SECOND_S)

    def _states(self) -> dict[int, int]:
        """Of the books that are wanted."""
        return {
            book: state for book, state in enumerate(self._repairs.states) if book not in self._repairs.left
        }

    def sentence(self) -> str:
        """One line on the books, for the service manager."""
        now_ns, states = time.time_ns(), self._states()
        times = (
            self._native.raw_book(book).last_data_ns
            for book, state in states.items()
            if state == lib.BW_BOOK_LIVE
        )
        return status.sentence([*states.values()], min(times, default=now_ns), now_ns)

    def status(self) -> dict[str, Any]:
        """What handlers.status documents."""
        lines, repairs = self._lines.serving, self._repairs
        rollovers = {"rollover": self._rollover.done} if self._rollover.done else {}
        return {
            "exchange": self.venue.id,
            "pid": os.getpid(),
            "time": time.time(),
            "websocket_url": self._dialler.url,
            "rest_url": self._rest.base,
            "books": status.books([*self._states().values()]),
            "subscriptions": status.subscriptions(lines, len(repairs.refused)),
            "refused": {self._rows[book].native: why for book, (why, _) in repairs.refused.items()},
            "connections": [
                status.connection(line, self._native.connection(line.connection)) for line in lines
            ],
            "reconnects": {**self._reconnects, **rollovers},
            "not_live": self._not_live,
            "rest": {
                "requests": self._rest.requests,
                "failures": self._rest.failures,
                "venue_used": self._rest.used,
                "snapshots": repairs.snapshots.fetched if repairs.snapshots else 0,
                "waiting": repairs.snapshots.waiting if repairs.snapshots else 0,
                **status.budget(self._rest.budget.state()),
            },
            "connects": status.budget(self._connects.state()),
            "datapath": self._datapath.status(),
            "events_dropped": self._native.events_dropped,
        }
