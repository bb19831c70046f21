"""Silence: learned patience, and steps that grow."""

from __future__ import annotations

import pytest

from handlers.backoff import Backoff
from handlers.liveness import Silence, Step, judge, patience_s


@pytest.mark.parametrize(
    ("updates", "cadence", "expected"),
    [(5, 0.1, 60.0), (5, 50.0, 100.0), (500, 0.1, 10.0), (500, 8.0, 16.0)],
)
def test_patience_is_twice_the_learned_cadence_above_a_floor(
    updates: int, cadence: float, expected: float
) -> None:
    assert patience_s(updates, cadence, quiet_floor_s=60.0) == expected


def test_the_steps_grow_while_silence_lasts() -> None:
    memory = Silence()
    steps = [judge(memory, float(second), 10.0, float(second)) for second in range(40)]
    taken = [(second, step) for second, step in enumerate(steps) if step is not Step.NONE]
    assert taken == [(11, Step.ASK), (22, Step.RECONNECT), (34, Step.ASK)]


def test_data_forgives() -> None:
    memory = Silence()
    assert judge(memory, 11.0, 10.0, 0.0) is Step.ASK
    assert judge(memory, 0.1, 10.0, 1.0) is Step.NONE
    assert judge(memory, 11.0, 10.0, 12.0) is Step.ASK


def test_backoff_doubles_to_its_cap_with_full_jitter_and_forgets() -> None:
    backoff = Backoff(chance=lambda: 1.0)
    assert [backoff.fail() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    backoff.reset()
    assert backoff.fail() == 1
    assert Backoff(chance=lambda: 0.0).fail() == 0
