"""Reading the journal while it is written: each row once, from any offset, across crashes and removals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ordeal import Box
from servers import until

from handlers.errors import UnavailableError
from handlers.logs import Log
from handlers.recording.journal import files_of
from handlers.sinks.delivery import Delivery, Only, SinkSettings, TargetError, without_password
from handlers.sinks.rows import decimal, told
from handlers.sinks.tail import Batch, Offset, Tail


@pytest.fixture
def box(writer: Any, path: Path, run_dir: Path) -> Box:
    return Box(writer, path.parent, run_dir, file_bytes=60_000)


def drained(tail: Tail, rows_max: int = 10_000) -> list[tuple[str, int]]:
    """(symbol, sequence) of all updates that are there, in order."""
    found = []
    while (batch := tail.read(rows_max)) is not None:
        found += [(row.symbol, row.sequence) for row in told(batch) if row.type != "snapshot"]
    return found


def sent(box: Box) -> list[tuple[str, int]]:
    return [(row.symbol, row.sequence) for row in box.sent]


def test_every_row_comes_once_and_in_order_while_files_end_and_recorders_fall(box: Box) -> None:
    tail, found = Tail(box.told.dir, "binance"), []
    for turn in range(12):
        box.publish(200)
        if turn % 4 == 3:
            box.crash()
        found += drained(tail, 50)
    assert len(files_of(box.told.dir)) > 5
    until(lambda: found.extend(drained(tail)) or len(found) >= len(box.sent), "the rest")
    assert found == sent(box)
    assert tail.backlog() == (0, 0) or tail.backlog()[0] == len(b"BWJ1 torn")
    assert vars(tail.losses) == {"files": 0, "updates": 0, "gaps": 0, "damaged_bytes": 0}


def test_any_offset_is_a_place_to_go_on_and_best_prices_are_known_there(box: Box) -> None:
    box.publish(600)
    whole, offsets = Tail(box.told.dir, "binance"), [Offset()]
    rows = []
    while (batch := whole.read(1)) is not None:
        offsets.append(batch.after)
        rows.append(list(told(batch)))
    assert len(offsets) > 20
    for at in range(0, len(offsets), 7):
        again = Tail(box.told.dir, "binance")
        again.seek(offsets[at])
        found = []
        while (batch := again.read(1)) is not None:
            found.append(list(told(batch)))
        assert found == rows[at:], at
    assert rows[-1][-1].bid_price is not None


def test_a_block_that_is_being_written_is_waited_for(box: Box) -> None:
    box.publish(50)
    (journal,) = files_of(box.told.dir)
    data = journal.read_bytes()
    tail = Tail(box.told.dir, "binance")
    found = []
    for end in range(0, len(data) + 1, 97):
        journal.write_bytes(data[:end])
        found += drained(tail)
    journal.write_bytes(data)
    found += drained(tail)
    assert found == sent(box)
    assert tail.losses.damaged_bytes == 0


def test_damage_is_passed_over_and_counted(box: Box) -> None:
    box.publish(100)
    box.publish(100)
    (journal,) = files_of(box.told.dir)
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 0xFF
    journal.write_bytes(data)
    tail = Tail(box.told.dir, "binance")
    found = drained(tail)
    assert set(found) < set(sent(box))
    assert tail.losses.damaged_bytes > 0
    assert tail.losses.updates == len(sent(box)) - len(found)


def test_a_file_that_was_removed_unread_is_counted(box: Box) -> None:
    box.publish(100)
    tail = Tail(box.told.dir, "binance")
    first = tail.read(1)
    assert first is not None
    while len(files_of(box.told.dir)) < 4:
        box.publish(100)
    for path in files_of(box.told.dir)[:-1]:
        path.unlink()
    box.publish(100)
    later = Tail(box.told.dir, "binance")
    later.seek(first.after)
    found: list[tuple[str, int]] = []
    until(lambda: found.extend(drained(later)) or found[-1:] == sent(box)[-1:], "what is left")
    assert found == sent(box)[-len(found) :]
    assert later.losses.files == 1


def test_more_books_than_there_was_room_for(box: Box) -> None:
    tail = Tail(box.told.dir, "binance")
    box.publish(50)
    drained(tail)
    added = [box.writer.add(f"C{number}-USDT") for number in range(6)]
    for book in added:
        box.writer.publish(book, [(0, 5, 6, 0), (1, 9, 6, 0)])
    box.record()
    for book in added:
        box.writer.publish(book, [(0, 6, 7, 0)])
    box.record()
    rows = []
    while (batch := tail.read(1000)) is not None:
        rows += [row for row in told(batch) if row.type == "update"]
    assert [row.symbol for row in rows[-6:]] == [f"C{number}-USDT" for number in range(6)]
    assert {(row.bid_price, row.ask_price) for row in rows[-6:]} == {("0.06", "0.09")}


class Flaky:
    """A target that fails every third time, before or after it kept what it was given."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int]] = []
        self.offset = Offset()
        self.calls = 0

    def open(self) -> Mapping[str, Offset]:
        self.calls += 1
        if self.calls % 5 == 0:
            raise TargetError("nobody there")
        return {"binance": self.offset}

    def deliver(self, batches: Sequence[Batch]) -> int:
        self.calls += 1
        if self.calls % 3 == 0:
            raise TargetError("before")
        for batch in batches:
            self.rows += [(row.symbol, row.sequence) for row in told(batch) if row.type != "snapshot"]
            self.offset = batch.after
        if self.calls % 3 == 1:
            raise TargetError("after")
        return 0

    def idle(self, tails: Sequence[Tail]) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_target_that_fails_before_or_after_it_kept_the_rows_gets_each_once(box: Box) -> None:
    target = Flaky()
    settings = SinkSettings("postgres", "box", box.told.dir, box.base, ("binance",), batch_rows=20)
    delivery = Delivery(settings, target, Log("sink"), dice=lambda low, high: 0.0)
    box.publish(500)
    for _ in range(2000):
        delivery._turn()
        if target.rows == sent(box):
            break
    assert target.rows == sent(box)
    status = delivery.status()
    assert status["failures"] > 5
    assert status["retries"] == status["failures"]
    assert status["backlog_bytes"] == 0


def test_two_of_one_sink_are_refused(box: Box) -> None:
    path = box.base / "sinks" / "postgres.box.lock"
    with Only(path), pytest.raises(UnavailableError, match="already runs"):
        Only(path)
    with Only(path):
        pass


@pytest.mark.parametrize(
    ("mantissa", "exponent", "text"),
    [
        (6400011, 2, "64000.11"),
        (5, 4, "0.0005"),
        (5, 0, "5"),
        (-5, 1, "-0.5"),
        (0, 3, "0.000"),
        (123, 3, "0.123"),
    ],
)
def test_decimals_lose_nothing(mantissa: int, exponent: int, text: str) -> None:
    assert decimal(mantissa, exponent) == text


def test_a_password_is_not_told() -> None:
    assert without_password("postgresql://me:secret@host:5432/db") == "postgresql://me@host:5432/db"
    assert without_password("postgresql://me@host/db") == "postgresql://me@host/db"
