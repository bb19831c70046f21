"""The plan of a start holds against the budget that the start itself spends from."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.budget import Window
from handlers.errors import SetupError
from handlers.facts import Rate, Token
from handlers.planning import affordable_snapshot, paced_s, plan
from handlers.registry import VENUES

BINANCE, OKX = VENUES["binance"], VENUES["okx"]


def names(count: int) -> list[str]:
    return [f"COIN{number}USDT" for number in range(count)]


@given(amount=st.integers(1, 60), count=st.integers(1, 12), per_s=st.floats(0.5, 60))
def test_pacing_is_what_a_window_allows(amount: int, count: int, per_s: float) -> None:
    window, now = Window(Rate(count, per_s)), 0.0
    for _ in range(amount):
        while wait := window.take(now):
            now += wait
    assert now == pytest.approx(paced_s(amount, Rate(count, per_s)), abs=0.1)


def test_a_start_of_binance_is_bounded_by_its_rest_weight() -> None:
    small, all_of_it = plan(BINANCE, names(10), 60), plan(BINANCE, names(1500), 60)
    deepest = BINANCE.snapshots[0].weight
    assert small.rest_weight == BINANCE.limits.symbols_weight + 10 * deepest
    assert small.warm_up_s == 0.0
    assert affordable_snapshot(BINANCE, 1500) > 0  # the deepest one for each would take too long
    assert all_of_it.warm_up_s == all_of_it.rest_s > 60
    assert all_of_it.connections * BINANCE.limits.subscriptions_per_connection >= 1500


def test_a_connection_limit_and_a_message_limit_both_count() -> None:
    limits = replace(OKX.limits, connects=Rate(1, 2.0), subscriptions_per_request=1, requests=Rate(1, 0.5))
    start = plan(replace(OKX, limits=limits), names(60), 60)
    assert start.connections == 2
    assert start.connect_s == 2.0
    assert start.request_s == pytest.approx(29 * 0.5)
    assert start.warm_up_s == start.connect_s + start.request_s


def test_too_many_symbols_are_an_error_that_says_how_many_fit() -> None:
    with pytest.raises(SetupError, match="need 4 connections of 3"):
        plan(OKX, names(100), 3)


def test_greetings_tokens_and_snapshots_on_the_connection_cost_as_well() -> None:
    htx, kucoin = VENUES["htx"], VENUES["kucoin"]
    start = plan(htx, names(150), 60)
    assert start.connections == 2
    assert start.request_s == pytest.approx(74 * 0.12), (
        "a snapshot in 120 ms is slower than 20 requests in 1 s"
    )
    settled = plan(replace(htx, settle_s=2.0), names(150), 60)
    assert settled.request_s == pytest.approx(2.0 + start.request_s)
    token = Token("/bullet", str, weight=10)
    told = plan(replace(kucoin, token=token), names(250), 60)
    assert told.rest_requests == 1 + 2
    assert told.rest_weight == kucoin.limits.symbols_weight + 2 * 10


@pytest.mark.parametrize("name", VENUES)
def test_every_venue_can_be_planned_and_its_plan_holds_its_limits(name: str) -> None:
    venue, limits = VENUES[name], VENUES[name].limits
    for books in (1, 30):
        start = plan(venue, names(books))
        assert start.books_per_connection <= limits.subscriptions_per_connection
        assert start.connections <= (limits.connections or start.connections)
        assert start.requests >= start.connections
        assert start.request_s >= venue.settle_s
        asked = limits.snapshot_requests if venue.snapshot_request else None
        assert asked is None or start.request_s >= paced_s(start.books_per_connection, asked)
        assert start.rest_weight >= limits.symbols_weight
