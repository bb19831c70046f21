"""PostgreSQL and TimescaleDB: batched COPY, the offset in the same transaction.

A transaction first moves the exchange's offset from where the batch begins: a connection of a killed sink
that still commits is waited for there, and then the offset is another one, so this batch is not taken. Rows
go by COPY into a temporary table and from there into the real one, where what is there already stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from handlers.errors import SetupError, UnavailableError
from handlers.sinks.delivery import TargetError
from handlers.sinks.rows import Level, Told, told
from handlers.sinks.tail import Batch, Offset, Tail

CONNECT_S = 5
STATEMENT_MS = 30_000

COLUMNS = """
    time timestamptz NOT NULL,
    exchange text NOT NULL,
    symbol text NOT NULL,
    generation bigint NOT NULL,
    epoch bigint NOT NULL,
    sequence bigint NOT NULL,
    type text NOT NULL,
    venue_sequence numeric NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    flags smallint NOT NULL,
    exchange_ns bigint NOT NULL,
    receive_ns bigint NOT NULL,
    published_ns bigint NOT NULL,
    bid_price numeric, bid_quantity numeric, ask_price numeric, ask_quantity numeric,
    bids numeric[] NOT NULL,
    asks numeric[] NOT NULL"""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS book_updates ({COLUMNS},
    PRIMARY KEY (exchange, symbol, generation, sequence, type, time));
CREATE INDEX IF NOT EXISTS book_updates_time ON book_updates (time);
CREATE TABLE IF NOT EXISTS bookwire_offsets (
    source text NOT NULL,
    exchange text NOT NULL,
    file bigint NOT NULL,
    at bigint NOT NULL,
    moved timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, exchange));
"""
HYPERTABLE = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        PERFORM create_hypertable('book_updates', 'time', if_not_exists => true, migrate_data => true);
    END IF;
END $$
"""
STAGING = f"CREATE TEMP TABLE IF NOT EXISTS bookwire_staging ({COLUMNS}) ON COMMIT DELETE ROWS"
COPY = "COPY bookwire_staging FROM STDIN"
TAKE = "INSERT INTO book_updates SELECT * FROM bookwire_staging ON CONFLICT DO NOTHING"
MOVE = """UPDATE bookwire_offsets SET file = %s, at = %s, moved = now()
    WHERE source = %s AND exchange = %s AND file = %s AND at = %s"""
BEGIN = (
    "INSERT INTO bookwire_offsets (source, exchange, file, at) VALUES (%s, %s, 0, 0) ON CONFLICT DO NOTHING"
)


def driver() -> Any:
    """psycopg. Raises UnavailableError that names the extra."""
    try:
        import psycopg
    except ImportError as error:
        raise UnavailableError(
            "psycopg is not installed", do="install the extra `postgres` (pip install bookwire[postgres])"
        ) from error
    return psycopg


class Postgres:
    """A Target. ``url``: libpq's, postgresql://user@host:port/database; a password may stand in ~/.pgpass."""

    def __init__(self, url: str, name: str, exchanges: Sequence[str], *, hypertable: bool = False) -> None:
        self._url, self._name, self._exchanges, self._hypertable = url, name, exchanges, hypertable
        self._pg = driver()
        self._connection: Any = None

    def open(self) -> Mapping[str, Offset]:
        """Raises SetupError for a URL that libpq does not understand."""
        try:
            self._pg.conninfo.conninfo_to_dict(self._url)
        except self._pg.ProgrammingError as error:
            raise SetupError(
                f"not a PostgreSQL URL: {str(error).strip()}", do="postgresql://user@host:port/database"
            ) from error
        try:
            connection = self._pg.connect(
                self._url, autocommit=True, connect_timeout=CONNECT_S,
                application_name=f"bookwire {self._name}",
                options=f"-c statement_timeout={STATEMENT_MS}", keepalives_idle=10, keepalives_interval=5,
                keepalives_count=3, tcp_user_timeout=STATEMENT_MS,
            )  # fmt: skip
            self._connection = connection
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(hashtext('bookwire schema'))")
                connection.execute(SCHEMA)
                if self._hypertable:
                    connection.execute(HYPERTABLE)
            connection.execute(STAGING)
            for exchange in self._exchanges:
                connection.execute(BEGIN, (self._name, exchange))
            found = connection.execute(
                "SELECT exchange, file, at FROM bookwire_offsets WHERE source = %s", (self._name,)
            ).fetchall()
        except self._pg.Error as error:
            raise TargetError(_first_line(error)) from error
        return {exchange: Offset(file, at) for exchange, file, at in found}

    def deliver(self, batches: Sequence[Batch]) -> int:
        connection = self._connection
        try:
            with connection.transaction(), connection.cursor() as cursor:
                for batch in batches:
                    cursor.execute(
                        MOVE,
                        (batch.after.file, batch.after.at, self._name, batch.exchange,
                         batch.before.file, batch.before.at),
                    )  # fmt: skip
                    if cursor.rowcount != 1:
                        raise TargetError(f"the offset of {batch.exchange} was moved by somebody else")
                with cursor.copy(COPY) as copy:
                    for batch in batches:
                        copy.write("".join(line(batch, row) for row in told(batch)))
                cursor.execute(TAKE)
                return sum(batch.rows for batch in batches) - int(cursor.rowcount)
        except self._pg.Error as error:
            raise TargetError(_first_line(error)) from error

    def idle(self, tails: Sequence[Tail]) -> None:
        """Nothing to do."""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _levels(levels: list[Level]) -> str:
    return "{" + ",".join(f"{{{price},{quantity},{orders}}}" for price, quantity, orders in levels) + "}"


@lru_cache(64)
def _utc(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def _null(value: str | None) -> str:
    return r"\N" if value is None else value


def line(batch: Batch, row: Told) -> str:
    """A row in COPY's text format. ``time`` is cut to microseconds; published_ns has them all."""
    seconds, ns = divmod(row.published_ns, 1_000_000_000)
    return "\t".join((
        f"{_utc(seconds)}.{ns // 1000:06d}+00", batch.exchange, row.symbol, str(batch.generation),
        str(row.epoch), str(row.sequence), row.type, str(row.venue_sequence), row.state, row.reason,
        str(row.flags),
        str(row.exchange_ns), str(row.receive_ns), str(row.published_ns),
        _null(row.bid_price), _null(row.bid_quantity), _null(row.ask_price), _null(row.ask_quantity),
        _levels(row.bids), _levels(row.asks),
    )) + "\n"  # fmt: skip
