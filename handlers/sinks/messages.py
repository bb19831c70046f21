"""What stands in a message of the topic, byte by byte; docs/sinks.md has the layout for other languages.

A head of 32 bytes, then by type: a record of the update ring as it stood there; a whole book, in parts where
it is long; a beat. Numbers are little-endian. The key is ``exchange:SYMBOL``, of a beat ``exchange``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from handlers import shm_layout as layout
from handlers.shm_layout import RecordType

MAGIC = b"BWK1"
HEAD = struct.Struct("<4sBBBBIIQII")  # magic, type, part, parts, 0, book, number, generation, levels, books
BOUNDS = struct.Struct("<qq")  # verified_price of bids, of asks
BEAT = struct.Struct("<qII")  # ns since the epoch, alive, 0
PART_LEVELS = 16_384  # 393 KB, below a broker's usual limit of 1 MB


class Kind(IntEnum):
    """``type`` of the head."""

    RECORD = 1
    SNAPSHOT = 2
    BEAT = 3


@dataclass(frozen=True)
class Head:
    """``number``: the exchange's. ``levels``: capacity a side. ``books``: of the exchange, at least."""

    kind: Kind
    part: int
    parts: int
    book: int
    number: int
    generation: int
    levels: int
    books: int

    def pack(self) -> bytes:
        return HEAD.pack(
            MAGIC, self.kind, self.part, self.parts, 0, self.book, self.number, self.generation, self.levels,
            self.books,
        )  # fmt: skip


def unpack(message: bytes) -> tuple[Head, memoryview]:
    """Head and what follows it. Raises ValueError for what is no message of ours."""
    if len(message) < HEAD.size or message[:4] != MAGIC:
        raise ValueError("no message of Bookwire's, or one of another version")
    _, kind, part, parts, _, book, number, generation, levels, books = HEAD.unpack_from(message)
    return Head(Kind(kind), part, parts, book, number, generation, levels, books), memoryview(message)[
        HEAD.size :
    ]


def key(exchange: str, symbol: str = "") -> bytes:
    return f"{exchange}:{symbol}".encode() if symbol else exchange.encode()


def records(head: Head, rows: NDArray[np.void], data: bytes) -> Iterator[tuple[int, bytes]]:
    """(book, message) of each record of a span."""
    at = 0
    sizes = layout.RECORD.itemsize + layout.LEVEL.itemsize * (rows["bid_count"] + rows["ask_count"]).astype(
        int
    )
    front = {}
    for book, size in zip(rows["book"].tolist(), sizes.tolist(), strict=True):
        if book not in front:
            front[book] = Head(
                Kind.RECORD, 0, 1, book, head.number, head.generation, head.levels, head.books
            ).pack()
        yield book, front[book] + data[at : at + size]
        at += size


def snapshot(
    head: Head,
    symbol: NDArray[np.void],
    row: NDArray[np.void],
    levels: NDArray[np.void],
    bounds: tuple[int, int],
) -> Iterator[bytes]:
    """Messages of a whole book: symbol, a record of type RESET that has its stamps, bounds, levels."""
    record = np.zeros((), layout.RECORD)
    for name in ("sequence", "venue_sequence", "exchange_ns", "receive_ns", "published_ns", "book", "epoch",
                 "bid_count", "ask_count", "state", "reason", "verified_by", "price_exponent",
                 "quantity_exponent"):  # fmt: skip
        record[name] = row[name]
    record["type"], record["decoded_ns"] = RecordType.RESET, row["published_ns"]
    record["bytes"] = layout.RECORD.itemsize
    front = symbol.tobytes() + record.tobytes() + BOUNDS.pack(*bounds)
    parts = max(1, -(-len(levels) // PART_LEVELS))
    for part in range(parts):
        mine = levels[part * PART_LEVELS : (part + 1) * PART_LEVELS]
        told = Head(
            Kind.SNAPSHOT,
            part,
            parts,
            int(row["book"]),
            head.number,
            head.generation,
            head.levels,
            head.books,
        )
        yield told.pack() + front + mine.tobytes()


def beat(head: Head, time_ns: int, alive: bool) -> bytes:
    """All that the feed had published at ``time_ns`` stands before this message."""
    return head.pack() + BEAT.pack(time_ns, alive, 0)
