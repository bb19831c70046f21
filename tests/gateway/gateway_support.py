"""A writer of segments and a subscriber's book, for the gateway's tests.

The writer publishes through the same C calls as a feed; what it published is kept in plain dicts, so
that every expectation is computed here, with exact decimals, and not by the code under test.
"""

from __future__ import annotations

import json
import random
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from handlers._ffi import ffi, lib

SYNCING, LIVE, STALE, RESYNC, DOWN = range(5)
DELTA, RESET, STATE = 1, 2, 3

Levels = dict[int, tuple[int, int]]  # price mantissa -> (quantity mantissa, orders)


class PublishedBook:
    """One book as the writer knows it."""

    def __init__(self, index: int, symbol: str, price_exponent: int, quantity_exponent: int) -> None:
        self.index = index
        self.symbol = symbol
        self.price_exponent = price_exponent
        self.quantity_exponent = quantity_exponent
        self.sides: tuple[Levels, Levels] = ({}, {})
        self.sequence = 0
        self.state = SYNCING
        self.epoch = 0

    def decimals(self, side: int) -> list[tuple[Decimal, Decimal, int]]:
        """(price, quantity, orders), best first."""
        rows = [
            (Decimal(p).scaleb(-self.price_exponent), Decimal(q).scaleb(-self.quantity_exponent), n)
            for p, (q, n) in self.sides[side].items()
        ]
        return sorted(rows, reverse=side == 0)


class Writer:
    """Publishes books of one exchange into ``shm_dir``."""

    def __init__(
        self, exchange: str, number: int, shm_dir: Path, *, books: int = 4, levels: int = 2000,
        ring_bytes: int = 1 << 20,
    ) -> None:  # fmt: skip
        self.exchange = exchange
        self._keep = [
            ffi.new("char[]", str(shm_dir / f"{exchange}.shm").encode()),
            ffi.new("char[]", exchange.encode()),
        ]
        spec = ffi.new(
            "bw_shm_spec *",
            {
                "path": self._keep[0], "exchange": self._keep[1], "exchange_number": number,
                "book_capacity": books, "level_capacity": levels,
                "chunk_capacity": books * 4 * (levels // 32 + 2), "ring_bytes": ring_bytes,
            },
        )  # fmt: skip
        error = ffi.new("char[256]")
        self.handle = lib.bw_shm_writer_new(spec, error, 256)
        assert self.handle != ffi.NULL, ffi.string(error)
        self.header = lib.bw_shm_writer_header(self.handle)
        self.header.state = 1
        self.store = lib.bw_shm_writer_store(self.handle)
        self.books: list[PublishedBook] = []
        self.beat()

    def beat(self, at_ns: int | None = None) -> None:
        self.header.heartbeat_ns = time.time_ns() if at_ns is None else at_ns

    def attach_bell(self, run_dir: Path) -> None:
        paths = [str(run_dir / name).encode() for name in ("gateway.bell", "gateway.fifo")]
        assert lib.bw_shm_writer_add_bell(self.handle, *paths) == 0

    def add(
        self,
        symbol: str,
        price_exponent: int = 2,
        quantity_exponent: int = 4,
        native: str | None = None,
        kind: int = 0,
    ) -> PublishedBook:
        base, quote = symbol.split("-")[:2]
        row = ffi.new(
            "bw_symbol *",
            {
                "canonical": symbol.encode(), "native": (native or base + quote).encode(),
                "base": base.encode(), "quote": quote.encode(), "kind": kind,
            },
        )  # fmt: skip
        index = lib.bw_shm_writer_add_book(
            self.handle, row, price_exponent, quantity_exponent, time.time_ns()
        )
        assert index >= 0
        book = PublishedBook(index, symbol, price_exponent, quantity_exponent)
        self.books.append(book)
        return book

    def _publish(self, book: PublishedBook, kind: int, changes: list[list[tuple[int, int, int]]]) -> None:
        raw = lib.bw_shm_writer_book(self.handle, book.index)
        now = time.time_ns()
        book.sequence += 1
        evicted = ffi.new("int64_t *")
        lib.bw_book_begin(raw)
        if kind == RESET:
            lib.bw_book_clear(self.store, raw)
            book.epoch += 1
        for side, rows in enumerate(changes):
            for price, quantity, orders in rows:
                lib.bw_book_set(self.store, raw, side, price, quantity, orders, evicted)
        raw.sequence, raw.epoch, raw.state, raw.reason = book.sequence, book.epoch, book.state, 0
        raw.price_exponent, raw.quantity_exponent = book.price_exponent, book.quantity_exponent
        raw.receive_ns = raw.decoded_ns = raw.published_ns = now
        raw.exchange_ns = now - 5_000_000
        lib.bw_book_end(self.store, raw)
        told = [[], []] if kind == RESET else changes
        record = lib.bw_record_reserve(self.handle, len(told[0]) + len(told[1]))
        record.type, record.book, record.epoch, record.sequence = kind, book.index, book.epoch, book.sequence
        record.price_exponent, record.quantity_exponent = book.price_exponent, book.quantity_exponent
        record.exchange_ns, record.receive_ns, record.decoded_ns = now - 5_000_000, now, now
        record.state, record.reason = book.state, 0
        level = ffi.cast("bw_level *", record + 1)
        for at, (price, quantity, orders) in enumerate(told[0] + told[1]):
            level[at].price, level[at].quantity, level[at].orders = price, quantity, orders
        lib.bw_record_commit(self.handle, record, len(told[0]), len(told[1]), now)
        self.beat()
        lib.bw_shm_writer_ring_bells(self.handle)

    def change(self, book: PublishedBook, bids: Any = (), asks: Any = ()) -> None:
        """Publishes (price, quantity, orders) mantissas; quantity 0 removes."""
        rows = [list(bids), list(asks)]
        for side, changes in enumerate(rows):
            for price, quantity, orders in changes:
                if quantity:
                    book.sides[side][price] = (quantity, orders)
                else:
                    book.sides[side].pop(price, None)
        self._publish(book, DELTA, rows)

    def reset(self, book: PublishedBook, bids: Any = (), asks: Any = (), state: int = LIVE) -> None:
        """Replaces the whole book."""
        rows = [list(bids), list(asks)]
        for side, levels in enumerate(rows):
            book.sides[side].clear()
            book.sides[side].update({price: (quantity, orders) for price, quantity, orders in levels})
        book.state = state
        self._publish(book, RESET, rows)

    def state(self, book: PublishedBook, state: int) -> None:
        book.state = state
        self._publish(book, STATE, [[], []])

    def close(self) -> None:
        if self.handle is not None:
            lib.bw_shm_writer_close(self.handle)
            self.handle = None


class RandomFlow:
    """Seeded order flow around a mid price; most changes near the top."""

    def __init__(self, seed: int, mid: int, width: int = 60) -> None:
        self.random = random.Random(seed)
        self.mid = mid
        self.width = width

    def side_rows(self, side: int, count: int) -> list[tuple[int, int, int]]:
        rows: dict[int, tuple[int, int, int]] = {}
        for _ in range(count):
            away = min(int(self.random.expovariate(4 / self.width)) + 1, self.width)
            price = self.mid - away if side == 0 else self.mid + away
            quantity = 0 if self.random.random() < 0.4 else self.random.randint(1, 10**6)
            rows[price] = (price, quantity, self.random.randint(0, 9))
        return list(rows.values())

    def step(self, writer: Writer, book: PublishedBook, most: int = 12) -> None:
        counts = self.random.randint(0, most), self.random.randint(0, most)
        writer.change(book, self.side_rows(0, counts[0]), self.side_rows(1, counts[1]))

    def fill(self, writer: Writer, book: PublishedBook, state: int = LIVE) -> None:
        rows = [[row for row in self.side_rows(side, self.width) if row[1]] for side in (0, 1)]
        writer.reset(book, rows[0], rows[1], state)


def expected_side(
    channel: str, books: dict[str, PublishedBook], side: int, depth: int, order: list[str]
) -> list[tuple[Any, ...]]:
    """The side a subscriber must see, from what was published: exact decimals, LIVE books only."""
    prefix = channel.split(":")[0]
    live = {name: book for name, book in books.items() if book.state == LIVE}
    sign = -1 if side == 0 else 1
    if prefix in live or prefix in books:
        return live[prefix].decimals(side)[:depth] if prefix in live else []
    rows = [(p, q, n, name) for name, book in live.items() for p, q, n in book.decimals(side)]
    if prefix == "fullbook":
        return sorted(rows, key=lambda r: (sign * r[0], -r[1], order.index(r[3])))[:depth]
    summed: dict[Decimal, tuple[Decimal, int]] = {}
    for price, quantity, orders, _ in rows:
        held = summed.get(price, (Decimal(0), 0))
        summed[price] = (held[0] + quantity, held[1] + orders)
    ordered = sorted(summed.items(), key=lambda r: sign * r[0])
    return [(p, q, n) for p, (q, n) in ordered][: 1 if prefix == "top" else depth]


def loads(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=lambda digits: int(digits))


class SubscriberBook:
    """What a base client does: a snapshot replaces, a delta changes, quantity 0 removes."""

    def __init__(self, full: bool = False) -> None:
        self.full = full
        self.sides: tuple[dict[Any, tuple[Any, ...]], dict[Any, tuple[Any, ...]]] = ({}, {})
        self.messages = 0
        self.conflated = 0
        self.sequence = -1

    def apply(self, message: dict[str, Any]) -> None:
        self.messages += 1
        self.conflated += message.get("conflated", 0)
        for side, key in enumerate(("bids", "asks")):
            if message["type"] in ("snapshot", "orderbook_snapshot"):
                self.sides[side].clear()
            for level in message["data"][key]:
                values = (Decimal(level[0]), Decimal(level[1]), *level[2:])
                name = (values[0], values[3]) if self.full else values[0]
                if values[1] == 0:
                    self.sides[side].pop(name, None)
                else:
                    self.sides[side][name] = values
        self.sequence = message["data"].get("seq", -1)

    def side(self, side: int, order: list[str] | None = None) -> list[tuple[Any, ...]]:
        sign = -1 if side == 0 else 1
        if self.full:
            names = order or []
            return sorted(self.sides[side].values(), key=lambda r: (sign * r[0], -r[1], names.index(r[3])))
        return sorted(self.sides[side].values(), key=lambda r: sign * r[0])
