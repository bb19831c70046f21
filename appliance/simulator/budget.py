"""Allowances that exchanges grant: requests a second, weight a minute."""

from __future__ import annotations

import time
from collections import deque


class Budget:
    """An allowance of so much weight in any so many seconds."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most = most
        self.seconds = seconds
        self._taken: deque[tuple[float, int]] = deque()

    def used(self, now: float) -> int:
        """Weight taken within the last `seconds`."""
        while self._taken and self._taken[0][0] <= now - self.seconds:
            self._taken.popleft()
        return sum(weight for _, weight in self._taken)

    def take(self, weight: int = 1) -> bool:
        """Take some; False, and nothing taken, when it does not fit."""
        now = time.monotonic()
        if self.used(now) + weight > self.most:
            return False
        self._taken.append((now, weight))
        return True
