"""What mends a book: once, within limits, again after delays; what never comes is a refusal to be read."""

from __future__ import annotations

import io
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from handlers._ffi import lib
from handlers.facts import Instrument, Venue
from handlers.lines import Line
from handlers.logs import Log
from handlers.registry import VENUES
from handlers.repairs import REFUSED_RETRY_S, SILENT_TRIES, Repairs
from handlers.subscriptions import State

ROW = Instrument("A", "A", "USDT", 2, 2)


class Native:
    def __init__(self) -> None:
        self.sent: list[str] = []
        self.states: list[tuple[int, int, int]] = []

    def send(self, connection: int, text: str) -> None:
        self.sent.append(text)

    def ping(self, connection: int) -> None:
        pass

    def drop(self, connection: int, code: int = 0) -> None:
        pass

    def load_snapshot(self, book: int, body: bytes) -> None:
        pass

    def set_state(self, book: int, state: int, reason: int) -> None:
        self.states.append((book, state, reason))


class World:
    """One book on one open connection."""

    def __init__(self, venue: Venue) -> None:
        self.native = Native()
        log = Log("test", stream=io.StringIO())
        self.line = Line(venue, 0, {"A": 0}, self.native, log)
        self.line.dialled()
        self.line.connected(0.0)
        self.repairs = Repairs(venue, self.native, None, [ROW], self, self.spawn, log)  # type: ignore[arg-type]

    @property
    def all(self) -> list[Line]:
        return [self.line]

    def of(self, book: int) -> Line:
        return self.line

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        work.close()

    def tick(self, now: float) -> None:
        self.line.tick(now, 10)
        self.repairs.tick(now)

    def state(self) -> State:
        return self.line.subscriptions.rows["A"].state


def acknowledged(world: World, now: float) -> None:
    """The venue says yes to whatever waits."""
    for _ in range(3):
        world.tick(now)
        for row in world.line.subscriptions.rows.values():
            row.state = {State.REQUESTED: State.STANDING, State.LEFT: State.WANTED}.get(row.state, row.state)


def test_a_subscription_that_is_acknowledged_and_brings_nothing_is_refused_and_asked_again_later() -> None:
    world = World(VENUES["bybit"])
    now = 0.0
    for _ in range(SILENT_TRIES + 1):
        acknowledged(world, now)
        world.repairs.restart(0, now)
        now += 100.0
    assert world.repairs.refused[0][0] == "acknowledged, but nothing came"
    assert world.native.states == [(0, lib.BW_BOOK_DOWN, lib.BW_REASON_REFUSED)]
    assert world.state() is State.REFUSED
    world.repairs.ask_refused_again(now + REFUSED_RETRY_S)
    assert world.state() is State.WANTED
    world.repairs.book_state(0, lib.BW_BOOK_LIVE)
    assert world.repairs.refused == {}


def requesting() -> World:
    world = World(replace(VENUES["htx"], settle_s=0.0))
    acknowledged(world, 0.0)
    world.native.sent.clear()
    return world


def test_a_snapshot_is_asked_for_where_the_updates_come_and_until_the_book_lives() -> None:
    world = requesting()
    world.repairs.want_snapshot(0)
    world.line.tick(time.monotonic(), 10)
    assert [text for text in world.native.sent if '"req"' in text] == [
        '{"req":"market.A.mbp.150","id":"snapshot-1"}'
    ]
    world.repairs.snapshot_result(0, 0)
    assert world.line.snapshots.waits("A"), "it was taken, but the book does not live by it"
    world.repairs.book_state(0, lib.BW_BOOK_LIVE)
    assert not world.line.snapshots.waits("A")


def test_a_fresh_subscription_is_followed_by_a_snapshot() -> None:
    world = requesting()
    world.repairs.restart(0, 0.0)
    assert world.state() is State.LEAVING
    world.repairs.want_snapshot(0)
    assert not world.line.snapshots.waits("A"), "not while the updates do not come"
    acknowledged(world, 1.0)
    world.repairs.tick(2.0)
    assert world.line.snapshots.waits("A")


def test_a_quiet_book_starts_by_a_snapshot_asked_for_once() -> None:
    world = requesting()
    for _ in range(3):
        world.repairs.quiet_start(0)
        world.line.tick(time.monotonic(), 10)
    assert world.line.snapshots.sent == 1
