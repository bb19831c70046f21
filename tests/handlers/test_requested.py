"""Snapshots asked for on the connection: one at a time a book, paced, repeated until the book stands."""

from __future__ import annotations

from handlers.facts import Rate
from handlers.requested import ANSWER_S, Requested


def asked(requested: Requested, *times: float) -> list[str]:
    found = []
    for now in times:
        while (symbol := requested.take(now)) is not None:
            found.append(symbol)
    return found


def test_each_symbol_is_asked_once_within_the_pace() -> None:
    requested = Requested(Rate(1, 0.1))
    for symbol in "ABA":
        requested.want(symbol, 0.0)
        if symbol == "A":
            requested.take(0.0)
    assert requested.waiting == 2
    assert asked(requested, 0.05) == []
    assert "B" in asked(requested, 0.2, 0.31)  # before or behind A's second wish, which is jittered


def test_what_did_not_help_or_never_came_is_asked_again_later() -> None:
    requested = Requested(None)
    requested.want("A", 0.0)
    assert asked(requested, 0.0, 1.0) == ["A"]
    requested.again("A", 1.0)
    requested.again("A", 1.0)
    assert asked(requested, 2.5) == ["A"], "within a second, jittered"
    assert asked(requested, 2.5 + ANSWER_S - 0.1) == []
    assert asked(requested, *(2.5 + ANSWER_S + 0.1 * turn for turn in range(1, 30))) == ["A"]
    requested.stands("A")
    assert asked(requested, 100.0) == []
    assert requested.waiting == 0
    assert not requested.waits("A")


def test_a_second_wish_means_that_what_came_was_no_use() -> None:
    requested = Requested(None)
    requested.want("A", 0.0)
    requested.take(0.0)
    requested.want("A", 0.5)
    assert asked(requested, 2.0) == ["A"]
    assert requested.sent == 2
