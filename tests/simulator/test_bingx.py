"""BingX's conversation, field by field, as its documentation, clients and recordings have it."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import websockets
from message_shapes import paths, recorded_texts

TOPIC = "BTC-USDT@incrDepth"


async def subscribed(played: Any, *topics: str) -> Any:
    client = await played.connect()
    for number, topic in enumerate(topics or (TOPIC,)):
        await client.send({"id": str(number), "reqType": "sub", "dataType": topic})
    return client


async def test_every_frame_is_one_gzip_member(play: Any) -> None:
    client = await subscribed(await play("bingx"))
    frame = await client.connection.recv()
    assert isinstance(frame, bytes)
    assert frame[:2] == b"\x1f\x8b"
    assert re.fullmatch(
        r'{"code":0,"id":"0","msg":"SUCCESS","timestamp":\d{13}}', gzip.decompress(frame).decode()
    )


async def test_acknowledgements_and_errors(play: Any) -> None:
    client = await (await play("bingx")).connect()
    for request, code in (
        ({"id": "a", "reqType": "sub", "dataType": "NOPE-USDT@incrDepth"}, 80015),
        ({"id": "a", "reqType": "sub", "dataType": "btc-usdt@incrDepth"}, 80015),
        ({"id": "a", "reqType": "sub", "dataType": "BTC-USDT@depth7"}, 80015),
        ({"id": "a", "reqType": "sub"}, 100400),
        ({"id": "a", "reqType": "jump", "dataType": TOPIC}, 100400),
    ):
        await client.send(request)
        answer = await client.receive()
        assert list(answer) == ["code", "id", "msg", "timestamp"]
        assert (answer["id"], answer["code"]) == ("a", code)
    await client.send({"id": "list", "reqType": "sub", "dataType": [TOPIC]})
    assert await client.everything() == []  # neither answer nor data
    for number in range(2):  # twice acknowledged, one stream
        await client.send({"id": str(number), "dataType": TOPIC})
    messages = await client.everything()
    assert [each.get("msg") or each["data"]["action"] for each in messages] == ["SUCCESS", "all", "SUCCESS"]
    await client.send({"id": "u", "reqType": "unsub", "dataType": TOPIC})
    assert (await client.receive())["id"] == "u"


@pytest.mark.parametrize("sides", ["objects", "arrays"])
async def test_increments(play: Any, sides: str) -> None:
    played = await play("bingx", options=(f"bingx.sides={sides}",), levels=1500)
    client = await subscribed(played)
    await played.step(200, "BTC-USDT")
    _, *texts = [await client.text() for _ in range(150)]
    last, asks_sorted = None, set()
    for text in texts:
        message = json.loads(text)
        assert list(message) == ["code", "data", "dataType", "success", "timestamp"]
        assert (message["code"], message["dataType"], message["success"]) == (0, TOPIC, True)
        data = message["data"]
        assert list(data) == ["action", "asks", "bids", "lastUpdateId"]
        assert data["action"] == ("all" if last is None else "update")
        assert last is None or data["lastUpdateId"] == last + 1
        last = data["lastUpdateId"]
        rows = {}
        for side in ("asks", "bids"):
            assert isinstance(data[side], dict if sides == "objects" else list)
            rows[side] = list(data[side].items()) if sides == "objects" else data[side]
            for price, quantity in rows[side]:
                assert re.fullmatch(r"\d+\.\d\d", price)
                assert re.fullmatch(r"\d+\.\d{5}", quantity)
        prices = [float(row[0]) for row in rows["asks"]]
        if len(prices) > 1:
            asks_sorted.add((data["action"], prices == sorted(prices)))
    assert asks_sorted == {("all", True), ("update", False)}  # increments: worst first
    assert any('"0.00000"' in text for text in texts)
    first = json.loads(texts[0])["data"]
    assert len(first["bids"]) == len(first["asks"]) == 1000


async def test_ids_that_jump_without_loss(play: Any, follow: Any) -> None:
    played = await play("bingx", options=("bingx.ids=jumping",))
    follower = await follow(played)
    await played.step(100, "BTC-USDT")
    steps = set()
    for message in await follower.client.everything():
        steps.add(message["data"]["lastUpdateId"] - follower.book.last)
        follower.book.last = message["data"]["lastUpdateId"] - 1  # as a client must that trusts the order
        follower.book.apply(message)
    assert steps == set(range(1, 10))
    assert await follower.is_right()


@pytest.mark.parametrize("depth", [5, 10, 20, 50, 100])
async def test_whole_books(play: Any, depth: int) -> None:
    played = await play("bingx")
    client = await subscribed(played, f"BTC-USDT@depth{depth}")
    await played.step(40, "BTC-USDT")
    _, *pushes = await client.everything()
    true = await played.control(f"/book/BTC-USDT?depth={depth}")
    for message in pushes:
        assert list(message["data"]) == ["asks", "bids", "lastUpdateId"]
        prices = [float(row[0]) for row in message["data"]["asks"]]
        assert prices == sorted(prices, reverse=True)
        assert len(prices) == depth
    last = pushes[-1]["data"]
    assert [[float(each) for each in row] for row in last["asks"][::-1]] == [
        [float(each) for each in row[:2]] for row in true["asks"]
    ]


async def test_messages_have_the_shape_of_recorded_ones(play: Any, captures: Path) -> None:
    """The recorded spot book is of 2024, before it had an id and a time; increments: swap only."""
    played = await play("bingx", options=("bingx.sides=arrays",))
    client = await subscribed(played, "BTC-USDT@depth20", TOPIC)
    await played.step(60, "BTC-USDT")
    mine: dict[str, dict[str, Any]] = {}
    for message in await client.everything():
        if "dataType" in message:
            mine.setdefault(message["data"].get("action", "whole"), {}).update(message)
    whole = mine["whole"]
    assert (whole.pop("timestamp"), whole["data"].pop("lastUpdateId")) > (0, 0)
    (spot, *_) = recorded_texts(captures / "bingx" / "jkorf-partialdepth-bookticker-samples-2024.jsonl")
    assert paths(whole) == paths(json.loads(spot))
    swap = {}
    for text in recorded_texts(captures / "bingx" / "arbobservatory-swap-incrdepth-frames-2026.jsonl"):
        if TOPIC in text:
            data = json.loads(text)["data"]
            swap[data["action"]] = {key: data[key] for key in sorted(data) if key != "time"}
    assert set(swap) == {"all", "update"}
    for action, data in swap.items():
        assert paths(mine[action]["data"]) == paths(data)


async def test_pings_are_echoed_or_the_connection_ends(play: Any) -> None:
    played = await play("bingx", limits=True)
    clients = [await played.connect() for _ in range(3)]
    connections = list(played.host.connections.values())
    for connection in connections:
        connection.state["pinged_at"] = time.monotonic() - 6
    pings = [json.loads(await asyncio.wait_for(client.text(), 5)) for client in clients]
    for ping in pings:
        assert re.fullmatch("[0-9a-f]{32}", ping["ping"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", ping["time"])
    await clients[0].send({"pong": pings[0]["ping"], "time": pings[0]["time"]})
    await clients[1].send("Pong")
    await clients[2].send({"pong": "something else", "time": pings[2]["time"]})
    for client in clients:
        await client.everything()
    for connection in connections:
        connection.state["answered_at"] -= 31
    with pytest.raises(websockets.ConnectionClosedError) as closed:
        await asyncio.wait_for(clients[2].text(), 5)
    assert closed.value.rcvd is None
    for client in clients[:2]:
        await client.everything()


async def test_limits(play: Any) -> None:
    played = await play("bingx", limits=True)
    client = await subscribed(played, *[TOPIC] * 11)
    codes = [each["code"] for each in [await client.receive() for _ in range(12)] if "id" in each]
    assert codes == [0] * 10 + [100410]
    (connection,) = played.host.connections.values()
    connection.state["subscriptions"].clear()
    connection.topics.update({(number,): None for number in range(200)})
    await client.send({"id": "x", "reqType": "sub", "dataType": "ETH-USDT@incrDepth"})
    assert (await client.receive())["code"] == 80403
    for number in range(200):
        del connection.topics[(number,)]


async def test_symbols_and_book_over_rest(play: Any) -> None:
    played = await play("bingx")
    rows = (await played.get("/openApi/spot/v1/common/symbols"))["data"]["symbols"]
    assert [(row["symbol"], row["status"], row["apiStateBuy"] and row["apiStateSell"]) for row in rows] == [
        ("BTC-USDT", 1, True),
        ("ETH-USDT", 1, True),
        ("COMING-USDT", 5, False),
    ]
    assert (float(rows[0]["tickSize"]), float(rows[0]["stepSize"])) == (0.01, 0.00001)
    query = {"symbol": "BTC-USDT", "limit": "1000", "timestamp": "1"}
    book = (await played.get("/openApi/spot/v1/market/depth", **query))["data"]
    assert list(book) == ["bids", "asks", "ts", "lastUpdateId"]
    true = await played.control("/book/BTC-USDT")
    for side, rows in (("bids", book["bids"]), ("asks", book["asks"][::-1])):  # asks worst first
        assert [float(row[0]) for row in rows] == [float(row[0]) for row in true[side]]
        assert [round(float(row[1]), 5) for row in rows] == [float(row[1]) for row in true[side]]
    noisy = [row[1] for row in book["bids"] if len(row[1]) > 15]
    assert noisy
    assert all(re.fullmatch(r"\d+\.\d{5}0{15}5", each) for each in noisy)
    assert len((await played.get("/openApi/spot/v1/market/depth", symbol="BTC-USDT"))["data"]["bids"]) == 20
    assert (await played.get("/openApi/spot/v1/market/depth", symbol="NOPE-USDT"))["code"] == 100400
