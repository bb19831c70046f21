"""The recorder: a process that follows every exchange's rings and appends them to the journal.

It maps segments read-only and cannot slow a writer; it decides, the copying is native. A restarted recorder
goes on at the byte the last one wrote, as long as the ring still holds it; what the ring has lost by then
is a GAP in the journal. Once a second everything written is made durable, on a thread of its own.
"""

from __future__ import annotations

import math
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from handlers._ffi import ffi
from handlers.background import stand_back
from handlers.errors import UnavailableError
from handlers.logs import Log
from handlers.recording.journal import (
    BlockType,
    Follow,
    JournalFile,
    JournalWriter,
    RawRing,
    files_of,
    new_path,
)
from handlers.recording.retention import Retention
from handlers.service import Service
from handlers.shm import ReadError, Segment

POLL_S = 0.01
SYNC_S = 1.0
LOOK_S = 0.25  # between two looks for a new segment
HOUR_NS = 3_600_000_000_000
STATUS_NAME = "record.status.json"


@dataclass(frozen=True)
class RecordSettings:
    """What the recorder is told. ``exchanges``: ids; those without a segment are waited for."""

    shm_dir: Path
    run_dir: Path
    dir: Path
    exchanges: tuple[str, ...]
    enabled: bool = True
    raw: bool = False
    budget_bytes: int = 2 << 30
    keep_hours: float = 72.0
    file_bytes: int = 64 << 20
    rotate_s: float = 3600.0
    parquet: bool = True
    compression: Literal["zstd", "snappy"] = "zstd"


@dataclass
class Counts:
    """What was recorded of one exchange since the process began."""

    records: int = 0
    raw_records: int = 0
    bytes: int = 0
    books: int = 0
    overruns: int = 0
    gaps: int = 0
    disk_errors: int = 0
    files: int = 0
    oversize: int = 0


@dataclass
class Resume:
    """Where the last file of an exchange ends."""

    generation: int = 0
    position: int = 0
    raw_position: int = 0
    time_ns: int = 0


def last_of(directory: Path, exchange: str) -> Resume:
    """What the newest sound file says: the ring positions behind its last blocks."""
    for path in reversed(files_of(directory, exchange)):
        found = Resume()
        for block in JournalFile(path):
            found.time_ns = block.time_ns
            if block.generation and block.generation != found.generation:
                found.generation, found.position, found.raw_position = block.generation, 0, 0
            if block.type is BlockType.FILE:
                found.position, found.raw_position = block.position, int(block.json()["raw_position"])
            if block.type in (BlockType.RECORDS, BlockType.BOOK, BlockType.GAP):
                size = len(block.payload) if block.type is BlockType.RECORDS else 0
                found.position = max(found.position, block.position + size)
            if block.type is BlockType.RAW:
                found.raw_position = block.position + len(block.payload)
        if found.generation:
            return found
    return Resume()


class Track:
    """One exchange's rings into its journal."""

    def __init__(self, settings: RecordSettings, exchange: str, log: Log) -> None:
        self.exchange = exchange
        self.counts = Counts()
        self.lag_bytes = 0  # of the update ring, when it was last looked at
        self.lock = threading.Lock()  # between the copying and the syncing thread
        self.writer: JournalWriter | None = None
        self._settings, self._log = settings, log
        self._path = settings.shm_dir / f"{exchange}.shm"
        self._segment: Segment | None = None
        self._raw: RawRing | None = None
        self._cursor = ffi.new("bw_ring_cursor *")
        self._symbols = 0
        self._hour = 0
        self._looked_s = 0.0
        self._missing: list[dict[str, Any]] = []  # gaps that the disk did not take yet
        self._uncopied: set[int] = set()
        self._resume = last_of(settings.dir, exchange)

    def poll(self, now_s: float) -> bool:
        """Copies what is there. Whether there may be more."""
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._look()
        if self._segment is None:
            return False
        try:
            return self._copy(self._segment)
        except OSError as error:
            self._disk_failed(error)
            return False

    # Segments come and go

    def _look(self) -> None:
        """Takes up a new segment; a replaced one is read to its end first."""
        segment = self._segment
        try:
            if segment is not None and segment.replaced():
                while self._copy(segment):
                    pass
                self._leave("the exchange's process was replaced")
            if self._segment is None:
                self._take(Segment.open(self._path))
            if self._settings.raw and self._raw is None:
                self._take_raw()
        except UnavailableError as error:
            if self._path.exists():
                self._log.detail("segment_not_readable", exchange=self.exchange, error=error)
        except OSError as error:
            self._disk_failed(error)

    def _take(self, segment: Segment) -> None:
        self._segment = segment
        resume, head = self._resume, int(segment.header["ring_head"])
        self._cursor.position = 0
        if resume.generation == segment.generation:
            self._cursor.position = resume.position
        elif head > int(segment.header["ring_bytes"]):
            self._cursor.position = head
            self._missing.append(self._gap("the recording began after the exchange's process", 0, head))
        self._open_file(segment)

    def _take_raw(self) -> None:
        path = self._settings.shm_dir / f"{self.exchange}.raw"
        if self._segment is None or not path.exists():
            return
        raw = RawRing(path)
        if raw.generation != self._segment.generation:
            raw.close()
            return
        if self._resume.generation == raw.generation:
            raw.cursor.position = self._resume.raw_position
        self._raw = raw

    def _leave(self, why: str) -> None:
        with self.lock:
            if self.writer is not None:
                with suppress(OSError):
                    self.writer.tell(BlockType.END, {"why": why})
                    self.writer.sync()
                self.writer.close()
            self.writer = None
        for each in (self._segment, self._raw):
            if each is not None:
                each.close()
        self._segment = self._raw = None

    def close(self, why: str) -> None:
        """Takes what is left and ends the file."""
        if self._segment is not None:
            with suppress(OSError):
                while self._copy(self._segment):
                    pass
                if self.writer is not None:  # how every book stood at the end
                    self._uncopied = set(range(self._symbols))
                    self._copy_books(self._segment, self.writer)
        self._leave(why)

    # Files

    def _open_file(self, segment: Segment) -> None:
        """A new file, complete by itself: what it is, the symbols, every book."""
        raw_position = 0
        if self._raw is not None:
            raw_position = int(self._raw.cursor.position)
        elif self._resume.generation == segment.generation:
            raw_position = self._resume.raw_position
        writer = JournalWriter(new_path(self._settings.dir, self.exchange))
        try:
            writer.tell(
                BlockType.FILE,
                {
                    "version": 1, "exchange": self.exchange, "generation": segment.generation,
                    "number": int(segment.header["exchange_number"]), "pid": os.getpid(),
                    "raw": self._settings.raw, "time_ns": time.time_ns(),
                    "raw_position": raw_position,
                    "level_capacity": int(segment.books["side"]["level_capacity"].max(initial=0)),
                },
                generation=segment.generation,
                position=int(self._cursor.position),
            )  # fmt: skip
            self._symbols = writer.symbols(segment, 0)
        except OSError:
            writer.close()
            raise
        with self.lock:
            self.writer = writer
        self._hour = self._slot()
        self.counts.files += 1
        self._uncopied = set(range(self._symbols))

    def _slot(self) -> int:
        return int(time.time_ns() // int(self._settings.rotate_s * 1e9))

    def _rotate(self, segment: Segment) -> None:
        """Ends a file that is full or whose time is over, where the ring is read dry: so the copies of books
        in the next one are not ahead of its records."""
        old, most = self.writer, self._settings.file_bytes
        if old is None or (old.size < most and self._hour == self._slot()):
            return
        if int(segment.header["ring_head"]) != int(self._cursor.position) and old.size < 2 * most:
            return
        self._open_file(segment)
        if self.writer is not None:
            self._copy_books(segment, self.writer)
        try:
            old.tell(BlockType.END, {"why": "rotated"})
            old.sync()
        finally:
            old.close()

    # Copying

    def _copy(self, segment: Segment) -> bool:
        if self.writer is None:
            self._open_file(segment)
        writer = self.writer
        assert writer is not None
        while self._missing:
            writer.tell(
                BlockType.GAP, self._missing[0], generation=segment.generation,
                position=self._missing[0]["to"],
            )  # fmt: skip
            self._missing.pop(0)
        if segment.header["book_count"] != self._symbols:
            known, self._symbols = self._symbols, writer.symbols(segment, self._symbols)
            self._uncopied |= set(range(known, self._symbols))
        before = int(self._cursor.position)
        copied = writer.follow(segment, self._cursor)
        self._judge(segment, copied, before)
        self.lag_bytes = max(0, int(segment.header["ring_head"]) - int(self._cursor.position))
        raw = self._copy_raw(writer) if self._raw is not None else 0
        self._copy_books(segment, writer)
        self._rotate(segment)
        return copied > 0 or raw > 0

    def _judge(self, segment: Segment, copied: int, before: int) -> None:
        writer = self.writer
        assert writer is not None
        if copied > 0:
            self.counts.records += writer.records
            self.counts.bytes += copied
            resets = writer.resets()
            self._uncopied |= set(range(self._symbols)) if resets is None else resets
        elif copied == Follow.OVERRUN:
            self.counts.overruns += 1
            self._missing.append(self._gap("the ring went round before it was read", before,
                                           int(self._cursor.position)))  # fmt: skip
            self._uncopied = set(range(self._symbols))
        elif copied == Follow.DISK:
            raise writer.error()

    def _copy_raw(self, writer: JournalWriter) -> int:
        raw = self._raw
        assert raw is not None
        before = int(raw.cursor.position)
        copied = writer.follow_raw(raw)
        if copied > 0:
            self.counts.raw_records += writer.records
            self.counts.bytes += copied
        elif copied == Follow.OVERRUN:
            self.counts.overruns += 1
            gap = self._gap("the ring of raw frames went round", before, int(raw.cursor.position))
            writer.tell(BlockType.GAP, {**gap, "raw": True}, generation=raw.generation)
        elif copied == Follow.DISK:
            raise writer.error()
        self.counts.oversize = raw.oversize
        return copied

    def _copy_books(self, segment: Segment, writer: JournalWriter) -> None:
        """Whole copies of the books that their records alone do not give."""
        for index in sorted(self._uncopied):
            try:
                book, position = segment.book_at(index)
            except ReadError:
                continue  # the writer is inside it, or dead: tried again with the next turn
            writer.book(index, book, segment.generation, min(position, int(self._cursor.position)))
            self._uncopied.discard(index)
            self.counts.books += 1

    def _gap(self, why: str, start: int, end: int) -> dict[str, Any]:
        self.counts.gaps += 1
        self._log("recording_gap", exchange=self.exchange, why=why, bytes=end - start)
        return {"why": why, "from": start, "to": end, "time_ns": time.time_ns()}

    def _disk_failed(self, error: OSError) -> None:
        """The cursor stays: what the ring holds when there is space again is not lost."""
        self.counts.disk_errors += 1
        self._log("journal_not_written", exchange=self.exchange, error=error)


@dataclass
class Recorder:
    """All exchanges' tracks. ``run`` blocks until ``stop`` is set."""

    settings: RecordSettings
    log: Log = field(default_factory=lambda: Log("record"))
    stop: threading.Event = field(default_factory=threading.Event)
    convert: Sequence[str] = ()  # command that makes Parquet of ended files

    def __post_init__(self) -> None:
        self.tracks = [Track(self.settings, name, self.log) for name in self.settings.exchanges]
        self.retention = Retention(
            self.settings.dir, self.settings.budget_bytes, self.settings.keep_hours, self.log
        )
        self.sync_errors = 0
        self.turns = 0
        self._service = Service()
        self._converting: subprocess.Popen[bytes] | None = None
        self._converted_files = -1

    def run(self) -> None:
        """Records until told to stop; nothing written is left unsynced."""
        self.settings.run_dir.mkdir(parents=True, exist_ok=True)
        keeper = threading.Thread(target=self._keep, name="sync", daemon=True)
        keeper.start()
        self._service.tell("READY=1")
        while not self.stop.is_set():
            self.turns += 1
            now_s = time.monotonic()
            more = [track.poll(now_s) for track in self.tracks]
            if not any(more):
                self.stop.wait(POLL_S)
            elif not all(more):
                self.stop.wait(POLL_S / 4)
        self._service.tell("STOPPING=1")
        keeper.join()
        if self._converting is not None:
            self._converting.terminate()
            self._converting.wait()
        for track in self.tracks:
            track.poll(math.inf)
            track.close("stopped")
        (self.settings.run_dir / STATUS_NAME).unlink(missing_ok=True)

    def _keep(self) -> None:
        """Once a second: sync, then make room, then say how it stands."""
        turns = -1
        while not self.stop.wait(SYNC_S):
            if self.turns != turns:  # the copying thread's progress, never an exchange's data
                turns = self.turns
                self._service.tell("WATCHDOG=1")
            self._convert()
            for track in self.tracks:
                with track.lock:
                    try:
                        if track.writer is not None:
                            track.writer.sync()
                    except OSError as error:
                        self.sync_errors += 1
                        self.log("journal_not_synced", exchange=track.exchange, error=error)
            open_files = [track.writer.path for track in self.tracks if track.writer is not None]
            self.retention.enforce(open_files)
            self.write_status()
            records = sum(track.counts.records for track in self.tracks)
            self._service.status(f"{records} updates of {len(open_files)} exchanges recorded")

    def _convert(self) -> None:
        """Starts the making of Parquet when files were ended since it ran last."""
        if not self.convert or (self._converting is not None and self._converting.poll() is None):
            return
        files = sum(track.counts.files for track in self.tracks)
        if files != self._converted_files:
            self._converted_files = files
            self._converting = subprocess.Popen(
                self.convert, stdin=subprocess.DEVNULL, start_new_session=True
            )
            stand_back(self._converting.pid)

    def status(self) -> dict[str, Any]:
        """For ``bookwire status`` and the metrics."""
        return {
            "pid": os.getpid(),
            "time": time.time(),
            "dir": str(self.settings.dir),
            "bytes": self.retention.bytes,
            "budget_bytes": self.settings.budget_bytes,
            "files_removed": self.retention.removed,
            "sync_errors": self.sync_errors,
            "cpu_seconds": time.process_time(),
            "exchanges": {
                track.exchange: {**vars(track.counts), "lag_bytes": track.lag_bytes} for track in self.tracks
            },
        }

    def write_status(self) -> None:
        """Into the run directory, whole or not at all."""
        path = self.settings.run_dir / STATUS_NAME
        fresh = path.with_suffix(".new")
        fresh.write_bytes(orjson.dumps(self.status()))
        fresh.replace(path)
