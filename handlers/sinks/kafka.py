"""Kafka: one transaction a delivery, the offsets in it: who reads what is committed sees each update once.

The transactional id is the box's own: a producer that takes it fences the one that a killed sink left, and
what that had begun is undone or completed before the offsets are read. Beside the records stand whole books,
after each replacement and every ``snapshot_s``, and beats; that is what a mirror (handlers/mirror.py) needs.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from handlers.errors import SetupError, UnavailableError
from handlers.recording.rows import SNAPSHOT
from handlers.sinks import messages
from handlers.sinks.delivery import TargetError
from handlers.sinks.messages import Head, Kind
from handlers.sinks.pulse import Pulse
from handlers.sinks.tail import Batch, Offset, Tail, canonical

PATIENCE_S = 30.0
TRANSACTION_MS = 15_000  # a killed sink's open transaction holds readers back for at most so long
BEAT_S = 0.5
DEFAULT_TOPIC = "bookwire"


def library() -> Any:
    """confluent_kafka. Raises UnavailableError that names the extra."""
    try:
        import confluent_kafka
        import confluent_kafka.admin
    except ImportError as error:
        raise UnavailableError(
            "confluent-kafka is not installed",
            do="install the extra `kafka` (pip install bookwire[kafka])",
        ) from error
    return confluent_kafka


@dataclass(frozen=True)
class Address:
    """kafka://host:9092,other:9092/topic, and librdkafka's own settings from a file of key=value lines."""

    servers: str
    topic: str
    settings: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str, properties: Path | None = None) -> Address:
        """Raises SetupError for what is no such URL, OSError where the file cannot be read."""
        parts = urlsplit(url)
        topic = parts.path.strip("/") or DEFAULT_TOPIC
        servers = ",".join(
            host if re.search(r":\d+$", host) else f"{host}:9092" for host in parts.netloc.split(",") if host
        )
        if parts.scheme != "kafka" or not servers or not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", topic):
            raise SetupError(f"not a URL of Kafka: {url}", do="kafka://host:9092,other:9092/topic")
        return cls(servers, topic, _properties(properties))

    def client(self, **more: Any) -> dict[str, Any]:
        """Configuration of a librdkafka client."""
        return {"bootstrap.servers": self.servers, "log_level": 2, **self.settings, **more}


def _properties(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    if any(len(pair) != 2 for pair in pairs):
        raise SetupError(
            "a line is not key=value", where=str(path), do="librdkafka's own settings, one a line"
        )
    return {key.strip(): value.strip() for key, value in pairs}


def partition_of(exchange: str, partitions: int) -> int:
    """All of an exchange in one partition: what is in order in its ring is in order there."""
    return zlib.crc32(exchange.encode()) % partitions


class Kafka:
    """A Target."""

    def __init__(
        self,
        address: Address,
        name: str,
        exchanges: Sequence[str],
        shm_dir: Path,
        *,
        partitions: int = 4,
        snapshot_s: float = 10.0,
    ) -> None:
        self._address, self._name = address, re.sub(r"[^A-Za-z0-9._-]", "_", name)
        self._wanted_partitions, self._snapshot_s = partitions, snapshot_s
        self._lib = library()
        self._pulses = {exchange: Pulse(shm_dir, exchange) for exchange in exchanges}
        self._producer: Any = None
        self._partitions = 1
        self._beat_s = self._copied_s = 0.0

    @property
    def offsets_topic(self) -> str:
        """One partition, compacted, written by this box alone: no other's transaction hides its end."""
        return f"{self._address.topic}.offsets.{self._name}"

    # Opening

    def open(self) -> Mapping[str, Offset]:
        """Raises SetupError for settings that librdkafka does not know."""
        try:
            self._producer = self._lib.Producer(
                self._address.client(**{
                    "transactional.id": f"bookwire.{self._address.topic}.{self._name}",
                    "transaction.timeout.ms": TRANSACTION_MS, "compression.type": "lz4", "linger.ms": 5,
                    "queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 256 << 10,
                })
            )  # fmt: skip
        except self._lib.KafkaException as error:
            raise SetupError(f"librdkafka refuses a setting: {error.args[0].str()}") from error
        try:
            self._make_topics()
            self._producer.init_transactions(PATIENCE_S)
            return self._read_offsets()
        except self._lib.KafkaException as error:
            raise TargetError(_text(error)) from error

    def _make_topics(self) -> None:
        admin = self._lib.admin
        client = admin.AdminClient(self._address.client())
        there = client.list_topics(timeout=PATIENCE_S).topics
        wanted = [
            admin.NewTopic(self._address.topic, num_partitions=self._wanted_partitions),
            admin.NewTopic(self.offsets_topic, num_partitions=1, config={"cleanup.policy": "compact"}),
        ]
        missing = [topic for topic in wanted if topic.topic not in there]
        for made in client.create_topics(missing, operation_timeout=PATIENCE_S).values() if missing else ():
            try:
                made.result(PATIENCE_S)
            except self._lib.KafkaException as error:
                if error.args[0].code() != self._lib.KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        found = client.list_topics(self._address.topic, timeout=PATIENCE_S).topics[self._address.topic]
        self._partitions = len(found.partitions)
        if not self._partitions:
            raise TargetError(f"the topic {self._address.topic} has no partition yet")

    def _read_offsets(self) -> dict[str, Offset]:
        """The newest of each exchange: the topic from its beginning to its end."""
        consumer = self._lib.Consumer(
            self._address.client(**{
                "group.id": f"bookwire.{self._name}", "enable.auto.commit": False,
                "isolation.level": "read_committed", "enable.partition.eof": True,
            })
        )  # fmt: skip
        found: dict[str, Offset] = {}
        try:
            consumer.assign([self._lib.TopicPartition(self.offsets_topic, 0, self._lib.OFFSET_BEGINNING)])
            end_s = time.monotonic() + PATIENCE_S
            while time.monotonic() < end_s:
                message = consumer.poll(1.0)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    file, at = orjson.loads(message.value())
                    found[message.key().decode()] = Offset(file, at)
                elif error.code() == self._lib.KafkaError._PARTITION_EOF:
                    return found
                else:
                    raise TargetError(f"the offsets cannot be read: {error.str()}")
        finally:
            consumer.close()
        raise TargetError(f"the offsets cannot be read within {PATIENCE_S:.0f} s")

    # Delivering

    def deliver(self, batches: Sequence[Batch]) -> int:
        try:
            self._producer.begin_transaction()
            for batch in batches:
                self._batch(batch)
                value = orjson.dumps([batch.after.file, batch.after.at])
                self._put(self.offsets_topic, 0, batch.exchange.encode(), value)
            self._producer.commit_transaction(PATIENCE_S)
        except (self._lib.KafkaException, BufferError) as error:
            raise TargetError(_text(error)) from error
        return 0

    def _batch(self, batch: Batch) -> None:
        partition = partition_of(batch.exchange, self._partitions)
        keys = [messages.key(batch.exchange, name) for name in batch.names()]
        head = Head(
            Kind.RECORD, 0, 1, 0, batch.number, batch.generation, batch.level_capacity, len(batch.symbols)
        )
        for span in batch.spans:
            if span.records:
                for book, message in messages.records(head, span.rows, span.records):
                    self._put(self._address.topic, partition, keys[book], message)
            else:
                row = span.rows[0]
                assert row["type"] == SNAPSHOT
                book = int(row["book"])
                for message in messages.snapshot(head, batch.symbols[book], row, span.levels, span.bounds):
                    self._put(self._address.topic, partition, keys[book], message)

    def _put(self, topic: str, partition: int, key: bytes, value: bytes) -> None:
        """Waits where librdkafka's queue is full. Raises KafkaException, BufferError."""
        end_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._producer.produce(topic, value, key, partition)
                break
            except BufferError:
                if time.monotonic() > end_s:
                    raise
                self._producer.poll(0.05)
        self._producer.poll(0)

    # Between deliveries

    def idle(self, tails: Sequence[Tail]) -> None:
        """Beats, and each book anew when it is time."""
        now_s = time.monotonic()
        if now_s - self._beat_s < BEAT_S:
            return
        self._beat_s = now_s
        copies = now_s - self._copied_s >= self._snapshot_s
        self._copied_s = now_s if copies else self._copied_s
        try:
            self._producer.begin_transaction()
            for tail in tails:
                if copies:
                    self._copies(tail)
                self._beat(tail)
            self._producer.commit_transaction(PATIENCE_S)
        except (self._lib.KafkaException, BufferError) as error:
            raise TargetError(_text(error)) from error

    def _head(self, tail: Tail, kind: Kind) -> Head | None:
        file = tail.file
        if file is None or not file.generation:
            return None
        return Head(kind, 0, 1, 0, file.number, file.generation, file.level_capacity, len(file.symbols))

    def _copies(self, tail: Tail) -> None:
        head, file = self._head(tail, Kind.SNAPSHOT), tail.file
        if head is None or file is None:
            return
        partition = partition_of(tail.exchange, self._partitions)
        for book, symbol in enumerate(file.symbols):
            copied = file.copy(book)
            if copied is None or copied[0]["published_ns"][0] == 0:
                continue
            name = canonical(symbol)
            bounds = self._pulses[tail.exchange].bounds(book, file.generation) or file.bounds.get(
                book, (0, 0)
            )
            for message in messages.snapshot(head, symbol, copied[0][0], copied[1], bounds):
                self._put(self._address.topic, partition, messages.key(tail.exchange, name), message)

    def _beat(self, tail: Tail) -> None:
        pulse = self._pulses[tail.exchange]
        time_ns = pulse.look(tail)
        head = self._head(tail, Kind.BEAT)
        if head is None or (time_ns is None and pulse.alive):
            return
        value = messages.beat(head, time_ns or 0, pulse.alive)
        partition = partition_of(tail.exchange, self._partitions)
        self._put(self._address.topic, partition, messages.key(tail.exchange), value)

    def close(self) -> None:
        if self._producer is not None:
            self._producer.purge()
        self._producer = None
        for pulse in self._pulses.values():
            pulse.close()


def _text(error: Exception) -> str:
    told = error.args[0] if error.args else error
    return str(told.str()) if hasattr(told, "str") else str(told)
