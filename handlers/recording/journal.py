"""The journal of a recording: append-only files of checksummed blocks (docs/recording.md).

``<dir>/journal/<exchange>/<ns since the epoch>.bwj``; a file is made new and never opened again for writing.
Writing copies spans of a ring natively; reading maps a file and proves each block before it gives it out.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from handlers import shm_layout as layout
from handlers._ffi import ffi, lib
from handlers.errors import UnavailableError
from handlers.shm import Book, Segment

SUFFIX = ".bwj"
VERSION = 1
RESETS_A_SPAN = 4096
HEAD_BYTES = int(ffi.sizeof("bw_journal_block"))


class BlockType(IntEnum):
    """enum bw_journal_type."""

    FILE = 1
    SYMBOLS = 2
    RECORDS = 3
    BOOK = 4
    RAW = 5
    GAP = 6
    END = 7
    SEAM = 8


class Follow(IntEnum):
    """enum bw_follow: why nothing was copied."""

    OVERRUN = -1
    DISK = -2


@dataclass(frozen=True)
class Block:
    """A proved block. ``payload`` is a view into the mapped file."""

    type: BlockType
    at: int  # byte in the file
    book: int
    number: int
    generation: int
    position: int
    time_ns: int
    items: int
    payload: memoryview

    @property
    def end(self) -> int:
        """Byte in the file where the next one begins."""
        return self.at + HEAD_BYTES + (len(self.payload) + 7) // 8 * 8

    def json(self) -> dict[str, Any]:
        """Of FILE, GAP, END and SEAM."""
        told: dict[str, Any] = orjson.loads(self.payload)
        return told

    def copied_book(self) -> tuple[NDArray[np.void], NDArray[np.void], NDArray[np.void]]:
        """(bw_book header, bids, asks) of BOOK."""
        header = np.frombuffer(self.payload, layout.BOOK, 1).reshape(())
        levels = np.frombuffer(self.payload, layout.LEVEL, -1, layout.BOOK.itemsize)
        bids = int(header["side"][0]["level_count"])
        return header, levels[:bids], levels[bids:]

    def native_book(self) -> tuple[Any, Any, int, Any, int]:
        """(bw_book *, bids, their count, asks, their count) of BOOK, as native functions take a copy."""
        _, *sides = self.copied_book()
        header = ffi.new("bw_book *")  # of 64-byte alignment, which a file does not give
        ffi.memmove(header, self.payload[: layout.BOOK.itemsize], layout.BOOK.itemsize)
        bids, asks = (ffi.from_buffer("bw_level *", side.data) if len(side) else ffi.NULL for side in sides)
        return header, bids, len(sides[0]), asks, len(sides[1])

    def symbols(self) -> NDArray[np.void]:
        """bw_symbol rows of SYMBOLS."""
        return np.frombuffer(self.payload, layout.SYMBOL)


@dataclass(frozen=True)
class Flaw:
    """Bytes of a file that prove nothing. ``torn``: they end it, as a crash leaves it; else damage."""

    at: int
    bytes: int
    torn: bool
    what: str


class JournalFile:
    """A file of the journal, read. Iterating gives blocks; what does not prove itself is left out and
    kept in ``flaws``. Raises UnavailableError where it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.flaws: list[Flaw] = []
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._data: mmap.mmap | bytes = (
                    mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b""
                )
        except OSError as error:
            raise UnavailableError(str(error), where=str(path)) from error
        self.bytes = size

    def __iter__(self) -> Iterator[Block]:
        self.flaws = []
        at = 0
        while (found := self.look(at))[0] != lib.BW_BLOCK_END:
            result, block = found
            if block is not None:
                yield block
                at = block.end
                continue
            next_at = self.find(at + 8)
            torn = next_at == self.bytes
            damaged = result == lib.BW_BLOCK_DAMAGED
            what = "the payload's checksum is wrong" if damaged else "no block's header"
            if torn and result == lib.BW_BLOCK_TORN:
                what = "the file ends inside a block"
            self.flaws.append(Flaw(at, next_at - at, torn, what))
            at = next_at

    def look(self, at: int) -> tuple[int, Block | None]:
        """enum bw_block of what stands at a byte, and the block if it proves itself."""
        head, view = ffi.new("bw_journal_block *"), memoryview(self._data)
        found = int(lib.bw_journal_look(ffi.from_buffer("uint8_t[]", self._data), self.bytes, at, head))
        if found != lib.BW_BLOCK_OK:
            return found, None
        payload = at + HEAD_BYTES
        return found, Block(
            BlockType(head.type), at, head.book, head.number, head.generation, head.position,
            head.time_ns, head.items, view[payload : payload + head.payload_bytes],
        )  # fmt: skip

    def find(self, at: int) -> int:
        """Where the next sound header stands, from a byte on; the file's length if nowhere."""
        return int(lib.bw_journal_find(ffi.from_buffer("uint8_t[]", self._data), self.bytes, at))


class JournalWriter:
    """A new file of one exchange's journal. Raises UnavailableError where it cannot be made, OSError
    where the disk does not take a block (the file is then as it was)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        error = ffi.new("char[]", 512)
        self.path = path
        self._handle: Any = lib.bw_journal_new(os.fsencode(path), error, 512)
        if self._handle == ffi.NULL:
            what = ffi.string(error).decode(errors="replace")
            raise UnavailableError(what, do="choose another record.dir, or give it space")
        self._books = ffi.new("uint32_t[]", RESETS_A_SPAN)

    @property
    def size(self) -> int:
        return int(lib.bw_journal_bytes(self._handle))

    def sync(self) -> None:
        """fdatasync(); any thread. Raises OSError."""
        result = lib.bw_journal_sync(self._handle)
        if result:
            raise OSError(-result, os.strerror(-result), str(self.path))

    def close(self) -> None:
        if self._handle != ffi.NULL:
            lib.bw_journal_free(self._handle)
        self._handle = ffi.NULL

    def append(
        self, kind: BlockType, payload: bytes | memoryview, *, book: int = 0, generation: int = 0,
        position: int = 0, items: int = 0, time_ns: int | None = None,
    ) -> None:  # fmt: skip
        """One block; written now, or at ``time_ns``."""
        head = ffi.new("bw_journal_block *", {
            "type": int(kind), "book": book, "generation": generation, "position": position,
            "time_ns": time.time_ns() if time_ns is None else time_ns, "items": items,
        })  # fmt: skip
        result = lib.bw_journal_append(self._handle, head, ffi.from_buffer(payload), len(payload))
        if result:
            raise OSError(-result, os.strerror(-result), str(self.path))

    def tell(self, kind: BlockType, told: dict[str, Any], *, generation: int = 0, position: int = 0) -> None:
        """A block of JSON."""
        self.append(kind, orjson.dumps(told), generation=generation, position=position)

    def book(self, index: int, book: Book, generation: int, position: int) -> None:
        """A whole book at its sequence."""
        payload = book.header.tobytes() + book.bids.tobytes() + book.asks.tobytes()
        self.append(
            BlockType.BOOK, payload, book=index, generation=generation, position=position,
            items=len(book.bids) + len(book.asks),
        )  # fmt: skip

    def symbols(self, segment: Segment, first: int) -> int:
        """The segment's symbols from ``first`` on; how many there are now."""
        header = segment.header
        count, offset = int(header["book_count"]), int(header["symbol_offset"])
        if count > first:
            rows = segment.view(layout.SYMBOL, offset, count)[first:]
            self.append(
                BlockType.SYMBOLS, rows.tobytes(), book=first, generation=segment.generation,
                items=count - first,
            )  # fmt: skip
        return count

    def follow(self, segment: Segment, cursor: Any) -> int:
        """Bytes copied of the update ring, or a Follow."""
        with segment.lock:
            return int(lib.bw_journal_follow(self._handle, segment.handle, cursor, time.time_ns()))

    def follow_raw(self, raw: RawRing) -> int:
        """Bytes copied of the raw ring, or a Follow."""
        return int(lib.bw_journal_follow_raw(self._handle, raw.handle, raw.cursor, time.time_ns()))

    def error(self) -> OSError:
        """Why the last follow was answered with Follow.DISK."""
        code = int(lib.bw_journal_errno(self._handle))
        return OSError(code, os.strerror(code), str(self.path))

    @property
    def records(self) -> int:
        """In the last span."""
        return int(lib.bw_journal_records(self._handle))

    def resets(self) -> set[int] | None:
        """Books that were replaced in the last span; None: too many to name."""
        count = int(lib.bw_journal_resets(self._handle, self._books, RESETS_A_SPAN))
        return None if count > RESETS_A_SPAN else set(ffi.unpack(self._books, count)) if count else set()


class RawRing:
    """A feed's ring of raw frames, followed from its beginning. Raises UnavailableError."""

    def __init__(self, path: Path) -> None:
        error = ffi.new("char[]", 512)
        self.handle: Any = lib.bw_raw_reader_open(os.fsencode(path), error, 512)
        if self.handle == ffi.NULL:
            raise UnavailableError(ffi.string(error).decode(errors="replace"))
        self.cursor = ffi.new("bw_ring_cursor *")

    @property
    def generation(self) -> int:
        return int(lib.bw_raw_reader_header(self.handle).generation)

    @property
    def oversize(self) -> int:
        return int(lib.bw_raw_reader_header(self.handle).oversize)

    @property
    def level_capacity(self) -> int:
        return int(lib.bw_raw_reader_header(self.handle).level_capacity)

    def close(self) -> None:
        if self.handle != ffi.NULL:
            lib.bw_raw_reader_close(self.handle)
        self.handle = ffi.NULL


def files_of(directory: Path, exchange: str | None = None) -> list[Path]:
    """Files of a recording's journal, oldest first within an exchange."""
    where = directory / "journal" / (exchange or "*")
    return sorted(where.parent.glob(f"{where.name}/*{SUFFIX}"))


def new_path(directory: Path, exchange: str) -> Path:
    """A name no file has yet, later than all."""
    return directory / "journal" / exchange / f"{time.time_ns():020d}{SUFFIX}"
