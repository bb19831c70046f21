"""Requests over real sockets: both dialects, every option, every error with its text and number."""

from __future__ import annotations

import asyncio
import struct
from decimal import Decimal

import pytest
import pytest_asyncio
from gateway_support import STALE

from gateway.errors import Refusal


@pytest_asyncio.fixture
async def book(gateway):
    writer = gateway.writer("binance")
    book = writer.add("BTC-USDT", 2, 8)
    writer.add("ETH-USDT")
    writer.reset(book, [(4500050, 123400000, 5)], [(4500100, 78900000, 2)])
    other = gateway.writer("okx").add("BTC-USDT", native="BTC-USDT")
    gateway.writers["okx"].reset(other, [(4500000, 5, 1)], [(4500200, 5, 1)])
    return book


FULL, BINANCE = "fullbook:BTC-USDT", "binance:BTC-USDT"

ERRORS = [
    ({}, "missing op", 1, None),
    ({"op": "fly"}, "unknown op", 2, None),
    ({"op": 7}, "unknown op", 2, None),
    ({"op": "subscribe"}, "missing channel", 3, None),
    ({"op": "unsubscribe"}, "missing channel", 3, None),
    ({"action": "subscribe", "exchange": "binance"}, "missing channel", 3, None),
    ({"op": "subscribe", "channel": "nonsense"}, "unknown channel", 4, "nonsense"),
    ({"op": "subscribe", "channel": "top:"}, "unknown channel", 4, "top:"),
    ({"op": "subscribe", "channel": "arb:NO-SUCH"}, "unknown symbol", 5, "arb:NO-SUCH"),
    ({"op": "subscribe", "channel": "top:NO-SUCH"}, "unknown symbol", 5, "top:NO-SUCH"),
    ({"op": "subscribe", "channel": "binance:NO-SUCH"}, "unknown symbol", 5, "binance:NO-SUCH"),
    ({"op": "subscribe", "channel": "nowhere:BTC-USDT"}, "unknown exchange", 6, "nowhere:BTC-USDT"),
    ({"op": "symbols", "exchange": "nowhere"}, "unknown exchange", 6, None),
    ({"op": "subscribe", "channel": FULL, "depth": 0}, "invalid depth", 9, FULL),
    ({"op": "subscribe", "channel": FULL, "depth": 1001}, "invalid depth", 9, FULL),
    ({"op": "subscribe", "channel": FULL, "depth": 1.5}, "invalid depth", 9, FULL),
    ({"op": "subscribe", "channel": FULL, "depth": "9"}, "invalid depth", 9, FULL),
    ({"op": "subscribe", "channel": FULL, "mode": "fast"}, "invalid mode", 10, FULL),
    ({"op": "subscribe", "channel": FULL, "interval": -1}, "invalid interval", 11, FULL),
    ({"op": "subscribe", "channel": FULL, "interval": True}, "invalid interval", 11, FULL),
    ({"op": "subscribe", "channel": FULL, "format": "tardis"}, "invalid format", 12, FULL),
    ({"op": "subscribe", "channel": BINANCE, "format": "xml"}, "invalid format", 12, BINANCE),
    ({"op": "unsubscribe", "channel": BINANCE}, "not subscribed", 13, BINANCE),
    ({"op": "subscribe", "channel": BINANCE, "numbers": 1}, "invalid numbers", 16, BINANCE),
    ({"op": "subscribe", "channel": BINANCE, "slow": "drop"}, "invalid slow", 17, BINANCE),
    ({"op": "subscribe", "channel": BINANCE, "heartbeat": -3}, "invalid heartbeat", 18, BINANCE),
    ({"op": "subscribe", "channel": BINANCE, "stamps": 1}, "invalid stamps", 19, BINANCE),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "text", "code", "channel"), ERRORS)
async def test_errors_have_their_text_and_number(gateway, book, request_, text, code, channel):
    async with gateway.client() as client:
        expected = {"type": "error", "msg": text, "code": code, "fatal": False, "id": "mine"}
        if channel:
            expected["channel"] = channel
        assert await client.ask(**request_, id="mine") == expected
        assert await client.ask(op="ping") == {"type": "pong"}  # an error closes nothing


async def test_the_other_errors(make_gateway):
    gateway = await make_gateway(subscriptions_per_client=1)
    writer = gateway.writer("binance")
    writer.reset(writer.add("BTC-USDT"), [(1, 1, 1)], [(2, 1, 1)])
    writer.add("ETH-USDT")
    async with gateway.client() as client:
        await client.socket.send("not json")
        assert (await client.next())["msg"] == "invalid json"
        await client.socket.send("[1]")
        assert (await client.next())["msg"] == "invalid json"
        await client.socket.send('{"op":"ping","x":"' + "y" * 20_000 + '"}')
        assert (await client.next())["msg"] == "message too large"
        await client.subscribe("binance:BTC-USDT")
        again = await client.ask(op="subscribe", channel="binance:btc/usdt", id=1)
        assert (again["msg"], again["channel"], again["id"]) == ("already subscribed", "binance:BTC-USDT", 1)
        more = await client.ask(op="subscribe", channel="binance:ETH-USDT")
        assert more["msg"] == "too many subscriptions"


def test_numbers_of_errors_are_unique():
    assert len({refusal.code for refusal in Refusal}) == len(Refusal)


async def test_second_dialect_means_that_exchange_and_deltas(gateway, book):
    async with gateway.client() as client:
        ack = await client.ask(action="subscribe", exchange="binance", symbol="BTC/USDT", depth=25)
        assert ack == {"type": "subscribed", "channel": "binance:BTC-USDT"}
        assert (await client.next())["type"] == "snapshot"
        gateway.writers["binance"].change(book, bids=[(4500060, 1, 1)])
        assert (await client.next())["type"] == "delta"
        gone = await client.ask(action="unsubscribe", exchange="binance", symbol="btc-usdt")
        assert gone == {"type": "unsubscribed", "channel": "binance:BTC-USDT"}


@pytest.mark.parametrize("symbol", ["BTC-USDT", "btc-usdt", "BTC/USDT", "BTCUSDT", "btcusdt"])
async def test_a_symbol_has_many_names_and_one_answer(gateway, book, symbol):
    async with gateway.client() as client:
        ack = await client.ask(op="subscribe", channel=f"binance:{symbol}")
        assert ack["channel"] == "binance:BTC-USDT"
        assert (await client.next())["channel"] == "binance:BTC-USDT"
        assert (await client.ask(op="unsubscribe", channel=f"binance:{symbol}"))["type"] == "unsubscribed"


async def test_exchanges_and_symbols(gateway, book):
    async with gateway.client() as client:
        rows = (await client.ask(op="exchanges"))["data"]
        assert len(rows) == 21
        first = {key: rows[0][key] for key in ("id", "name", "quote", "symbols", "status")}
        assert first == {"id": "binance", "name": "Binance", "quote": "USDT", "symbols": 1, "status": "live"}
        assert rows[20]["status"] == "down"
        symbols = (await client.ask(op="symbols", quote="USDT"))["data"]
        assert {"symbol": "BTC-USDT", "exchanges": ["binance", "okx"]} in symbols
        assert (await client.ask(op="symbols", quote="EUR"))["data"] == []
        only = (await client.ask(op="symbols", exchange="okx"))["data"]
        assert only == [{"symbol": "BTC-USDT", "exchanges": ["okx"]}]


async def test_list_tells_what_is_subscribed(gateway, book):
    async with gateway.client() as client:
        await client.subscribe("consbook:BTC-USDT", depth=7, mode="inc", interval=0, numbers="string")
        listed = await client.ask(op="list", id=3)
        assert listed["id"] == 3
        assert listed["data"] == [
            {
                "channel": "consbook:BTC-USDT", "depth": 7, "mode": "inc", "interval": 0, "format": "json",
                "numbers": "string", "stamps": False, "slow": "conflate", "heartbeat": 0,
            }
        ]  # fmt: skip


async def test_tardis_format(gateway, book):
    async with gateway.client() as client:
        snapshot = await client.subscribe("binance:BTC-USDT", mode="inc", interval=0, format="tardis")
        assert isinstance(snapshot.pop("timestamp"), int)
        assert snapshot == {
            "type": "orderbook_snapshot", "exchange": "binance", "symbol": "BTCUSDT",
            "data": {"bids": [["45000.5", "1.234"]], "asks": [["45001", "0.789"]]},
        }  # fmt: skip
        gateway.writers["binance"].change(book, bids=[(4500050, 0, 0)], asks=[(4500100, 120000000, 1)])
        update = await client.next()
        assert update["type"] == "orderbook_update"
        assert update["data"] == {"bids": [["45000.5", "0.0"]], "asks": [["45001", "1.2"]]}


async def test_numbers_as_exact_strings_and_stamps(gateway, book):
    async with gateway.client() as client:
        snapshot = await client.subscribe("binance:BTC-USDT", numbers="string", stamps=True)
        data = snapshot["data"]
        assert data["bids"] == [["45000.5", "1.234", 5]]
        assert data["seq"] == book.sequence
        assert data["state"] == "live"
        assert data["ts"] == data["recv_ns"] // 1_000_000
        assert data["exch_ts"] == (data["recv_ns"] - 5_000_000) // 1_000_000
        assert data["pub_ns"] >= data["recv_ns"]


def decode_binary(frame: bytes):
    """As docs/gateway.md describes it."""
    head = struct.unpack_from("<BBBBHHIIQqqqqQII", frame)
    version, kind, price_exponent, quantity_exponent, channel_bytes, flags, bids, asks = head[:8]
    assert version == 1
    assert flags == 0
    at = 72 + (channel_bytes + 7) // 8 * 8
    levels = []
    for _ in range(bids + asks):
        price, quantity, orders, exchange = struct.unpack_from("<qqII", frame, at)
        levels.append(
            (
                Decimal(price).scaleb(-price_exponent),
                Decimal(quantity).scaleb(-quantity_exponent),
                orders,
                exchange,
            )
        )
        at += 24
    assert at == len(frame)
    channel = frame[72 : 72 + channel_bytes].decode()
    return {"kind": kind, "channel": channel, "seq": head[8], "bids": levels[:bids], "asks": levels[bids:]}


async def test_binary_format(gateway, book):
    async with gateway.client() as client:
        frame = await client.subscribe(FULL, mode="inc", interval=0, format="binary")
        snapshot = decode_binary(frame)
        assert (snapshot["kind"], snapshot["channel"]) == (1, FULL)
        assert snapshot["bids"] == [
            (Decimal("45000.5"), Decimal("1.234"), 5, 0),
            (45000, Decimal("0.0005"), 1, 2),
        ]
        gateway.writers["okx"].change(gateway.writers["okx"].books[0], bids=[(4500000, 0, 0)])
        delta = decode_binary(await client.next())
        assert (delta["kind"], delta["bids"], delta["asks"]) == (2, [(45000, 0, 0, 2)], [])


async def test_heartbeat_only_when_nothing_else_was_sent(gateway, book):
    async with gateway.client() as client:
        await client.subscribe("top:BTC-USDT", mode="inc", interval=0, heartbeat=0.2)
        first = await client.next(2)
        assert (first["type"], first["channel"]) == ("heartbeat", "top:BTC-USDT")
        gateway.writers["binance"].change(book, bids=[(4500060, 1, 1)])
        assert (await client.next(2))["type"] == "delta"


async def test_status_channel(gateway, book):
    async with gateway.client() as client:
        snapshot = await client.subscribe("status")
        rows = {row["exchange"]: row for row in snapshot["data"]["exchanges"]}
        assert rows["binance"] == {"exchange": "binance", "state": "live", "books": 2, "live": 1}
        assert rows["kraken"]["state"] == "down"
        others = [row for row in snapshot["data"]["books"] if row["symbol"] == "ETH-USDT"]
        assert [(row["exchange"], row["state"]) for row in others] == [("binance", "syncing")]
        gateway.writers["binance"].state(book, STALE)
        event = (await client.until("status"))["data"]
        assert (event["exchange"], event["symbol"], event["state"]) == ("binance", "BTC-USDT", "stale")
        gateway.writers["okx"].close()
        event = (await client.until("status"))["data"]
        assert (event["exchange"], event["state"]) == ("okx", "down")


async def test_snapshot_mode_sends_at_most_one_an_interval_and_nothing_without_change(gateway, book):
    async with gateway.client() as client:
        await client.subscribe("binance:BTC-USDT", interval=200)
        for quantity in range(1, 30):
            gateway.writers["binance"].change(book, bids=[(4500050, quantity, 1)])
            await asyncio.sleep(0.005)
        seen = 0
        while not await client.silent(0.5):
            seen += 1
        assert 1 <= seen <= 3
        gateway.writers["binance"].change(book, bids=[(4500050, 29, 1)])  # the same as it was
        assert await client.silent(0.5)
