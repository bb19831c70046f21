"""Which stretch of which recording a merged book is taken from.

A stretch is what one recording has of a book without a hole: from a state that is known, through records each
of which follows the last and leaves the book LIVE. Sequence and epoch are each process's own; what two
recordings share is the exchange's own number of an update, its stamp, and at worst the time it came in. One
of these, the book's ``Key``, says where in one recording the other leaves off.

The first recording leads: it is left only where it has a hole that the other does not have, and taken up
again where its next stretch begins. Pure; times are ns since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from handlers.facts import Continuity

KEY_MIN, KEY_MAX = -(1 << 63), (1 << 63) - 1
TOGETHER_NS = 5_000_000_000  # stretches that were recorded together for so long share keys, or have none


class Key(IntEnum):
    """enum bw_strand_key, the best first."""

    VENUE_SEQUENCE = 0  # the exchange's number of the update: the same on every connection
    EXCHANGE_NS = 1  # its stamp: several updates may have the same one
    RECEIVE_NS = 2  # each box's own clock: proves nothing


@dataclass(frozen=True)
class Moment:
    """A state of a book in one recording: where it stands there, and what the exchange calls it."""

    sequence: int
    epoch: int
    venue_sequence: int
    exchange_ns: int
    receive_ns: int
    published_ns: int

    def key(self, kind: Key) -> int:
        """Its place among the states of the book, in any recording."""
        return (self.venue_sequence, self.exchange_ns, self.receive_ns)[kind]


@dataclass(frozen=True)
class Broken:
    """How a stretch ended. ``state`` and ``reason`` of the book where the recording itself says, else -1."""

    why: str
    time_ns: int
    state: int = -1
    reason: int = 0


@dataclass(frozen=True)
class Stretch:
    """States ``first`` to ``last`` of a book, in recording ``source``. ``resumes``: the sequence it had been
    LIVE up to, where nothing was missed since (a book that was silent, and right); else 0."""

    source: int
    generation: int
    first: Moment
    last: Moment
    end: Broken
    resumes: int = 0

    def follows(self, other: Stretch) -> bool:
        """Whether nothing of the recording lies between the other and this one."""
        mine, theirs = (self.source, self.generation), (other.source, other.generation)
        return mine == theirs and self.resumes == other.last.sequence


@dataclass(frozen=True)
class Segment:
    """What is taken of a stretch and those that follow it, to ``through``: from its first state on
    (``anchored``), or the records behind the key ``after``, up to the key ``until`` or the last record.
    ``lacks``: by source why it has nothing of what is before it, empty where nothing is missing."""

    stretch: Stretch
    through: Stretch
    anchored: bool
    after: int = KEY_MIN
    until: int = KEY_MAX
    lacks: dict[int, str] = field(default_factory=dict)

    @property
    def source(self) -> int:
        return self.stretch.source


def key_of(stretches: Sequence[Sequence[Stretch]], continuity: Continuity | None) -> Key:
    """The best key that the recordings of a book share. ``continuity``: how the exchange numbers its updates,
    None if it is not known."""
    apart = continuity in (None, Continuity.NONE, Continuity.CONNECTION)
    for kind in (Key.VENUE_SEQUENCE, Key.EXCHANGE_NS):
        if not (apart and kind is Key.VENUE_SEQUENCE) and _shared(stretches, kind):
            return kind
    return Key.RECEIVE_NS


def _shared(stretches: Sequence[Sequence[Stretch]], kind: Key) -> bool:
    """It is there, never falls, and what was recorded at the same time has the same values."""
    for mine in stretches:
        before = 0
        for stretch in mine:
            first, last = stretch.first.key(kind), stretch.last.key(kind)
            if not before <= first <= last <= KEY_MAX or first == 0:
                return False
            before = last
    for at, mine in enumerate(stretches):
        for theirs in stretches[at + 1 :]:
            if any(_apart(one, other, kind) for one in mine for other in _near(one, theirs)):
                return False
    return True


def _near(one: Stretch, others: Sequence[Stretch]) -> list[Stretch]:
    return [
        other
        for other in others
        if min(one.last.receive_ns, other.last.receive_ns) - max(one.first.receive_ns, other.first.receive_ns)
        > TOGETHER_NS
    ]


def _apart(one: Stretch, other: Stretch, kind: Key) -> bool:
    return one.last.key(kind) < other.first.key(kind) or other.last.key(kind) < one.first.key(kind)


def plan(stretches: Sequence[Sequence[Stretch]], kind: Key) -> list[Segment]:
    """Segments of one book in order. ``stretches`` by source, the leading one first."""
    segments: list[Segment] = []
    at: int | None = None
    every = [stretch for mine in stretches for stretch in mine]
    while True:
        lacks: dict[int, str] = {}
        going = None if at is None else _covering(every, at, kind)
        anchored = going is None
        if going is None:
            going = _next(every, at, kind)
            if going is None:
                return segments
            begin = going.first.key(kind)
            if at is not None:
                lacks = {source: _why(mine, at, kind) for source, mine in enumerate(stretches)}
        else:
            begin = int(at or 0)
        until = _handed_back(every, going, begin, kind)
        if anchored and segments and going.follows(segments[-1].through):
            segments[-1] = replace(segments[-1], through=going, until=until)
        else:
            after = KEY_MIN if anchored else begin
            segments.append(Segment(going, going, anchored, after, until, lacks))
        at = going.last.key(kind) if until == KEY_MAX else until


def _covering(every: Sequence[Stretch], at: int, kind: Key) -> Stretch | None:
    """Which stretch knows the book at a key and goes on behind it."""
    return next((each for each in every if each.first.key(kind) <= at < each.last.key(kind)), None)


def _next(every: Sequence[Stretch], at: int | None, kind: Key) -> Stretch | None:
    """The stretch that begins soonest behind a key; of equal ones the leading recording's."""
    later = [each for each in every if at is None or each.first.key(kind) > at]
    return min(later, key=lambda each: each.first.key(kind), default=None)


def _handed_back(every: Sequence[Stretch], going: Stretch, at: int, kind: Key) -> int:
    """The key at which a recording that leads more has the book again; KEY_MAX: not within the stretch."""
    begins = [
        each.first.key(kind)
        for each in every
        if each.source < going.source
        and each.first.key(kind) <= going.last.key(kind) < KEY_MAX
        and each.first.key(kind) > at
        and each.last.key(kind) > each.first.key(kind)
    ]
    return min(begins, default=KEY_MAX)


def _why(mine: Sequence[Stretch], at: int, kind: Key) -> str:
    """Why a recording has nothing behind a key."""
    before = [stretch for stretch in mine if stretch.last.key(kind) <= at]
    return before[-1].end.why if before else "its recording had not begun"
