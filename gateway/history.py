"""``/v1/history``: recorded updates, snapshots, ohlc of the mid and spreads, over Parquet with DuckDB.

Queries run in processes of their own (``gateway.history_pool``), a few at a time and each on one core, so
that the stream and the other routes keep theirs. Pages go by a cursor that names the last row: they never
overlap or leave a row out while new files appear. Needs the extra ``history``; without it the answer is a
problem document.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from gateway.history_pool import RETRY_AFTER_S, HistoryPool, NoRoomError
from gateway.history_query import Query, connect, levels_text, pages, parts_between, series

LIMIT_DEFAULT = 1000
LIMIT_MAX = 10_000
NEEDED = ("duckdb", "pyarrow")
INTERVAL = re.compile(r"^([1-9][0-9]{0,5})([smh]?)$")
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")
SYMBOL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,39}$")
CURSOR = re.compile(r"^[A-Za-z0-9_-]{1,110}$")
FORMATS = ("json", "csv", "parquet")
KINDS = ("updates", "snapshots", "ohlc", "spread")
HEADINGS = (
    "sequence",
    "epoch",
    "type",
    "state",
    "exchange_ns",
    "receive_ns",
    "side",
    "price",
    "quantity",
    "orders",
)


class BadRequestError(ValueError):
    """A parameter that cannot be; the message says which and why."""


@dataclass(frozen=True)
class Page:
    """Rows as DuckDB gives them, the table they came from, and where the next page begins."""

    rows: list[dict[str, Any]]
    table: Any
    next: str | None


def moment_ns(text: str, name: str) -> int:
    """Milliseconds since the epoch, or ISO 8601, as ns. Raises BadRequestError."""
    if text.isascii() and text.isdigit() and len(text) < 15:
        return int(text) * 1_000_000
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequestError(f"{name} is {text!r}: ms since the epoch, or ISO 8601") from error
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return int(when.timestamp() * 1_000_000) * 1000


def cursor_of(part: str, row: int) -> str:
    """Opaque to clients."""
    return base64.urlsafe_b64encode(f"{part}:{row}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> tuple[str, int]:
    """(part, row). Raises BadRequestError."""
    try:
        told = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        part, _, row = told.rpartition(":")
        if not re.fullmatch(r"[0-9T-]{1,60}", part) or not row.isdigit() or len(row) > 19:
            raise ValueError(told)
    except (ValueError, binascii.Error) as error:
        raise BadRequestError("cursor is none of ours: take it from the answer before") from error
    return part, int(row)


def _number(query: Any, name: str, default: int, most: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise BadRequestError(f"{name} is {text!r}: 1 to {most}")
    return int(text)


def read_query(request: web.Request, directory: Path) -> Query:
    """The request as a query. Raises BadRequestError."""
    given = request.query
    kind = request.match_info["kind"]
    begin = moment_ns(given["from"], "from") if "from" in given else 0
    end = moment_ns(given["to"], "to") if "to" in given else time.time_ns()
    if begin > end:
        raise BadRequestError("from is later than to")
    interval = INTERVAL.match(given.get("interval", "1m"))
    if interval is None:
        raise BadRequestError(f"interval is {given['interval']!r}: 10s, 5m, 1h, or seconds")
    exchange, symbol = request.match_info["exchange"].lower(), request.match_info["symbol"].upper()
    symbol = symbol.replace("/", "-")
    if not NAME.match(exchange) or not NAME.match(symbol):
        raise BadRequestError("an exchange's id, then a symbol such as BTC-USDT")
    return Query(
        kind=kind,
        directory=directory / "parquet" / exchange / symbol,
        from_ns=begin,
        to_ns=end,
        limit=_number(given, "limit", LIMIT_DEFAULT, LIMIT_MAX),
        after=read_cursor(given["cursor"]) if "cursor" in given else None,
        interval_ns=int(interval[1]) * SECONDS[interval[2]] * 1_000_000_000,
    )


def find(query: Query) -> Page:
    """Runs the query; blocks. The rows up to the limit, and a cursor where there are more."""
    parts = parts_between(query)
    with connect() as database:
        if query.kind in ("ohlc", "spread"):
            table = series(database, query, parts)
            rows = table.to_pylist()
            more = len(rows) > query.limit
            begin = rows[query.limit]["from_ms"] * 1_000_000 if more else 0
            return Page(
                rows[: query.limit], table.slice(0, query.limit), cursor_of("0", begin) if more else None
            )
        table = pages(database, query, parts)
        count = min(table.num_rows, query.limit)
        table, more = table.slice(0, count), table.num_rows > query.limit
        if not more:
            return Page(table.to_pylist(), table, None)
        last = table.slice(count - 1, 1).to_pylist()[0]
        return Page(table.to_pylist(), table, cursor_of(last["part"], last["row"]))


def _told(row: dict[str, Any], depth: int | None) -> dict[str, Any]:
    """A row as JSON; numbers carry the exchange's own digits exactly."""
    sides = {
        side: [
            [orjson.Fragment(price), orjson.Fragment(quantity), orders]
            for price, quantity, orders in levels_text(row, side)[:depth]
        ]
        for side in ("bids", "asks")
    }
    names = (
        "type",
        "sequence",
        "venue_sequence",
        "epoch",
        "state",
        "reason",
        "flags",
        "exchange_ns",
        "receive_ns",
    )
    return {**{name: row[name] for name in names}, **sides, "ts": row["receive_ns"] // 1_000_000}


def _as_json(page: Page, kind: str, depth: int | None) -> bytes:
    rows = page.rows if kind in ("ohlc", "spread") else [_told(row, depth) for row in page.rows]
    if kind in ("ohlc", "spread"):
        rows = [
            {name: orjson.Fragment(value) if isinstance(value, str) else value for name, value in row.items()}
            for row in rows
        ]
    return orjson.dumps({"data": rows, "next": page.next})


def _as_csv(page: Page, kind: str, depth: int | None) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    if kind in ("ohlc", "spread"):
        writer.writerow(page.table.column_names)
        writer.writerows(row.values() for row in page.rows)
        return out.getvalue().encode()
    writer.writerow(HEADINGS)
    for row in page.rows:
        head = [row[name] for name in HEADINGS[:6]]
        for side in ("bids", "asks"):
            writer.writerows([*head, side[:3], *level] for level in levels_text(row, side)[:depth])
        if not row["bids"] and not row["asks"]:
            writer.writerow([*head, "", "", "", ""])
    return out.getvalue().encode()


def _as_parquet(page: Page, kind: str, depth: int | None) -> bytes:
    import pyarrow.parquet

    sink = io.BytesIO()
    pyarrow.parquet.write_table(page.table, sink, compression="zstd")
    return sink.getvalue()


WRITERS: dict[str, tuple[str, Callable[[Page, str, int | None], bytes]]] = {
    "json": ("application/json", _as_json),
    "csv": ("text/csv", _as_csv),
    "parquet": ("application/vnd.apache.parquet", _as_parquet),
}


def made(query: Query, format_name: str, depth: int | None) -> tuple[str | None, bytes]:
    """Cursor of the next page, and the answer's body. Blocks."""
    page = find(query)
    return page.next, WRITERS[format_name][1](page, query.kind, depth)


class HistoryRoutes:
    """``problem`` makes the RFC 9457 document of an error."""

    def __init__(
        self, directory: Path | None, pool: HistoryPool, problem: Callable[[int, str, str], web.Response]
    ) -> None:
        self._directory = directory
        self._pool = pool
        self._problem = problem

    def table(self) -> Sequence[web.RouteDef]:
        return [web.get("/v1/history/{exchange}/{symbol}/{kind}", self.history)]

    async def history(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        if kind not in KINDS:
            return self._problem(404, "unknown kind of history", f"{kind!r}: one of {', '.join(KINDS)}")
        if self._directory is None:
            return self._problem(404, "no recording", "this process was given no directory of recordings")
        format_name = request.query.get("format", "json")
        if format_name not in WRITERS:
            return self._problem(400, "invalid format", f"{format_name!r}: one of {', '.join(FORMATS)}")
        try:
            query = read_query(request, self._directory)
            depth = _number(request.query, "depth", 0, 100_000) or None
        except BadRequestError as error:
            return self._problem(400, "invalid parameter", str(error))
        if not query.directory.is_dir():
            what = f"no Parquet of {query.directory.parent.name}:{query.directory.name}"
            return self._problem(404, "no recording", what)
        missing = next((name for name in NEEDED if find_spec(name) is None), None)
        if missing is not None:
            what = f"{missing} is not installed: install the extra `history` (`make history`)"
            return self._problem(501, "history is not installed", what)
        try:
            cursor, body = await self._pool.run(made, query, format_name, depth)
        except NoRoomError as error:
            answer = self._problem(503, "too many queries", str(error))
            answer.headers["Retry-After"] = str(RETRY_AFTER_S)
            return answer
        headers = {"X-Next-Cursor": cursor, "Link": self._link(request, cursor)} if cursor else {}
        return web.Response(body=body, content_type=WRITERS[format_name][0], headers=headers)

    @staticmethod
    def _link(request: web.Request, cursor: str) -> str:
        return f'<{request.rel_url.update_query(cursor=cursor)}>; rel="next"'
