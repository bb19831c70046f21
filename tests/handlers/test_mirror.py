"""A mirror of a topic's messages, without a broker: the same books, never shown as live while not whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ordeal import SYMBOLS, Box
from servers import until

from handlers._ffi import lib
from handlers.logs import Log
from handlers.mirror import Mirror, MirrorSettings
from handlers.shm import Book, Segment
from handlers.shm_layout import BookState
from handlers.sinks.kafka import Address, Kafka
from handlers.sinks.tail import Tail

pytest.importorskip("confluent_kafka")


class Topic:
    """What a producer would send, in order."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes]] = []

    def produce(self, topic: str, value: bytes, key: bytes, partition: int) -> None:
        if ".offsets." not in topic:
            self.messages.append((key, value))

    def begin_transaction(self) -> None:
        pass

    def commit_transaction(self, timeout: float) -> None:
        pass

    def poll(self, timeout: float) -> None:
        pass

    def purge(self) -> None:
        pass


class Line:
    """From the journal to the mirror by hand."""

    def __init__(self, box: Box, there: Path) -> None:
        self.box, self.topic = box, Topic()
        address = Address.of("kafka://nowhere/books")
        self.sink = Kafka(address, "box", ("binance",), box.shm_dir, snapshot_s=1e9)
        self.sink._producer = self.topic
        self.tail = Tail(box.told.dir, "binance")
        self.mirror = Mirror(MirrorSettings(there, there), address, Log("mirror"))
        self.path = there / "binance.shm"

    def carry(self, keep: Callable[[bytes], bool] = lambda value: True) -> None:
        """All that is recorded, then a beat."""
        while (batch := self.tail.read(100)) is not None:
            self.sink.deliver([batch])
        for _ in range(2):  # the first look is what the second one must have
            self.box.writer.beat()
            self.sink._beat_s = 0.0
            self.sink.idle([self.tail])
        messages, self.topic.messages = self.topic.messages, []
        for key, value in messages:
            if keep(value):
                self.mirror.take(key, value)
        self.mirror.turn()

    def copies(self) -> None:
        self.sink._snapshot_s = 0.0
        self.carry()
        self.sink._snapshot_s = 1e9


@pytest.fixture
def line(writer: Any, path: Path, run_dir: Path, shm_dir: Path) -> Iterator[Line]:
    there = shm_dir / "there"
    there.mkdir()
    made = Line(Box(writer, path.parent, run_dir), there)
    yield made
    made.sink.close()
    for each in made.mirror.exchanges.values():
        each.segment.close()


def same(book: Book, other: Book) -> bool:
    names = ("sequence", "epoch", "state", "price_exponent", "quantity_exponent", "published_ns")
    return all(getattr(book, name) == getattr(other, name) for name in names) and all(
        np.array_equal(getattr(book, side), getattr(other, side)) for side in ("bids", "asks")
    )


def all_same(line: Line, mirrored: Segment, origin: Segment) -> bool:
    """Carries on; a journal file that has just begun is seen a moment later."""
    line.carry()
    return all(same(mirrored.book(symbol), origin.book(symbol)) for symbol in SYMBOLS)


def alive(line: Line, mirrored: Segment) -> bool:
    line.carry()
    return mirrored.alive()


def test_the_same_books_at_the_same_sequences(line: Line) -> None:
    line.box.publish(300)
    line.carry()
    with Segment.open(line.path) as mirrored, Segment.open(line.box.writer_path) as origin:
        for _ in range(10):
            line.box.publish(100)
            until(lambda: all_same(line, mirrored, origin), "the same books")
            assert all(mirrored.book(symbol).state is BookState.LIVE for symbol in SYMBOLS)
        until(lambda: alive(line, mirrored), "a heart that beats")
    assert line.mirror.counts.unknown == 0
    assert line.mirror.exchanges["binance"].segment.waiting == 0


def test_the_ring_of_a_mirror_makes_its_books(line: Line) -> None:
    line.box.publish(200)
    line.carry()
    with Segment.open(line.path) as mirrored:
        book, position = mirrored.book_at("BTC-USDT")
        held = {(side, int(row["price"])): int(row["quantity"]) for side in ("bids", "asks")
                for row in getattr(book, side)}  # fmt: skip
        sequence = book.sequence
        for _ in range(200):
            line.box.writer.publish(0, [(0, 120, 3, 0), (1, 230 + sequence % 7, 4, 0)])
            sequence += 1
        line.box.record()
        line.carry()
        seen = []
        for record in mirrored.records(position):
            if record.book == 0 and record.sequence > book.sequence:
                seen.append(record.sequence)
                for side in ("bids", "asks"):
                    held |= {(side, int(row["price"])): int(row["quantity"]) for row in getattr(record, side)}
        assert seen == list(range(book.sequence + 1, sequence + 1))
        now = mirrored.book("BTC-USDT")
        assert {key: quantity for key, quantity in held.items() if quantity} == {
            (side, int(row["price"])): int(row["quantity"])
            for side in ("bids", "asks")
            for row in getattr(now, side)
        }


def test_a_mirror_that_comes_late_shows_a_book_once_it_came_whole(line: Line) -> None:
    line.box.publish(300)
    line.carry(lambda value: value[4] == 1)  # the records alone, and no beat
    assert not line.path.exists()
    line.copies()
    with Segment.open(line.path) as mirrored, Segment.open(line.box.writer_path) as origin:
        assert all(same(mirrored.book(symbol), origin.book(symbol)) for symbol in SYMBOLS)


def test_a_record_that_is_missing_takes_its_book_out_until_a_copy_comes(line: Line) -> None:
    line.box.publish(100)
    line.carry()
    with Segment.open(line.path) as mirrored, Segment.open(line.box.writer_path) as origin:
        for _ in range(3):
            line.box.writer.publish(0, [(0, 120, 3, 0)])
            line.box.writer.publish(1, [(0, 120, 3, 0)])
        line.box.record()
        left_out = iter([False, True])  # the first record of one book

        def keep(value: bytes) -> bool:
            return not (value[4] == 1 and value[8] == 0 and not next(left_out, True))

        line.carry(keep)
        segment = line.mirror.exchanges["binance"].segment
        assert segment.waiting == 1
        segment.look(1e12)
        assert mirrored.book("BTC-USDT").state is BookState.RESYNC
        assert mirrored.book("ETH-USDT").state is BookState.LIVE
        line.copies()
        line.box.writer.publish(0, [(0, 121, 3, 0)])
        line.box.record()
        line.carry()
        assert mirrored.book("BTC-USDT").state is BookState.LIVE
        assert same(mirrored.book("BTC-USDT"), origin.book("BTC-USDT"))


def test_a_replaced_book_is_waited_for_and_never_half(line: Line) -> None:
    line.box.publish(50)
    line.carry()
    with Segment.open(line.path) as mirrored, Segment.open(line.box.writer_path) as origin:
        line.box.writer.publish(0, [(0, 130, 9, 0)], lib.BW_RECORD_RESET)
        line.box.record()
        line.carry(lambda value: value[4] != 2)
        before = mirrored.book("BTC-USDT")
        assert before.sequence + 1 == origin.book("BTC-USDT").sequence, "not shown before it is whole"
        line.copies()
        assert same(mirrored.book("BTC-USDT"), origin.book("BTC-USDT"))


def test_bounds_come_along(line: Line) -> None:
    native = lib.bw_shm_writer_book(line.box.writer.writer, 0)
    native.side[0].verified_price = 101
    line.box.publish(100)
    line.carry()
    with Segment.open(line.path) as mirrored:
        assert mirrored.book("BTC-USDT").header["side"]["verified_price"].tolist() == [101, 0]
        native.side[1].verified_price = 260
        line.copies()
        assert mirrored.book("BTC-USDT").header["side"]["verified_price"].tolist() == [101, 260]


def test_without_fresh_beats_readers_take_it_for_dead(line: Line) -> None:
    line.box.publish(50)
    line.carry()
    with Segment.open(line.path) as mirrored:
        until(lambda: alive(line, mirrored), "a heart that beats")
        line.mirror.exchanges["binance"].beat_ns -= 6_000_000_000
        line.mirror.turn()
        until(lambda: not mirrored.alive(), "its heart stands still")
        until(lambda: alive(line, mirrored), "it beats again")


def test_beats_end_when_the_recorder_stands_still(line: Line) -> None:
    line.box.publish(50)
    line.carry()
    beats = line.mirror.counts.beats
    line.box.writer.publish(0, [(0, 120, 3, 0)])  # and nobody records it
    for _ in range(3):
        line.carry()
    assert line.mirror.counts.beats <= beats + 1, "one whose look was before it"
    line.box.record()
    line.carry()
    line.carry()
    assert line.mirror.counts.beats > beats + 1


def test_another_generation_is_another_segment(line: Line, writer_class: Any) -> None:
    line.box.publish(50)
    line.carry()
    with Segment.open(line.path) as mirrored:
        line.box.writer.close()
        line.box.writer = writer_class(line.box.writer_path)
        line.box.publish(20)

        def replaced() -> bool:
            line.box.record()
            line.carry()
            return mirrored.replaced()

        until(replaced, "the new segment")
    with Segment.open(line.path) as mirrored, Segment.open(line.box.writer_path) as origin:
        until(lambda: all_same(line, mirrored, origin), "the same books")
    line.box.writer.close()


def test_more_books_than_there_was_room_for(line: Line) -> None:
    line.box.publish(50)
    line.carry()
    for number in range(6):
        book = line.box.writer.add(f"C{number}-USDT")
        line.box.writer.publish(book, [(0, 5, 6, 0)])
    line.box.record()
    line.carry()
    line.copies()
    with Segment.open(line.path) as mirrored, Segment.open(line.box.writer_path) as origin:
        assert len(mirrored.symbols) == 8
        for symbol in origin.symbols:
            assert same(mirrored.book(symbol.canonical), origin.book(symbol.canonical))


def test_a_long_book_comes_in_parts(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.sinks.messages.PART_LEVELS", 10)
    line.box.publish(100)
    line.carry(lambda value: value[4] != 3)
    line.copies()
    with Segment.open(line.path) as mirrored, Segment.open(line.box.writer_path) as origin:
        assert len(origin.book("BTC-USDT").bids) > 10
        assert all(same(mirrored.book(symbol), origin.book(symbol)) for symbol in SYMBOLS)


def test_what_is_not_ours_is_counted(line: Line) -> None:
    line.mirror.take(b"binance", b"{}")
    line.mirror.take(b"nobody", b"{}")
    assert line.mirror.counts.unknown == 1


def test_a_living_feed_of_this_machine_is_not_mirrored_over(line: Line) -> None:
    line.box.publish(50)
    line.path.symlink_to(line.box.writer_path)
    line.mirror.exchanges.clear()
    line.box.writer.beat()
    import handlers.mirror_segment as room

    pid, room.os = room.os, type("Os", (), {"getpid": staticmethod(lambda: 1), "fsencode": room.os.fsencode})
    try:
        line.carry()
    finally:
        room.os = pid
    assert line.path.is_symlink()
    assert line.mirror.counts.refused == 1
