"""LBank's conversation, field by field, as its documentation and quoted answers have it. No frame of the spot
socket was recorded by anybody."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import pytest
import websockets

BTC = {"action": "subscribe", "subscribe": "depth", "depth": "100", "pair": "btc_usdt"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}")


async def subscribed(played: Any, request: Any) -> Any:
    client = await played.connect()
    await client.send(request)
    return client


@pytest.mark.parametrize("depth", ["10", "50", "100", 100])
async def test_every_push_is_a_whole_book_of_numbers(play: Any, depth: Any) -> None:
    played = await play("lbank")
    client = await subscribed(played, {**BTC, "depth": depth})
    await played.step(20, "BTC-USDT")
    for _ in range(21):
        text = await client.text()
        assert re.match(r'{"depth":{"asks":\[\[\d+(\.\d*[1-9])?,\d+(\.\d*[1-9])?\],\[', text)
        message = json.loads(text)
        assert list(message) == ["depth", "count", "type", "pair", "SERVER", "TS"]
        assert [message[key] for key in ("count", "type", "pair", "SERVER")] == [
            int(depth),
            "depth",
            "btc_usdt",
            "V2",
        ]
        assert TIME.fullmatch(message["TS"])
        for side, sign in (("asks", 1), ("bids", -1)):
            prices = [sign * row[0] for row in message["depth"][side]]
            assert prices == sorted(prices)
            assert len(prices) == int(depth)
    true = await played.control(f"/book/BTC-USDT?depth={depth}")
    assert message["depth"]["bids"] == [[float(row[0]), float(row[1])] for row in true["bids"]]


async def test_the_time_is_beijings_and_does_not_say_so(play: Any) -> None:
    client = await subscribed(await play("lbank"), BTC)
    stamp = (await client.receive())["TS"]
    expected = time.strftime("%Y-%m-%dT%H", time.gmtime(time.time() + 8 * 3600 - 60))
    later = time.strftime("%Y-%m-%dT%H", time.gmtime(time.time() + 8 * 3600 + 60))
    assert stamp[:13] in (expected, later)


async def test_a_request_is_answered_once_with_the_sides_one_level_higher(play: Any) -> None:
    played = await play("lbank")
    client = await subscribed(
        played, {"action": "request", "request": "depth", "depth": "50", "pair": "btc_usdt"}
    )
    await played.step(5)
    (message,) = await client.everything()
    assert list(message) == ["SERVER", "asks", "bids", "count", "type", "pair", "TS"]
    assert (message["count"], len(message["asks"])) == (50, 50)


@pytest.mark.parametrize(
    "request_",
    [
        {**BTC, "pair": "nope_usdt"},
        {**BTC, "depth": "20"},
        {"action": "subscribe", "subscribe": "incrdepth", "pair": "btc_usdt"},
    ],
)
async def test_what_does_not_exist_or_is_not_documented_stays_silent(play: Any, request_: Any) -> None:
    played = await play("lbank")
    client = await subscribed(played, request_)
    await played.step(10)
    assert await client.everything() == []


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("{", "Invalid message"),
        ({"subscribe": "depth"}, "Missing parameter ['action']"),
        ({"action": "subscribe", "subscribe": "depth", "depth": "100"}, "Missing parameter ['pair']"),
        ({"action": "subscribe", "subscribe": "depth", "pair": "btc_usdt"}, "Missing parameter ['depth']"),
    ],
)
async def test_errors(play: Any, request_: Any, message: str) -> None:
    client = await subscribed(await play("lbank"), request_)
    answer = await client.receive()
    assert list(answer) == ["SERVER", "message", "status", "TS"]
    assert (answer["SERVER"], answer["message"], answer["status"]) == ("V2", message, "error")


async def test_unsubscribing_repeats_the_depth(play: Any) -> None:
    played = await play("lbank")
    client = await subscribed(played, BTC)
    await client.send({**BTC, "depth": "50"})
    await client.send({**BTC, "action": "unsubscribe"})
    await client.everything()
    await played.step(5)
    assert {each["count"] for each in await client.everything()} == {50}


async def test_the_server_pings_and_wants_the_same_id_back(play: Any) -> None:
    played = await play("lbank", limits=True)
    client = await played.connect()
    await client.send({"action": "ping", "ping": "mine"})
    assert await client.text() == '{"action":"pong","pong":"mine"}'
    (connection,) = played.host.connections.values()
    connection.state["asked_at"] = time.monotonic() - 31
    ping = json.loads(await asyncio.wait_for(client.text(), 5))
    assert list(ping) == ["action", "ping"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", ping["ping"])
    await client.send({"action": "pong", "pong": "another"})
    await client.everything()
    assert list(connection.state["asked"]) == [ping["ping"]]
    await client.send({"action": "pong", "pong": ping["ping"]})
    await client.everything()
    assert connection.state["asked"] == {}
    # unanswered for a minute: the end
    connection.state["asked"] = {"lost": time.monotonic() - 61}
    with pytest.raises(websockets.ConnectionClosed):
        await asyncio.wait_for(client.receive(), 5)


async def test_ping_frames_are_not_answered(play: Any) -> None:
    client = await (await play("lbank")).connect()
    pong = await client.connection.ping()
    await client.everything()
    assert not pong.done()
    pong.cancel()


@pytest.mark.parametrize("fault", ["drop", "duplicate", "reorder"])
async def test_the_next_push_heals_what_was_lost(play: Any, follow: Any, fault: str) -> None:
    played = await play("lbank")
    follower = await follow(played)
    await played.fault(fault, symbol="BTC-USDT")
    await played.step(1, "BTC-USDT")
    count = {"drop": 0, "duplicate": 2, "reorder": 0}[fault]
    assert len(await follower.catch_up()) == count
    assert await follower.is_right() == (fault == "duplicate")
    await played.step(1, "BTC-USDT")
    assert len(await follower.catch_up()) == (2 if fault == "reorder" else 1)
    # a swapped pair leaves the older book behind, unseen
    assert await follower.is_right() == (fault != "reorder")
    await played.step(1, "BTC-USDT")
    await follower.catch_up()
    assert await follower.is_right()


async def test_a_silence_ends_with_a_whole_book(play: Any, follow: Any) -> None:
    played = await play("lbank")
    follower = await follow(played)
    await played.fault("silence", symbol="BTC-USDT")
    late = await follow(played)
    await played.step(10)
    assert await follower.catch_up() == late.seen == []
    await played.fault("resume", symbol="BTC-USDT")
    assert len(await late.catch_up()) == 1
    assert await late.is_right()
    await played.step(1)
    await follower.catch_up()
    assert await follower.is_right()


async def test_symbols_and_depth_over_rest(play: Any) -> None:
    played = await play("lbank")
    answer = await played.get("/v2/accuracy.do")
    assert list(answer) == ["result", "data", "error_code", "ts"]
    assert (answer["result"], answer["error_code"]) == ("true", 0)
    assert answer["data"][0] == {
        "symbol": "btc_usdt",
        "quantityAccuracy": "4",
        "minTranQua": "0.0001",
        "priceAccuracy": "2",
    }
    assert (await played.get("/v2/currencyPairs.do"))["data"] == ["btc_usdt", "eth_usdt"]
    data = (await played.get("/v2/depth.do", symbol="btc_usdt", size="60"))["data"]
    true = await played.control("/book/BTC-USDT?depth=60")
    assert list(data) == ["asks", "bids", "timestamp"]
    assert data["asks"] == [row[:2] for row in true["asks"]]
    assert len((await played.get("/v2/depth.do", symbol="btc_usdt", size="5"))["data"]["bids"]) == 5
    refused = await played.get("/v2/depth.do", symbol="nope_usdt")
    assert (refused["result"], refused["error_code"]) == ("false", 10008)


async def test_too_many_questions(play: Any) -> None:
    played = await play("lbank", limits=True)
    played.host.exchange._requests = [time.monotonic()] * 200
    assert (await played.get("/v2/accuracy.do"))["error_code"] == 10004
