"""When a silent book is suspect, and what is done about it. Pure: numbers in, a step out.

Liveness is per subscription and learned from the symbol's own cadence; heartbeats are not data. A book
that has not shown its cadence yet gets the venue's quiet floor. The steps: make the book STALE and ask
the venue (a REST comparison where there is one, else a fresh subscription); silent for as long again:
reconnect. Every answer of the venue counts as a pause's end, so a truly quiet symbol is asked more and
more seldom.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

FLOOR_S = 10.0  # a learned cadence is not acted upon sooner
LEARNED_UPDATES = 100
FACTOR = 2.0


class Step(Enum):
    NONE = "none"
    ASK = "ask"
    RECONNECT = "reconnect"


@dataclass
class Silence:
    """Memory of one book: which step was taken when (seconds, the clock of the caller)."""

    step: Step = Step.NONE
    since: float = 0.0


def patience_s(updates: int, cadence_s: float, quiet_floor_s: float) -> float:
    """How long the book may be silent before it is suspect."""
    floor = FLOOR_S if updates >= LEARNED_UPDATES else max(FLOOR_S, quiet_floor_s)
    return max(floor, FACTOR * cadence_s)


def judge(memory: Silence, silent_s: float, patience: float, now: float) -> Step:
    """The step to take now (Step.NONE mostly); remembers it. Fresh data resets the memory."""
    if silent_s <= patience:
        memory.step = Step.NONE
        return Step.NONE
    if memory.step is Step.NONE:
        memory.step, memory.since = Step.ASK, now
        return Step.ASK
    if memory.step is Step.ASK and now - memory.since > patience:
        memory.step, memory.since = Step.RECONNECT, now
        return Step.RECONNECT
    if memory.step is Step.RECONNECT and now - memory.since > patience:
        memory.step = Step.NONE
    return Step.NONE
