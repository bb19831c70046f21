"""The loop of a sink: what the journal has, into a target, once, whatever fails.

The target keeps the offsets, together with the rows or behind them. Whenever it is not known whether a
delivery arrived, they are asked of it anew. Nothing is dropped for a slow or dead target: the journal is the
queue, the recorder's disk budget its end, and what that removed too early is counted.
"""

from __future__ import annotations

import fcntl
import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import orjson

from handlers.errors import UnavailableError
from handlers.logs import Log
from handlers.service import Service
from handlers.sinks.tail import Batch, Losses, Offset, Tail

STATUS_S = 1.0
PAUSE_FIRST_S, PAUSE_MAX_S = 0.2, 30.0


def without_password(url: str) -> str:
    """For status and log."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{host}"))


class TargetError(Exception):
    """The target did not take something; it is opened anew and asked where it stands."""


class Target(Protocol):
    """Where batches go. Methods may raise TargetError; ``open`` also SetupError, which ends the process."""

    def open(self) -> Mapping[str, Offset]:
        """Connects, makes what is not there, and says up to where each exchange has arrived."""

    def deliver(self, batches: Sequence[Batch]) -> int:
        """All rows and the new offsets, so that both are kept or neither (or the same rows again change
        nothing). How many rows were there already."""

    def idle(self, tails: Sequence[Tail]) -> None:
        """Called a few times a second, after deliveries too."""

    def close(self) -> None:
        """Leaves; what was not delivered is forgotten here."""


@dataclass(frozen=True)
class SinkSettings:
    """What a sink is told. ``name`` keeps the offsets of several boxes apart."""

    kind: str
    name: str
    dir: Path  # of the recording
    run_dir: Path
    exchanges: tuple[str, ...]
    url: str = ""  # without a password, for status and log
    batch_rows: int = 20_000
    interval_ms: int = 100


@dataclass
class Counts:
    """Since the process began; ``lag_s`` and the backlog are of now."""

    rows: int = 0
    batches: int = 0
    duplicates: int = 0
    failures: int = 0
    retries: int = 0
    connected: bool = False
    last_error: str = ""
    delivered_ns: int = 0  # when the last block that arrived was written


class Only(AbstractContextManager[None]):
    """Holds the sink for this process; the kernel lets go of it when it ends, however it ends."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise UnavailableError(
                "this sink already runs",
                where=str(path),
                do="stop the other one, or give this one another name",
            ) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


@dataclass
class Delivery:
    """One sink. ``run`` blocks until ``stop`` is set. Raises SetupError where it cannot work at all."""

    settings: SinkSettings
    target: Target
    log: Log = field(default_factory=lambda: Log("sink"))
    stop: threading.Event = field(default_factory=threading.Event)
    counts: Counts = field(default_factory=Counts)
    dice: Callable[[float, float], float] = random.uniform

    def __post_init__(self) -> None:
        self.tails = [Tail(self.settings.dir, name) for name in self.settings.exchanges]
        self._in_a_row = 0
        self._turns = 0

    @property
    def status_path(self) -> Path:
        return self.settings.run_dir / f"sink.{self.settings.kind}.status.json"

    def run(self) -> None:
        """Delivers until told to stop."""
        settings = self.settings
        with Only(settings.dir / "sinks" / f"{settings.kind}.{settings.name}.lock"):
            settings.run_dir.mkdir(parents=True, exist_ok=True)
            teller = threading.Thread(target=self._tell, name="status", daemon=True)
            teller.start()
            try:
                while not self.stop.is_set():
                    self._turn()
            finally:
                self.stop.set()
                self._close()
                teller.join()
                self.status_path.unlink(missing_ok=True)

    def _turn(self) -> None:
        """Opens the target if need be and brings it what there is; waits if there is nothing or it fails."""
        self._turns += 1
        try:
            if not self.counts.connected:
                self._open()
            delivered = self.step()
            self.target.idle(self.tails)
        except TargetError as error:
            self._failed(error)
            return
        if not delivered:
            self.stop.wait(self.settings.interval_ms / 1e3)

    def step(self) -> int:
        """One delivery. Rows that were delivered."""
        batches: list[Batch] = []
        room = self.settings.batch_rows
        for tail in self.tails:
            if room > 0 and (batch := tail.read(room)) is not None:
                batches.append(batch)
                room -= batch.rows
        if not batches:
            return 0
        self.counts.duplicates += self.target.deliver(batches)
        rows = sum(batch.rows for batch in batches)
        self.counts.rows += rows
        self.counts.batches += 1
        self.counts.delivered_ns = max(batch.time_ns for batch in batches)
        self._in_a_row = 0
        self.tails.append(self.tails.pop(0))  # none is starved by one with a long backlog
        return rows

    def _open(self) -> None:
        offsets = self.target.open()
        for tail in self.tails:
            tail.seek(offsets.get(tail.exchange, Offset()))
        self.counts.connected = True
        self.log.detail("sink_connected", sink=self.settings.kind, to=self.settings.url)

    def _failed(self, error: TargetError) -> None:
        self.counts.failures += 1
        self._in_a_row += 1
        self.counts.last_error = str(error)
        self.log("sink_failed", sink=self.settings.kind, error=error, in_a_row=self._in_a_row)
        self._close()
        pause_s = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0 ** min(self._in_a_row - 1, 16))
        if not self.stop.wait(self.dice(pause_s / 2, pause_s)):
            self.counts.retries += 1

    def _close(self) -> None:
        self.counts.connected = False
        self.target.close()
        for tail in self.tails:
            tail.close()

    def status(self) -> dict[str, Any]:
        """For ``bookwire status`` and the metrics."""
        losses, backlog_bytes, backlog_files = Losses(), 0, 0
        tails = sorted(self.tails, key=lambda tail: tail.exchange)
        for tail in tails:
            losses.add(tail.losses)
            held, files = tail.backlog()
            backlog_bytes, backlog_files = backlog_bytes + held, backlog_files + files
        behind_ns = time.time_ns() - self.counts.delivered_ns if self.counts.delivered_ns else 0
        return {
            "pid": os.getpid(),
            "time": time.time(),
            "kind": self.settings.kind,
            "name": self.settings.name,
            "url": self.settings.url,
            **vars(self.counts),
            "backlog_bytes": backlog_bytes,
            "backlog_files": backlog_files,
            "lag_s": round(max(0, behind_ns) / 1e9, 3) if backlog_bytes else 0.0,
            "lost": vars(losses),
            "offsets": {tail.exchange: [tail.offset.file, tail.offset.at] for tail in tails},
        }

    def _tell(self) -> None:
        """Once a second: the status file, and to a service manager that the loop turns."""
        service, turns = Service(), -1
        service.tell("READY=1")
        while not self.stop.wait(STATUS_S):
            told = self.status()
            fresh = self.status_path.with_suffix(".new")
            fresh.write_bytes(orjson.dumps(told))
            fresh.replace(self.status_path)
            if self._turns != turns:
                turns = self._turns
                service.tell("WATCHDOG=1")
            service.status(
                f"{told['rows']} rows, {told['backlog_bytes'] >> 20} MiB waiting"
                if self.counts.connected
                else f"not connected: {self.counts.last_error}"
            )
