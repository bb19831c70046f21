"""Pushes recorded raw frames through the same engine and compares what comes out with what was recorded.

What reached the engine (frames, snapshots, connections, decisions) is in the journal in order, with its
stamps; so is what the engine published. Equal means: each published record has the same bytes (but for when
it was decoded and published here), and each recorded copy of a book has the same levels at its sequence.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from handlers import shm_layout as layout
from handlers._ffi import ffi, lib
from handlers.errors import UsageError
from handlers.native_feed import NativeFeed
from handlers.recording.audit import record_offsets
from handlers.recording.journal import Block, BlockType, JournalFile
from handlers.registry import venue as venue_of
from handlers.settings import FeedSettings
from handlers.shm import Segment

CONNECTIONS = 64
DIFFERENCES_SHOWN = 10
# When a record was decoded and published is a fact of the machine, not of the book.
_STAMPS = slice(ffi.offsetof("bw_record", "decoded_ns"), ffi.offsetof("bw_record", "published_ns") + 8)
RAW = np.dtype([
    ("bytes", "<u4"), ("type", "u1"), ("cut", "u1"), ("connection", "<u2"), ("book", "<u4"),
    ("payload_bytes", "<u4"), ("time_ns", "<i8"), ("plaintext_ns", "<i8"), ("a", "<u4"), ("b", "<u4"),
])  # fmt: skip


@dataclass
class Outcome:
    """What a replay of one exchange's process came to."""

    exchange: str
    generation: int
    raw_records: int = 0
    records: int = 0  # compared, equal or not
    copies: int = 0  # of whole books, compared
    missing: int = 0  # recorded, and not replayed
    unrecorded: int = 0  # replayed, and not recorded: the recording has a gap, or ends before
    broken: str = ""  # why frames are missing, which ends the comparison
    differences: list[str] = field(default_factory=list)
    sequences: dict[str, int] = field(default_factory=dict)  # last one of each symbol

    @property
    def equal(self) -> bool:
        return not self.differences and not self.missing and not self.broken and self.records > 0


class Player:
    """An engine with books as the recorded process had them. A context manager."""

    def __init__(self, exchange: str, rows: Sequence[bytes], levels: int) -> None:
        self._dir = tempfile.TemporaryDirectory(prefix="bookwire-replay-")
        where = Path(self._dir.name)
        settings = FeedSettings(exchange, shm_dir=where, run_dir=where, levels_max=levels)
        self.native = NativeFeed(venue_of(exchange), settings, max(1, len(rows)), CONNECTIONS)
        self._engine = self.native.engine
        for row in rows:
            self.native.add_recorded(row)
        self.segment = Segment.open(settings.segment_path)
        self.ring = self.segment.records(0)
        self._room: Any = ffi.new("char[]", 1 << 20)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.segment.close()
        self.native.close()
        self._dir.cleanup()

    def apply(self, head: NDArray[np.void], payload: memoryview) -> None:
        """Does to the engine what the record tells."""
        kind, book, connection = int(head["type"]), int(head["book"]), int(head["connection"])
        now_ns, a, b = int(head["time_ns"]), int(head["a"]), int(head["b"])
        if kind == lib.BW_RAW_FRAME:
            text = self._copy(payload)
            lib.bw_engine_frame(
                self._engine, connection, text, len(payload), now_ns, int(head["plaintext_ns"])
            )
        elif kind == lib.BW_RAW_SNAPSHOT:
            lib.bw_engine_load_snapshot(self._engine, book, self._copy(payload), len(payload), now_ns)
        elif kind == lib.BW_RAW_UP:
            lib.bw_engine_connection_up(self._engine, connection, now_ns)
        elif kind == lib.BW_RAW_DOWN:
            lib.bw_engine_connection_down(self._engine, connection, a, now_ns)
        elif kind == lib.BW_RAW_BIND:
            lib.bw_engine_bind(self._engine, book, connection)
        elif kind == lib.BW_RAW_HAND_OVER:
            lib.bw_engine_hand_over(self._engine, book, connection)
        elif kind == lib.BW_RAW_RESYNC:
            lib.bw_engine_resync(self._engine, book, a, now_ns)
        elif kind == lib.BW_RAW_STATE:
            lib.bw_engine_set_state(self._engine, book, a, b, now_ns)

    def _copy(self, data: memoryview) -> Any:
        """The bytes where the engine may read past their end."""
        if len(data) + lib.BW_ENGINE_PADDING > len(self._room):
            self._room = ffi.new("char[]", 2 * len(data) + lib.BW_ENGINE_PADDING)
        ffi.memmove(self._room, data, len(data))
        return self._room


def comparable(record: bytes | memoryview) -> bytes:
    """A ring record without what differs from machine to machine."""
    plain = bytearray(record)
    plain[_STAMPS] = bytes(_STAMPS.stop - _STAMPS.start)
    return bytes(plain)


def raw_records(block: Block) -> Iterator[tuple[NDArray[np.void], memoryview]]:
    """(header, payload) of each raw record of a RAW block."""
    for at in record_offsets(block.payload):
        head = np.frombuffer(block.payload, RAW, 1, at).reshape(())
        size = 0 if head["cut"] else int(head["payload_bytes"])
        begin = at + RAW.itemsize
        yield head, block.payload[begin : begin + size]


def processes(files: Sequence[Path]) -> dict[tuple[str, int], list[Path]]:
    """Files of each (exchange, generation), in order: what one run of an exchange's process left."""
    found: dict[tuple[str, int], list[Path]] = {}
    for path in sorted(files):
        for block in JournalFile(path):
            if block.type is BlockType.FILE:
                found.setdefault((str(block.json()["exchange"]), block.generation), []).append(path)
            break
    return found


def siblings(path: Path) -> list[Path]:
    """The file with those of the same process before it: an engine starts at its process's beginning."""
    wanted = next(iter(processes([path])), None)
    if wanted is None:
        raise UsageError("not a file of a journal", where=str(path), do="name a .bwj file")
    all_files = processes(sorted(path.parent.glob(f"*{path.suffix}")))[wanted]
    return [each for each in all_files if each <= path]


def _blocks(files: Sequence[Path]) -> Iterator[Block]:
    for path in files:
        yield from JournalFile(path)


def _rows(files: Sequence[Path]) -> tuple[list[bytes], int]:
    rows: list[bytes] = []
    levels = 0
    for block in _blocks(files):
        if block.type is BlockType.FILE:
            levels = max(levels, int(block.json()["level_capacity"]))
        if block.type is not BlockType.RAW:
            continue
        for head, payload in raw_records(block):
            if head["type"] == lib.BW_RAW_BOOK:
                rows.append(bytes(payload))
    return rows, levels


class Comparison:
    """Matches what is replayed with what was recorded, whichever comes first."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.wanted: dict[tuple[int, int], Block] = {}  # copies of books by (book, sequence)
        self._recorded: dict[tuple[int, int], bytes] = {}
        self._replayed: dict[tuple[int, int], bytes] = {}

    def recorded(self, block: Block) -> None:
        for at in record_offsets(block.payload):
            length = int(np.frombuffer(block.payload, "<u4", 1, at)[0])
            self._meet(self._recorded, self._replayed, comparable(block.payload[at : at + length]))

    def replayed(self, record: bytes) -> tuple[int, int]:
        return self._meet(self._replayed, self._recorded, comparable(record))

    def _meet(
        self, mine: dict[tuple[int, int], bytes], theirs: dict[tuple[int, int], bytes], record: bytes
    ) -> tuple[int, int]:
        head = np.frombuffer(record, layout.RECORD, 1).reshape(())
        key = int(head["book"]), int(head["sequence"])
        other = theirs.pop(key, None)
        if other is None:
            mine[key] = record
            return key
        self.outcome.records += 1
        if other != record:
            self._differs(f"book {key[0]} at sequence {key[1]}: another record")
        return key

    def copy(self, player: Player, key: tuple[int, int]) -> None:
        """Compares a recorded copy of a book, where there is one at this sequence."""
        block = self.wanted.get(key)
        if block is None:
            return
        book = player.segment.book(key[0])
        if book.sequence != key[1]:
            return  # one message made several sequences: only the last can be looked at
        _, bids, asks = block.copied_book()
        self.outcome.copies += 1
        if book.bids.tobytes() != bids.tobytes() or book.asks.tobytes() != asks.tobytes():
            self._differs(f"book {key[0]} at sequence {key[1]}: other levels")

    def end(self) -> None:
        self.outcome.missing = len(self._recorded)
        self.outcome.unrecorded = len(self._replayed)

    def _differs(self, what: str) -> None:
        if len(self.outcome.differences) < DIFFERENCES_SHOWN:
            self.outcome.differences.append(what)


def replay(exchange: str, generation: int, files: Sequence[Path]) -> Outcome:
    """Replays one process's files. Raises UsageError where they hold no raw frames."""
    rows, levels = _rows(files)
    if not rows:
        raise UsageError(
            "no raw frames from the process's start are in it", where=str(files[0]),
            do="record with [record] raw = true",
        )  # fmt: skip
    outcome = Outcome(exchange, generation)
    comparison = Comparison(outcome)
    for block in _blocks(files):
        if block.type is BlockType.BOOK:
            header, _, _ = block.copied_book()
            comparison.wanted[block.book, int(header["sequence"])] = block
    with Player(exchange, rows, levels) as player:
        for block in _blocks(files):
            if block.type is BlockType.RECORDS:
                comparison.recorded(block)
            elif block.type is BlockType.GAP and block.json().get("raw"):
                outcome.broken = str(block.json()["why"])
                break
            elif block.type is BlockType.RAW:
                for head, payload in raw_records(block):
                    if head["cut"]:
                        outcome.broken = f"a message of {head['payload_bytes']} bytes was not kept"
                    player.apply(head, payload)
                    outcome.raw_records += 1
                    for record in player.ring.raw():
                        comparison.copy(player, comparison.replayed(record))
        comparison.end()
        for symbol, header in zip(player.segment.symbols, player.segment.books, strict=True):
            outcome.sequences[symbol.canonical] = int(header["sequence"])
    return outcome
