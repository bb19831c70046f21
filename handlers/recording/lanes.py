"""One merged book: the segments it is made of, one after the other, and what each seam looks like.

A segment begins with a RESET and a whole copy of the book, so its epoch rises and every reader takes it up;
the very first needs no RESET. Sequence numbers go on by one; where something is missing they jump, behind a
GAP block. A segment whose turn has not come waits in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from handlers._ffi import ffi, lib
from handlers.recording.journal import BlockType
from handlers.recording.merged import MergedJournal
from handlers.recording.splice import KEY_MAX, Key, Segment
from handlers.shm_layout import BookState, Reason, RecordType

NAMES = "ABCDEFGH"  # of the sources
HEAD_BYTES = int(ffi.sizeof("bw_record"))
BEST = 20  # levels of a side that are compared where two recordings meet
Best = tuple[bytes, bytes]  # bids, asks


@dataclass
class End:
    """Where a segment ended: the head of its last record, and the best levels then if they were known."""

    head: Any  # bw_record
    best: Best | None


@dataclass
class Owner:
    """Whose strands they are: whether one of them may owe a whole copy."""

    owing: bool = False


@dataclass
class Held:
    """Bytes of records that wait for their segment's turn, of all lanes."""

    bytes: int = 0


@dataclass
class Start:
    """A segment that has begun. ``strand`` is its source's own, until it has ended. ``before``: the best
    levels right before its first record, if they are those of the seam's key."""

    head: Any  # bw_record: its first, or that of the state it begins with
    copy: bytes | None  # the whole book after it; None: not known yet
    strand: Any
    owner: Owner | None = None
    before: Best | None = None
    waiting: bytearray = field(default_factory=bytearray)  # records behind it
    end: End | None = None
    empty: bool = False


def head_of(record: Any) -> Any:
    """A bw_record of its own, without changes."""
    head = ffi.new("bw_record *")
    ffi.memmove(head, ffi.addressof(record), HEAD_BYTES)
    head.bytes, head.bid_count, head.ask_count = HEAD_BYTES, 0, 0
    return head


def _told(head: Any) -> dict[str, int]:
    return {
        "venue_sequence": int(head.venue_sequence), "exchange_ns": int(head.exchange_ns),
        "receive_ns": int(head.receive_ns), "published_ns": int(head.published_ns),
    }  # fmt: skip


class Lane:
    """A merged book that is being written. ``story`` and ``gaps`` are for the manifest."""

    def __init__(
        self, name: str, book: int, key: Key, segments: list[Segment], journal: MergedJournal, held: Held
    ) -> None:
        self.name, self.book, self.key, self.segments = name, book, key, segments
        self.active = 0
        self._held = held
        self.story: list[dict[str, Any]] = []
        self.gaps: list[dict[str, Any]] = []
        self.differing = 0
        self._journal = journal
        self._stash: dict[int, Start] = {}
        self._numbers = ffi.new("bw_strand *")  # of the active segment
        self._numbers.out_book = book
        self._sequence = self._epoch = 0  # of the last record; 0: there is none
        self._end: End | None = None
        self._end_of: Segment | None = None

    def start(self, at: int, start: Start) -> None:
        """Segment ``at`` begins: written at once, or kept until its turn comes."""
        if at == self.active:
            self._activate(start)
        else:
            start.strand.phase = lib.BW_STRAND_HELD
            self._stash[at] = start

    def hold(self, at: int, record: memoryview | bytes) -> None:
        """One more record of a segment whose turn has not come."""
        self._stash[at].waiting += record
        self._held.bytes += len(record)

    def end(self, at: int, end: End | None) -> None:
        """Segment ``at`` is complete; None: it had nothing."""
        if at != self.active:
            waiting = self._stash.setdefault(at, Start(None, None, None, empty=end is None))
            waiting.end = end
            return
        self._finish(end)
        while (start := self._stash.pop(self.active, None)) is not None:
            if not start.empty:
                self._activate(start)
            if start.end is None and not start.empty:
                break
            self._finish(start.end)

    def _activate(self, start: Start) -> None:
        segment, first = self.segments[self.active], not self._sequence
        head, numbers, journal = start.head, self._numbers, self._journal
        missing = self._missing(segment, head) if segment.lacks else 0
        sequence = int(head.sequence) if first else self._sequence + 1 + missing
        epoch = int(head.epoch) if first else self._epoch + 1
        numbers.sequence_up = (sequence - int(head.sequence)) % (1 << 64)
        numbers.epoch_up = epoch - int(head.epoch)
        if missing:
            self._tell_gap(segment, sequence, missing, head)
        self._tell_seam(segment, start, sequence)
        head.type, numbers.owes = RecordType.RESET, False
        if not first:
            journal.take(numbers, head)
        if start.copy is not None:
            journal.copy(self.book, start.copy, sequence, epoch)
        numbers.owes = start.copy is None
        done, size = 0, len(start.waiting)
        records = ffi.from_buffer("uint8_t[]", start.waiting)
        while done < size:
            record = ffi.cast("bw_record *", records + done)
            journal.take(numbers, record)
            done += record.bytes
        self._held.bytes -= size
        if start.end is None:
            strand = start.strand
            strand.sequence_up, strand.epoch_up = numbers.sequence_up, numbers.epoch_up
            strand.owes = numbers.owes
            strand.phase = lib.BW_STRAND_EMIT
            if start.owner is not None:
                start.owner.owing |= bool(numbers.owes)

    def _finish(self, end: End | None) -> None:
        segment = self.segments[self.active]
        self.active += 1
        if end is None:
            return
        self._sequence = (int(end.head.sequence) + self._numbers.sequence_up) % (1 << 64)
        self._epoch = int(end.head.epoch) + self._numbers.epoch_up
        self._end, self._end_of = end, segment
        self.story[-1] |= {"to_sequence": self._sequence, "to": self._place(end.head)}
        follows = self.segments[self.active] if self.active < len(self.segments) else None
        whole = segment.until == KEY_MAX
        if (follows is not None and follows.anchored) or (
            follows is None and whole and segment.through.end.state >= 0
        ):
            self._tell_lost(segment, end)

    def _tell_lost(self, segment: Segment, end: End) -> None:
        """From here on the book is not known: no reader may show it as LIVE."""
        why, head, numbers = segment.through.end, end.head, self._numbers
        lost = ffi.new("bw_record *", head[0])
        lost.type, lost.sequence = RecordType.STATE, head.sequence + 1
        lost.state = why.state if why.state >= 0 else BookState.RESYNC
        lost.reason = why.reason if why.state >= 0 else Reason.GAP
        lost.published_ns = max(why.time_ns, head.published_ns)
        self._journal.take(numbers, lost)
        self._sequence += 1

    def _missing(self, segment: Segment, head: Any) -> int:
        """Sequences that a gap takes: as many as were lost where the same process tells, else one."""
        before = self._end_of
        assert before is not None
        assert self._end is not None
        one, other = before.through, segment.stretch
        if (one.source, one.generation) != (other.source, other.generation):
            return 1
        return max(1, int(head.sequence) - int(self._end.head.sequence) - 2)

    def _tell_gap(self, segment: Segment, sequence: int, missing: int, head: Any) -> None:
        assert self._end is not None
        lacks = {NAMES[source]: why for source, why in segment.lacks.items()}
        why = "; ".join(f"{source}: {text}" for source, text in lacks.items())
        told = {
            "why": why, "time_ns": int(head.published_ns),
            "symbol": self.name, "book": self.book, "from_sequence": sequence - missing,
            "to_sequence": sequence - 1, "from_ns": int(self._end.head.published_ns),
            "to_ns": int(head.published_ns), "lacks": lacks,
        }  # fmt: skip
        self.gaps.append(told)
        self._journal.tell(BlockType.GAP, self.book, told)

    def _tell_seam(self, segment: Segment, start: Start, sequence: int) -> None:
        told: dict[str, Any] = {
            "symbol": self.name, "source": NAMES[segment.source], "why": self._why(segment),
            "generation": segment.stretch.generation, "from_sequence": sequence,
            "from": self._place(start.head),
        }  # fmt: skip
        if self._end is not None and not segment.anchored:
            told["key"] = self.key.name.lower()
            told["same_book"] = self._same(start)
            told["before"] = self._place(self._end.head)
        self.story.append(told)
        self._journal.tell(BlockType.SEAM, self.book, {**told, "time_ns": int(start.head.published_ns)})

    def _same(self, start: Start) -> bool | None:
        """Whether both have the same best levels at the seam's key; None: they do not meet there."""
        end, after = self._end, self.segments[self.active].after
        if end is None or lib.bw_strand_key_of(end.head, self.key) != after:
            return None
        mine, theirs = end.best, start.before
        if mine is None or theirs is None:
            return None
        same = all(_agree(one, other) for one, other in zip(mine, theirs, strict=True))
        if not same and self.key is not Key.VENUE_SEQUENCE:
            return None  # several updates may have one stamp
        self.differing += not same
        return same

    def _why(self, segment: Segment) -> str:
        before = self._end_of
        if before is None:
            return "the recording begins"
        if segment.lacks:
            return "nobody has what is before it"
        if before.until != KEY_MAX:
            return f"{NAMES[segment.source]} has the book again"
        return f"{NAMES[before.source]}: {before.through.end.why}"

    @staticmethod
    def _place(head: Any) -> dict[str, int]:
        return {"sequence": int(head.sequence), **_told(head)}


def _agree(one: bytes, other: bytes) -> bool:
    """As far as both go: recordings may keep different depths."""
    size = min(len(one), len(other))
    return one[:size] == other[:size]


def best_of(strands: Any, book: int, room: Any) -> Best:
    """The best levels of a book that is known; ``room``: bw_level[BEST]."""
    sides = []
    for side in (0, 1):
        count = lib.bw_strands_best(strands, book, side, BEST, room)
        levels = np.frombuffer(ffi.buffer(room, count * ffi.sizeof("bw_level")), "<i8").reshape(-1, 3)
        sides.append(levels[:, :2].tobytes())
    return sides[0], sides[1]
