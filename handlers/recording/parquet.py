"""Parquet from the journal: a file per exchange, symbol, hour and journal file, a gap manifest beside each.

``<dir>/parquet/<exchange>/<symbol>/<YYYYMMDDTHH>-<journal file>.parquet`` and ``.gaps.json``. Made once of
files that were ended, never changed afterwards; made again from the journal if a crash left them unfinished.
Needs pyarrow (the extra ``history``).
"""

from __future__ import annotations

import fcntl
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from handlers._ffi import lib
from handlers.errors import UnavailableError
from handlers.logs import Log
from handlers.recording.journal import Block, BlockType, JournalFile, files_of
from handlers.recording.rows import SNAPSHOT, TYPES, BookRows
from handlers.shm_layout import BookState, Reason

HOUR_NS = 3_600_000_000_000
SNAPSHOT_NS = 60_000_000_000  # a whole book into the rows so often
ROW_GROUP = 1 << 16
DONE = ".done"
LOCK_NAME = "parquet.lock"


def arrow() -> Any:
    """pyarrow with its Parquet part. Raises UnavailableError that names the extra."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UnavailableError(
            "pyarrow is not installed",
            do="install the extra `history` (`make history`, or pip install bookwire[history])",
        ) from error
    return pyarrow


@dataclass
class _Rows:
    """Rows of one symbol and hour while they are gathered."""

    heads: list[NDArray[np.void]] = field(default_factory=list)
    times: list[NDArray[np.int64]] = field(default_factory=list)
    levels: list[NDArray[np.void]] = field(default_factory=list)
    gaps: list[dict[str, Any]] = field(default_factory=list)
    seams: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Converted:
    """What came of one journal file."""

    files: int = 0
    rows: int = 0
    bytes: int = 0


class _Gatherer:
    """Reads one journal file into rows by symbol and hour."""

    def __init__(self, file: JournalFile) -> None:
        self.names: list[str] = []
        self.rows: dict[tuple[str, int], _Rows] = defaultdict(_Rows)
        self.last: dict[str, int] = {}
        self.generation = 0
        self._books: BookRows | None = None
        self._why: list[dict[str, Any]] = []
        self._told: set[tuple[str, int]] = set()  # symbol, first sequence of a gap that says what it lacks
        self._gaps: dict[str, list[dict[str, Any]]] = defaultdict(list)  # such, before the next row
        self._seams: dict[str, list[dict[str, Any]]] = defaultdict(list)  # before the next row
        self._next_copy_ns = 0
        blocks = list(file)
        try:
            self._start(blocks)
            for block in blocks:
                self._block(block)
        finally:
            if self._books is not None:
                self._books.close()

    def _start(self, blocks: list[Block]) -> None:
        symbols = [block for block in blocks if block.type is BlockType.SYMBOLS]
        count = sum(block.items for block in symbols)
        levels = 0
        for block in blocks:
            if block.type is BlockType.FILE:
                levels = max(levels, int(block.json()["level_capacity"]))
                self.generation = block.generation
        for block in symbols:
            self.names += [row["canonical"].tobytes().rstrip(b"\0").decode() for row in block.symbols()]
        self._books = BookRows(count, levels)

    def _block(self, block: Block) -> None:
        if block.type is BlockType.GAP and not block.json().get("raw"):
            self._gap(block.json())
        elif block.type is BlockType.SEAM:
            self._seams[self.names[block.book]].append(block.json())
        elif block.type is BlockType.BOOK:
            self._copied(block)
        elif block.type is BlockType.RECORDS:
            if block.time_ns >= self._next_copy_ns:
                self._copies(block.time_ns if self._next_copy_ns else 0)
                self._next_copy_ns = block.time_ns // SNAPSHOT_NS * SNAPSHOT_NS + SNAPSHOT_NS
            self._records(block.payload)

    def _gap(self, told: dict[str, Any]) -> None:
        if "book" not in told:
            self._why.append(told)
            return
        name = self.names[int(told["book"])]
        self._told.add((name, int(told["from_sequence"])))
        wanted = ("from_sequence", "to_sequence", "time_ns", "why")
        self._gaps[name].append({key: told[key] for key in wanted})

    def _copied(self, block: Block) -> None:
        assert self._books is not None
        if self._books.load(block):
            self._copy(block.book, block.time_ns)

    def _copies(self, time_ns: int) -> None:
        for book in range(len(self.names)):
            if time_ns:
                self._copy(book, time_ns)

    def _copy(self, book: int, time_ns: int) -> None:
        assert self._books is not None
        if (copied := self._books.copy(book)) is not None:
            self._add(self.names[book], copied[0], np.array([time_ns]), copied[1])

    def _records(self, payload: memoryview) -> None:
        assert self._books is not None
        for rows, levels in self._books.rows(payload):
            self._split(rows, levels)

    def _split(self, rows: NDArray[np.void], levels: NDArray[np.void]) -> None:
        """To each symbol its own rows and levels, in order."""
        counts = (rows["bid_count"] + rows["ask_count"]).astype(np.int64)
        owner = np.repeat(rows["book"], counts)
        for book in np.unique(rows["book"]).tolist():
            mine = rows[rows["book"] == book]
            name = self.names[book]
            self._holes(name, mine)
            self._add(name, mine, mine["published_ns"].astype(np.int64), levels[owner == book])

    def _holes(self, name: str, rows: NDArray[np.void]) -> None:
        before = np.concatenate(([self.last.get(name, 0)], rows["sequence"][:-1].astype(np.int64)))
        for at in np.flatnonzero(rows["hole"]).tolist():
            gap = {
                "from_sequence": int(before[at]) + 1,
                "to_sequence": int(rows["sequence"][at]) - 1,
                "time_ns": int(rows["published_ns"][at]),
                "why": self._why[-1]["why"] if self._why else "not told",
            }
            if (name, gap["from_sequence"]) in self._told:
                continue
            self.rows[name, int(rows["published_ns"][at]) // HOUR_NS].gaps.append(gap)
        self.last[name] = int(rows["sequence"][-1])

    def _add(
        self, name: str, rows: NDArray[np.void], times: NDArray[np.int64], levels: NDArray[np.void]
    ) -> None:
        hours = times // HOUR_NS
        counts = (rows["bid_count"] + rows["ask_count"]).astype(np.int64)
        ends = np.cumsum(counts)
        first = self.rows[name, int(hours[0])]
        first.seams += self._seams.pop(name, [])
        first.gaps += self._gaps.pop(name, [])
        begin = 0
        # a clock that was set back, or a seam, may bring an hour again
        for last in [*(np.flatnonzero(np.diff(hours)) + 1).tolist(), len(hours)]:
            mine = self.rows[name, int(hours[begin])]
            mine.heads.append(rows[begin:last])
            mine.times.append(times[begin:last])
            mine.levels.append(levels[int(ends[begin] - counts[begin]) : int(ends[last - 1])])
            begin = last


def _lists(pa: Any, rows: NDArray[np.void], levels: NDArray[np.void], side: int) -> Any:
    """A list column of one side's levels: {price, quantity, orders}."""
    bids, asks = rows["bid_count"].astype(np.int64), rows["ask_count"].astype(np.int64)
    flags = np.tile([0, 1], len(rows))
    is_mine = np.repeat(flags, np.column_stack([bids, asks]).reshape(-1)) == side
    mine = levels[is_mine]
    offsets = np.concatenate(([0], np.cumsum(asks if side else bids))).astype(np.int32)
    struct = pa.StructArray.from_arrays(
        [
            pa.array(np.ascontiguousarray(mine["price"])),
            pa.array(np.ascontiguousarray(mine["quantity"])),
            pa.array(np.ascontiguousarray(mine["orders"])),
        ],
        names=["price", "quantity", "orders"],
    )
    return pa.ListArray.from_arrays(pa.array(offsets), struct)


def _words(pa: Any, values: NDArray[Any], names: list[str]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(values.astype(np.int8)), pa.array(names))


def table_of(rows: NDArray[np.void], times: NDArray[np.int64], levels: NDArray[np.void]) -> Any:
    """The Arrow table of one symbol's rows; docs/recording.md has the columns."""
    pa = arrow()

    def plain(name: str, kind: str) -> Any:
        return pa.array(np.ascontiguousarray(rows[name]).astype(kind))

    def top(name: str, bit: int) -> Any:
        return pa.array(np.ascontiguousarray(rows[name]), mask=(rows["top_sides"] & bit) == 0)

    return pa.table(
        {
            "time_ns": pa.array(times),
            "type": _words(pa, rows["type"], list(TYPES)),
            "sequence": plain("sequence", "i8"),
            "venue_sequence": plain("venue_sequence", "u8"),
            "epoch": plain("epoch", "i4"),
            "exchange_ns": plain("exchange_ns", "i8"),
            "receive_ns": plain("receive_ns", "i8"),
            "published_ns": plain("published_ns", "i8"),
            "state": _words(pa, rows["state"], [state.name.lower() for state in BookState]),
            "reason": _words(pa, rows["reason"], [reason.name.lower() for reason in Reason]),
            "flags": plain("verified_by", "i1"),
            "price_exponent": plain("price_exponent", "i1"),
            "quantity_exponent": plain("quantity_exponent", "i1"),
            "bid_price": top("bid_price", 1),
            "bid_quantity": top("bid_quantity", 1),
            "ask_price": top("ask_price", 2),
            "ask_quantity": top("ask_quantity", 2),
            "bids": _lists(pa, rows, levels, 0),
            "asks": _lists(pa, rows, levels, 1),
        }
    )


def part_name(hour: int, stem: str) -> str:
    """Sorts by hour, then by journal file."""
    when = datetime.fromtimestamp(hour * 3600, UTC)
    return f"{when:%Y%m%dT%H}-{stem}"


def _write(path: Path, data: bytes) -> None:
    """Whole and durable, or not there."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def convert(directory: Path, journal: Path, compression: str = "zstd") -> Converted:
    """Makes one journal file's Parquet files. Raises UnavailableError without pyarrow."""
    pa = arrow()
    exchange, done = journal.parent.name, Converted()
    gathered = _Gatherer(JournalFile(journal))
    for (symbol, hour), mine in sorted(gathered.rows.items()):
        where = directory / "parquet" / exchange / symbol
        where.mkdir(parents=True, exist_ok=True)
        rows, times = np.concatenate(mine.heads), np.concatenate(mine.times)
        sink = pa.BufferOutputStream()
        pa.parquet.write_table(
            table_of(rows, times, np.concatenate(mine.levels)), sink, compression=compression,
            row_group_size=ROW_GROUP,
        )  # fmt: skip
        data = sink.getvalue().to_pybytes()
        path = where / f"{part_name(hour, journal.stem)}.parquet"
        manifest = {
            "exchange": exchange, "symbol": symbol, "file": path.name, "journal": journal.name,
            "generation": gathered.generation, "rows": len(rows), "bytes": len(data),
            "crc32c": int(lib.bw_crc32c(0, data, len(data))), "compression": compression,
            **_sequences(rows), "from_ns": int(times.min()), "to_ns": int(times.max()), "gaps": mine.gaps,
        }  # fmt: skip
        if mine.seams:
            manifest["seams"] = mine.seams
        _write(path, data)
        _write(path.with_suffix(".gaps.json"), orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
        done.files, done.rows, done.bytes = done.files + 1, done.rows + len(rows), done.bytes + len(data)
    marker = directory / "parquet" / exchange / f"{journal.stem}{DONE}"
    marker.parent.mkdir(parents=True, exist_ok=True)
    _write(marker, b"")
    return done


def _sequences(rows: NDArray[np.void]) -> dict[str, int | None]:
    updates = rows["sequence"][rows["type"] != SNAPSHOT]
    return {
        "updates": len(updates),
        "first_sequence": int(updates.min()) if len(updates) else None,
        "last_sequence": int(updates.max()) if len(updates) else None,
    }


def waiting(directory: Path) -> Iterator[Path]:
    """Journal files that were ended, or left by a killed recorder, and are not Parquet yet."""
    for where in sorted((directory / "journal").glob("*")):
        files = files_of(directory, where.name)
        for path in files:
            if (directory / "parquet" / where.name / f"{path.stem}{DONE}").exists():
                continue
            if path != files[-1] or _ended(path):
                yield path


def _ended(path: Path) -> bool:
    kinds = [block.type for block in JournalFile(path)]
    return bool(kinds) and kinds[-1] is BlockType.END


def convert_waiting(directory: Path, compression: str, log: Log) -> Converted:
    """All that wait, oldest first; nothing where another process is at it, as after a recorder's kill."""
    total = Converted()
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK_NAME).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.detail("another_converts")
            return total
        _convert_all(directory, compression, log, total)
    return total


def _convert_all(directory: Path, compression: str, log: Log, total: Converted) -> None:
    for path in list(waiting(directory)):
        try:
            made = convert(directory, path, compression)
        except (OSError, ValueError, MemoryError) as error:
            log("not_converted", file=path.name, error=error)
            continue
        log.detail("converted", file=path.name, files=made.files, rows=made.rows, bytes=made.bytes)
        total.files, total.rows, total.bytes = (
            total.files + made.files, total.rows + made.rows, total.bytes + made.bytes,
        )  # fmt: skip
