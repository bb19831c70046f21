"""A reload that has no room changes nothing; what has room finds its place."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest

from handlers.errors import SetupError
from handlers.facts import Instrument
from handlers.lines import Line
from handlers.logs import Log
from handlers.registry import VENUES
from handlers.reload import Wanted

OKX = replace(VENUES["okx"], limits=replace(VENUES["okx"].limits, subscriptions_per_connection=2))


def row(name: str) -> Instrument:
    return Instrument(f"{name}-USDT", name, "USDT", 2, 2)


class World:
    """Two connections, of two symbols at most."""

    def __init__(self, capacity: int) -> None:
        self.rows = [row("A"), row("B"), row("C")]
        self.book_capacity = capacity
        self.left: set[int] = set()
        self.bound: dict[int, int | None] = {}
        log = Log("test", stream=io.StringIO())
        self.serving = [
            Line(OKX, 0, {"A-USDT": 0, "C-USDT": 2}, self, log),  # type: ignore[arg-type]
            Line(OKX, 1, {"B-USDT": 1}, self, log),  # type: ignore[arg-type]
        ]
        self.wanted = Wanted(OKX, self, self.rows, self, self)  # type: ignore[arg-type]

    @property
    def all(self) -> list[Line]:
        return self.serving

    def leave(self, book: int) -> None:
        self.left.add(book)

    def enter(self, book: int) -> None:
        self.left.discard(book)

    def add_book(self, added: Instrument) -> int:
        return len(self.rows)

    def release(self, book: int) -> None:
        self.bound[book] = None

    def take_back(self, book: int, connection: int) -> None:
        self.bound[book] = connection

    def of(self, *names: str) -> Any:
        return self.wanted.change([row(name) for name in names])

    def carried(self) -> list[list[str]]:
        return [list(line.books) for line in self.serving]


def test_what_comes_goes_to_the_emptiest_connection() -> None:
    world = World(8)
    change = world.of("A", "B", "C", "D")
    assert (change.added, change.removed) == (("D-USDT",), ())
    assert world.bound == {3: 1}
    assert world.carried() == [["A-USDT", "C-USDT"], ["B-USDT", "D-USDT"]]
    assert list(world.serving[1].subscriptions.rows) == ["B-USDT", "D-USDT"]


def test_what_left_comes_back_where_it_was_in_memory() -> None:
    world = World(3)
    assert world.of("A", "B").removed == ("C-USDT",)
    assert (world.left, world.bound) == ({2}, {2: None})
    assert world.of("A", "B").added == ()
    world.of("A", "B", "C")
    assert world.left == set()
    assert world.bound[2] in (0, 1)
    assert len(world.rows) == 3


@pytest.mark.parametrize(
    ("capacity", "names", "says"),
    [(3, "ABCD", "no room for 1 more books"), (8, "ABCDE", "no connection has room for E-USDT")],
)
def test_what_has_no_room_changes_nothing(capacity: int, names: str, says: str) -> None:
    world = World(capacity)
    before = world.carried()
    with pytest.raises(SetupError, match=says):
        world.of(*names)
    assert (world.carried(), world.bound, len(world.rows), world.left) == (before, {}, 3, set())


def test_what_leaves_makes_room_for_what_comes() -> None:
    world = World(8)
    world.of("A", "D", "E", "F")
    names = [name for line in world.carried() for name in line]
    assert sorted(names) == ["A-USDT", "D-USDT", "E-USDT", "F-USDT"]
