"""Journals written by hand, as recorders with holes leave them, and a reader of journals that shares no code
with ours: what a merge is tested with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np

from handlers import shm_layout as layout
from handlers._ffi import ffi
from handlers.recording.journal import BlockType, JournalFile, JournalWriter, files_of
from handlers.shm_layout import BookState, Reason, RecordType

BEGIN_NS = 1_795_000_000_000_000_000
STEP_NS = 10_000_000  # between two updates
SYMBOL = "BTC-USDT"
Sides = tuple[dict[int, int], dict[int, int]]
Change = tuple[int, int, int]  # side, price, quantity


class Truth:
    """A book as the exchange had it: its state at every update, 0 to ``count``, and what changed."""

    def __init__(self, count: int, seed: int) -> None:
        random = Random(seed)
        book: Sides = ({90: 1}, {110: 1})
        self.states: list[Sides] = [({**book[0]}, {**book[1]})]
        self.changes: list[list[Change]] = [[]]
        for number in range(1, count + 1):
            changes = []
            for side, base in ((0, 60), (1, 101)):
                price = base + random.randrange(40)
                quantity = 0 if price in book[side] and random.random() < 0.4 else number
                changes.append((side, price, quantity))
                book[side][price] = quantity
                if not quantity:
                    del book[side][price]
            self.changes.append(changes)
            self.states.append(({**book[0]}, {**book[1]}))

    def time_ns(self, number: int) -> int:
        """When the exchange made an update."""
        return BEGIN_NS + number * STEP_NS


def symbol_row(name: str = SYMBOL) -> bytes:
    base, _, quote = name.partition("-")
    row = ffi.new("bw_symbol *", {
        "canonical": name.encode(), "native": (base + quote).encode(), "base": base.encode(),
        "quote": quote.encode(),
    })  # fmt: skip
    return bytes(ffi.buffer(row))


@dataclass
class Scribe:
    """Writes what one box records of a truth. ``behind_ns``: of its receiving, ``clock_ns`` its clock's
    error; ``first`` its first sequence. A block holds ``batch`` records."""

    directory: Path
    truth: Truth
    exchange: str = "binance"
    first: int = 1
    behind_ns: int = 1_000_000
    clock_ns: int = 0
    batch: int = 5
    ids: Literal["shared", "own", "none"] = "shared"  # own: each connection counts by itself
    stamps: bool = True
    sequence: int = 0
    epoch: int = 1
    at: int = -1  # update the book stands at
    now_ns: int = 0
    transitions: set[int] = field(default_factory=set)  # updates recorded behind the one before
    _generation: int = 0
    _writer: JournalWriter | None = None
    _span: bytearray = field(default_factory=bytearray)
    _count: int = 0
    _live: bool = False
    _silent: bool = False

    def open(self, number: int, *, process: bool = False) -> None:
        """A new file, of a new process of the exchange if ``process``; the book stands at an update."""
        self._stand(number)
        if process or not self._generation:
            self._generation, self.sequence, self.epoch = self._time(number), self.first, 1
        writer = JournalWriter(self.directory / "journal" / self.exchange / f"{self.now_ns:020d}.bwj")
        self.close()
        self._writer = writer
        told = {"exchange": self.exchange, "number": 0, "level_capacity": 64, "raw_position": 0}
        writer.append(BlockType.FILE, told_json(told), generation=self._generation, time_ns=self.now_ns)
        writer.append(BlockType.SYMBOLS, symbol_row(), generation=self._generation, items=1,
                      time_ns=self.now_ns)  # fmt: skip
        self.copy(number)

    def _time(self, number: int) -> int:
        return self.truth.time_ns(number) + self.behind_ns + self.clock_ns

    def _stand(self, number: int) -> None:
        self.at, self.now_ns = number, max(self.now_ns + 1, self._time(number))

    def _common(self, number: int) -> dict[str, int]:
        receive_ns = self._time(number)
        ids = {"shared": number + 1, "own": self.sequence + 7, "none": 0}
        return {
            "sequence": self.sequence, "epoch": self.epoch, "venue_sequence": ids[self.ids],
            "exchange_ns": self.truth.time_ns(number) if self.stamps else 0, "receive_ns": receive_ns,
            "decoded_ns": receive_ns + 1, "published_ns": receive_ns + 2,
        }  # fmt: skip

    def copy(self, number: int, ahead: int = 0) -> None:
        """A whole copy of the book, ``ahead`` updates further than its records."""
        self.flush()
        sides = self.truth.states[number]
        head = ffi.new("bw_book *", {**self._common(number), "state": BookState.LIVE})
        head.sequence = self.sequence + ahead
        payload = bytearray()
        for side, sign in ((0, -1), (1, 1)):
            head.side[side].level_count = len(sides[side])
            for price in sorted(sides[side], key=lambda price: sign * price):
                payload += np.array([price, sides[side][price], 0], "<i8").tobytes()
        self._append(BlockType.BOOK, bytes(ffi.buffer(head)) + payload)
        self._live = True

    def _append(self, kind: BlockType, payload: bytes, items: int = 0) -> None:
        assert self._writer is not None
        self._writer.append(kind, payload, generation=self._generation, items=items, time_ns=self.now_ns)

    def _record(self, kind: RecordType, number: int, changes: list[Change], state: BookState,
                reason: Reason = Reason.NONE) -> None:  # fmt: skip
        self.sequence += 1
        head = ffi.new("bw_record *", {
            **self._common(number), "bytes": layout.RECORD.itemsize + 24 * len(changes), "type": kind,
            "bid_count": sum(not side for side, *_ in changes),
            "ask_count": sum(side for side, *_ in changes),
            "state": state, "reason": reason,
        })  # fmt: skip
        self._span += ffi.buffer(head)[:]
        for _, price, quantity in changes:
            self._span += np.array([price, quantity, 0], "<i8").tobytes()
        self._count += 1
        if self._count >= self.batch:
            self.flush()

    def flush(self) -> None:
        if self._count:
            self._append(BlockType.RECORDS, bytes(self._span), self._count)
        self._span.clear()
        self._count = 0

    def update(self, joined: int = 1) -> None:
        """The next update, or several in one record."""
        numbers = range(self.at + 1, self.at + joined + 1)
        merged = {(side, price): quantity for number in numbers
                  for side, price, quantity in self.truth.changes[number]}  # fmt: skip
        self._stand(self.at + joined)
        if self._live and not self._silent:
            self.transitions |= set(numbers)
        self._silent = False
        changes = [(*key, quantity) for key, quantity in sorted(merged.items())]
        self._record(RecordType.DELTA, self.at, changes, BookState.LIVE)

    def lose(self, count: int) -> None:
        """The recorder was away, and the ring went round: ``count`` updates are not recorded."""
        self.flush()
        self.sequence += count
        self._stand(self.at + count)
        self._append(BlockType.GAP, told_json({"why": "the ring went round", "from": 0, "to": 1}))
        self.copy(self.at)

    def resync(self, count: int, between: int = 0) -> None:
        """The box lost the exchange: the book is whole again ``count`` updates later, and copied ``between``
        records after that."""
        self._record(RecordType.STATE, self.at, [], BookState.RESYNC, Reason.DISCONNECTED)
        self._live = False
        self.epoch += 1
        self._stand(self.at + count)
        self._record(RecordType.RESET, self.at, [], BookState.LIVE)
        for _ in range(between):
            self.update()
        self.copy(self.at)

    def silent(self) -> None:
        """The book goes STALE; the next update finds it right."""
        self._record(RecordType.STATE, self.at, [], BookState.STALE, Reason.SILENT)
        self._silent = True

    def close(self) -> None:
        if self._writer is not None:
            self.flush()
            self._writer.close()
        self._writer = None


def told_json(told: dict[str, object]) -> bytes:
    return json.dumps({"version": 1, "raw": False, **told}).encode()


@dataclass
class Seen:
    """A state that a reader of a journal knows to be right, after ``sequence``."""

    sequence: int
    epoch: int
    state: BookState
    venue_sequence: int
    exchange_ns: int
    published_ns: int
    sides: Sides | None  # None: not known


def read(directory: Path, exchange: str, symbol: str = SYMBOL) -> Iterator[Seen]:
    """Every record of a book and the book after it; a whole copy counts for the record it stands at."""
    waiting: Seen | None = None
    known: Sides | None = None
    sequence, ahead = 0, {}
    for path in files_of(directory, exchange):
        index = -1
        for block in JournalFile(path):
            if block.type is BlockType.SYMBOLS:
                names = [bytes(row["canonical"].tobytes()).rstrip(b"\0").decode() for row in block.symbols()]
                index = names.index(symbol) + block.book if symbol in names else index
            elif block.type is BlockType.BOOK and block.book == index:
                head, *levels = block.copied_book()
                sides = tuple(dict(zip(side["price"].tolist(), side["quantity"].tolist(), strict=True))
                              for side in levels)  # fmt: skip
                stands = int(head["sequence"])
                if waiting is not None and waiting.sequence == stands:
                    waiting.sides = known = ({**sides[0]}, {**sides[1]})
                elif waiting is None:
                    known, sequence = ({**sides[0]}, {**sides[1]}), stands
                    waiting = _seen(head, known)
                elif stands > waiting.sequence:
                    ahead[stands] = ({**sides[0]}, {**sides[1]})
            elif block.type is BlockType.RECORDS:
                for row in _records(block.payload, index):
                    if waiting is not None:
                        yield waiting
                    head, levels = row
                    base = ahead.pop(int(head["sequence"]) - 1, None)  # a copy behind a gap
                    if base is not None:
                        known, sequence = base, int(head["sequence"]) - 1
                    follows = known is not None and int(head["sequence"]) == sequence + 1
                    follows = follows and head["type"] != RecordType.RESET
                    known = _moved(known, head, levels) if known and follows else None
                    sequence = int(head["sequence"])
                    known = ahead.pop(sequence, known)
                    waiting = _seen(head, known)
    if waiting is not None:
        yield waiting


def _moved(sides: Sides, head: np.ndarray, levels: list[tuple[int, int]]) -> Sides:
    moved = ({**sides[0]}, {**sides[1]})
    for at, (price, quantity) in enumerate(levels):
        side = moved[int(at >= head["bid_count"])]
        side[price] = quantity
        if not quantity:
            del side[price]
    return moved


def _seen(head: np.ndarray, sides: Sides | None) -> Seen:
    return Seen(
        int(head["sequence"]), int(head["epoch"]), BookState(int(head["state"])), int(head["venue_sequence"]),
        int(head["exchange_ns"]), int(head["published_ns"]), sides,
    )  # fmt: skip


def _records(payload: memoryview, book: int) -> Iterator[tuple[np.ndarray, list[tuple[int, int]]]]:
    at = 0
    while at < len(payload):
        head = np.frombuffer(payload, layout.RECORD, 1, at)[0]
        count = int(head["bid_count"]) + int(head["ask_count"])
        if head["book"] == book:
            levels = np.frombuffer(payload, layout.LEVEL, count, at + layout.RECORD.itemsize)
            yield head, list(zip(levels["price"].tolist(), levels["quantity"].tolist(), strict=True))
        at += int(head["bytes"])
