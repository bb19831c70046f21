"""The Kafka sink against a real broker, which is killed on the way, as is the sink; mirrors of the topic."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ordeal import SYMBOLS, Box, Sent, SinkProcess, ordeal, samples
from servers import KafkaServer, until

from handlers import shm_layout as layout
from handlers.errors import SetupError
from handlers.logs import Log
from handlers.mirror import Mirror, MirrorSettings
from handlers.shm import Book, OverrunError, Segment
from handlers.sinks.kafka import Address

confluent_kafka = pytest.importorskip("confluent_kafka")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def server() -> Iterator[KafkaServer]:
    with KafkaServer() as made:
        made.start()
        yield made


@pytest.fixture
def box(writer: Any, path: Path, run_dir: Path) -> Box:
    return Box(writer, path.parent, run_dir)


class Reader:
    """All that is committed in a topic, decoded by the sample in docs/sinks.md."""

    def __init__(self, server: KafkaServer, topic: str) -> None:
        room: dict[str, Any] = {}
        exec(compile(samples("python")[0], "docs/sinks.md", "exec"), room)  # noqa: S102
        self.decode = room["decode"]
        self.topic, self.found, self.snapshots = topic, [], 0
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": server.servers, "group.id": "test", "isolation.level": "read_committed",
            "auto.offset.reset": "earliest", "log_level": 0, "enable.auto.commit": False,
            "topic.metadata.refresh.interval.ms": 500,
        })  # fmt: skip
        self.assigned = False

    def arrived(self) -> int:
        """Reads on; updates so far."""
        if not self.assigned:
            try:
                there = self.consumer.list_topics(self.topic, timeout=2).topics[self.topic].partitions
            except confluent_kafka.KafkaException:
                return 0
            self.consumer.assign([confluent_kafka.TopicPartition(self.topic, p, 0) for p in there])
            self.assigned = bool(there)
        while messages := self.consumer.consume(5000, 0.5) if self.assigned else []:
            for message in messages:
                if message.error() is None:
                    self._take(message)
        return len(self.found)

    def _take(self, message: Any) -> None:
        told = self.decode(message.value())
        if told["type"] == "snapshot":
            self.snapshots += 1
        elif told["type"] != "beat":
            symbol = message.key().decode().partition(":")[2]
            levels = (
                tuple((Decimal(p), Decimal(q), n) for p, q, n in told[side]) for side in ("bids", "asks")
            )
            self.found.append(Sent(symbol, told["sequence"], told["type"], *levels))


@pytest.mark.long
def test_it_holds_exactly_what_was_sent_whoever_was_killed(box: Box, server: KafkaServer) -> None:
    reader = Reader(server, "ordeal")
    sink = SinkProcess(box, "kafka", server.url("ordeal"))
    try:
        ordeal(box, server, sink, reader.arrived)
    finally:
        assert sink.close() == 0
    reader.arrived()
    assert sorted(reader.found) == sorted(box.sent), "each once"
    assert reader.found == box.sent, "and in order"
    assert reader.snapshots > 0


def same(book: Book, other: Book) -> bool:
    names = ("sequence", "epoch", "state", "price_exponent", "quantity_exponent")
    return all(getattr(book, name) == getattr(other, name) for name in names) and all(
        np.array_equal(getattr(book, side), getattr(other, side)) for side in ("bids", "asks")
    )


class Beating:
    """Keeps the writer's heart beating, as its loop would."""

    def __init__(self, box: Box) -> None:
        self._box, self._stop = box, threading.Event()
        self._thread = threading.Thread(target=self._beat)
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(0.1):
            self._box.writer.beat()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.long
def test_a_mirror_shows_the_same_books_and_hides_them_when_their_origin_is_silent(
    box: Box, server: KafkaServer, tmp_path: Path
) -> None:
    there = tmp_path / "shm"
    mirror = Mirror(
        MirrorSettings(there, tmp_path / "run"), Address.of(server.url("mirrored")), Log("mirror")
    )
    sink, heart = SinkProcess(box, "kafka", server.url("mirrored")), Beating(box)
    thread = threading.Thread(target=mirror.run)
    try:
        box.publish(300)
        topics = confluent_kafka.admin.AdminClient({"bootstrap.servers": server.servers})
        until(lambda: "mirrored" in topics.list_topics(timeout=5).topics, "the topic")
        thread.start()
        until(lambda: (there / "binance.shm").exists(), "the mirrored segment")
        with Segment.open(there / "binance.shm") as mirrored, Segment.open(box.writer_path) as origin:
            for _ in range(5):
                box.publish(400)
                for symbol in SYMBOLS:
                    until(lambda symbol=symbol: same(mirrored.book(symbol), origin.book(symbol)), symbol)  # type: ignore[misc]
            _ring_makes_the_book(box, mirrored, origin)
            sink.kill()
            box.publish(400)
            until(lambda: same(mirrored.book("BTC-USDT"), origin.book("BTC-USDT")), "after the sink's death")
            until(mirrored.alive, "fresh again")
            heart.stop()
            until(lambda: not mirrored.alive(), "the books are hidden when the feed's loop stands still")
    finally:
        heart.stop()
        sink.close()
        mirror.stop.set()
        thread.join()
    assert not (there / "binance.shm").exists()
    assert mirror.counts.unknown == 0


def _ring_makes_the_book(box: Box, mirrored: Segment, origin: Segment) -> None:
    """A reader that copies once and follows the mirrored ring gets the same book at each sequence."""
    book, position = mirrored.book_at("BTC-USDT")
    levels = {("b", int(row["price"])): int(row["quantity"]) for row in book.bids}
    levels |= {("a", int(row["price"])): int(row["quantity"]) for row in book.asks}
    ring, sequence = mirrored.records(position), book.sequence
    box.publish(300)
    wanted = origin.book("BTC-USDT")
    until(lambda: mirrored.book("BTC-USDT").sequence == wanted.sequence, "the mirror has it")
    try:
        for record in ring:
            if record.book or record.sequence <= sequence:
                continue
            assert record.sequence == sequence + 1 or record.type.name == "RESET"
            sequence = record.sequence
            if record.type.name == "RESET":
                return
            for side, changes in (("b", record.bids), ("a", record.asks)):
                levels |= {(side, int(row["price"])): int(row["quantity"]) for row in changes}
    except OverrunError:
        return
    held = {key: quantity for key, quantity in levels.items() if quantity}
    assert held == {("b", int(row["price"])): int(row["quantity"]) for row in wanted.bids} | {
        ("a", int(row["price"])): int(row["quantity"]) for row in wanted.asks
    }


def test_the_layout_is_the_documents() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "sinks.md").read_text()
    from handlers.sinks import messages

    assert struct.calcsize(messages.HEAD.format) == 32
    assert "`bw_message`, 32 bytes" in text
    assert layout.RECORD.itemsize == 80


@pytest.mark.parametrize(
    ("url", "servers", "topic"),
    [
        ("kafka://one/books", "one:9092", "books"),
        ("kafka://one:1,two:2/a.b-c", "one:1,two:2", "a.b-c"),
        ("kafka://one", "one:9092", "bookwire"),
    ],
)
def test_an_address(url: str, servers: str, topic: str) -> None:
    assert Address.of(url) == Address(servers, topic, {})


@pytest.mark.parametrize("url", ["http://one/books", "kafka:///books", "kafka://one/no space"])
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(SetupError, match="not a URL of Kafka"):
        Address.of(url)


def test_a_broker_that_is_not_there_is_a_failure_that_is_told(box: Box, tmp_path: Path) -> None:
    properties = tmp_path / "properties"
    properties.write_text("# ours\nsocket.timeout.ms = 1000\n")
    address = Address.of("kafka://127.0.0.1:1/books", properties)
    assert address.client()["socket.timeout.ms"] == "1000"
