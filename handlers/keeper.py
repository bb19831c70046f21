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
from handlers.backoff import Backoff
from handlers.budget import SharedBudget
from handlers.comparison import Comparison
from handlers.dialling import Dialler
from handlers.facts import Instrument, Sync, Venue
from handlers.lines import CLOSE_NORMAL, Line, Phase
from handlers.logs import Log
from handlers.native_feed import Event, NativeFeed
from handlers.rest import Rest
from handlers.settings import FeedSettings
from handlers.snapshots import Snapshots
from handlers.subscriptions import State
from handlers.telling import routine, standing, told
from handlers.watch import Watch

TICK_S = 0.1
SECOND_S = 1.0
REFUSED_RETRY_S = 300.0
UNSYNCED_S = 30.0  # so many seconds' worth of snapshots may be under way at once
UNSYNCED_MIN = 20
BLOCK_S = {429: 60.0, 418: 120.0, 403: 600.0, 451: 3600.0}  # upgrade refused without Retry-After
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


class Keeper:
    """``books`` are the instruments in order of their book index; ``lines`` share them out."""

    def __init__(
        self,
        venue: Venue,
        settings: FeedSettings,
        native: NativeFeed,
        rest: Rest,
        books: Sequence[Instrument],
        lines: list[Line],
        log: Log,
    ) -> None:
        self.venue = venue
        self.lines = lines
        self.failed = False
        self._settings = settings
        self._native = native
        self._rest = rest
        self._rows = books
        self._log = log
        self._url = settings.websocket_url or venue.websocket_url
        self._dialler = Dialler(self._url)
        self._connects = SharedBudget(
            settings.run_dir, venue.id, "connects", venue.limits.connects, settings.source_address
        )
        self._snapshots = self._make_snapshots()
        self._heirs: dict[int, Line] = {}  # connection of the line that ends -> the one that takes over
        self._retired: set[int] = set()  # connections whose books went elsewhere
        self._spare: int | None = len(lines)
        self._states: list[int] = [lib.BW_BOOK_SYNCING] * len(books)
        self._were_live: set[int] = set()
        self._comparison = Comparison(venue, rest, native, books, self, log)
        self._watch = Watch(venue, native, books, self, log)
        self._postponed: set[int] = set()  # want a snapshot once they are subscribed
        self._restarts: dict[int, Backoff] = {}
        self._restart_at: dict[int, float] = {}
        self._refused: dict[int, tuple[str, float]] = {}  # the venue's words, when to ask again
        self._reconnects: Counter[str] = Counter()
        self._bells: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def _make_snapshots(self) -> Snapshots | None:
        if self.venue.sync is not Sync.REST_SNAPSHOT:
            return None
        how = self.venue.snapshots[0]
        return Snapshots(
            self._rest, how, lambda book: self._rows[book].native, self._native.load_snapshot, self._log
        )

    async def run(self) -> None:
        """Until cancelled, or until the native loop ends by itself (then ``failed`` is set)."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._native.event_fd, self.drain)
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._tick_seconds())]
                if self._snapshots is not None:
                    helpers.append(group.create_task(self._snapshots.run()))
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
        if event.type == lib.BW_EVENT_BOOK_STATE and event.book is not None:
            self._book_state(event.book, event.a, event.code)
        elif event.type == lib.BW_EVENT_NEED_SNAPSHOT and event.book is not None:
            self.want_snapshot(event.book)
        elif event.type == lib.BW_EVENT_NEED_RESUBSCRIBE and event.book is not None:
            self.restart(event.book, now)
        elif event.type == lib.BW_EVENT_SNAPSHOT_RESULT and event.book is not None:
            self._snapshot_result(event.book, event.a)
        elif event.connection is not None and event.book is None:
            self._connection_event(event, event.connection, now)
        elif event.type == lib.BW_EVENT_STOPPED:
            self.failed = True
        else:
            self._note(event)

    def _connection_event(self, event: Event, connection: int, now: float) -> None:
        line = self._line(connection)
        if event.type == lib.BW_EVENT_CLOSED:
            self._closed(event, connection, line, now)
        elif line is None or event.type == lib.BW_EVENT_QUARANTINE:
            self._note(event)
        elif event.type == lib.BW_EVENT_CONNECTED:
            line.connected(now)
        elif event.type == lib.BW_EVENT_CONTROL:
            for symbol, words in line.control(event.text, now):
                self._refuse(line.books[symbol], words, now)
        elif event.type == lib.BW_EVENT_GAP:  # of the whole connection: no book of it can be trusted
            self._note(event)
            line.reconnect("gap", at_once=True)
        else:
            self._note(event)

    def _closed(self, event: Event, connection: int, line: Line | None, now: float) -> None:
        if connection in self._retired:
            self._retired.discard(connection)
            self._spare = connection
            return
        heir = self._heirs.get(connection)
        if heir is not None and heir.phase is Phase.OPEN:
            self._take_over(connection, heir, closed=True)
        if line is None:
            return
        cause = CLOSE_CAUSES.get(event.code, str(event.code))
        words = event.text.decode(errors="replace").strip()
        retry_s = 0.0
        if event.code == lib.BW_CLOSE_UPGRADE and event.a in BLOCK_S:
            retry_s = float(event.b) or BLOCK_S[event.a]
            self._connects.open(retry_s, f"HTTP {event.a}")
        detail = f"{cause} {event.a} {words}".strip() if event.a or words else cause
        self._log("closed", connection=connection, cause=detail)
        self._reconnects[line.closed(cause, now, retry_s=retry_s)] += 1

    def _note(self, event: Event) -> None:
        """Logs what needs no action."""
        name, fields = told(event)
        symbol = None if event.book is None else self._rows[event.book].canonical
        say = self._log.detail if routine(event) else self._log
        say(name, symbol=symbol, connection=event.connection, **fields)

    def _book_state(self, book: int, state: int, reason: int) -> None:
        before, self._states[book] = self._states[book], state
        if state == lib.BW_BOOK_LIVE:
            self._were_live.add(book)
            self._refused.pop(book, None)
            line = self._line_of(book)
            line.subscriptions.seen(self._rows[book].native)
        elif before == lib.BW_BOOK_LIVE:
            self._log("book_not_live", symbol=self._rows[book].canonical, **standing(state, reason))

    def _snapshot_result(self, book: int, result: int) -> None:
        if self._snapshots is None:
            return
        if result == 0:
            self._snapshots.joined(book)
        else:
            self._snapshots.again(book, was_live=book in self._were_live)

    def want_snapshot(self, book: int) -> None:
        """A snapshot helps only where the updates after it will come: not while we resubscribe."""
        if self._snapshots is None:
            return
        row = self._line_of(book).subscriptions.rows[self._rows[book].native]
        if row.state in (State.STANDING, State.REQUESTED):
            self._snapshots.want(book, was_live=book in self._were_live)
        else:
            self._postponed.add(book)

    def restart(self, book: int, now: float) -> None:
        """A fresh subscription for the book: at once, or after a growing delay if that did not help."""
        if book in self._restart_at:
            return
        backoff = self._restarts.setdefault(book, Backoff())
        delay = backoff.fail() if backoff.failures else 0.0
        backoff.failures = max(1, backoff.failures)
        self._restart_at[book] = now + delay
        self._resubscribe_due(now)

    def settled(self, book: int) -> None:
        """The book held: its next trouble starts with short delays again."""
        self._restarts.pop(book, None)

    def _refuse(self, book: int, words: str, now: float) -> None:
        self._refused[book] = (words, now + REFUSED_RETRY_S)
        self._native.set_state(book, lib.BW_BOOK_DOWN, lib.BW_REASON_REFUSED)
        self._log("subscription_refused", symbol=self._rows[book].native, reason=words)

    # Time passing

    def tick(self, now: float) -> None:
        """Sends what is due and allowed."""
        self._native.flush()
        room = self._room()
        for line in [*self.lines, *self._heirs.values()]:
            if line.phase is Phase.WAITING and line.dial_at <= now:
                self._dial(line, now)
            room -= line.tick(now, room)
        self._resubscribe_due(now)
        for book in self._postponed & self._standing() if self._postponed else ():
            self._postponed.discard(book)
            self.want_snapshot(book)

    def _resubscribe_due(self, now: float) -> None:
        for book in [book for book, at in self._restart_at.items() if at <= now]:
            del self._restart_at[book]
            self._line_of(book).subscriptions.resubscribe(self._rows[book].native)

    def _standing(self) -> set[int]:
        """Books whose subscription stands."""
        return {
            line.books[symbol]
            for line in self.lines
            for symbol, row in line.subscriptions.rows.items()
            if row.state is State.STANDING
        }

    def _room(self) -> int:
        """How many more symbols may be subscribed now: deltas of books without snapshot take memory."""
        if self._snapshots is None:
            return 1 << 30
        rate, how = self.venue.limits.rest, self.venue.snapshots[0]
        most = max(UNSYNCED_MIN, int(rate.count / rate.per_s * UNSYNCED_S / how.weight))
        live = lib.BW_BOOK_LIVE
        asked = (State.REQUESTED, State.STANDING)
        under_way: int = sum(
            row.state in asked and self._states[line.books[symbol]] != live
            for line in self.lines
            for symbol, row in line.subscriptions.rows.items()
        )
        return most - under_way

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
        except OSError as error:
            self._reconnects["name"] += 1
            line.not_dialled(f"{self._dialler.host} does not resolve: {error}", time.monotonic())
            return
        self._native.connect(line.connection, endpoint, self._settings.source_address)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick_seconds(self) -> None:
        while True:
            now = time.monotonic()
            for line in list(self.lines):
                self._watch.line(line, now)
            self._roll_over(now)
            self._ask_refused_again(now)
            self._ring()
            status.write(self._settings.status_path, self.status())
            await asyncio.sleep(SECOND_S)

    def _ask_refused_again(self, now: float) -> None:
        for book, (words, at) in self._refused.items():
            if at <= now:
                self._refused[book] = (words, now + REFUSED_RETRY_S)
                self._line_of(book).subscriptions.resubscribe(self._rows[book].native)

    def compare(self, book: int) -> None:
        """A silent book against the venue's REST book, in the background."""
        self._spawn(self._comparison.silent(book))

    def quiet_start(self, book: int) -> None:
        """A subscribed book without a message: is the market quiet, or the subscription dead?"""
        if self._snapshots is not None and not self._snapshots.waits(book):
            self._spawn(self._comparison.quiet_start(book))

    def awaits_start(self, book: int) -> bool:
        """Whether the book has no levels and no snapshot is on its way."""
        starting = self._states[book] in (lib.BW_BOOK_SYNCING, lib.BW_BOOK_RESYNC)
        return starting and self._snapshots is not None and not self._snapshots.waits(book)

    def _roll_over(self, now: float) -> None:
        """Replaces connections near their end.

        Where the books' sequence proves what is old, a second connection is set up first and takes over
        when all its subscriptions stand. Where a new subscription brings a new snapshot there is nothing
        to gain by an overlap: the connection is replaced at once.
        """
        for line in self.lines:
            if not line.ending(now) or line.connection in self._heirs:
                continue
            if self.venue.sync is not Sync.REST_SNAPSHOT:
                line.reconnect("rollover")
            elif self._spare is not None:
                heir = Line(self.venue, self._spare, line.books, self._native, self._log, line.permit)
                self._heirs[line.connection], self._spare = heir, None
        for connection, heir in list(self._heirs.items()):
            if heir.ready:
                self._take_over(connection, heir)

    def _take_over(self, connection: int, heir: Line, *, closed: bool = False) -> None:
        """The heir carries the books from now on; the old connection goes, or (``closed``) is gone."""
        del self._heirs[connection]
        self.lines = [heir if line.connection == connection else line for line in self.lines]
        for book in heir.books.values():
            self._native.bind(book, heir.connection)
        self._reconnects["rollover"] += 1
        self._log("rolled_over", old=connection, new=heir.connection)
        if closed:
            self._spare = connection
        else:
            self._retired.add(connection)
            self._native.drop(connection, CLOSE_NORMAL)

    def _ring(self) -> None:
        """Attaches the gateway's doorbell when it appears, and again when it is another one."""
        bell, fifo = (self._settings.run_dir / f"gateway.{end}" for end in ("bell", "fifo"))
        try:
            number = bell.stat().st_ino
            fifo.stat()
        except FileNotFoundError:
            return
        if self._bells.get(str(bell)) != number:
            self._bells[str(bell)] = number
            self._native.add_bell(str(bell).encode(), str(fifo).encode())

    def _line(self, connection: int) -> Line | None:
        lines = [*self.lines, *self._heirs.values()]
        return next((line for line in lines if line.connection == connection), None)

    def _line_of(self, book: int) -> Line:
        return next(line for line in self.lines if self._rows[book].native in line.books)

    def status(self) -> dict[str, Any]:
        """What handlers.status documents."""
        return {
            "exchange": self.venue.id,
            "pid": os.getpid(),
            "time": time.time(),
            "websocket_url": self._url,
            "rest_url": self._rest.base,
            "books": status.books(self._states),
            "subscriptions": status.subscriptions(self.lines, len(self._refused)),
            "refused": {self._rows[book].native: words for book, (words, _) in self._refused.items()},
            "connections": [
                status.connection(line, self._native.connection(line.connection)) for line in self.lines
            ],
            "reconnects": dict(self._reconnects),
            "rest": {
                "requests": self._rest.requests,
                "failures": self._rest.failures,
                "venue_used": self._rest.used,
                "snapshots": self._snapshots.fetched if self._snapshots else 0,
                "waiting": self._snapshots.waiting if self._snapshots else 0,
                **status.budget(self._rest.budget.state()),
            },
            "connects": status.budget(self._connects.state()),
            "events_dropped": self._native.events_dropped,
        }
