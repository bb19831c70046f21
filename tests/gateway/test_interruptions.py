"""What is remembered of an exchange that went away, however short it was."""

from __future__ import annotations

from gateway.interruptions import Mark

MS = 1_000_000


def seen(*looks: tuple[int, bool, int]) -> Mark:
    """After looks of (ms, live, generation)."""
    mark = Mark()
    for at_ms, live, generation in looks:
        mark.look(live, generation, at_ms * MS)
    return mark


def test_a_start_is_no_interruption() -> None:
    mark = seen((0, False, 0), (250, False, 7), (500, True, 7), (750, True, 7))
    assert mark.told(900 * MS) == {"count": 0, "ago_ms": None, "lasted_ms": None}


def test_it_lasts_from_the_last_good_look_until_the_next() -> None:
    looks = ((0, True, 7), (250, True, 7), (500, False, 7), (1500, False, 0))
    assert seen(*looks).told(2000 * MS) == {"count": 1, "ago_ms": 0, "lasted_ms": 1750}
    assert seen(*looks, (2250, True, 8)).told(5250 * MS) == {"count": 1, "ago_ms": 3000, "lasted_ms": 2000}


def test_a_process_replaced_between_two_looks_is_one() -> None:
    mark = seen((0, True, 7), (250, True, 8), (500, True, 8))
    assert mark.told(1250 * MS) == {"count": 1, "ago_ms": 1000, "lasted_ms": 250}


def test_a_new_process_that_is_not_live_yet_counts_once() -> None:
    mark = seen((0, True, 7), (250, False, 0), (500, False, 8), (750, True, 8), (1000, False, 8))
    assert mark.told(1000 * MS) == {"count": 2, "ago_ms": 0, "lasted_ms": 250}
