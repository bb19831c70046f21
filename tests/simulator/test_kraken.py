"""Kraken's conversation, field by field, as its documentation and recordings have it."""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from appliance.simulator.exchanges.kraken import checksum

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
BIDS = """45283.5 0.10000000 45283.4 1.54582015 45282.1 0.10000000 45281.0 0.10000000 45280.3 1.54592586
45279.0 0.07990000 45277.6 0.03310103 45277.5 0.30000000 45277.3 1.54602737 45276.6 0.15445238"""
ASKS = """45285.2 0.00100000 45286.4 1.54571953 45286.6 1.54571109 45289.6 1.54560911 45290.2 0.15890660
45291.8 1.54553491 45294.7 0.04454749 45296.1 0.35380000 45297.5 0.09945542 45299.5 0.18772827"""


def levels(text: str) -> list[tuple[str, str]]:
    words = text.split()
    return list(zip(words[::2], words[1::2], strict=True))


def test_the_worked_checksum_of_the_documentation() -> None:
    bids, asks = levels(BIDS), levels(ASKS)
    assert checksum(asks, bids) == 3310070434
    bids = [("45283.6", "0.25000000"), *bids[:-1]]
    assert checksum(asks, bids) == 1315439348
    assert checksum([*asks[1:], ("45301.0", "0.50000000")], bids) == 2160897081


def test_recorded_checksums(captures: Path) -> None:
    """The simulator's recipe on books rebuilt from what Kraken really sent."""
    sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
    checked = 0
    for line in (captures / "kraken" / "apikraken-v2-book10-exacttext-2025.jsonl").read_text().splitlines():
        message = json.loads(json.loads(line)["raw"], parse_float=str)
        if message.get("channel") != "book":
            continue
        (data,) = message["data"]
        for name, side in sides.items():
            if message["type"] == "snapshot":
                side.clear()
            for row in data[name]:
                side[row["price"]] = row["qty"]
            kept = [each for each in side.items() if float(each[1])]
            kept.sort(key=lambda each: float(each[0]), reverse=name == "bids")
            sides[name] = dict(kept[:10])
        assert checksum(list(sides["asks"].items()), list(sides["bids"].items())) == data["checksum"]
        checked += 1
    assert checked >= 2


async def test_status_acknowledgement_snapshot_update(play: Any) -> None:
    played = await play("kraken")
    client = await played.connect()
    status = await client.text()
    assert re.fullmatch(
        r'{"channel":"status","type":"update","data":\[{"version":"2.0.10","system":"online",'
        r'"api_version":"v2","connection_id":\d{19,20}}\]}',
        status,
    )
    assert json.loads(status)["data"][0]["connection_id"] > 1 << 53
    request = {"channel": "book", "symbol": ["BTC/USDT", "ETH/USDT"], "depth": 1000, "snapshot": True}
    await client.send({"method": "subscribe", "params": request, "req_id": 1})
    await played.step(2, "BTC-USDT")
    messages = await client.everything()
    answers = [each for each in messages if each.get("method") == "subscribe"]
    assert len(answers) == 2
    for answer, symbol in zip(answers, ("BTC/USDT", "ETH/USDT"), strict=True):
        assert list(answer) == ["method", "req_id", "result", "success", "time_in", "time_out"]
        assert answer["result"] == {"channel": "book", "depth": 1000, "snapshot": True, "symbol": symbol}
        assert re.fullmatch(TIME, answer["time_in"])
        assert re.fullmatch(TIME, answer["time_out"])
    books = [each for each in messages if each.get("channel") == "book"]
    assert [each["type"] for each in books] == ["snapshot", "snapshot", "update", "update"]
    for message in books:
        (data,) = message["data"]
        assert list(data) == ["symbol", "bids", "asks", "checksum", "timestamp"]
        assert re.fullmatch(TIME, data["timestamp"])
        for row in data["bids"] + data["asks"]:
            assert list(row) == ["price", "qty"]
            assert re.fullmatch(r"\d+\.\d" if data["symbol"] == "BTC/USDT" else r"\d+\.\d\d", row["price"])
            assert re.fullmatch(r"\d+\.\d{8}", row["qty"])


@pytest.mark.parametrize("depth", [10, 25, 100, 500, 1000])
async def test_every_message_carries_the_checksum_of_the_cut_book(play: Any, depth: int) -> None:
    """A client that cuts its book to the depth verifies every message; none names a level that it cut off."""
    played = await play("kraken")
    client = await played.connect()
    await client.send(
        {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USDT"], "depth": depth}}
    )
    await played.step(300, "BTC-USDT")
    sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
    checked = 0
    for message in await client.everything():
        if message.get("channel") != "book":
            continue
        (data,) = message["data"]
        for name, side in sides.items():
            for row in data[name]:
                if float(row["qty"]):
                    side[row["price"]] = row["qty"]
                else:
                    del side[row["price"]]
            ordered = sorted(side.items(), key=lambda each: float(each[0]), reverse=name == "bids")
            sides[name] = dict(ordered[:depth])
        best = [*sides["asks"].items()][:10] + [*sides["bids"].items()][:10]
        digits = "".join(number.replace(".", "").lstrip("0") for level in best for number in level)
        assert zlib.crc32(digits.encode()) == data["checksum"]
        checked += 1
    assert checked > 150
    assert all(len(side) <= depth for side in sides.values())


async def test_refusals_are_per_symbol(play: Any) -> None:
    played = await play("kraken")
    client = await played.connect()
    await client.receive()
    params = {"channel": "book", "symbol": ["XBT/USDT", "BTC/USDT"], "depth": 10}
    await client.send({"method": "subscribe", "params": params})
    refused, accepted = await client.receive(), await client.receive()
    assert list(refused) == ["error", "method", "success", "symbol", "time_in", "time_out"]
    assert (refused["success"], refused["symbol"]) == (False, "XBT/USDT")
    assert refused["error"].startswith("Currency pair not supported")
    assert accepted["success"] is True
    await client.everything()
    await client.send({"method": "subscribe", "params": {**params, "depth": 50}})
    assert (await client.receive())["error"] == "Subscription depth not supported"


async def test_ping_and_heartbeat(play: Any) -> None:
    played = await play("kraken")
    client = await played.connect()
    await client.receive()
    await client.send({"method": "ping", "req_id": 101})
    pong = await client.receive()
    assert list(pong) == ["method", "req_id", "time_in", "time_out"]
    assert (pong["method"], pong["req_id"]) == ("pong", 101)
    await client.send({"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USDT"]}})
    await client.receive()
    await client.receive()
    assert await asyncio.wait_for(client.text(), 5) == '{"channel":"heartbeat"}'


async def test_instrument_channel(play: Any) -> None:
    played = await play("kraken")
    client = await played.connect()
    await client.receive()
    await client.send({"method": "subscribe", "params": {"channel": "instrument"}, "req_id": 4})
    assert (await client.receive())["result"]["channel"] == "instrument"
    message = await client.receive()
    assert (message["channel"], message["type"]) == ("instrument", "snapshot")
    pairs = {row["symbol"]: row for row in message["data"]["pairs"]}
    btc = pairs["BTC/USDT"]
    assert (btc["base"], btc["quote"], btc["status"]) == ("BTC", "USDT", "online")
    assert (btc["price_precision"], btc["qty_precision"]) == (1, 8)
    assert (float(btc["price_increment"]), float(btc["qty_increment"])) == (0.1, 1e-8)
    assert pairs["CLOSED/USDT"]["status"] == "cancel_only"


async def test_rest_names_and_depth(play: Any) -> None:
    played = await play("kraken", symbols=("BTC-USD", "BTC-USDT", "SOL-USD", "ETH-BTC"))
    rows = (await played.get("/0/public/AssetPairs"))["result"]
    assert list(rows) == ["XXBTZUSD", "XBTUSDT", "SOLUSD", "XETHXXBT", "CLOSEDUSDT"]
    btc = rows["XXBTZUSD"]
    assert (btc["altname"], btc["wsname"], btc["base"], btc["quote"]) == ("XBTUSD", "XBT/USD", "XXBT", "ZUSD")
    assert (btc["status"], btc["pair_decimals"], btc["tick_size"], btc["lot_decimals"]) == (
        "online",
        1,
        "0.1",
        8,
    )
    depth = (await played.get("/0/public/Depth", pair="XBTUSD", count="500"))["result"]["XXBTZUSD"]
    true = await played.control("/book/BTC-USD?depth=500")
    assert [float(row[0]) for row in depth["asks"]] == [float(row[0]) for row in true["asks"]]
    assert isinstance(depth["asks"][0][2], int)
    assert (await played.get("/0/public/Depth", pair="NOSUCH"))["error"] == ["EQuery:Unknown asset pair"]
    assert (await played.get("/0/public/Depth", pair="XBTUSD", count="501"))["error"]
