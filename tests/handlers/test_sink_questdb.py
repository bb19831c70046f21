"""The QuestDB sink against the real server, which is killed on the way, as is the sink."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ordeal import Box, Sent, SinkProcess, ordeal, samples
from servers import QuestdbServer, until

from handlers.errors import SetupError
from handlers.sinks.questdb import QuestDB, line
from handlers.sinks.rows import told
from handlers.sinks.tail import Tail


@pytest.fixture(scope="module")
def server() -> Iterator[QuestdbServer]:
    with QuestdbServer() as made:
        made.start()
        yield made


@pytest.fixture
def box(writer: Any, path: Path, run_dir: Path) -> Box:
    return Box(writer, path.parent, run_dir)


def levels(text: str) -> tuple[tuple[Decimal, Decimal, int], ...]:
    return tuple((Decimal(price), Decimal(quantity), orders) for price, quantity, orders in json.loads(text))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_it_holds_exactly_what_was_sent_whoever_was_killed(box: Box, server: QuestdbServer) -> None:
    def arrived() -> int:
        try:
            return int(server.query("SELECT count() FROM book_updates WHERE type != 'snapshot'")[0][0])
        except ValueError:  # no such table yet
            return 0

    sink = SinkProcess(box, "questdb", server.url)
    try:
        ordeal(box, server, sink, arrived)
    finally:
        assert sink.close() == 0
    rows = server.query(
        "SELECT symbol, sequence, type, bids, asks FROM book_updates WHERE type != 'snapshot' "
        "ORDER BY symbol, sequence, type"
    )
    held = [
        Sent(name, sequence, kind, levels(bids), levels(asks)) for name, sequence, kind, bids, asks in rows
    ]
    assert held == sorted(box.sent)
    for book, symbol in enumerate(("BTC-USDT", "ETH-USDT")):
        best = server.query(
            f"SELECT bid_price, ask_price FROM book_updates WHERE symbol = '{symbol}' "
            "ORDER BY sequence DESC, type LIMIT 1"
        )
        bid, ask = box.best(book)
        assert best == [[float(bid) if bid else None, float(ask) if ask else None]]
    best_now, candles = [server.query(sample.replace(";", "")) for sample in samples("questdb")]
    assert [row[0] for row in best_now] == ["binance"]
    assert candles
    _again_from_the_beginning(box, server, len(held), arrived)


def _again_from_the_beginning(box: Box, server: QuestdbServer, count: int, arrived: Any) -> None:
    """The offsets are lost, as if no delivery had been noted: all is sent again and replaces itself."""
    for path in (box.told.dir / "sinks").glob("*.offsets.json"):
        path.unlink()
    sink, extra = SinkProcess(box, "questdb", server.url), 10
    try:
        box.publish(extra)
        until(lambda: arrived() >= count + extra, "what came after")
    finally:
        sink.close()
    assert arrived() == count + extra


def test_a_line_is_exact_and_leaves_out_what_is_not_known(box: Box) -> None:
    box.writer.publish(0, [(0, 9_007_199_254_740_993, 5, 1)])
    box.record()
    batch = Tail(box.told.dir, "binance").read(1000)
    assert batch is not None
    first = line(batch, next(row for row in told(batch) if row.type == "update"))
    assert first.startswith(
        "book_updates,exchange=binance,symbol=BTC-USDT,type=update,state=live,reason=none "
    )
    assert r'bids="[[\"90071992547409.93\",\"0.0005\",1]]",asks="[]" ' in first
    assert "bid_price" not in first, "recorded before the book was copied"


@pytest.mark.parametrize("url", ["localhost:9000", "postgresql://localhost", "http://"])
def test_what_is_no_address_is_said(url: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="not a URL of QuestDB"):
        QuestDB(url, tmp_path / "offsets")
