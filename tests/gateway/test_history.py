"""History over HTTP: pages of what was recorded, counted again without DuckDB, in every format."""

from __future__ import annotations

import asyncio
import csv
import fcntl
import io
import os
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer
from gateway_support import LIVE, STALE, RandomFlow, Writer, loads

from gateway.history_pool import HistoryPool, NoRoomError
from gateway.rest import application
from gateway.settings import HttpSettings
from handlers import shm_layout as layout
from handlers.logs import Log
from handlers.recording.audit import audit, record_offsets
from handlers.recording.journal import BlockType, JournalFile, files_of
from handlers.recording.parquet import LOCK_NAME, convert_waiting, waiting
from handlers.recording.recorder import RecordSettings, Track

UPDATES = 700
URL = "/v1/history/okx/BTC-USDT"


class Recorded:
    """What was published, and where it was recorded."""

    def __init__(self, shm_dir: Path, run_dir: Path, record_dir: Path) -> None:
        self.dir, self.books = record_dir, []
        writer = Writer("okx", 2, shm_dir)
        books = [writer.add("BTC-USDT", 1, 8), writer.add("ETH-USDT", 2, 6)]
        told = RecordSettings(shm_dir, run_dir, record_dir, ("okx",), file_bytes=60_000)
        flows = [RandomFlow(3, 45000), RandomFlow(4, 3000)]
        self.tops: list[tuple[Decimal, Decimal]] = []  # of BTC-USDT after each update while LIVE
        track = Track(told, "okx", Log("record", stream=io.StringIO()))
        for book, flow in zip(books, flows, strict=True):
            flow.fill(writer, book)
        for turn in range(UPDATES):
            for book, flow in zip(books, flows, strict=True):
                flow.step(writer, book)
            if turn == 300:
                writer.state(books[0], STALE)
                writer.state(books[0], LIVE)
            if turn % 50 == 0:
                track.poll(turn + 1.0)
            bids, asks = books[0].decimals(0), books[0].decimals(1)
            self.tops.append((bids[0][0], asks[0][0]))
        track.poll(1e6)
        track.close("stopped")
        writer.close()
        self.books = books
        self.writer = writer

    def recount(self, book: int) -> list[tuple[int, list[Any], list[Any]]]:
        """(sequence, bids, asks) of every recorded update, straight from the journal's bytes."""
        found = []
        for path in files_of(self.dir):
            for block in JournalFile(path):
                if block.type is not BlockType.RECORDS:
                    continue
                for at in record_offsets(block.payload):
                    head = np.frombuffer(block.payload, layout.RECORD, 1, at)[0]
                    if head["book"] != book:
                        continue
                    count = int(head["bid_count"]) + int(head["ask_count"])
                    rows = np.frombuffer(block.payload, layout.LEVEL, count, at + layout.RECORD.itemsize)
                    scale = int(head["price_exponent"]), int(head["quantity_exponent"])
                    levels = [
                        [Decimal(int(row["price"])).scaleb(-scale[0]),
                         Decimal(int(row["quantity"])).scaleb(-scale[1]), int(row["orders"])]
                        for row in rows
                    ]  # fmt: skip
                    bids = int(head["bid_count"])
                    found.append((int(head["sequence"]), levels[:bids], levels[bids:]))
        return found


@pytest.fixture
def recorded(shm_dir: Path, run_dir: Path, tmp_path: Path) -> Recorded:
    pytest.importorskip("pyarrow")
    pytest.importorskip("duckdb")
    return Recorded(shm_dir, run_dir, tmp_path / "record")


@pytest.fixture
def converted(recorded: Recorded) -> Recorded:
    made = convert_waiting(recorded.dir, "zstd", Log("record", stream=io.StringIO()))
    assert made.files > 4
    assert list(waiting(recorded.dir)) == []
    return recorded


class Inline(HistoryPool):
    """Without processes: what is looked at is the answers."""

    async def run(self, work, *arguments):
        return await asyncio.to_thread(work, *arguments)


@pytest_asyncio.fixture
async def http(shm_dir, run_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.rest.HistoryPool", Inline)
    settings = HttpSettings(shm_dir, run_dir, record_dir=tmp_path / "record")
    async with TestClient(TestServer(application(settings))) as client:
        yield client


async def pages(http: Any, url: str, **query: Any) -> list[dict[str, Any]]:
    """All rows, page by page."""
    rows: list[dict[str, Any]] = []
    cursor = {}
    while True:
        answer = await http.get(url, params={**query, **cursor})
        assert answer.status == 200, await answer.text()
        body = loads(await answer.text())
        rows += body["data"]
        assert len(body["data"]) <= int(query.get("limit", 1000))
        if body["next"] is None:
            return rows
        assert answer.headers["X-Next-Cursor"] == body["next"]
        cursor = {"cursor": body["next"]}


@pytest.mark.parametrize("limit", [61, 10_000])
async def test_pages_give_every_update_once_and_exact(http, converted, limit):
    rows = await pages(http, f"{URL}/updates", limit=str(limit))
    told = [
        (
            row["sequence"],
            *([[Decimal(p), Decimal(q), n] for p, q, n in row[side]] for side in ("bids", "asks")),
        )
        for row in rows
    ]
    assert told == converted.recount(0)
    assert len(told) == UPDATES + 3


async def test_a_snapshot_and_the_updates_after_it_give_the_book(http, converted):
    rows = await pages(http, f"{URL}/updates")
    snapshots = await pages(http, f"{URL}/snapshots", limit="3")
    assert len(snapshots) >= len(files_of(converted.dir))
    for start in snapshots:
        sides = [{Decimal(p): Decimal(q) for p, q, _ in start[name]} for name in ("bids", "asks")]
        for row in rows:
            if row["sequence"] > start["sequence"]:
                for levels, name in zip(sides, ("bids", "asks"), strict=True):
                    for price, quantity, _ in row[name]:
                        levels[Decimal(price)] = Decimal(quantity)
        for side, levels in enumerate(sides):
            held = {price: quantity for price, quantity in levels.items() if quantity}
            assert held == {price: quantity for price, quantity, _ in converted.books[0].decimals(side)}


async def test_csv_and_parquet_hold_the_same_rows(http, converted, tmp_path):
    import pyarrow.parquet

    rows = await pages(http, f"{URL}/updates")
    text = await (await http.get(f"{URL}/updates", params={"format": "csv", "limit": "10000"})).text()
    told = list(csv.DictReader(io.StringIO(text)))
    levels = [
        (row["sequence"], side[:3], Decimal(p), Decimal(q))
        for row in rows for side in ("bids", "asks") for p, q, _ in row[side]
    ]  # fmt: skip
    assert [
        (int(row["sequence"]), row["side"], Decimal(row["price"]), Decimal(row["quantity"]))
        for row in told if row["side"]
    ] == levels  # fmt: skip
    body = await (await http.get(f"{URL}/updates", params={"format": "parquet", "limit": "10000"})).read()
    table = pyarrow.parquet.read_table(io.BytesIO(body))
    assert table.column("sequence").to_pylist() == [row["sequence"] for row in rows]
    assert sum(map(len, table.column("bids").to_pylist())) == sum(len(row["bids"]) for row in rows)


async def test_ohlc_and_spread_are_those_of_the_books(http, converted):
    mids = [(bid + ask) / 2 for bid, ask in converted.tops]
    spreads = [ask - bid for bid, ask in converted.tops]
    whole = await pages(http, f"{URL}/ohlc", interval="24h")
    assert len(whole) in (1, 2)  # midnight may have passed
    updates = sum(row["updates"] for row in whole)
    # without the first batch, of which only the end was copied
    assert 0 < UPDATES + 1 - updates <= 4
    assert max(Decimal(row["high"]) for row in whole) == max(mids)
    assert min(Decimal(row["low"]) for row in whole) == min(mids)
    assert Decimal(whole[-1]["close"]) == mids[-1]
    told = await pages(http, f"{URL}/spread", interval="24h")
    assert max(Decimal(row["max"]) for row in told) == max(spreads)
    assert min(Decimal(row["min"]) for row in told) == min(spreads)
    assert Decimal(told[-1]["last"]) == spreads[-1]
    split = await pages(http, f"{URL}/ohlc", interval="1s", limit="1")
    assert sum(row["updates"] for row in split) == updates


async def test_from_and_to_cut_where_they_say(http, converted):
    rows = await pages(http, f"{URL}/updates")
    middle = rows[len(rows) // 2]["ts"]
    before = await pages(http, f"{URL}/updates", to=str(middle))
    after = await pages(http, f"{URL}/updates", **{"from": str(middle)})
    assert [row["sequence"] for row in before + after] == [row["sequence"] for row in rows]
    assert after
    assert await pages(http, f"{URL}/updates", to="2001-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("updates?limit=0", 400), ("updates?limit=x", 400), ("updates?cursor=zzz", 400),
        ("updates?from=yesterday", 400), ("updates?format=xml", 400), ("updates?from=2&to=1", 400),
        ("ohlc?interval=0s", 400), ("updates?depth=-1", 400), ("trades", 404),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_a_problem_document(http, converted, query, status):
    answer = await http.get(f"{URL}/{query}")
    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    assert loads(await answer.text())["status"] == status


@pytest.mark.parametrize("path", ["/v1/history/%2e%2e/x/updates", "/v1/history/okx/..%2f..%2fetc/updates"])
async def test_a_name_is_never_a_way_out_of_the_recording(http, converted, path):
    answer = await http.get(path)
    assert answer.status in (400, 404)


async def test_queries_run_elsewhere_and_only_so_many_wait():
    pool = HistoryPool(1, 1)
    try:
        first = asyncio.create_task(pool.run(time.sleep, 0.2))
        second = asyncio.create_task(pool.run(os.getpid))
        await asyncio.sleep(0)
        with pytest.raises(NoRoomError):
            await pool.run(os.getpid)
        await first
        assert await second != os.getpid()
        with pytest.raises(NoRoomError):
            await pool.run(os.abort)
        assert await pool.run(os.getpid) not in (await second, os.getpid()), "another took its place"
    finally:
        pool.close()


async def test_who_cannot_wait_is_told_when_to_come_again(shm_dir, run_dir, tmp_path, converted, monkeypatch):
    async def full(*_):
        raise NoRoomError("2 queries are under way")

    monkeypatch.setattr(HistoryPool, "run", full)
    settings = HttpSettings(shm_dir, run_dir, record_dir=tmp_path / "record")
    async with TestClient(TestServer(application(settings))) as client:
        answer = await client.get(f"{URL}/updates")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert (await answer.json())["title"] == "too many queries"


async def test_without_the_extra_the_answer_names_it(http, converted, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    answer = await http.get(f"{URL}/updates")
    assert answer.status == 501
    assert "history" in loads(await answer.text())["detail"]


async def test_gaps_stand_in_the_manifest_beside_the_file(shm_dir, run_dir, tmp_path):
    pytest.importorskip("pyarrow")
    import orjson

    writer = Writer("okx", 2, shm_dir)
    book, flow = writer.add("BTC-USDT", 1, 8), RandomFlow(3, 45000)
    flow.fill(writer, book)
    track = Track(RecordSettings(shm_dir, run_dir, tmp_path, ("okx",)), "okx", Log("x", stream=io.StringIO()))
    track.poll(1.0)
    for _ in range(4000):
        flow.step(writer, book)
    first_lost = 2
    track.poll(2.0)
    for _ in range(10):
        flow.step(writer, book)
    track.poll(3.0)
    track.close("stopped")
    writer.close()
    assert track.counts.overruns == 1
    convert_waiting(tmp_path, "snappy", Log("x", stream=io.StringIO()))
    gaps = [
        gap
        for path in sorted(tmp_path.rglob("*.gaps.json"))
        for gap in orjson.loads(path.read_bytes())["gaps"]
    ]
    assert [(gap["from_sequence"], gap["to_sequence"]) for gap in gaps] == [(first_lost, 4001)]
    assert "went round" in gaps[0]["why"]
    assert audit(tmp_path).clean


def test_two_do_not_convert_the_same_files(recorded):
    with (recorded.dir / LOCK_NAME).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert convert_waiting(recorded.dir, "zstd", Log("record", stream=io.StringIO())).files == 0
    assert convert_waiting(recorded.dir, "zstd", Log("record", stream=io.StringIO())).files > 4


def test_verify_finds_parquet_that_is_not_as_its_manifest_says(converted):
    assert audit(converted.dir).clean
    path = sorted(converted.dir.rglob("*.parquet"))[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    findings = [finding for finding in audit(converted.dir).findings if finding.kind == "damage"]
    assert len(findings) == 1
    assert findings[0].file.endswith(path.name)
    path.unlink()
    assert [finding.kind for finding in audit(converted.dir).findings] == ["missing"]
