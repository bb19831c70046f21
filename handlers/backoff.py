"""When to try again: exponential with a cap, and full jitter so that many clients do not march in step."""

from __future__ import annotations

import random
from collections.abc import Callable

BASE_S = 1.0
CAP_S = 60.0
STABLE_S = 30.0  # what held so long counts as a success, and the next failure starts at the base


class Backoff:
    """Delays in seconds: uniform in 0..min(cap, base * 2^failures). ``chance`` gives 0..1."""

    def __init__(
        self, base_s: float = BASE_S, cap_s: float = CAP_S, chance: Callable[[], float] = random.random
    ) -> None:
        self.failures = 0
        self._base_s = base_s
        self._cap_s = cap_s
        self._chance = chance

    def fail(self) -> float:
        """Counts a failure and returns how long to wait before the next try."""
        bound = min(self._cap_s, self._base_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return bound * self._chance()

    def reset(self) -> None:
        self.failures = 0
