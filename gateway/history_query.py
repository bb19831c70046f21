"""What history asks of the Parquet files: which files, which SQL, and numbers as the exchange wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOUR_NS = 3_600_000_000_000
COLUMNS = (
    "type", "sequence", "venue_sequence", "epoch", "state", "reason", "flags", "time_ns", "exchange_ns",
    "receive_ns", "published_ns", "price_exponent", "quantity_exponent", "bid_price", "bid_quantity",
    "ask_price", "ask_quantity", "bids", "asks",
)  # fmt: skip


@dataclass(frozen=True)
class Query:
    """One request. Times are ns since the epoch, ``to_ns`` excluded; ``after`` is (part, row)."""

    kind: str
    directory: Path
    from_ns: int
    to_ns: int
    limit: int
    after: tuple[str, int] | None
    interval_ns: int


def connect() -> Any:
    """A database of this query's own, on one core. Raises ModuleNotFoundError without the extra."""
    import duckdb
    import pyarrow.parquet  # noqa: F401  (both are needed, and missing ones are to be told at once)

    return duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "1GB"})


def _hour_ns(path: Path) -> int:
    """The beginning of a part's hour, from its name."""
    from datetime import UTC, datetime

    when = datetime.strptime(path.name[:11], "%Y%m%dT%H").replace(tzinfo=UTC)
    return int(when.timestamp()) * 1_000_000_000


def parts_between(query: Query) -> list[Path]:
    """Finished files that may hold rows of the time asked for, in order."""
    found = []
    for path in sorted(query.directory.glob("*.parquet")):
        hour = _hour_ns(path)
        late = (
            query.after is not None and query.kind in ("updates", "snapshots") and path.stem < query.after[0]
        )
        if hour < query.to_ns and hour + HOUR_NS > query.from_ns and not late:
            found.append(path)
    return found


def _source(parts: Sequence[Path]) -> str:
    """A table of all parts' rows: their columns, ``part`` (sorts as the time does) and ``row``."""
    names = ", ".join("'" + str(path).replace("'", "''") + "'" for path in parts)
    return (
        f"(SELECT * EXCLUDE (filename, file_row_number), parse_filename(filename, true) AS part, "
        f"file_row_number AS row FROM read_parquet([{names}], filename = true, file_row_number = true))"
    )


def pages(database: Any, query: Query, parts: Sequence[Path]) -> Any:
    """An Arrow table of one row more than the limit, if there are so many."""
    columns = ", ".join((*COLUMNS, "part", "row"))
    wanted = "type = 'snapshot'" if query.kind == "snapshots" else "type != 'snapshot'"
    if not parts:
        return _nothing()
    part, row = query.after or ("", -1)
    sql = (
        f"SELECT {columns} FROM {_source(parts)} WHERE {wanted} AND time_ns >= ? AND time_ns < ? "
        "AND (part > ? OR (part = ? AND row > ?)) ORDER BY part, row LIMIT ?"
    )
    given = [query.from_ns, query.to_ns, part, part, row, query.limit + 1]
    return database.sql(sql, params=given).to_arrow_table()


def _nothing() -> Any:
    import pyarrow

    return pyarrow.table({name: [] for name in (*COLUMNS, "part", "row")})


def series(database: Any, query: Query, parts: Sequence[Path]) -> Any:
    """An Arrow table of intervals, one more than the limit if there are so many; prices are exact text."""
    import pyarrow

    begin = max(query.from_ns, query.after[1] if query.after else 0)
    if not parts:
        return pyarrow.table({"from_ms": []})
    source = _source(parts)
    bounds = "WHERE type != 'snapshot' AND state = 'live' AND time_ns >= ? AND time_ns < ?"
    bounds += " AND bid_price IS NOT NULL AND ask_price IS NOT NULL"
    digits = database.execute(
        f"SELECT max(price_exponent) FROM {source} {bounds}", [begin, query.to_ns]
    ).fetchone()[0]
    if digits is None:
        return pyarrow.table({"from_ms": []})
    scaled = f"CAST(power(10, {int(digits)} - price_exponent) AS HUGEINT)"
    values = {
        "ohlc": f"(bid_price::HUGEINT + ask_price::HUGEINT) * 5 * {scaled}",  # the mid, one digit more
        "spread": f"(ask_price::HUGEINT - bid_price::HUGEINT) * {scaled}",
    }
    sql = (
        f"SELECT time_ns // {query.interval_ns} AS slot, arg_min(value, place) AS open, max(value) AS high, "
        "min(value) AS low, arg_max(value, place) AS close, count(*) AS updates, sum(value) AS total FROM "
        f"(SELECT time_ns, {values[query.kind]} AS value, (part, row) AS place FROM {source} {bounds}) "
        "GROUP BY slot ORDER BY slot LIMIT ?"
    )
    found = database.execute(sql, [begin, query.to_ns, query.limit + 1]).fetchall()
    exponent = int(digits) + (query.kind == "ohlc")
    return pyarrow.Table.from_pylist([_slot(query, row, exponent) for row in found])


def _slot(query: Query, row: tuple[int, ...], exponent: int) -> dict[str, Any]:
    slot, first, high, low, last, updates, total = (int(value) for value in row)
    texts = [exact(value, exponent) for value in (first, high, low, last)]
    told: dict[str, Any] = {"from_ms": slot * query.interval_ns // 1_000_000}
    if query.kind == "ohlc":
        told |= dict(zip(("open", "high", "low", "close"), texts, strict=True))
    else:  # the mean is cut, six digits behind the exchange's own
        told |= {"first": texts[0], "max": texts[1], "min": texts[2], "last": texts[3]}
        told["mean"] = exact(total * 10**6 // updates, exponent + 6)
    return {**told, "updates": updates}


def exact(mantissa: int, exponent: int) -> str:
    """mantissa / 10^exponent as a JSON number, without zeros at its end."""
    if exponent == 0:
        return str(mantissa)
    digits = str(abs(mantissa)).rjust(exponent + 1, "0")
    fraction = digits[-exponent:].rstrip("0")
    return ("-" if mantissa < 0 else "") + digits[:-exponent] + ("." + fraction if fraction else "")


def levels_text(row: dict[str, Any], side: str) -> list[tuple[str, str, int]]:
    """(price, quantity, orders) of a row's side, exact."""
    price, quantity = row["price_exponent"], row["quantity_exponent"]
    return [
        (exact(level["price"], price), exact(level["quantity"], quantity), level["orders"])
        for level in row[side] or ()
    ]
