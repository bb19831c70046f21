"""Simulated exchanges that stand apart: rows of arbitrage, on the stream and over HTTP, are what the schemas
say, and what a few lines of exact decimals make of the exchanges' own books.
"""

from __future__ import annotations

import asyncio
import json
import time
import tomllib
from decimal import ROUND_DOWN, Decimal
from importlib.resources import files
from typing import Any

import aiohttp
from box import Box, running
from jsonschema import Draft7Validator, Draft202012Validator
from play import until
from websockets.asyncio.client import connect

from gateway.openapi import SCHEMAS
from gateway.schemas import message_schemas

SYMBOL = "BTC-USDT"
CAPITAL = Decimal(10_000)
CONFIG = """
[record]
enabled = false
[simulate]
levels = 50
[simulate.skew]
okx = 80
bybit = -80
[arb]
min_net_bp = 0
min_notional = 0
"""
PATIENCE_S = 60
Book = list[list[list[Decimal]]]  # asks and bids of [price, quantity], best first


def fee(exchange: str) -> Decimal:
    """Taker fee as shipped, as a fraction."""
    table = tomllib.loads((files("gateway") / "fees.toml").read_text(), parse_float=Decimal)
    return Decimal(table[exchange]["taker_percent"]) / 100


async def book(session: aiohttp.ClientSession, box: Box, exchange: str) -> Book:
    url = f"{box.simulator(exchange)['control_url']}/book/{SYMBOL}?depth=20"
    async with session.get(url) as answer:
        told = await answer.json()
    return [[[Decimal(row[0]), Decimal(row[1])] for row in told[side]] for side in ("asks", "bids")]


def ours(box: Box) -> dict[str, Book]:
    """As ``book``, of what Bookwire has."""
    with box.observer() as observer:
        observer.look()
        found = {}
        for exchange in box.ready["exchanges"]:
            segment = observer.segment(exchange)
            assert segment is not None
            held = segment.book(SYMBOL)
            found[exchange] = [[[*row] for row in held.decimals(side)[:20]] for side in ("asks", "bids")]
        return found


def walked(asks: list[list[Decimal]], bids: list[list[Decimal]], pay: Decimal, keep: Decimal) -> Decimal:
    """What all that pays costs without fees."""
    asks, bids, notional = [[*row] for row in asks], [[*row] for row in bids], Decimal(0)
    while asks and bids and bids[0][0] * keep > asks[0][0] * pay:
        step = min(asks[0][1], bids[0][1])
        notional += step * asks[0][0]
        for side in (asks, bids):
            side[0][1] -= step
            if not side[0][1]:
                side.pop(0)
    return notional


def check(row: dict[str, Any], books: dict[str, Book]) -> None:
    """The row against the exchanges' books, from the definitions of docs/gateway.md."""
    buy, sell = row["buy"], row["sell"]
    asks, bids = books[buy["exchange"]][0], books[sell["exchange"]][1]
    pay, keep = 1 + fee(buy["exchange"]), 1 - fee(sell["exchange"])
    assert (Decimal(buy["price"]), Decimal(sell["price"])) == (asks[0][0], bids[0][0])
    size, notional, profit = (Decimal(row[key]) for key in ("size", "notional", "profit"))
    cost, gain, left = Decimal(0), Decimal(0), size
    for price, quantity in asks:
        cost, left = cost + min(left, quantity) * price, max(Decimal(0), left - quantity)
    left = size
    for price, quantity in bids:
        gain, left = gain + min(left, quantity) * price, max(Decimal(0), left - quantity)
    cent = Decimal("0.00000001")
    assert notional == cost.quantize(cent, ROUND_DOWN)
    assert profit == (gain * keep - cost * pay).quantize(cent, ROUND_DOWN)
    assert cost * pay <= CAPITAL
    net = (gain * keep - cost * pay) / (cost * pay) * 10_000
    assert Decimal(row["net_bp"]) == net.quantize(Decimal("0.01"), ROUND_DOWN)
    assert Decimal(row["whole"]["notional"]) == walked(asks, bids, pay, keep).quantize(cent, ROUND_DOWN)


async def test_rows_of_books_that_cross_are_as_described_and_exact() -> None:
    with running("--exchanges", "okx,bybit", "--symbols", SYMBOL, config=CONFIG) as box:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=box.tls())) as session,
            connect(box.websocket_url) as client,
        ):
            for exchange in ("okx", "bybit"):
                url = box.simulator(exchange)["control_url"]
                async with session.post(f"{url}/pause", json={}) as answer:
                    assert answer.status == 200
            books = {exchange: await book(session, box, exchange) for exchange in ("okx", "bybit")}
            await until(lambda: ours(box) == books, PATIENCE_S, "the books are the exchanges'")
            request = {"op": "subscribe", "channel": f"arb:{SYMBOL}", "numbers": "string", "interval": 0}
            await client.send(json.dumps(request))
            stream = Draft7Validator(message_schemas())
            for _ in ("subscribed", "snapshot"):
                message = json.loads(await asyncio.wait_for(client.recv(), PATIENCE_S), parse_float=Decimal)
                stream.validate(json.loads(json.dumps(message, default=float)))
            (row,) = message["data"]
            check(row, books)
            assert (row["buy"]["exchange"], row["sell"]["exchange"]) == ("bybit", "okx")
            async with session.get(f"{box.http_url}/v1/arb?numbers=string") as answer:
                told = json.loads(await answer.text(), parse_float=Decimal)
            rows = told["data"]
            assert abs(told["ts"] / 1000 - time.time()) < PATIENCE_S
            for each in rows:
                Draft202012Validator(SCHEMAS["ArbRow"]).validate(json.loads(json.dumps(each, default=float)))
                check(each, books)
            assert len(rows) == 1
