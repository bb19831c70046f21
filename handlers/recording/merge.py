"""Two recordings of the same exchanges become one, in which a gap remains only where both have one.

Both are read twice, block by block: first to learn where each has holes (``survey``), from which a plan is
made for every book (``splice``), then to write what the plan takes (``lanes``, ``merged``). Memory holds the
books and, at a seam, what one recording is ahead of the other; never a file.
"""

from __future__ import annotations

import heapq
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from handlers._ffi import ffi, lib
from handlers.errors import UnavailableError, UsageError
from handlers.facts import Continuity
from handlers.recording.journal import Block, BlockType, files_of
from handlers.recording.lanes import BEST, NAMES, End, Held, Lane, Owner, Start, best_of, head_of
from handlers.recording.merged import MergedJournal
from handlers.recording.splice import Key, key_of, plan
from handlers.recording.survey import Strands, Survey, Surveyor, blocks_of
from handlers.registry import VENUES

FILE_BYTES = 64 << 20
HELD_MAX = 256 << 20
COPY_BYTES = 1 << 20
MANIFEST = "merge.json"


@dataclass
class Merged:
    """What came of one exchange. ``holes``: by source, of all books."""

    exchange: str
    books: int = 0
    records: int = 0
    seams: int = 0
    gaps: int = 0
    differing: int = 0  # seams where both recordings have the update, and the books differ
    holes: list[int] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    raw_records: int = 0  # left out
    bytes_read: int = 0
    bytes: int = 0
    files: int = 0
    seconds: float = 0.0


class _Source(Owner):
    """One recording of an exchange, read along its plan."""

    def __init__(self, survey: Survey, lanes: Mapping[str, Lane], journal: MergedJournal, held: Held) -> None:
        super().__init__()
        self._survey, self._lanes, self._journal, self._held = survey, lanes, journal, held
        self._generation = 0
        self._strands: Strands | None = None
        self._queue: dict[int, list[int]] = {}  # segments to come, by book
        self._turn: dict[int, int] = {}  # segment that is at its turn, by book
        self._at, self._book = ffi.new("uint32_t *"), ffi.new("uint32_t *")
        self._levels = ffi.new("bw_level[]", BEST)
        self._copy_room = ffi.new("uint8_t[]", COPY_BYTES)

    def blocks(self) -> Iterator[tuple[int, Block, _Source]]:
        """Its blocks with the times of writing."""
        for block in blocks_of(self._survey.files):
            yield block.time_ns, block, self

    def take(self, block: Block) -> None:
        """Reads one block; what the plan takes of it goes to its lanes."""
        if block.type is BlockType.FILE and block.generation != self._generation:
            self.leave()
            self._begin(block.generation)
        elif self._strands is None:
            return
        elif block.type is BlockType.BOOK:
            if self._strands.load(block):
                self._anchor(self._strands, block.book)
        elif block.type is BlockType.RECORDS:
            self._records(self._strands, block)
        if self.owing:
            self.pay()

    def _begin(self, generation: int) -> None:
        self._generation = generation
        names = self._survey.books[generation]
        self._strands = Strands(max(1, len(names)), self._survey.level_capacity)
        for book, name in enumerate(names):
            lane = self._lanes.get(name)
            mine = (self._survey.source, generation)
            self._queue[book] = [
                at
                for at, segment in enumerate(lane.segments if lane else ())
                if (segment.source, segment.stretch.generation) == mine
            ]
            self._arm(self._strands, book)

    def leave(self) -> None:
        """The generation ends: whatever is not complete is now."""
        strands = self._strands
        if strands is None:
            return
        for book in list(self._turn):
            while book in self._turn:
                running = strands.at(book).phase in (lib.BW_STRAND_EMIT, lib.BW_STRAND_HELD)
                self._end(strands, book, empty=not running)
        self.close()

    def close(self) -> None:
        """Gives the books' memory back."""
        if self._strands is not None:
            self._strands.close()
        self._strands = None
        self._queue, self._turn = {}, {}

    def _lane(self, book: int) -> Lane:
        return self._lanes[self._survey.books[self._generation][book]]

    def _arm(self, strands: Strands, book: int) -> None:
        """Tells the native part what is taken next of a book."""
        strand = strands.at(book)
        self._turn.pop(book, None)
        if not self._queue.get(book):
            strand.phase = lib.BW_STRAND_IDLE
            return
        at = self._turn[book] = self._queue[book].pop(0)
        lane = self._lane(book)
        segment = lane.segments[at]
        strand.out_book, strand.key = lane.book, lane.key
        strand.from_sequence = segment.stretch.first.sequence
        strand.until_sequence = segment.through.last.sequence
        strand.after_key, strand.until_key = segment.after, segment.until
        strand.phase = lib.BW_STRAND_ANCHOR if segment.anchored else lib.BW_STRAND_WAIT
        self._anchor(strands, book)

    def _anchor(self, strands: Strands, book: int) -> None:
        """Begins a segment where a copy of the book stands at its first state."""
        strand = strands.at(book)
        waits = strand != ffi.NULL and strand.phase == lib.BW_STRAND_ANCHOR
        if waits and strand.known and strand.book.sequence == strand.from_sequence:
            lib.bw_strand_begin(strand)
            self._start(strands, book, None)

    def _records(self, strands: Strands, block: Block) -> None:
        span, size = ffi.from_buffer("uint8_t[]", block.payload), len(block.payload)
        at, book, room = self._at, self._book, self._journal.room
        at[0], resets = 0, int(room.resets)
        while True:
            event = lib.bw_strands_splice(strands.handle, span, size, at, book, room)
            if event in (lib.BW_STRANDS_DONE, lib.BW_STRANDS_BAD):
                break
            record = ffi.cast("bw_record *", span + at[0])
            if event == lib.BW_STRANDS_ROOM:
                self._journal.flush()
            elif event == lib.BW_STRANDS_HELD:
                self._hold(strands, book[0], block.payload[at[0] : at[0] + record.bytes])
            elif event == lib.BW_STRANDS_START:
                before = self._before(strands, book[0])
                lib.bw_strands_take(strands.handle, record)
                self._start(strands, book[0], before)
            elif event == lib.BW_STRANDS_ANCHOR:
                self._start(strands, book[0], None)
            else:
                self._end(strands, book[0], empty=event == lib.BW_STRANDS_EMPTY)
        self.owing |= int(room.resets) != resets
        self._journal.poll()

    def _before(self, strands: Strands, book: int) -> tuple[bytes, bytes] | None:
        """The best levels right before a segment, if the book stands at the seam's key."""
        strand = strands.at(book)
        stands = strand.known and strand.book.sequence == strand.reached
        if stands and lib.bw_strand_key_of(ffi.addressof(strand.last), strand.key) == strand.after_key:
            return best_of(strands.handle, book, self._levels)
        return None

    def _start(self, strands: Strands, book: int, before: tuple[bytes, bytes] | None) -> None:
        strand = strands.at(book)
        known = strand.known and strand.book.sequence == strand.reached
        copy = self._copied(strands, book) if known else None
        start = Start(head_of(strand.last), copy, strand, self, before)
        self._lane(book).start(self._turn[book], start)
        if strand.reached >= strand.until_sequence:
            self._end(strands, book)

    def _hold(self, strands: Strands, book: int, record: memoryview) -> None:
        self._lane(book).hold(self._turn[book], record)
        if self._held.bytes > HELD_MAX:
            raise UnavailableError(
                f"the recordings are more than {HELD_MAX >> 20} MiB of updates apart",
                where=str(self._survey.files[0].parent), do="see whether both boxes' clocks were right",
            )  # fmt: skip
        strand = strands.at(book)
        if strand.reached >= strand.until_sequence:
            self._end(strands, book)

    def _end(self, strands: Strands, book: int, *, empty: bool = False) -> None:
        strand, at = strands.at(book), self._turn[book]
        end = None
        if not empty:
            known = strand.known and strand.book.sequence == strand.reached
            end = End(head_of(strand.last), best_of(strands.handle, book, self._levels) if known else None)
        self._arm(strands, book)
        self._lane(book).end(at, end)

    def _copied(self, strands: Strands, book: int) -> bytes:
        while not (size := lib.bw_strands_copy(strands.handle, book, self._copy_room, len(self._copy_room))):
            self._copy_room = ffi.new("uint8_t[]", 2 * len(self._copy_room))
        return bytes(ffi.buffer(self._copy_room, size))

    def owe(self) -> None:
        """A new file: every book that is being written owes it a copy."""
        strands = self._strands
        if strands is None:
            return
        for book in self._turn:
            strand = strands.at(book)
            strand.owes |= strand.phase == lib.BW_STRAND_EMIT
        self.owing = True

    def pay(self) -> None:
        """Writes the copies that are owed, of books that stand where their records were taken to."""
        strands = self._strands
        if strands is None:
            return
        books, waiting = ffi.new("uint32_t[]", strands.count), ffi.new("uint32_t *")
        for book in books[0 : lib.bw_strands_owing(strands.handle, books, strands.count, waiting)]:
            strand = strands.at(book)
            sequence = (int(strand.reached) + int(strand.sequence_up)) % (1 << 64)
            epoch = int(strand.last.epoch) + int(strand.epoch_up)
            self._journal.copy(self._lane(book).book, self._copied(strands, book), sequence, epoch)
            strand.owes = False
        self.owing = waiting[0] > 0


def _splice(surveys: Sequence[Survey], out: Path, file_bytes: int) -> tuple[Merged, dict[str, Any]]:
    """Writes one exchange; what came of it, and its part of the manifest."""
    begun_s, first = time.monotonic(), surveys[0]
    names: dict[str, bytes] = {}
    for survey in surveys:
        names |= {name: row for name, row in survey.symbols.items() if name not in names}
    told = {
        "exchange": first.exchange, "number": first.number, "generation": time.time_ns(),
        "pid": os.getpid(), "raw": False, "raw_position": 0,
        "level_capacity": max(survey.level_capacity for survey in surveys),
        "time_ns": min(survey.from_ns for survey in surveys),
        "merged_of": [NAMES[survey.source] for survey in surveys],
    }  # fmt: skip
    journal, held = MergedJournal(out, first.exchange, told, names, file_bytes), Held()
    with ExitStack() as stack:
        stack.callback(journal.abandon)
        lanes = {name: _lane(surveys, name, book, journal, held) for book, name in enumerate(names)}
        sources = [_Source(survey, lanes, journal, held) for survey in surveys]
        for source in sources:
            stack.callback(source.close)
        blocks = heapq.merge(*(each.blocks() for each in sources), key=lambda row: row[0])
        for time_ns, block, source in blocks:
            journal.now_ns = max(journal.now_ns, time_ns)
            source.take(block)
            if journal.full():
                journal.rotate()
                for each in sources:
                    each.owe()
                    each.pay()
        for source in sources:
            source.leave()
        journal.close("the recordings end")
    merged = Merged(
        exchange=first.exchange,
        books=len(names),
        records=journal.records,
        seams=sum(max(0, len(lane.story) - 1) for lane in lanes.values()),
        gaps=sum(len(lane.gaps) for lane in lanes.values()),
        differing=sum(lane.differing for lane in lanes.values()),
        holes=[survey.holes for survey in surveys],
        damage=[f"{NAMES[one.source]}: {flaw}" for one in surveys for flaw in one.damage],
        raw_records=sum(survey.raw_records for survey in surveys),
        bytes_read=sum(survey.bytes_read for survey in surveys),
        bytes=journal.bytes,
        files=journal.files,
        seconds=time.monotonic() - begun_s + sum(survey.seconds for survey in surveys),
    )
    story = {name: {"key": lane.key.name.lower(), "segments": lane.story, "gaps": lane.gaps}
             for name, lane in lanes.items()}  # fmt: skip
    return merged, story


def _lane(surveys: Sequence[Survey], name: str, book: int, journal: MergedJournal, held: Held) -> Lane:
    stretches = [survey.stretches.get(name, []) for survey in surveys]
    venue = VENUES.get(surveys[0].exchange)
    continuity: Continuity | None = venue.continuity if venue else None
    key: Key = key_of(stretches, continuity)
    return Lane(name, book, key, plan(stretches, key), journal, held)


def merge(
    directories: Sequence[Path], out: Path, exchanges: Sequence[str] = (), *, file_bytes: int = FILE_BYTES,
    tell: Callable[[Merged], None] = lambda _: None,
) -> list[Merged]:  # fmt: skip
    """Merges the recordings, of which the first leads, into a new directory; ``tell`` gets each exchange's
    outcome. Nothing is left there when it fails. Raises UsageError where they cannot be merged,
    UnavailableError where one cannot be read or the new one not written."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("not an empty directory", where=str(out), do="name one that is not there yet")
    found = _surveys(directories, exchanges)
    made: list[Merged] = []
    told: dict[str, Any] = {}
    left = out / "journal" if out.exists() else out
    with ExitStack() as failed:
        failed.callback(shutil.rmtree, left, ignore_errors=True)
        failed.callback((out / MANIFEST).unlink, missing_ok=True)
        try:
            for exchange, surveys in found.items():
                merged, story = _splice(surveys, out, file_bytes)
                tell(merged)
                made.append(merged)
                told[exchange] = {"damage": merged.damage, "books": story}
            sources = dict(zip(NAMES, map(str, directories), strict=False))
            manifest = {"sources": sources, "exchanges": told}
            (out / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
        except OSError as error:
            what, do = (
                f"{error.strerror or error}; nothing was left there",
                "give it space, or choose another",
            )
            raise UnavailableError(what, where=str(out), do=do) from error
        failed.pop_all()
    return made


def _surveys(directories: Sequence[Path], wanted: Sequence[str]) -> dict[str, list[Survey]]:
    """By exchange what each recording has of it, those that have it."""
    by_source: list[dict[str, list[Path]]] = []
    for directory in directories:
        files: dict[str, list[Path]] = {}
        for path in files_of(directory):
            if not wanted or path.parent.name in wanted:
                files.setdefault(path.parent.name, []).append(path)
        if not files:
            raise UsageError(
                "no recording" + (f" of {', '.join(wanted)}" if wanted else ""), where=str(directory),
                do="name the directory that holds `journal`",
            )  # fmt: skip
        by_source.append(files)
    found: dict[str, list[Survey]] = {}
    for exchange in sorted(set().union(*by_source)):
        found[exchange] = [
            Surveyor(source, exchange, files[exchange]).read()
            for source, files in enumerate(by_source)
            if exchange in files
        ]
    _check(found, by_source)
    return found


def _check(found: Mapping[str, Sequence[Survey]], by_source: Sequence[Mapping[str, Any]]) -> None:
    """Raises UsageError where the recordings have no book, or no time, in common."""
    shared = {name: surveys for name, surveys in found.items() if len(surveys) > 1}
    if not any(set(one[0].symbols) & set(one[1].symbols) for one in shared.values()):
        books = [
            ", ".join(f"{s.exchange}:{name}" for one in found.values() for s in one if s.source == at
                      for name in list(s.symbols)[:5])
            for at in range(len(by_source))
        ]  # fmt: skip
        what = "; ".join(f"{NAMES[at]} has {text}" for at, text in enumerate(books))
        raise UsageError(f"the recordings have no book in common: {what}", do="name two of one exchange")
    for name, surveys in shared.items():
        if max(survey.from_ns for survey in surveys) > min(survey.to_ns for survey in surveys):
            spans = "; ".join(
                f"{NAMES[survey.source]} from {_when(survey.from_ns)} to {_when(survey.to_ns)}"
                for survey in surveys
            )
            raise UsageError(
                f"the recordings of {name} were not made at the same time: {spans}",
                do="keep both, or leave it out with --exchanges",
            )


def _when(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds")
