"""QuestDB: line protocol over HTTP, rows deduplicated by the table's upsert keys.

QuestDB has no transaction over two tables, so the offsets are a file beside the recording, written once a
request was answered. What a crash between the two sends again has the same keys and replaces itself.
"""

from __future__ import annotations

import base64
import http.client
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlencode, urlsplit

import orjson

from handlers.errors import SetupError
from handlers.sinks.delivery import TargetError
from handlers.sinks.rows import Level, Told, told
from handlers.sinks.tail import Batch, Offset, Tail

TIMEOUT_S = 30.0
ESCAPES = {ord(sign): f"\\{sign}" for sign in " ,=\\"}
SCHEMA = """
CREATE TABLE IF NOT EXISTS book_updates (
    time TIMESTAMP, exchange SYMBOL, symbol SYMBOL, type SYMBOL, state SYMBOL, reason SYMBOL,
    generation LONG, epoch LONG, sequence LONG, venue_sequence LONG, flags LONG,
    exchange_ns LONG, receive_ns LONG, published_ns LONG,
    bid_price DOUBLE, bid_quantity DOUBLE, ask_price DOUBLE, ask_quantity DOUBLE,
    bids VARCHAR, asks VARCHAR
) TIMESTAMP(time) PARTITION BY DAY WAL
DEDUP UPSERT KEYS(time, exchange, symbol, generation, sequence, type)
"""


class OffsetFile:
    """Offsets of a target that cannot keep them itself. A write is whole and durable, or did not happen."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Offset]:
        """{} where there is none yet."""
        try:
            told_: dict[str, list[int]] = orjson.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        return {exchange: Offset(*offset) for exchange, offset in told_.items()}

    def write(self, offsets: Mapping[str, Offset]) -> None:
        """Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(orjson.dumps({exchange: [each.file, each.at] for exchange, each in offsets.items()}))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        where = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(where)
        finally:
            os.close(where)


class QuestDB:
    """A Target. ``url``: http://host:9000, with user:password@ where it asks for them."""

    def __init__(self, url: str, offsets: Path) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SetupError(f"not a URL of QuestDB: {url}", do="http://host:9000 or https://host:9000")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port or 9000
        self._headers = {}
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(secret).decode()}"
        self._file = OffsetFile(offsets)
        self._offsets: dict[str, Offset] = {}
        self._connection: http.client.HTTPConnection | None = None

    def open(self) -> Mapping[str, Offset]:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        self._connection = kind(self._host, self._port, timeout=TIMEOUT_S)
        self._ask("GET", "/exec?" + urlencode({"query": SCHEMA}, quote_via=quote))
        self._offsets = self._file.read()
        return self._offsets

    def deliver(self, batches: Sequence[Batch]) -> int:
        body = "".join(line(batch, row) for batch in batches for row in told(batch)).encode()
        if body:
            self._ask("POST", "/write?precision=n", body)
        self._offsets = {**self._offsets, **{batch.exchange: batch.after for batch in batches}}
        try:
            self._file.write(self._offsets)
        except OSError as error:
            raise TargetError(f"the offsets cannot be kept: {error}") from error
        return 0

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        assert self._connection is not None
        try:
            self._connection.request(method, path, body, self._headers)
            answer = self._connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise TargetError(str(error) or type(error).__name__) from error
        if answer.status >= 300:
            raise TargetError(f"HTTP {answer.status}: {data[:500].decode(errors='replace')}")
        return data

    def idle(self, tails: Sequence[Tail]) -> None:
        """Nothing to do."""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _levels(levels: list[Level]) -> str:
    """JSON of exact decimals, its quotes escaped for the line protocol."""
    return (
        "["
        + ",".join(f'[\\"{price}\\",\\"{quantity}\\",{orders}]' for price, quantity, orders in levels)
        + "]"
    )


def _tag(value: str) -> str:
    """What separates in the line protocol, escaped."""
    return value.translate(ESCAPES)


def _signed(value: int) -> int:
    """LONG has no unsigned twin: from 2^63 on, the same 64 bits."""
    return value - (1 << 64) if value >= 1 << 63 else value


def line(batch: Batch, row: Told) -> str:
    """A row in the line protocol; a best price that is not known is left out."""
    best = "".join(
        f"{name}={value},"
        for name, value in (
            ("bid_price", row.bid_price), ("bid_quantity", row.bid_quantity),
            ("ask_price", row.ask_price), ("ask_quantity", row.ask_quantity),
        )
        if value is not None
    )  # fmt: skip
    return (
        f"book_updates,exchange={batch.exchange},symbol={_tag(row.symbol)},type={row.type},state={row.state},"
        f"reason={row.reason} generation={batch.generation}i,epoch={row.epoch}i,sequence={row.sequence}i,"
        f"venue_sequence={_signed(row.venue_sequence)}i,flags={row.flags}i,exchange_ns={row.exchange_ns}i,"
        f"receive_ns={row.receive_ns}i,published_ns={row.published_ns}i,{best}"
        f'bids="{_levels(row.bids)}",asks="{_levels(row.asks)}" {row.published_ns}\n'
    )
