"""Snapshots asked for on the connection itself: one request under way a book, paced, repeated.

Sans-I/O: ``take()`` gives the symbol whose request may go out now; time is an argument, seconds of a
monotonic clock. The answer is data and goes to the engine, so what is told here is only whether the
book stands by it. What was asked and brought nothing in time is asked again, after a growing delay.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from handlers.backoff import Backoff
from handlers.budget import Window
from handlers.facts import Rate

ANSWER_S = 5.0  # the slowest venue says one to two seconds


@dataclass
class _Want:
    due: float  # when to ask
    asked: float | None = None  # since when the answer is awaited
    backoff: Backoff = field(default_factory=Backoff)


class Requested:
    """Of one connection. ``rate`` bounds the requests, None: by nothing of their own."""

    def __init__(self, rate: Rate | None) -> None:
        self.sent = 0
        self._pace = Window(rate) if rate else None
        self._wants: dict[str, _Want] = {}

    @property
    def waiting(self) -> int:
        return len(self._wants)

    def waits(self, symbol: str) -> bool:
        return symbol in self._wants

    def want(self, symbol: str, now: float) -> None:
        """Asks for a snapshot. One that was asked for already and did not help is asked for again."""
        if symbol in self._wants:
            self.again(symbol, now)
        else:
            self._wants[symbol] = _Want(now)

    def again(self, symbol: str, now: float) -> None:
        """The last one was no use (too old, a gap behind it): another, after a while."""
        want = self._wants.setdefault(symbol, _Want(now, asked=now))
        if want.asked is not None:
            want.asked, want.due = None, now + want.backoff.fail()

    def stands(self, symbol: str) -> None:
        """The book has its snapshot: nothing is awaited any more."""
        self._wants.pop(symbol, None)

    def take(self, now: float) -> str | None:
        """The next symbol to ask for, counted as asked; None: nothing is due, or the limit says wait."""
        for symbol, want in self._wants.items():
            if want.asked is not None and now - want.asked > ANSWER_S:
                want.asked, want.due = None, now + want.backoff.fail()
            if want.asked is None and want.due <= now:
                if self._pace is not None and self._pace.take(now) > 0:
                    return None
                want.asked = now
                self.sent += 1
                return symbol
        return None
