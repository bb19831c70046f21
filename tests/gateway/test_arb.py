"""Crossed books after fees: against a few lines of exact decimals, and as a subscriber and over HTTP."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from decimal import ROUND_DOWN, Decimal, localcontext
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer
from gateway_support import DOWN, LIVE, RESYNC, STALE, SYNCING, PublishedBook, loads

from gateway.fees import shipped, taker_ppm
from gateway.rest import application
from gateway.settings import ArbSettings, HttpSettings, SettingsError
from handlers.registry import EXCHANGES

FEES = {"binance": 0.1, "okx": 0.15, "bybit": 0.0, "kraken": 0.26}
ARB = ArbSettings(min_net_bp=0, min_notional=0, capital=10_000, fees=FEES)


def cut(amount: Decimal, exponent: int) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-exponent), ROUND_DOWN)


def expected(
    books: dict[str, PublishedBook], capital: Decimal, depth: int = 20
) -> dict[tuple[str, str], dict[str, Decimal]]:
    """Every pair that pays anything: level against level, dearest first, exact."""
    rows = {}
    live = {name: book for name, book in books.items() if book.state == LIVE}
    for buy, cheap in live.items():
        for sell, dear in live.items():
            if buy == sell:
                continue
            unit = max(cheap.quantity_exponent, dear.quantity_exponent)
            asks = [list(level[:2]) for level in cheap.decimals(1)[:depth]]
            bids = [list(level[:2]) for level in dear.decimals(0)[:depth]]
            pay, keep = 1 + Decimal(str(FEES[buy])) / 100, 1 - Decimal(str(FEES[sell])) / 100
            all_paid = size = cost = gain = Decimal(0)
            open_ = True
            while asks and bids and bids[0][0] * keep > asks[0][0] * pay:
                step = min(asks[0][1], bids[0][1])
                all_paid += step * asks[0][0]
                within = min(step, cut((capital - cost) / (asks[0][0] * pay), unit)) if open_ else Decimal(0)
                open_ = open_ and within == step
                size += within
                cost += within * asks[0][0] * pay
                gain += within * bids[0][0] * keep
                for side in (asks, bids):
                    side[0][1] -= step
                    if not side[0][1]:
                        side.pop(0)
            if size:
                rows[buy, sell] = {
                    "size": size, "profit": cut(gain - cost, 8), "notional": cut(cost / pay, 8),
                    "net_bp": cut((gain - cost) / cost * 10_000, 2), "whole": cut(all_paid, 8),
                }  # fmt: skip
    return rows


def check(rows: list[dict[str, Any]], books: dict[str, PublishedBook], capital: int, depth: int = 20) -> None:
    with localcontext() as context:
        context.prec = 80
        wanted = expected(books, Decimal(capital), depth)
        assert {(row["buy"]["exchange"], row["sell"]["exchange"]) for row in rows} == set(wanted)
        for row in rows:
            buy, sell = row["buy"]["exchange"], row["sell"]["exchange"]
            exact = wanted[buy, sell]
            for key in ("size", "profit", "notional", "net_bp"):
                assert Decimal(row[key]) == exact[key], (buy, sell, key)
            assert Decimal(row["whole"]["notional"]) == exact["whole"]
            assert Decimal(row["buy"]["price"]) == books[buy].decimals(1)[0][0]
            assert Decimal(row["sell"]["price"]) == books[sell].decimals(0)[0][0]
            asked, bid = Decimal(row["buy"]["price"]), Decimal(row["sell"]["price"])
            assert Decimal(row["spread_bp"]) == cut((bid - asked) / asked * 10_000, 2)
            assert row["age_ms"] == max(row["buy"]["age_ms"], row["sell"]["age_ms"]) >= 0
            assert 0 <= row["confidence"] <= 1
    profits = [Decimal(row["profit"]) for row in rows]
    assert profits == sorted(profits, reverse=True)


def level_rows(dice: random.Random, mid: int, side: int, scale: int) -> list[tuple[int, int, int]]:
    away = sorted(dice.sample(range(1, 400), 25))
    return [((mid - a if side == 0 else mid + a) * scale, dice.randint(1, 10**6), 1) for a in away]


def fill(writer: Any, book: PublishedBook, dice: random.Random, state: int = LIVE) -> None:
    scale = 10 ** (book.price_exponent - 1)
    mid = 10_000 + dice.randint(-300, 300)
    writer.reset(book, level_rows(dice, mid, 0, scale), level_rows(dice, mid, 1, scale), state)


@pytest_asyncio.fixture
async def crossed(make_gateway):
    gateway = await make_gateway(arb=ARB)
    books = {}
    for name, exponents in (("binance", (2, 5)), ("okx", (1, 4)), ("bybit", (3, 6)), ("kraken", (1, 8))):
        writer = gateway.writer(name)
        books[name] = writer.add("BTC-USDT", *exponents)
    return gateway, books


@pytest_asyncio.fixture
async def http(crossed):
    gateway, _ = crossed
    settings = HttpSettings(gateway.settings.shm_dir, gateway.settings.run_dir, writer_patience_ms=60_000)
    told = replace(settings, arb=ARB, arb_tick_ms=0)
    async with TestClient(TestServer(application(told))) as client:
        yield client


async def test_rows_equal_exact_decimals_over_random_books(crossed, http):
    gateway, books = crossed
    dice = random.Random(5)
    seen = 0
    for _ in range(60):
        for name, book in books.items():
            fill(gateway.writers[name], book, dice, dice.choice([LIVE, LIVE, LIVE, STALE, RESYNC]))
        capital = dice.choice([1, 777, 10_000, 10**9])
        answer = await http.get(f"/v1/arb?symbol=btc/usdt&capital={capital}&numbers=string")
        rows = loads(await answer.text())["data"]
        check(sorted(rows, key=lambda row: -Decimal(row["profit"])), books, capital)
        assert [row["net_bp"] for row in rows] == sorted((row["net_bp"] for row in rows), reverse=True)
        async with gateway.client() as client:
            first = await client.subscribe("arb:BTC-USDT", capital=capital, numbers="string", interval=0)
            check(first["data"], books, capital)
            shallow = await client.ask(op="unsubscribe", channel="arb:BTC-USDT")
            assert shallow == {"type": "unsubscribed", "channel": "arb:BTC-USDT"}
            first = await client.subscribe("arb:BTC-USDT", capital=capital, numbers="string", depth=2)
            check(first["data"], books, capital, depth=2)
        seen += len(rows)
    assert seen > 100


async def test_rows_are_made_once_a_tick_for_all_who_ask_the_same(crossed):
    gateway, books = crossed
    set_apart(gateway, books)
    settings = HttpSettings(
        gateway.settings.shm_dir, gateway.settings.run_dir, writer_patience_ms=60_000, arb=ARB,
        arb_tick_ms=60_000,
    )  # fmt: skip
    async with TestClient(TestServer(application(settings))) as client:
        first = await (await client.get("/v1/arb")).text()
        gateway.writers["okx"].state(books["okx"], STALE)
        bodies = await asyncio.gather(*(asked(client, "/v1/arb") for _ in range(50)))
        assert set(bodies) == {first}, "made again within the tick"
        other = loads(await asked(client, "/v1/arb?capital=500"))
        assert [row["sell"]["exchange"] for row in other["data"]] == ["bybit"]


async def asked(client, path):
    return await (await client.get(path)).text()


def set_apart(gateway: Any, books: dict[str, PublishedBook]) -> None:
    """Sold at 1,000 on one, bought at 1,010 on another; a third in between."""
    for name, mid in (("binance", 9990), ("okx", 10_110), ("bybit", 10_050)):
        scale = 10 ** (books[name].price_exponent - 1)
        quantity = 5 * 10 ** books[name].quantity_exponent
        rows = [[((mid + sign * 10) * scale, quantity, 1)] for sign in (-1, 1)]
        gateway.writers[name].reset(books[name], rows[0], rows[1])


@pytest.mark.parametrize("state", [STALE, RESYNC, DOWN, SYNCING])
async def test_a_book_that_stops_being_live_leaves_at_once(crossed, http, state):
    gateway, books = crossed
    set_apart(gateway, books)
    async with gateway.client() as client:
        first = await client.subscribe("arb:BTC-USDT", interval=60_000)
        pairs = [(row["buy"]["exchange"], row["sell"]["exchange"]) for row in first["data"]]
        assert pairs == [("binance", "okx"), ("binance", "bybit"), ("bybit", "okx")]
        gateway.writers["okx"].state(books["okx"], state)
        told = await client.until("snapshot")
        assert [row["sell"]["exchange"] for row in told["data"]] == ["bybit"]
        body = loads(await (await http.get("/v1/arb")).text())
        assert [row["sell"]["exchange"] for row in body["data"]] == ["bybit"]


async def test_pushed_when_rows_change_and_silent_otherwise(crossed):
    gateway, books = crossed
    set_apart(gateway, books)
    async with gateway.client() as client:
        await client.subscribe("arb:BTC-USDT", interval=0, mode="inc")
        okx = gateway.writers["okx"]
        okx.change(books["okx"], bids=[(9000, 10, 1)])  # far below: no row changes
        assert await client.silent(0.3)
        okx.change(books["okx"], bids=[(10_100, 10_000, 1)])
        told = await client.next()
        assert told["type"] == "snapshot"
        assert told["channel"] == "arb:BTC-USDT"
        assert {"data", "ts"} <= set(told)
        check(told["data"], books, 10_000)
        assert await client.ask(op="unsubscribe", channel="arb:BTC-USDT") == {
            "type": "unsubscribed", "channel": "arb:BTC-USDT",
        }  # fmt: skip
        okx.change(books["okx"], bids=[(10_100, 50_000, 1)])
        assert await client.silent(0.3)


async def test_dollars_and_tethers_never_meet(crossed):
    gateway, books = crossed
    set_apart(gateway, books)
    dollars = gateway.writers["kraken"].add("BTC-USD", 1, 8)
    gateway.writers["kraken"].reset(dollars, [(20_000, 10**8, 1)], [(20_001, 10**8, 1)])
    async with gateway.client() as client:
        assert (await client.subscribe("arb:BTC-USD"))["data"] == []
        rows = (await client.subscribe("arb:BTC-USDT"))["data"]
        assert "kraken" not in {row[leg]["exchange"] for row in rows for leg in ("buy", "sell")}


async def test_thresholds_of_a_subscription_and_of_the_box(crossed, make_gateway):
    gateway, books = crossed
    set_apart(gateway, books)
    async with gateway.client() as client:
        rows = (await client.subscribe("arb:BTC-USDT", min_bp=50, capital=2000))["data"]
        assert [row["sell"]["exchange"] for row in rows] == ["okx"]
        assert rows[0]["net_bp"] >= 50
        listed = (await client.ask(op="list"))["data"][0]
        assert (listed["min_bp"], listed["capital"], listed["mode"]) == (50, 2000, "snapshot")
    fussy = await make_gateway(arb=replace(ARB, min_notional=10_000))
    async with fussy.client() as client:
        assert (await client.subscribe("arb:BTC-USDT"))["data"] == []


@pytest.mark.parametrize(
    ("options", "text", "code"),
    [
        ({"channel": "arb:NO-SUCH"}, "unknown symbol", 5),
        ({"channel": "arb:"}, "unknown channel", 4),
        ({"min_bp": -1}, "invalid min_bp", 23),
        ({"min_bp": "5"}, "invalid min_bp", 23),
        ({"capital": 0}, "invalid capital", 24),
        ({"capital": True}, "invalid capital", 24),
        ({"format": "binary"}, "invalid format", 12),
        ({"mode": "deltas"}, "invalid mode", 10),
        ({"depth": 0}, "invalid depth", 9),
    ],
)
async def test_what_cannot_be_meant_is_refused(crossed, options, text, code):
    gateway, _ = crossed
    async with gateway.client() as client:
        answer = await client.ask(**{"op": "subscribe", "channel": "arb:BTC-USDT", **options})
        assert (answer["type"], answer["msg"], answer["code"]) == ("error", text, code)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [("symbol=NO-SUCH", 404, 5), ("min_bp=x", 400, 23), ("min_bp=nan", 400, 23), ("capital=-1", 400, 24)],
)
async def test_http_errors(crossed, http, query, status, code):
    answer = await http.get(f"/v1/arb?{query}")
    assert (answer.status, (await answer.json())["code"]) == (status, code)


def test_every_exchange_has_a_dated_fee_and_the_configuration_wins():
    assert set(shipped()) == {row.id for row in EXCHANGES}
    assert all(0 < fee < 2 for fee in shipped().values())
    assert taker_ppm({"okx": 0.075})[:3] == (1000, 12_000, 750)
    with pytest.raises(SettingsError, match="fees okx"):
        ArbSettings(fees={"okx": -1}).check()
