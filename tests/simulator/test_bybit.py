"""Bybit's conversation, field by field, as its documentation and recordings have it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest


async def test_one_acknowledgement_per_request(play: Any) -> None:
    played = await play("bybit")
    client = await played.connect()
    topics = ["orderbook.200.BTCUSDT", "orderbook.200.ETHUSDT"]
    await client.send({"req_id": "1", "op": "subscribe", "args": topics})
    answer = await client.receive()
    assert list(answer) == ["success", "ret_msg", "conn_id", "req_id", "op"]
    assert (answer["success"], answer["ret_msg"], answer["req_id"], answer["op"]) == (
        True,
        "subscribe",
        "1",
        "subscribe",
    )
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer["conn_id"])
    assert [(await client.receive())["topic"] for _ in range(2)] == topics
    await client.send({"op": "ping"})
    pong = await client.receive()
    assert list(pong) == ["success", "ret_msg", "conn_id", "op"]
    assert (pong["success"], pong["ret_msg"], pong["op"]) == (True, "pong", "ping")


async def test_snapshot_and_delta(play: Any) -> None:
    played = await play("bybit")
    client = await played.connect()
    await client.send({"op": "subscribe", "args": ["orderbook.50.BTCUSDT"]})
    await client.receive()
    await played.step(60, "BTC-USDT")
    texts = [await client.text() for _ in range(30)]
    assert re.match(
        r'{"topic":"orderbook.50.BTCUSDT","ts":\d{13},"type":"snapshot","data":{"s":"BTCUSDT",', texts[0]
    )
    last = seq = None
    for text in texts:
        message = json.loads(text)
        assert list(message) == ["topic", "ts", "type", "data", "cts"]
        data = message["data"]
        assert list(data) == ["s", "b", "a", "u", "seq"]
        assert message["type"] == ("snapshot" if last is None else "delta")
        assert last is None or data["u"] == last + 1
        assert seq is None or data["seq"] > seq
        last, seq = data["u"], data["seq"]
        for row in data["b"] + data["a"]:
            assert not any(re.search(r"\.\d*0$", number) for number in row)
    first = json.loads(texts[0])["data"]
    assert len(first["b"]) == len(first["a"]) == 50


@pytest.mark.parametrize("depth", [50, 200, 1000])
async def test_every_depth_is_a_window_of_its_own(play: Any, depth: int) -> None:
    played = await play("bybit", levels=1500)
    client = await played.connect()
    await client.send({"op": "subscribe", "args": [f"orderbook.{depth}.BTCUSDT"]})
    await played.step(200, "BTC-USDT")
    sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    for message in (await client.everything())[1:]:
        for side, rows in sides.items():
            for price, quantity in message["data"][side]:
                if quantity == "0":
                    del rows[price]
                else:
                    rows[price] = quantity
            assert len(rows) == depth
    true = await played.control(f"/book/BTC-USDT?depth={depth}")
    assert sides["b"] == {row[0]: row[1] for row in true["bids"]}
    assert sides["a"] == {row[0]: row[1] for row in true["asks"]}


async def test_depth_one_sends_snapshots_only_and_repeats_them(play: Any) -> None:
    played = await play("bybit")
    client = await played.connect()
    await client.send({"op": "subscribe", "args": ["orderbook.1.BTCUSDT"]})
    await client.receive()
    first, again = [await asyncio.wait_for(client.receive(), 6) for _ in range(2)]
    assert first["type"] == again["type"] == "snapshot"
    assert first["data"]["u"] == again["data"]["u"]


async def test_a_restart_begins_again_with_u_one(play: Any, follow: Any) -> None:
    played = await play("bybit")
    follower = await follow(played)
    await played.step(5)
    await played.fault("restart", symbol="BTC-USDT")
    await played.step(5)
    messages = await follower.catch_up()
    numbers = [message["data"]["u"] for message in messages]
    restarted = numbers.index(1)
    assert messages[restarted]["type"] == "snapshot"
    assert numbers[restarted:] == list(range(1, len(numbers) - restarted + 1))
    assert await follower.is_right()


@pytest.mark.parametrize(
    "args",
    [
        ["orderbook.500.BTCUSDT"],
        ["orderbook.50.NOSUCH"],
        ["tickers.BTCUSDT"],
        [f"orderbook.50.{n}" for n in range(11)],
        [],
    ],
)
async def test_a_bad_request_subscribes_nothing(play: Any, args: list[str]) -> None:
    played = await play("bybit", limits=True)
    client = await played.connect()
    await client.send(
        {"req_id": "9", "op": "subscribe", "args": ["orderbook.50.ETHUSDT", *args][: max(1, len(args))]}
    )
    answer = await client.receive()
    if len(args) > 1:
        assert answer["success"] is False
    await client.send({"req_id": "9", "op": "subscribe", "args": args})
    answer = await client.receive()
    while "topic" in answer:
        answer = await client.receive()
    assert (answer["success"], answer["req_id"]) == (False, "9")
    assert (await played.control("/counts"))["subscriptions"]["BTC-USDT"] == 0


async def test_instruments_and_orderbook_over_rest(play: Any) -> None:
    played = await play("bybit")
    answer = await played.get("/v5/market/instruments-info", category="spot")
    assert (answer["retCode"], answer["retMsg"]) == (0, "OK")
    rows = answer["result"]["list"]
    assert [(row["symbol"], row["status"]) for row in rows] == [
        ("BTCUSDT", "Trading"),
        ("ETHUSDT", "Trading"),
        ("COMINGUSDT", "PreLaunch"),
    ]
    assert (rows[0]["baseCoin"], rows[0]["quoteCoin"]) == ("BTC", "USDT")
    assert rows[0]["priceFilter"]["tickSize"] == "0.01"
    assert rows[0]["lotSizeFilter"]["basePrecision"] == "0.000001"
    book = await played.get("/v5/market/orderbook", category="spot", symbol="BTCUSDT", limit="1000")
    true = await played.control("/book/BTC-USDT")
    result = book["result"]
    assert (result["s"], result["u"]) == ("BTCUSDT", true["sequence"]["u"]["1000"])
    assert result["seq"] == true["sequence"]["seq"]
    assert result["b"] == [row[:2] for row in true["bids"]]
    only = await played.get("/v5/market/orderbook", category="spot", symbol="BTCUSDT")
    assert len(only["result"]["a"]) == 1
    assert (await played.get("/v5/market/orderbook", category="spot", symbol="NO"))["retCode"] == 10001
