"""One budget for all processes of this machine that talk to a venue from one source address.

The state is a small file in ``run_dir`` under a lock: what was spent in the last window, and a breaker.
Because spending is kept as a log and not as a level, no window of ``per_s`` ever exceeds the limit.
Times are seconds of the wall clock, which processes share and which survives their restarts.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

from handlers.facts import Rate


@dataclass
class Window:
    """What was spent within the last ``rate.per_s`` seconds. Plain memory; time is an argument."""

    rate: Rate
    spent: list[tuple[float, float]] = field(default_factory=list)  # when, how much

    def used(self, now: float) -> float:
        """Spent in the window that ends now. Times ahead of the clock (it was set back) count as now."""
        since = now - self.rate.per_s
        self.spent = [(min(when, now), weight) for when, weight in self.spent if when > since]
        return sum(weight for _, weight in self.spent)

    def take(self, now: float, weight: float = 1) -> float:
        """Spends and returns 0, or returns the seconds until there will be room."""
        wait = self.wait(now, weight)
        if wait == 0:
            self.spent.append((now, weight))
        return wait

    def wait(self, now: float, weight: float = 1) -> float:
        """Seconds until so much can be spent, without spending it."""
        excess = self.used(now) + weight - self.rate.count
        if excess <= 0:
            return 0.0
        for when, freed in self.spent:
            excess -= freed
            if excess <= 0:
                return max(0.001, when + self.rate.per_s - now)
        return self.rate.per_s


@dataclass(frozen=True)
class BudgetState:
    """For people and metrics."""

    used: float
    limit: float
    open_until: float  # breaker: nothing is sent before; 0 = closed
    reason: str


class SharedBudget:
    """A window and a breaker in a file. ``kind`` is what is counted ("rest", "connects")."""

    def __init__(
        self,
        run_dir: Path,
        venue: str,
        kind: str,
        rate: Rate,
        source_address: str | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        address = re.sub(r"[^0-9A-Za-z]", "_", source_address or "default")
        self.path = run_dir / f"{venue}.{kind}.{address}.budget"
        self.rate = rate
        self._clock = clock

    def take(self, weight: float = 1) -> float:
        """Spends and returns 0, or returns how many seconds to wait before asking again."""
        with self._locked() as state:
            now = self._clock()
            if state["open_until"] > now:
                return float(state["open_until"] - now)
            window = self._window(state)
            wait = window.take(now, min(weight, self.rate.count))
            state["spent"] = window.spent
            return wait

    def observe(self, used: float) -> None:
        """The venue says how much it counts: what others spent from this address is spent for us too."""
        with self._locked() as state:
            now = self._clock()
            window = self._window(state)
            unknown = used - window.used(now)
            if unknown > 0:
                window.spent.append((now, unknown))
            state["spent"] = window.spent

    def open(self, seconds: float, reason: str) -> None:
        """Opens the breaker: nobody here sends for so long. A longer one that stands is kept."""
        with self._locked() as state:
            until = self._clock() + seconds
            if until > state["open_until"]:
                state["open_until"] = until
                state["reason"] = reason

    def state(self) -> BudgetState:
        with self._locked() as state:
            now = self._clock()
            is_open = state["open_until"] > now
            until, reason = (state["open_until"], state["reason"]) if is_open else (0.0, "")
            return BudgetState(self._window(state).used(now), self.rate.count, until, reason)

    def _window(self, state: dict[str, Any]) -> Window:
        return Window(self.rate, [(when, weight) for when, weight in state["spent"]])

    @contextmanager
    def _locked(self) -> Iterator[dict[str, Any]]:
        """The state under an exclusive lock, written back if it changed. A torn file starts afresh."""
        with open(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            raw = file.read()
            try:
                state = json.loads(raw)
                known = {"spent": list(state["spent"]), "open_until": float(state["open_until"])}
                known["reason"] = str(state["reason"])
            except (ValueError, KeyError, TypeError):
                known = {"spent": [], "open_until": 0.0, "reason": ""}
            yield known
            text = json.dumps(known).encode()
            if text != raw:
                file.seek(0)
                file.truncate()
                file.write(text)
                file.flush()
