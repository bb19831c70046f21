"""The HTTP interface over real segments."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from decimal import Decimal

import jsonschema
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer
from gateway_support import STALE, RandomFlow, expected_side, loads
from orjson import dumps

from gateway.rest import application
from gateway.settings import HttpSettings
from handlers.registry import EXCHANGES

STATUS = "#/components/schemas/Status"


@pytest_asyncio.fixture
async def http(gateway):
    settings = HttpSettings(gateway.settings.shm_dir, gateway.settings.run_dir, writer_patience_ms=60_000)
    async with TestClient(TestServer(application(replace(settings, symbol_labels=True)))) as client:
        yield client


@pytest.fixture
def books(gateway):
    made = {}
    for name, exponents in (("binance", (2, 5)), ("okx", (1, 8))):
        writer = gateway.writer(name)
        made[name] = writer.add("BTC-USDT", *exponents)
        RandomFlow(exponents[0], 45000 * 10 ** exponents[0]).fill(writer, made[name])
    return made


@pytest.mark.parametrize("channel", ["top:BTC-USDT", "consbook:BTC-USDT", "fullbook:btc/usdt", "okx:BTCUSDT"])
async def test_book_is_what_a_subscriber_gets(gateway, http, books, order, channel):
    answer = await http.get(f"/v1/book/{channel}?depth=7")
    assert answer.status == 200
    body = loads(await answer.text())
    async with gateway.client() as client:
        first = await client.subscribe(channel, depth=7)
    assert body["channel"] == first["channel"]
    for side, key in enumerate(("bids", "asks")):
        assert body["data"][key] == first["data"][key]
        expected = expected_side(first["channel"], books, side, 7, order)
        assert [(Decimal(r[0]), Decimal(r[1]), *r[2:]) for r in body["data"][key]] == expected


async def test_a_book_that_is_not_live_is_shown_empty(gateway, http, books):
    gateway.writers["okx"].state(books["okx"], STALE)
    answer = await http.get("/v1/book/okx:BTC-USDT")
    assert (await answer.json())["data"]["bids"] == []
    assert answer.headers["X-Books-Live"] == "0"
    assert answer.headers["X-Books-Known"] == "1"


@pytest.mark.parametrize(
    ("path", "status", "title", "code"),
    [
        ("/v1/book/nosuch:BTC-USDT", 404, "unknown exchange", 6),
        ("/v1/book/okx:NO-SUCH", 404, "unknown symbol", 5),
        ("/v1/book/nonsense", 404, "unknown channel", 4),
        ("/v1/book/okx:BTC-USDT?depth=0", 400, "invalid depth", 9),
        ("/v1/book/okx:BTC-USDT?depth=1001", 400, "invalid depth", 9),
        ("/v1/book/okx:BTC-USDT?depth=ten", 400, "invalid depth", 9),
        ("/v1/book/okx:BTC-USDT?numbers=text", 400, "invalid numbers", 16),
        ("/v1/book/okx:BTC-USDT?stamps=1", 400, "invalid stamps", 19),
        ("/v1/symbols?exchange=nosuch", 404, "unknown exchange", 6),
        ("/nowhere", 404, "Not Found", None),
    ],
)
async def test_errors_are_problem_documents(http, books, path, status, title, code):
    answer = await http.get(path)
    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    body = await answer.json()
    assert body["status"] == status
    assert body["title"] == title
    assert body.get("code") == code


async def test_directory(http, books):
    rows = (await (await http.get("/v1/exchanges")).json())["data"]
    assert len(rows) == 21
    assert rows[0] == {
        "id": "binance", "name": "Binance", "quote": "USDT", "symbols": 1, "status": "live", "depth": 1000,
    }  # fmt: skip
    assert rows[1]["status"] == "down"
    symbols = (await (await http.get("/v1/symbols?quote=usdt")).json())["data"]
    assert symbols == [{"symbol": "BTC-USDT", "exchanges": ["binance", "okx"]}]


async def test_health_says_whether_the_box_does_its_job(gateway, http, books):
    assert (await http.get("/livez")).status == 200
    assert (await http.get("/readyz")).status == 200
    verbose = await http.get("/health?verbose")
    assert verbose.status == 200
    assert "[+] gateway" in await verbose.text()
    for name, book in books.items():
        gateway.writers[name].state(book, STALE)
    assert (await http.get("/readyz")).status == 503
    health = await http.get("/health")
    assert health.status == 503
    assert health.content_type == "application/problem+json"
    assert (await http.get("/livez")).status == 200


async def test_exchanges_that_shall_not_run_here_are_no_alarm(gateway, books):
    """An alert on feed_up == 0 would else ring for every exchange that this box was never given."""
    settings = HttpSettings(gateway.settings.shm_dir, gateway.settings.run_dir, writer_patience_ms=60_000)
    told = replace(settings, exchanges=("okx", "kraken"))  # binance runs all the same
    async with TestClient(TestServer(application(told))) as client:
        text = await (await client.get("/metrics")).text()
    rows = dict(re.findall(r'^bookwire_feed_up{exchange="(\w+)"} (\d)$', text, re.MULTILINE))
    assert rows == {"binance": "1", "okx": "1", "kraken": "0"}


async def test_metrics_parse_and_name_what_users_expect(gateway, http, books):
    async with gateway.client() as client:
        await client.subscribe("top:BTC-USDT")
        text = await (await http.get("/metrics")).text()
    helps = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(helps) == len(set(helps))
    samples = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name not in samples
            samples[name] = float(value)
    assert samples['bookwire_feed_up{exchange="binance"}'] == 1
    assert samples['bookwire_feed_up{exchange="kraken"}'] == 0
    assert samples['bookwire_feed_state{exchange="okx",state="live"}'] == 1
    assert samples['bookwire_feed_state{exchange="kraken",state="down"}'] == 1
    assert samples['bookwire_books{exchange="okx",state="live"}'] == 1
    assert samples['bookwire_exchange_delay_seconds{exchange="okx"}'] == 0.005
    assert samples['bookwire_budget_seconds_count{exchange="okx",stage="decode"}'] == 0  # no loop reads here
    assert samples['bookwire_gap_seconds_count{exchange="okx"}'] == 0
    assert samples["bookwire_clock_synchronised"] in (0, 1)
    assert abs(samples["bookwire_clock_offset_seconds"]) < 1
    assert samples["bookwire_gateway_clients"] == 1
    assert samples['bookwire_gateway_subscriptions{type="top"}'] == 1
    assert samples["bookwire_gateway_up"] == 1
    assert samples["bookwire_gateway_sent_messages_total"] >= 2
    assert all(name.startswith("bookwire_") for name in samples)


async def test_sinks_and_mirrors_are_in_the_metrics(http, run_dir):
    lost = {"files": 1, "updates": 2, "gaps": 0, "damaged_bytes": 0}
    counts = {"rows": 5, "batches": 1, "duplicates": 0, "failures": 3, "retries": 2, "backlog_bytes": 7}
    sink = {"kind": "kafka", "time": time.time(), "connected": True, "backlog_files": 1, "lag_s": 0.5}
    (run_dir / "sink.kafka.status.json").write_bytes(dumps({**counts, **sink, "lost": lost}))
    mirror = {"records": 9, "snapshots": 1, "beats": 4, "unknown": 0, "refused": 0, "errors": 0}
    ages = {"okx": {"age_s": 0.25, "books_waiting": 1}}
    (run_dir / "mirror.status.json").write_bytes(dumps({**mirror, "time": 1.0, "exchanges": ages}))
    text = await (await http.get("/metrics")).text()
    for line in (
        'bookwire_sink_up{sink="kafka"} 1',
        'bookwire_sink_lost_total{sink="kafka",what="updates"} 2',
        'bookwire_sink_backlog_bytes{sink="kafka"} 7',
        'bookwire_sink_failures_total{sink="kafka"} 3',
        "bookwire_mirror_up 0",
        'bookwire_mirror_beat_age_seconds{exchange="okx"} 0.25',
    ):
        assert line in text.splitlines()


async def test_openapi_describes_every_route(http):
    described = set((await (await http.get("/openapi.json")).json())["paths"])
    served = {route.resource.canonical for route in http.app.router.routes() if route.method == "GET"}
    assert described == served


async def test_the_dashboard_comes_whole_from_here(http):
    answer = await http.get("/")
    text = await answer.text()
    assert '<meta name="websocket-port" content="' in text
    assert "{{PORT}}" not in text
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    named = re.findall(r'(?:src|href)="(/assets/[^"]+)"', text)
    assert len(named) == 2
    for name in [*named, "/assets/stream.js"]:
        asset = await http.get(name)
        assert asset.status == 200
        assert "://" not in (await asset.text()).replace("${scheme}://", "")
    assert (await http.get("/assets/..%2Frest.py")).status == 404


async def test_the_status_tells_every_exchange(http, books):
    told = await (await http.get("/v1/status")).json()
    jsonschema.validate(told, {**(await (await http.get("/openapi.json")).json()), "$ref": STATUS})
    assert [row["number"] for row in told["exchanges"]] == [row.number for row in EXCHANGES]
    running = [row for row in told["exchanges"] if row["total"]]
    assert running
    assert {row["state"] for row in told["exchanges"] if not row["total"]} == {"off"}
    for row in running:
        assert sum(row["books"].values()) == row["total"]
        assert row["age_ms"] is None or row["age_ms"] >= 0
        assert row["interruptions"]["count"] >= 0
