"""When the books of an exchange move: a seeded schedule with bursts, pausable and steppable."""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections.abc import Callable

from .exchange import SimulatedBook

_BURST_SHARE = 0.25  # of all updates come in bursts
_UPDATES_PER_TURN_MAX = 64
_BACKLOG_SECONDS_MAX = 1.0


class Pump:
    """Calls `advance(book)` at `rate` a second for each book; `late` counts updates given up on overload."""

    def __init__(
        self,
        books: list[SimulatedBook],
        advance: Callable[[SimulatedBook], None],
        *,
        rate: float,
        burst: int,
        seed: str,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.rate = rate
        self.paused = False
        self.late = 0
        self._books = books
        self._advance = advance
        self._on_failure = on_failure
        self._burst = max(1, burst)
        self._random = random.Random(seed)
        self._due: list[tuple[float, int]] = []
        self._timer: asyncio.Handle | None = None

    def _decision(self) -> tuple[int, float]:
        """How many updates now, and how long until the next decision, so that the mean rate is kept."""
        start_burst = _BURST_SHARE / self._burst if self._burst > 1 else 0.0
        mean = 1 + start_burst * (self._burst - 1)
        count = self._burst if self._random.random() < start_burst else 1
        return count, mean / self.rate * (0.5 + self._random.random())

    def set_rate(self, rate: float) -> None:
        """Change the mean rate (0 stops the flow) from now on."""
        self.rate = rate
        self.start()

    def set_paused(self, paused: bool) -> None:
        """Freeze or release the flow."""
        self.paused = paused
        self.start()

    async def step(self, count: int, books: list[SimulatedBook]) -> None:
        """Make exactly `count` updates of each of the books, at once."""
        for number in range(count):
            for book in books:
                self._advance(book)
            if number % 50 == 49:
                await asyncio.sleep(0)

    def start(self) -> None:
        """Begin (again) to drive the books, unless paused. Needs a running loop."""
        self.stop()
        if self.paused or self.rate <= 0 or not self._books:
            return
        now = time.monotonic()
        self._due = [(now + self._random.random() / self.rate, number) for number in range(len(self._books))]
        heapq.heapify(self._due)
        self._plan()

    def stop(self) -> None:
        """Drive them no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self) -> None:
        loop, when = asyncio.get_running_loop(), self._due[0][0]
        overdue = when <= time.monotonic()
        self._timer = loop.call_soon(self._turn) if overdue else loop.call_at(when, self._turn)

    def _turn(self) -> None:
        """Make the updates that are due, then let others have their turn.

        A failure must not end the flow in silence: the loop reports it, `on_failure` ends the run.
        """
        done = False
        try:
            self._make_due()
            done = True
        finally:
            if not done:
                self._on_failure()
        self._plan()

    def _make_due(self) -> None:
        now, made = time.monotonic(), 0
        while self._due[0][0] <= now and made < _UPDATES_PER_TURN_MAX:
            when, number = self._due[0]
            if now - when > _BACKLOG_SECONDS_MAX:
                self.late += int((now - when) * self.rate)
                when = now
            count, wait = self._decision()
            for _ in range(count):
                self._advance(self._books[number])
            made += count
            heapq.heapreplace(self._due, (when + wait, number))
