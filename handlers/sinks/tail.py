"""One exchange's journal read to its end and on, from an offset that outlives the reader.

The recorder knows nothing of it: files are mapped read-only, a block counts once both its checksums hold,
and a file is left for the next one when that is there and nothing whole is left. An offset in the middle of
a file is taken up by reading the file from its beginning without handing anything out, so that books are
known there as well.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handlers import shm_layout as layout
from handlers._ffi import lib
from handlers.errors import UnavailableError
from handlers.recording.journal import Block, BlockType, JournalFile, files_of
from handlers.recording.rows import BookRows, Rows

LIST_S = 0.25  # between two looks for a new file
Last = tuple[int, dict[int, int]]  # generation, sequence by book


@dataclass(frozen=True, order=True)
class Offset:
    """Where a reader stands: a file (its name, ns since the epoch) and the byte of the next block in it."""

    file: int = 0
    at: int = 0


@dataclass(frozen=True)
class Span:
    """Rows of one block, and the records they were made of; of a whole book one row and its bounds."""

    rows: NDArray[np.void]
    levels: NDArray[np.void]
    records: bytes = b""
    bounds: tuple[int, int] = (0, 0)  # verified_price of both sides


def canonical(symbol: NDArray[np.void]) -> str:
    """BASE-QUOTE of a bw_symbol."""
    return str(symbol["canonical"].tobytes().rstrip(b"\0").decode("utf-8", "replace"))


@dataclass(frozen=True)
class Batch:
    """What lies between two offsets of one file. ``symbols``: bw_symbol by book."""

    exchange: str
    generation: int
    number: int
    level_capacity: int
    symbols: NDArray[np.void]
    spans: tuple[Span, ...]
    before: Offset
    after: Offset
    time_ns: int  # when its last block was written

    @property
    def rows(self) -> int:
        return sum(len(span.rows) for span in self.spans)

    def names(self) -> list[str]:
        """Canonical symbol by book."""
        return [canonical(row) for row in self.symbols]


@dataclass
class Losses:
    """What could not be handed out, since the process began."""

    files: int = 0  # removed by the recorder's budget before they were read
    updates: int = 0  # sequences that the journal does not have
    gaps: int = 0  # the recording's own, each tells why
    damaged_bytes: int = 0

    def add(self, more: Losses) -> None:
        self.files += more.files
        self.updates += more.updates
        self.gaps += more.gaps
        self.damaged_bytes += more.damaged_bytes


class _File:
    """A file of the journal while it may still grow."""

    def __init__(self, path: Path, inherited: Last) -> None:
        self.path, self.start = path, int(path.stem)
        self.at = 0
        self.generation = self.number = self.level_capacity = 0
        self.symbols = np.zeros(0, layout.SYMBOL)
        self.losses = Losses()
        self.last: dict[int, int] = {}  # sequence by book
        self.reached: dict[int, int] = {}  # sequence by book, of copies too
        self.bounds: dict[int, tuple[int, int]] = {}  # verified_price by book, of the last copy
        self._inherited = inherited
        self._file = JournalFile(path)
        self._books: BookRows | None = None
        self._loud = True

    def close(self) -> None:
        if self._books is not None:
            self._books.close()
        self._books = None

    def seek(self, at: int) -> None:
        """Goes on at a byte; what stands before it only moves the books."""
        self._loud = False
        while self.at < at and (block := self._next()) is not None:
            self._spans(block)
        self._loud = True
        self.losses = Losses()

    def take(self, rows_max: int) -> tuple[list[Span], int]:
        """Spans of whole blocks from here on, and when the last was written (0: there was none)."""
        spans: list[Span] = []
        rows = time_ns = 0
        while rows < rows_max and (block := self._next()) is not None:
            made = self._spans(block)
            rows += sum(len(span.rows) for span in made)
            spans += made
            time_ns = block.time_ns
        return spans, time_ns

    def _next(self) -> Block | None:
        """The block at the reader's byte, None while there is none that proves itself."""
        result, block = self._file.look(self.at)
        if block is None:
            if self._grew():
                result, block = self._file.look(self.at)
            if block is None and result != lib.BW_BLOCK_END:
                block = self._behind_damage()
        if block is not None:
            self.at = block.end
        return block

    def _grew(self) -> bool:
        try:
            if self.path.stat().st_size <= self._file.bytes:
                return False
            self._file = JournalFile(self.path)
        except (FileNotFoundError, UnavailableError):
            return False  # removed by the recorder's budget; what is mapped stays
        return True

    def _behind_damage(self) -> Block | None:
        """A sound block behind bytes that prove nothing; None where they end the file, as they do while a
        block is being written."""
        behind = self._file.find(self.at + 8)
        _, block = self._file.look(self.at)  # it may have become whole meanwhile
        if block is not None or behind >= self._file.bytes:
            return block
        _, block = self._file.look(behind)
        if block is not None:
            self.losses.damaged_bytes += behind - self.at
        return block

    def _spans(self, block: Block) -> list[Span]:
        if block.type is BlockType.FILE:
            told = block.json()
            self.generation, self.number = block.generation, int(told["number"])
            self.level_capacity = int(told["level_capacity"])
            self.last = dict(self._inherited[1]) if self._inherited[0] == block.generation else {}
        elif block.type is BlockType.SYMBOLS:
            known, more = self.symbols[: block.book], block.symbols()
            self.symbols = np.zeros(block.book + len(more), layout.SYMBOL)  # concatenate() would pack it
            self.symbols[: len(known)], self.symbols[block.book :] = known, more
            self._room_for(len(self.symbols))
        elif block.type is BlockType.GAP and not block.json().get("raw"):
            self.losses.gaps += 1
        elif block.type is BlockType.BOOK and self._books is not None:
            return self._book(self._books, block)
        elif block.type is BlockType.RECORDS and self._books is not None:
            return self._records(self._books, block)
        return []

    def _book(self, books: BookRows, block: Block) -> list[Span]:
        header = block.copied_book()[0]
        book = block.book
        self.reached[book] = max(self.reached.get(book, 0), int(header["sequence"]))
        bids, asks = header["side"]["verified_price"].tolist()
        self.bounds[book] = bids, asks
        if not books.load(block) or not self._loud:
            return []
        copied = self.copy(book)
        if copied is None or copied[0]["published_ns"][0] == 0:
            return []  # of a book that nothing was published of yet
        return [Span(*copied, bounds=self.bounds[book])]

    def copy(self, book: int) -> Rows | None:
        """The kept book at the reader's byte, as one row."""
        return None if self._books is None else self._books.copy(book)

    def _records(self, books: BookRows, block: Block) -> list[Span]:
        spans, done = [], 0
        self.generation = block.generation
        for rows, levels in books.rows(block.payload):
            self._count(rows)
            if self._loud:
                size = layout.RECORD.itemsize * len(rows) + layout.LEVEL.itemsize * len(levels)
                spans.append(Span(rows, levels, bytes(block.payload[done : done + size])))
                done += size
        return spans

    def _count(self, rows: NDArray[np.void]) -> None:
        """Sequences that are not there, by book."""
        for book in np.unique(rows["book"]).tolist():
            mine = rows["sequence"][rows["book"] == book]
            before = self.last.get(book)
            if before is not None:
                self.losses.updates += max(0, int(mine[-1]) - before - len(mine))
            self.last[book] = int(mine[-1])
            self.reached[book] = max(self.reached.get(book, 0), int(mine[-1]))

    def _room_for(self, books: int) -> None:
        """More books than there is room for: the file is read again from its beginning, with more."""
        if self._books is not None and books <= self._books.books:
            return
        self.close()
        self._books = BookRows(2 * books, self.level_capacity)
        at, self.at, loud = self.at, 0, self._loud
        self._loud = False
        while self.at < at and (block := self._next()) is not None:
            if block.type in (BlockType.BOOK, BlockType.RECORDS):
                self._spans(block)
        self._loud = loud


@dataclass
class Tail:
    """Follows one exchange's journal. ``read`` never blocks."""

    directory: Path
    exchange: str
    offset: Offset = field(default_factory=Offset)
    losses: Losses = field(default_factory=Losses)
    _file: _File | None = None
    _files: list[Path] = field(default_factory=list)
    _listed_s: float = -1.0
    _passed: int = 0  # a file that is read to its end
    _last: tuple[int, dict[int, int]] = field(
        default_factory=lambda: (0, {})
    )  # generation, sequence by book at that end

    def seek(self, offset: Offset) -> None:
        """Goes on from an offset that was kept."""
        self.close()
        self.offset, self._passed = offset, 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    @property
    def file(self) -> _File | None:
        """The file that is being read."""
        return self._file

    def read(self, rows_max: int) -> Batch | None:
        """The next batch of at most about so many rows; None at the journal's end."""
        while True:
            if self._file is None and not self._open():
                return None
            file = self._file
            assert file is not None
            batch = self._take(file, rows_max)
            if batch is None and self._later(file.start):
                batch = self._take(file, rows_max)  # what was written before the later one was made
                if batch is None:
                    self._leave(file)
                    continue
            return batch

    def _take(self, file: _File, rows_max: int) -> Batch | None:
        at = file.at
        spans, time_ns = file.take(rows_max)
        self.losses.add(file.losses)
        file.losses = Losses()
        if file.at == at:
            return None
        before, self.offset = self.offset, Offset(file.start, file.at)
        return Batch(
            self.exchange, file.generation, file.number, file.level_capacity, file.symbols, tuple(spans),
            before, self.offset, time_ns,
        )  # fmt: skip

    def _open(self) -> bool:
        """The file of the offset, or the first after it."""
        self._list(0.0)
        for path in self._files:
            start = int(path.stem)
            if start < self.offset.file or start <= self._passed:
                continue
            try:
                file = _File(path, self._last)
            except UnavailableError:
                continue  # removed since it was listed
            if start == self.offset.file:
                file.seek(self.offset.at)
            elif self.offset.file and not self._passed and not self._has(self.offset.file):
                self.losses.files += 1
            self._file = file
            return True
        return False

    def _leave(self, file: _File) -> None:
        self._passed, self._last = file.start, (file.generation, file.last)
        self.close()

    def _has(self, start: int) -> bool:
        return any(int(path.stem) == start for path in self._files)

    def _later(self, start: int) -> bool:
        self._list(LIST_S)
        return any(int(path.stem) > start for path in self._files)

    def _list(self, patience_s: float) -> None:
        now_s = time.monotonic()
        if now_s - self._listed_s >= patience_s:
            self._files, self._listed_s = files_of(self.directory, self.exchange), now_s

    def backlog(self) -> tuple[int, int]:
        """(bytes, files) that are recorded and not read; any thread."""
        offset, total, files = self.offset, 0, 0
        for path in files_of(self.directory, self.exchange):
            start = int(path.stem)
            if start < offset.file:
                continue
            try:
                size = path.stat().st_size - (offset.at if start == offset.file else 0)
            except FileNotFoundError:
                continue
            if size > 0:
                total, files = total + size, files + 1
        return total, files
