"""The PostgreSQL sink against a real server, which is killed on the way, as is the sink."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ordeal import Box, Sent, SinkProcess, ordeal, samples
from servers import PostgresServer, until

from handlers.sinks.delivery import TargetError
from handlers.sinks.postgres import Postgres
from handlers.sinks.tail import Offset, Tail

psycopg = pytest.importorskip("psycopg")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as made:
        made.start()
        yield made


@pytest.fixture
def query(server: PostgresServer) -> Callable[[str], list[Any]]:
    def ask(sql: str) -> list[Any]:
        with psycopg.connect(server.url) as connection:
            return connection.execute(sql).fetchall()

    return ask


@pytest.fixture
def box(writer: Any, path: Path, run_dir: Path, server: PostgresServer) -> Box:
    with psycopg.connect(server.url) as connection:
        connection.execute("DROP TABLE IF EXISTS book_updates, bookwire_offsets")
    return Box(writer, path.parent, run_dir)


def held(query: Callable[[str], list[Any]]) -> list[Sent]:
    rows = query(
        "SELECT symbol, sequence, type, bids, asks FROM book_updates WHERE type <> 'snapshot' "
        "ORDER BY symbol, sequence, type"
    )
    return [
        Sent(symbol, sequence, kind, *(tuple((p, q, int(n)) for p, q, n in side) for side in (bids, asks)))
        for symbol, sequence, kind, bids, asks in rows
    ]


def test_it_holds_exactly_what_was_sent_whoever_was_killed(
    box: Box, server: PostgresServer, query: Callable[[str], list[Any]]
) -> None:
    def arrived() -> int:
        try:
            return int(query("SELECT count(*) FROM book_updates WHERE type <> 'snapshot'")[0][0])
        except psycopg.errors.UndefinedTable:
            return 0

    sink = SinkProcess(box, "postgres", server.url)
    try:
        ordeal(box, server, sink, arrived, rounds=2)
        status = box.base / "sink.postgres.status.json"
        until(lambda: status.exists() and json.loads(status.read_bytes())["backlog_bytes"] == 0, "no backlog")
        told = json.loads(status.read_bytes())
    finally:
        code = sink.close()
    assert held(query) == sorted(box.sent)
    for book, symbol in enumerate(("BTC-USDT", "ETH-USDT")):
        best = query(
            f"SELECT bid_price, ask_price FROM book_updates WHERE symbol = '{symbol}' "
            "ORDER BY sequence DESC, type LIMIT 1"
        )
        assert best == [box.best(book)]
    best_now, candles, holes = [query(sample) for sample in samples("sql")]
    assert [row[0] for row in best_now] == ["binance"]
    assert candles
    assert holes == []
    assert code == 0
    assert told["connected"]
    assert told["lost"] == {"files": 0, "updates": 0, "gaps": 0, "damaged_bytes": 0}
    assert not status.exists(), "a stopped sink has no status"


def test_a_commit_that_was_not_heard_of_is_not_made_twice(
    box: Box, server: PostgresServer, query: Callable[[str], list[Any]]
) -> None:
    box.publish(50)
    tail = Tail(box.told.dir, "binance")
    batch = tail.read(1000)
    assert batch is not None
    sink = Postgres(server.url, "box", ("binance",))
    assert sink.open() == {"binance": Offset()}
    sink.deliver([batch])
    with pytest.raises(TargetError, match="moved by somebody else"):
        sink.deliver([batch])
    sink.close()
    assert sink.open() == {"binance": batch.after}
    assert len(held(query)) == 50
    sink.close()


def test_rows_that_are_there_already_change_nothing_and_are_counted(
    box: Box, server: PostgresServer, query: Callable[[str], list[Any]]
) -> None:
    box.publish(50)
    batch = Tail(box.told.dir, "binance").read(1000)
    assert batch is not None
    for turn, name in enumerate(("one", "another")):  # two boxes that read the same recording
        sink = Postgres(server.url, name, ("binance",))
        sink.open()
        assert sink.deliver([batch]) == turn * batch.rows
        sink.close()
    assert sorted(held(query)) == sorted(box.sent)


def test_decimals_are_exact(box: Box, server: PostgresServer, query: Callable[[str], list[Any]]) -> None:
    box.record()
    box.writer.publish(0, [(0, 9_007_199_254_740_993, 123_456_789_012_345_678, 1)])  # no double holds these
    box.record()
    sink = Postgres(server.url, "box", ("binance",))
    sink.open()
    batch = Tail(box.told.dir, "binance").read(1000)
    assert batch is not None
    sink.deliver([batch])
    sink.close()
    rows = query("SELECT DISTINCT bid_price, bid_quantity, bids FROM book_updates WHERE type = 'update'")
    price, quantity = Decimal("90071992547409.93"), Decimal("12345678901234.5678")
    assert rows == [(price, quantity, [[price, quantity, Decimal(1)]])]
