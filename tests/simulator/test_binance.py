"""Binance's conversation, field by field, as its documentation and recordings have it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import aiohttp
import pytest
import websockets

STREAM = "btcusdt@depth@100ms"


async def test_combined_stream_subscribe_list_unsubscribe(play: Any) -> None:
    played = await play("binance")
    client = await played.connect()
    await client.send({"method": "SUBSCRIBE", "params": [STREAM, "ethusdt@depth@100ms"], "id": 1})
    assert await client.text() == '{"result":null,"id":1}'
    await client.send({"method": "LIST_SUBSCRIPTIONS", "id": 3})
    assert await client.receive() == {"result": [STREAM, "ethusdt@depth@100ms"], "id": 3}
    await client.send({"method": "UNSUBSCRIBE", "params": ["ethusdt@depth@100ms"], "id": 2})
    assert await client.receive() == {"result": None, "id": 2}
    await played.step(3)
    assert {message["stream"] for message in await client.everything()} == {STREAM}


async def test_a_diff_event(play: Any) -> None:
    played = await play("binance")
    client = await played.connect(f"/stream?streams={STREAM}")
    await played.step(50, "BTC-USDT")
    text = await client.text()
    assert text.startswith('{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":')
    events = [await client.receive() for _ in range(49)]
    previous = None
    for event in (each["data"] for each in events):
        assert list(event) == ["e", "E", "s", "U", "u", "b", "a"]
        assert event["s"] == "BTCUSDT"
        assert len(str(event["E"])) == 13
        assert event["U"] <= event["u"]
        assert previous is None or event["U"] == previous + 1
        previous = event["u"]
        for row in event["b"] + event["a"]:
            assert len(row) == 2
            assert all(re.fullmatch(r"\d+\.\d{8}", number) for number in row)


async def test_raw_stream_and_several_streams_in_the_url(play: Any) -> None:
    played = await play("binance")
    raw = await played.connect(f"/ws/{STREAM}")
    both = await played.connect(f"/stream?streams={STREAM}/ethusdt@depth@100ms")
    late = await played.connect("/ws")
    await late.send({"method": "SUBSCRIBE", "params": [STREAM], "id": 1})
    assert await late.receive() == {"result": None, "id": 1}
    await played.step(1)
    event = await raw.receive()
    assert event["e"] == "depthUpdate"
    assert (await late.receive())["u"] == event["u"]
    assert {(await both.receive())["stream"] for _ in range(2)} == {STREAM, "ethusdt@depth@100ms"}


async def test_the_slow_stream_gathers_a_second(play: Any) -> None:
    played = await play("binance")
    client = await played.connect("/ws/btcusdt@depth")
    fast = await played.connect(f"/ws/{STREAM}")
    await played.step(10, "BTC-USDT")
    first, *_, last = [await fast.receive() for _ in range(10)]
    slow = await asyncio.wait_for(client.receive(), 5)
    assert (slow["U"], slow["u"]) == (first["U"], last["u"])
    prices = [row[0] for row in slow["b"]]
    assert len(prices) == len(set(prices))


@pytest.mark.parametrize(
    ("request_text", "code"),
    [
        ("{", 3),
        ('{"method":"SUSCRIBE","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":"x","id":1}', 1),
        ("[]", 2),
    ],
)
async def test_errors_are_flat_objects_with_a_code(play: Any, request_text: str, code: int) -> None:
    client = await (await play("binance")).connect()
    await client.send(request_text)
    answer = await client.receive()
    assert answer["code"] == code
    assert isinstance(answer["msg"], str)


async def test_an_unknown_stream_is_acknowledged_and_silent(play: Any) -> None:
    played = await play("binance")
    client = await played.connect()
    await client.send({"method": "SUBSCRIBE", "params": ["nosuch@depth@100ms"], "id": 1})
    assert await client.receive() == {"result": None, "id": 1}
    await played.step(5)
    assert await client.everything() == []


async def test_limits_of_messages_and_streams(play: Any) -> None:
    played = await play("binance", limits=True)
    client = await played.connect()
    names = [f"s{number}@depth" for number in range(1025)]
    await client.send({"method": "SUBSCRIBE", "params": names, "id": 1})
    assert (await client.receive())["code"] == 2
    for number in range(5):
        await client.send({"method": "LIST_SUBSCRIPTIONS", "id": number})
    answers = [await client.receive() for _ in range(4)]
    assert [each["id"] for each in answers] == [0, 1, 2, 3]
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await client.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_depth_over_rest(play: Any) -> None:
    played = await play("binance", levels=6000, limits=True)
    status, headers, text = await played.raw("/api/v3/depth", symbol="BTCUSDT")
    assert status == 200
    assert headers["X-MBX-USED-WEIGHT-1M"] == "5"
    assert re.match(r'{"lastUpdateId":\d+,"bids":\[\["\d+\.\d{8}","\d+\.\d{8}"\],', text)
    weights = {"100": 5, "500": 25, "1000": 50, "5000": 250, "9999": 250}
    used = 5
    for limit, weight in weights.items():
        status, headers, text = await played.raw("/api/v3/depth", symbol="BTCUSDT", limit=limit)
        used += weight
        assert headers["X-MBX-USED-WEIGHT-1M"] == str(used)
        assert text.count("[") == 2 + 2 * min(int(limit), 5000)
    book = await played.control("/book/BTC-USDT?depth=1")
    snapshot = await played.get("/api/v3/depth", symbol="BTCUSDT", limit="5")
    assert snapshot["lastUpdateId"] == book["sequence"]["lastUpdateId"]
    status, _, text = await played.raw("/api/v3/depth", symbol="NOSUCH")
    assert (status, text) == (400, '{"code":-1121,"msg":"Invalid symbol."}')


async def test_too_much_weight_is_refused(play: Any) -> None:
    played = await play("binance", limits=True)
    for _ in range(24):
        assert (await played.raw("/api/v3/depth", symbol="BTCUSDT", limit="5000"))[0] == 200
    status, headers, text = await played.raw("/api/v3/depth", symbol="BTCUSDT", limit="5000")
    assert status == 429
    assert 1 <= int(headers["Retry-After"]) <= 61
    assert '"code":-1003' in text


async def test_exchange_info(play: Any) -> None:
    played = await play("binance")
    rows = (await played.get("/api/v3/exchangeInfo"))["symbols"]
    assert [row["symbol"] for row in rows] == ["BTCUSDT", "ETHUSDT", "HALTEDUSDT"]
    btc, halted = rows[0], rows[-1]
    assert (btc["baseAsset"], btc["quoteAsset"], btc["status"]) == ("BTC", "USDT", "TRADING")
    assert btc["isSpotTradingAllowed"] is True
    filters = {each["filterType"]: each for each in btc["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert halted["status"] == "BREAK"


async def test_server_pings_and_closes_who_does_not_answer(play: Any) -> None:
    played = await play("binance", limits=True)
    played.host.exchange.ping_seconds = 1.0
    played.host.exchange.pong_seconds = 1.0
    session: aiohttp.ClientSession = played.session
    url = played.where["websocket_url"]
    async with session.ws_connect(url, ssl=played.context, autoping=False) as silent:
        first = await silent.receive(timeout=5)
        assert first.type is aiohttp.WSMsgType.PING
        while (message := await silent.receive(timeout=10)).type is aiohttp.WSMsgType.PING:
            pass
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == 1008
