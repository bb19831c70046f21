"""The budget: no window ever exceeds the limit, whoever spends; the breaker holds for all."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from handlers.budget import SharedBudget, Window
from handlers.facts import Rate


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 40)), max_size=60))
def test_no_window_exceeds_the_limit(steps: list[tuple[float, int]]) -> None:
    window, now = Window(Rate(100, 60.0)), 0.0
    spent: list[tuple[float, int]] = []
    for pause, weight in steps:
        now += pause
        if window.take(now, weight) == 0:
            spent.append((now, weight))
    for end, _ in spent:
        assert sum(weight for when, weight in spent if end - 60 < when <= end) <= 100


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 100)), min_size=1, max_size=30))
def test_the_wait_it_names_is_enough(steps: list[tuple[float, int]]) -> None:
    window, now = Window(Rate(100, 60.0)), 0.0
    for pause, weight in steps:
        now += pause
        wait = window.take(now, weight)
        if wait > 0:
            now += wait + 1e-6
            assert window.take(now, weight) == 0


def test_processes_share_what_is_spent(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        taken = pool.map(spend, [str(tmp_path)] * 4)
    assert sum(taken) == 50


def spend(run_dir: str) -> int:
    budget = SharedBudget(Path(run_dir), "binance", "rest", Rate(50, 3600.0))
    return sum(budget.take() == 0 for _ in range(40))


def test_addresses_and_kinds_have_budgets_of_their_own(tmp_path: Path) -> None:
    rate = Rate(1, 60.0)
    budgets = [
        SharedBudget(tmp_path, "okx", kind, rate, address)
        for kind in ("rest", "connects")
        for address in (None, "192.0.2.1", "2001:db8::1")
    ]
    assert [budget.take() for budget in budgets] == [0] * 6
    assert all(budget.take() > 0 for budget in budgets)


def test_the_breaker_holds_for_everybody_until_its_time(tmp_path: Path) -> None:
    clock = Clock()
    one, other = (SharedBudget(tmp_path, "okx", "rest", Rate(10, 1.0), clock=clock) for _ in range(2))
    one.open(120.0, "HTTP 418")
    one.open(10.0, "HTTP 429")  # a shorter one does not shorten it
    assert other.take() == 120.0
    assert (other.state().reason, other.state().open_until) == ("HTTP 418", 1120.0)
    clock.now += 120.0
    assert other.take() == 0
    assert other.state().open_until == 0


def test_what_the_venue_counted_beyond_ours_is_spent(tmp_path: Path) -> None:
    budget = SharedBudget(tmp_path, "binance", "rest", Rate(6000, 60.0), clock=Clock())
    budget.take(250)
    budget.observe(5900)
    assert budget.state().used == 5900
    assert budget.take(250) > 0


def test_a_torn_file_starts_afresh(tmp_path: Path) -> None:
    budget = SharedBudget(tmp_path, "binance", "rest", Rate(10, 60.0))
    budget.take(10)
    budget.path.write_bytes(budget.path.read_bytes()[:9])
    assert budget.take(10) == 0


def test_a_clock_set_back_frees_nothing_early(tmp_path: Path) -> None:
    clock = Clock()
    budget = SharedBudget(tmp_path, "binance", "rest", Rate(10, 60.0), clock=clock)
    budget.take(10)
    clock.now -= 500
    assert 0 < budget.take(1) <= 60.0
