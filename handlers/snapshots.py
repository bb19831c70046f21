"""Fetches REST snapshots for books that need one: one in flight a book, within the shared budget.

Books that were live come before books that never were, then the one that asked first. A failure is
tried again after a growing, jittered delay; the venue's own waiting time is obeyed by ``Rest``.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from handlers.backoff import Backoff
from handlers.facts import RestSnapshot
from handlers.logs import Log
from handlers.rest import RestError

WORKERS = 4


class Getter(Protocol):
    async def get(self, path: str, weight: float = 1) -> bytes: ...


@dataclass
class _Want:
    backoff: Backoff = field(default_factory=Backoff)
    queued: bool = False
    flying: bool = False


class Snapshots:
    """``load(book, body)`` is called for each body that came. ``symbol(book)`` is its native name."""

    def __init__(
        self,
        rest: Getter,
        how: RestSnapshot,
        symbol: Callable[[int], str],
        load: Callable[[int, bytes], None],
        log: Log,
    ) -> None:
        self.fetched = 0
        self._rest = rest
        self._how = how
        self._symbol = symbol
        self._load = load
        self._log = log
        self._wants: dict[int, _Want] = {}
        self._queue: asyncio.PriorityQueue[tuple[int, int, int]] = asyncio.PriorityQueue()
        self._order = itertools.count()  # queue rows: rank, order of asking, book
        self._later: set[asyncio.TimerHandle] = set()

    @property
    def waiting(self) -> int:
        return sum(want.queued or want.flying for want in self._wants.values())

    def waits(self, book: int) -> bool:
        want = self._wants.get(book)
        return want is not None and (want.queued or want.flying)

    def want(self, book: int, *, was_live: bool) -> None:
        """Asks for a snapshot; nothing happens if the book waits for one already."""
        want = self._wants.setdefault(book, _Want())
        if not want.queued and not want.flying:
            self._put(book, 0 if was_live else 1)

    def again(self, book: int, *, was_live: bool) -> None:
        """The last one was no use (too old, not decodable): another, after a while."""
        want = self._wants.setdefault(book, _Want())
        if not want.queued and not want.flying:
            self._after(want.backoff.fail(), book, 0 if was_live else 1)

    def forget(self, book: int) -> None:
        """Nothing is wanted for it any more; what is under way is taken in or ignored by the engine."""
        self._wants.pop(book, None)

    def joined(self, book: int) -> None:
        """The snapshot was taken: the next failure starts anew."""
        if book in self._wants:
            self._wants[book].backoff.reset()

    def _put(self, book: int, rank: int) -> None:
        self._wants[book].queued = True
        self._queue.put_nowait((rank, next(self._order), book))

    def _after(self, seconds: float, book: int, rank: int) -> None:
        def due() -> None:
            self._later.discard(handle)
            if book in self._wants:
                self._put(book, rank)

        if book not in self._wants:
            return
        self._wants[book].queued = True
        handle = asyncio.get_running_loop().call_later(seconds, due)
        self._later.add(handle)

    async def run(self) -> None:
        """Works until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(self._work())
        finally:
            for handle in self._later:
                handle.cancel()

    async def _work(self) -> None:
        while True:
            rank, _, book = await self._queue.get()
            want = self._wants.get(book)
            if want is None or want.flying:  # it left, or came back meanwhile
                continue
            want.queued, want.flying = False, True
            symbol = self._symbol(book)
            try:
                body = await self._rest.get(self._how.path(symbol), self._how.weight)
            except RestError as error:
                delay = max(error.retry_s, want.backoff.fail())
                self._log("snapshot_failed", symbol=symbol, reason=error, retry_s=round(delay, 2))
                self._after(delay, book, rank)
            else:
                self.fetched += 1
                self._load(book, body)
            finally:
                want.flying = False
