"""Connections replaced before they end: who carries which book, and when the old one goes."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace

import pytest

from handlers._ffi import lib
from handlers.facts import Venue
from handlers.lines import NEAR_END_S, Line
from handlers.logs import Log
from handlers.registry import VENUES
from handlers.rollover import OVERLAP_S, Rollover

LIFE_S = 3600.0
END = LIFE_S - NEAR_END_S + 1
BOOKS = {"A": 0, "B": 1}


class Native:
    """Stands for the native loop: writes down what it is asked, keeps which connection carries a book."""

    def __init__(self) -> None:
        self.books = [SimpleNamespace(connection=0, state=lib.BW_BOOK_LIVE) for _ in BOOKS]
        self.asked: list[tuple[object, ...]] = []

    def bind(self, book: int, connection: int) -> None:
        self.books[book].connection = connection
        self.asked.append(("bind", book, connection))

    def hand_over(self, book: int, connection: int) -> None:
        self.asked.append(("hand_over", book, connection))

    def resync(self, book: int, reason: int) -> None:
        self.asked.append(("resync", book))

    def drop(self, connection: int, code: int = 0) -> None:
        self.asked.append(("drop", connection))

    def raw_book(self, book: int) -> SimpleNamespace:
        return self.books[book]

    def send(self, connection: int, text: str) -> None:
        pass

    def ping(self, connection: int) -> None:
        pass


class World:
    def __init__(self, name: str) -> None:
        limits = replace(VENUES[name].limits, lifetime_s=LIFE_S)
        self.venue: Venue = replace(VENUES[name], limits=limits)
        self.native = Native()
        self.log = Log("test", stream=io.StringIO())
        self.lines = [self.make(0, None)]
        self.rollover = Rollover(self.venue, self.lines, self.make, self.native, self.log)
        self.open(self.lines[0], 0.0)

    def make(self, connection: int, _: Line | None) -> Line:
        return Line(self.venue, connection, BOOKS, self.native, self.log)

    def open(self, line: Line, now: float) -> None:
        line.dialled()
        line.connected(now)

    def heir(self) -> Line:
        (heir,) = self.rollover.heirs
        return heir


def test_where_subscriptions_bring_snapshots_books_move_one_by_one() -> None:
    world = World("okx")
    world.rollover.look(END - 2)
    assert world.rollover.heirs == []
    world.rollover.look(END)
    heir = world.heir()
    assert world.native.asked == [("hand_over", 0, 1), ("hand_over", 1, 1)]
    world.open(heir, END)
    heir.tick(END, 100)
    world.native.books[0].connection = 1
    world.rollover.look(END + 1)
    assert world.lines[0].connection == 0, "one book still waits for its snapshot"
    world.native.books[1].connection = 1
    world.rollover.look(END + 2)
    assert world.lines == [heir]
    assert heir.ready, "its data proves the subscriptions"
    assert world.native.asked[2:] == [("drop", 0)]
    assert world.rollover.closed(0), "what was handed over ends without a word"
    world.rollover.look(END + 3)
    assert world.rollover.done == 1


def test_a_book_whose_snapshot_does_not_come_moves_all_the_same_and_starts_afresh() -> None:
    world = World("okx")
    world.rollover.look(END)
    world.open(world.heir(), END)
    world.native.books[0].connection = 1
    world.rollover.look(END + OVERLAP_S - 1)
    assert len(world.rollover.heirs) == 1
    world.rollover.look(END + OVERLAP_S + 1)
    assert world.native.asked[2:] == [("bind", 1, 1), ("resync", 1), ("drop", 0)]


def test_a_refused_book_holds_nothing_up() -> None:
    world = World("okx")
    world.rollover.look(END)
    world.open(world.heir(), END)
    world.native.books[0].connection, world.native.books[1].state = 1, lib.BW_BOOK_DOWN
    world.rollover.look(END + 1)
    assert world.rollover.done == 1


def test_where_ids_prove_what_is_old_all_move_when_the_subscriptions_stand() -> None:
    world = World("binance")
    world.rollover.look(END)
    heir = world.heir()
    assert world.native.asked == []
    world.open(heir, END)
    heir.tick(END, 100)
    world.rollover.look(END + 1)
    assert world.rollover.done == 0
    for symbol in BOOKS:
        heir.subscriptions.seen(symbol)
    world.rollover.look(END + 2)
    assert world.native.asked == [("bind", 0, 1), ("bind", 1, 1), ("drop", 0)]


@pytest.mark.parametrize("open_already", [False, True])
def test_the_old_connection_may_end_first(open_already: bool) -> None:
    world = World("okx")
    world.rollover.look(END)
    heir = world.heir()
    if open_already:
        world.open(heir, END)
    assert world.rollover.closed(0) is open_already
    assert world.lines == ([heir] if open_already else world.lines)
    assert ("drop", 0) not in world.native.asked
    assert ("resync", 0) not in world.native.asked, "a dead book starts by itself on its new connection"


def test_one_heir_at_a_time() -> None:
    world = World("okx")
    second = world.make(5, None)
    world.lines.append(second)
    rollover = Rollover(world.venue, world.lines, world.make, world.native, world.log)
    world.open(second, 0.0)
    rollover.look(END)
    assert [line.connection for line in rollover.heirs] == [2]
