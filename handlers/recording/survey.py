"""What a recording has of each book of one exchange, and where it has holes: read once from end to end.

Only headers of records and books are looked at, natively; levels are not kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers._ffi import ffi, lib
from handlers.errors import UnavailableError
from handlers.recording.journal import Block, BlockType, JournalFile
from handlers.recording.splice import Broken, Moment, Stretch
from handlers.shm_layout import BookState, Reason

BOOKS_MAX = 1 << 16  # of a generation; memory is touched for those that there are


@dataclass(frozen=True)
class Damage:
    """Bytes of a file that prove nothing and do not end it."""

    file: Path
    at: int
    bytes: int
    what: str

    def __str__(self) -> str:
        return f"{self.file} at {self.at}: {self.what} ({self.bytes} bytes)"


@dataclass
class Survey:
    """One exchange in one recording. ``books``: canonical names by index of each generation; ``symbols``:
    bw_symbol by canonical name; ``stretches`` by canonical name, in order."""

    source: int
    exchange: str
    files: list[Path]
    number: int = 0
    level_capacity: int = 0
    from_ns: int = 0
    to_ns: int = 0
    bytes_read: int = 0
    records: int = 0
    raw_records: int = 0
    seconds: float = 0.0  # that reading it took
    books: dict[int, list[str]] = field(default_factory=dict)
    symbols: dict[str, bytes] = field(default_factory=dict)
    stretches: dict[str, list[Stretch]] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)

    @property
    def holes(self) -> int:
        """Times a book was lost that had been known."""
        return sum(max(0, len(mine) - 1) for mine in self.stretches.values())


def canonical(symbol: NDArray[np.void]) -> str:
    """BASE-QUOTE of a bw_symbol."""
    return str(symbol["canonical"].tobytes().rstrip(b"\0").decode())


def blocks_of(files: Sequence[Path], damage: list[Damage] | None = None) -> Iterator[Block]:
    """Sound blocks of a journal's files, in order. Raises UnavailableError where a file cannot be read."""
    for path in files:
        file = JournalFile(path)
        yield from file
        if damage is not None:
            damage += [Damage(path, flaw.at, flaw.bytes, flaw.what) for flaw in file.flaws if not flaw.torn]


def moment(head: Any) -> Moment:
    """Of a bw_record."""
    return Moment(
        int(head.sequence), int(head.epoch), int(head.venue_sequence), int(head.exchange_ns),
        int(head.receive_ns), int(head.published_ns),
    )  # fmt: skip


class Strands:
    """The native books of one generation; ``levels`` 0: headers only. Raises MemoryError."""

    def __init__(self, books: int, levels: int) -> None:
        self.handle: Any = lib.bw_strands_new(books, 2 * max(64, levels) if levels else 0)
        if self.handle == ffi.NULL:
            raise MemoryError(f"no room for {books} books")
        self.count = books

    def close(self) -> None:
        lib.bw_strands_free(self.handle)
        self.handle = ffi.NULL

    def at(self, book: int) -> Any:
        """bw_strand."""
        return lib.bw_strands_at(self.handle, book)

    def load(self, block: Block) -> bool:
        """Takes a BOOK block's copy; False where the book is beyond it."""
        return bool(lib.bw_strands_load(self.handle, block.book, *block.native_book()))


class Surveyor:
    """Reads one exchange's files into a Survey."""

    def __init__(self, source: int, exchange: str, files: list[Path]) -> None:
        self.survey = Survey(source, exchange, files)
        self._generation = 0
        self._strands: Strands | None = None
        self._begun: dict[int, tuple[Moment, int]] = {}  # first state, and what it resumes, by book
        self._reached: dict[int, int] = {}
        self._told = ""  # by the last GAP block

    def read(self) -> Survey:
        """Raises UnavailableError where a file cannot be read, or is none of a journal."""
        survey, begun_s = self.survey, time.monotonic()
        for block in blocks_of(survey.files, survey.damage):
            survey.from_ns = survey.from_ns or block.time_ns
            survey.to_ns = max(survey.to_ns, block.time_ns)
            survey.bytes_read += block.end - block.at
            self._block(block)
        self._leave("the recording ends")
        if not survey.books:
            raise UnavailableError(
                "no block of a journal is in it", where=str(survey.files[0].parent), do="name a recording"
            )
        survey.seconds = time.monotonic() - begun_s
        return survey

    def _block(self, block: Block) -> None:
        if block.type is BlockType.FILE:
            self._file(block)
        elif block.type is BlockType.SYMBOLS:
            self._symbols(block)
        elif block.type is BlockType.GAP and not block.json().get("raw"):
            self._told = str(block.json()["why"])
        elif block.type is BlockType.BOOK and self._strands is not None:
            self._copied(self._strands, block)
        elif block.type is BlockType.RECORDS and self._strands is not None:
            self.survey.records += block.items
            self._records(self._strands, block)
        elif block.type is BlockType.RAW:
            self.survey.raw_records += block.items

    def _file(self, block: Block) -> None:
        told = block.json()
        self.survey.number = int(told["number"])
        self.survey.level_capacity = max(self.survey.level_capacity, int(told["level_capacity"]))
        if block.generation != self._generation:
            self._leave("the exchange's process was replaced")
            self._generation, self._strands = block.generation, Strands(BOOKS_MAX, 0)
            self.survey.books.setdefault(block.generation, [])

    def _symbols(self, block: Block) -> None:
        names = self.survey.books[self._generation]
        for at, row in enumerate(block.symbols(), block.book):
            name = canonical(row)
            self.survey.symbols[name] = bytes(row.tobytes())
            names += [""] * (at + 1 - len(names))
            names[at] = name

    def _copied(self, strands: Strands, block: Block) -> None:
        if not strands.load(block):
            return
        strand = strands.at(block.book)
        if not strand.covered and strand.book.state == BookState.LIVE:
            resumed = strand.whole and strand.book.sequence == strand.reached
            lib.bw_strand_begin(strand)
            self._begin(block.book, strand, resumed)

    def _records(self, strands: Strands, block: Block) -> None:
        span, size = ffi.from_buffer("uint8_t[]", block.payload), len(block.payload)
        at, book = ffi.new("uint32_t *"), ffi.new("uint32_t *")
        while (event := lib.bw_strands_survey(strands.handle, span, size, at, book)) != lib.BW_STRANDS_DONE:
            if event == lib.BW_STRANDS_BAD:
                where = self.survey.files[0].parent
                self.survey.damage.append(Damage(where, block.at, size - at[0], "what is no record"))
                return
            strand = strands.at(book[0])
            if event == lib.BW_STRANDS_BEGAN:
                self._begin(book[0], strand, strand.whole)
            else:
                self._broke(book[0], strand, ffi.cast("bw_record *", span + at[0]))

    def _begin(self, book: int, strand: Any, resumed: bool) -> None:
        self._begun[book] = moment(strand.last), self._reached.get(book, 0) if resumed else 0

    def _broke(self, book: int, strand: Any, record: Any) -> None:
        if record.sequence == strand.reached + 1:
            state, reason = BookState(record.state), Reason(record.reason)
            why = f"the book was {state.name} ({reason.name.lower().replace('_', ' ')})"
            self._end(book, strand, Broken(why, int(record.published_ns), state, reason))
        else:
            why = self._told or "blocks are missing"
            self._end(book, strand, Broken(why, int(strand.last.published_ns)))

    def _end(self, book: int, strand: Any, end: Broken) -> None:
        first, resumes = self._begun.pop(book)
        self._reached[book] = int(strand.reached)
        names = self.survey.books[self._generation]
        if book < len(names) and names[book]:
            self.survey.stretches.setdefault(names[book], []).append(
                Stretch(self.survey.source, self._generation, first, moment(strand.last), end, resumes)
            )

    def _leave(self, why: str) -> None:
        """The generation's records end here."""
        if self._strands is None:
            return
        for book in list(self._begun):
            strand = self._strands.at(book)
            self._end(book, strand, Broken(why, int(strand.last.published_ns)))
            if strand.known and strand.book.sequence > strand.reached and strand.book.state == BookState.LIVE:
                lib.bw_strand_begin(strand)  # a copy that nothing follows
                self._begin(book, strand, resumed=False)
                self._end(book, strand, Broken(why, int(strand.last.published_ns)))
        self._strands.close()
        self._strands, self._begun, self._reached = None, {}, {}
