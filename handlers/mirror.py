"""A topic's books as segments of this box's shared memory: what runs elsewhere, served here (docs/sinks.md).

Reads what is committed from a minute ago on, so that each book comes whole once, then goes on for ever. An
exchange's segment is shown when a beat says that all its feed had published a moment ago has been read, and
is fresh only as long as such beats come: a feed, recorder, sink, broker or network that stands still ends
the books here, as a dead feed's process does.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from handlers import shm_layout as layout
from handlers.errors import UnavailableError
from handlers.logs import Log
from handlers.mirror_segment import MirrorSegment
from handlers.registry import VENUES
from handlers.sinks import messages
from handlers.sinks.kafka import PATIENCE_S, Address, library
from handlers.sinks.messages import Head, Kind

STATUS_S = 1.0
BURST = 1000
WAIT_S = 0.05
RETRY_S = 1.0
BELL_S = 0.5
EXPECTED_LEVELS = 1000
STATUS_NAME = "mirror.status.json"


@dataclass(frozen=True)
class MirrorSettings:
    """``since_s``: at least the origin's snapshot_s. ``patience_s``: age of a beat that still counts; the
    clocks of both boxes are compared."""

    shm_dir: Path
    run_dir: Path
    exchanges: tuple[str, ...] = ()  # empty: all that are in the topic
    since_s: float = 60.0
    patience_s: float = 5.0


@dataclass
class Counts:
    """Since the process began."""

    records: int = 0
    snapshots: int = 0
    beats: int = 0
    unknown: int = 0  # messages that are not ours
    refused: int = 0  # of an exchange whose segment belongs to another process
    errors: int = 0
    last_error: str = ""


@dataclass
class _Exchange:
    """One exchange's segment and what is known of its origin."""

    generation: int
    segment: MirrorSegment
    beat_ns: int = 0
    parts: list[bytes] = field(default_factory=list)
    bell: int = 0  # inode of the bell that is attached


@dataclass
class Mirror:
    """``run`` blocks until ``stop`` is set. Raises SetupError, UnavailableError where it cannot work."""

    settings: MirrorSettings
    address: Address
    log: Log = field(default_factory=lambda: Log("mirror"))
    stop: threading.Event = field(default_factory=threading.Event)
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._lib = library()
        self.exchanges: dict[str, _Exchange] = {}
        self._told_s = self._bells_s = 0.0

    def run(self) -> None:
        """Until told to stop; its segments leave with it."""
        for path in (self.settings.shm_dir, self.settings.run_dir):
            path.mkdir(parents=True, exist_ok=True)
        consumer: Any = None
        try:
            while not self.stop.is_set():
                if consumer is None:
                    consumer = self._consumer()
                for message in consumer.consume(BURST, WAIT_S) if consumer else ():
                    self._message(message)
                self.turn()
        except self._lib.KafkaException as error:
            raise UnavailableError(f"cannot read: {error}", where=self.address.servers) from error
        finally:
            if consumer is not None:
                consumer.close()
            for each in self.exchanges.values():
                each.segment.close()
            (self.settings.run_dir / STATUS_NAME).unlink(missing_ok=True)

    def _consumer(self) -> Any:
        """At the messages of a while ago, in every partition; None where that cannot be had yet."""
        settings = {
            "group.id": "bookwire.mirror", "enable.auto.commit": False, "isolation.level": "read_committed",
            "auto.offset.reset": "error", "fetch.wait.max.ms": 20, "error_cb": self._told,
        }  # fmt: skip
        consumer = self._lib.Consumer(self.address.client(**settings))
        try:
            topics = consumer.list_topics(self.address.topic, timeout=PATIENCE_S).topics
            partitions = topics[self.address.topic].partitions
            since_ms = int((time.time() - self.settings.since_s) * 1000)
            at = [self._lib.TopicPartition(self.address.topic, number, since_ms) for number in partitions]
            if at:
                consumer.assign(consumer.offsets_for_times(at, timeout=PATIENCE_S))
                return consumer
            why = f"there is no topic {self.address.topic} yet"
        except self._lib.KafkaException as error:
            why = error.args[0].str()
        consumer.close()
        self.counts.errors += 1
        self.counts.last_error = why
        self.log("topic_not_readable", topic=self.address.topic, at=self.address.servers, why=why)
        self.stop.wait(RETRY_S)
        return None

    def _told(self, error: Any) -> None:
        self.counts.errors += 1
        self.counts.last_error = str(error.str())
        self.log("kafka", error=error.str())

    # Messages

    def _message(self, message: Any) -> None:
        error = message.error()
        if error is not None:
            if error.code() == self._lib.KafkaError._AUTO_OFFSET_RESET:
                raise UnavailableError("messages were removed before they were read", do="start it again")
            self._told(error)
            return
        self.take(message.key() or b"", message.value() or b"")

    def take(self, key: bytes, value: bytes) -> None:
        """One message of the topic."""
        exchange = key.decode(errors="replace").partition(":")[0]
        if exchange not in VENUES or (self.settings.exchanges and exchange not in self.settings.exchanges):
            return
        try:
            head, payload = messages.unpack(value)
        except ValueError:
            self.counts.unknown += 1
            return
        each = self._of(exchange, head)
        if each is None:
            return
        if head.kind is Kind.RECORD:
            record = np.frombuffer(payload, layout.RECORD, 1).reshape(())
            changes = np.frombuffer(payload, layout.LEVEL, -1, layout.RECORD.itemsize)
            each.segment.record(record, changes, time.monotonic())
            self.counts.records += 1
        elif head.kind is Kind.SNAPSHOT:
            self._snapshot(each, head, payload)
        else:
            beat_ns, alive, _ = messages.BEAT.unpack_from(payload)
            each.beat_ns = beat_ns if alive else 0
            self.counts.beats += 1

    def _of(self, exchange: str, head: Head) -> _Exchange | None:
        """The exchange's segment, made where its origin is another; None for what an older origin said."""
        each = self.exchanges.get(exchange)
        if each is not None and head.generation < each.generation:
            return None
        if each is None or head.generation > each.generation or head.books > each.segment.books:
            if each is not None:
                each.segment.close()
            segment = MirrorSegment(
                self.settings.shm_dir, exchange, head.number, books=head.books + max(4, head.books // 4),
                levels=max(64, head.levels), expected=EXPECTED_LEVELS,
            )  # fmt: skip
            each = self.exchanges[exchange] = _Exchange(head.generation, segment)
            self.log.detail("mirrored", exchange=exchange, generation=head.generation)
        return each

    def _snapshot(self, each: _Exchange, head: Head, payload: memoryview) -> None:
        """Parts of a book come one behind the other."""
        symbol_bytes, record_bytes = layout.SYMBOL.itemsize, layout.RECORD.itemsize
        front = symbol_bytes + record_bytes + messages.BOUNDS.size
        each.parts = [] if head.part == 0 else each.parts
        if len(each.parts) != head.part:
            each.parts = []  # its beginning was before ours
            return
        each.parts.append(bytes(payload[front:]))
        if head.part + 1 < head.parts:
            return
        levels = np.frombuffer(b"".join(each.parts), layout.LEVEL)
        each.parts = []
        record = np.frombuffer(payload, layout.RECORD, 1, symbol_bytes).reshape(())
        bounds = messages.BOUNDS.unpack_from(payload, symbol_bytes + record_bytes)
        each.segment.snapshot(bytes(payload[:symbol_bytes]), record, bounds, levels)
        self.counts.snapshots += 1

    # Between bursts

    def turn(self) -> None:
        """Shows what is fresh, rings its readers, says how it stands."""
        now_s, now_ns = time.monotonic(), time.time_ns()
        bells = now_s - self._bells_s >= BELL_S
        self._bells_s = now_s if bells else self._bells_s
        for exchange, each in self.exchanges.items():
            each.segment.look(now_s)
            if now_ns - each.beat_ns < self.settings.patience_s * 1e9:
                self._show(exchange, each)
            if bells:
                self._bell(each)
            each.segment.ring_bells()
        if now_s - self._told_s >= STATUS_S:
            self._told_s = now_s
            self._write_status(now_ns)

    def _show(self, exchange: str, each: _Exchange) -> None:
        try:
            each.segment.show()
        except UnavailableError as error:
            self.counts.refused += 1
            self.log("not_mirrored", exchange=exchange, why=error)
            return
        each.segment.beat()

    def _bell(self, each: _Exchange) -> None:
        """The gateway's doorbell, when it is there and when it is another one."""
        bell, fifo = (self.settings.run_dir / f"gateway.{end}" for end in ("bell", "fifo"))
        try:
            number = bell.stat().st_ino
            fifo.stat()
        except FileNotFoundError:
            return
        if number != each.bell and each.segment.add_bell(bell, fifo):
            each.bell = number

    def status(self, now_ns: int) -> dict[str, Any]:
        """For whoever looks: ages in s, -1 where no beat came yet."""
        return {
            "pid": os.getpid(),
            "time": now_ns / 1e9,
            "topic": self.address.topic,
            **vars(self.counts),
            "exchanges": {
                exchange: {
                    "shown": each.segment.shown,
                    "age_s": round((now_ns - each.beat_ns) / 1e9, 3) if each.beat_ns else -1,
                    "books_waiting": each.segment.waiting,
                }
                for exchange, each in self.exchanges.items()
            },
        }

    def _write_status(self, now_ns: int) -> None:
        path = self.settings.run_dir / STATUS_NAME
        fresh = path.with_suffix(".new")
        fresh.write_bytes(orjson.dumps(self.status(now_ns)))
        fresh.replace(path)
