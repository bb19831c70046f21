"""AscendEX's conversation, field by field, as its documentation and recordings have it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from pathlib import Path
from typing import Any

import pytest
import websockets
from message_shapes import paths, recorded_texts


async def connected(played: Any, path: str | None = None) -> Any:
    client = await played.connect(path)
    assert await client.text() == '{"m":"connected","type":"unauth"}'
    return client


def snapshot_of(name: str, action: str = "depth-snapshot") -> dict[str, Any]:
    return {"op": "req", "action": action, "args": {"symbol": name}}


@pytest.mark.parametrize(
    "path",
    ["/0/api/pro/v1/stream", "/1/api/pro/v1/stream", "/api/pro/v1/stream", "/api/pro/v2/stream"],
)
async def test_all_paths_serve_the_public_data(play: Any, path: str) -> None:
    client = await connected(await play("ascendex"), path)
    await client.send({"op": "sub", "id": "abc123", "ch": "depth:BTC/USDT,ETH/USDT"})
    assert [await client.text() for _ in range(2)] == [
        f'{{"m":"sub","id":"abc123","ch":"depth:{name}/USDT","code":0}}' for name in ("BTC", "ETH")
    ]
    await client.send({"op": "unsub", "ch": "depth:*"})
    answers = await client.everything()
    assert answers == [{"m": "unsub", "ch": f"depth:{name}/USDT", "code": 0} for name in ("BTC", "ETH")]


async def test_deltas_count_up_and_the_snapshot_joins_them(play: Any) -> None:
    played = await play("ascendex")
    played.host.exchange.request_seconds = 0.0
    client = await connected(played)
    await client.send({"op": "sub", "ch": "depth:BTC/USDT"})
    assert await client.text() == '{"m":"sub","ch":"depth:BTC/USDT","code":0}'
    await played.step(10, "BTC-USDT")
    await client.send(snapshot_of("BTC/USDT"))
    await asyncio.sleep(0)
    texts = [await client.text() for _ in range(11)]
    await played.step(10, "BTC-USDT")
    texts += [await client.text() for _ in range(10)]
    last = None
    for text in texts:
        assert re.match(
            r'{"m":"depth(-snapshot)?","symbol":"BTC/USDT", "data":{"ts":\d{13},"seqnum":\d+,', text
        )
        message = json.loads(text)
        assert list(message["data"]) == ["ts", "seqnum", "asks", "bids"]
        step = 0 if message["m"] == "depth-snapshot" else 1
        assert last is None or message["data"]["seqnum"] == last + step
        last = message["data"]["seqnum"]
        for row in message["data"]["asks"] + message["data"]["bids"]:
            assert not any(re.search(r"\.\d*0$", number) for number in row)
    (snapshot,) = [json.loads(text) for text in texts if "snapshot" in text]
    assert [len(snapshot["data"][side]) for side in ("asks", "bids")] == [500, 500]


async def test_a_snapshot_takes_its_time(play: Any) -> None:
    played = await play("ascendex")
    client = await connected(played)
    asked = time.monotonic()
    await client.send(snapshot_of("BTC/USDT", "depth-snapshot-top100"))
    assert await client.everything() == []
    message = await asyncio.wait_for(client.receive(), 5)
    assert time.monotonic() - asked >= 0.5
    assert (message["m"], len(message["data"]["bids"])) == ("depth-snapshot-top100", 100)
    true = await played.control("/book/BTC-USDT?depth=100")
    assert message["data"]["bids"] == [row[:2] for row in true["bids"]]
    assert message["data"]["seqnum"] == true["sequence"]["seqnum"]


@pytest.mark.parametrize(
    "message",
    [
        "{",
        {"op": "nonsense", "id": "1"},
        {"op": "sub", "id": "1", "ch": "depth:NOPE/USDT"},
        {"op": "sub", "id": "1", "ch": "nonsense:BTC/USDT"},
        {"op": "sub", "id": "1", "ch": "depth:" + ",".join(["BTC/USDT"] * 11)},
        {**snapshot_of("NOPE/USDT"), "id": "1"},
    ],
)
async def test_errors(play: Any, message: Any) -> None:
    client = await connected(await play("ascendex"))
    await client.send(message)
    answer = await client.receive()
    keys = ["m", "id", "code", "reason", "info"]
    assert list(answer) == (keys if message != "{" else [key for key in keys if key != "id"])
    assert (answer["m"], answer["code"], answer["reason"]) == ("error", 100005, "INVALID_WS_REQUEST_DATA")


async def test_pings_that_nobody_answers_end_the_session(play: Any) -> None:
    played = await play("ascendex", limits=True)
    client = await connected(played)
    (connection,) = played.host.connections.values()

    async def next_ping() -> Any:
        connection.state["due"] = 0.0
        return await asyncio.wait_for(client.receive(), 5)

    assert await next_ping() == {"m": "ping", "hp": 3}
    await client.send({"op": "pong"})
    await client.everything()
    assert await next_ping() == {"m": "ping", "hp": 3}
    assert (await next_ping())["m"] == "ping"
    end = await next_ping()
    assert list(end) == ["m", "code", "reason", "info"]
    assert end["info"] == "Session is disconnected due to missing pong message from the client"
    with pytest.raises(websockets.ConnectionClosed):
        await client.receive()


async def test_a_clients_ping_holds_the_servers_back(play: Any) -> None:
    played = await play("ascendex")
    client = await connected(played)
    await client.send({"op": "ping"})
    answer = await client.receive()
    assert list(answer) == ["m", "code", "ts", "hp"]
    (connection,) = played.host.connections.values()
    assert connection.state["due"] - time.monotonic() > 25


async def test_snapshot_storms_are_ignored_then_banned(play: Any) -> None:
    played = await play("ascendex", limits=True)
    played.host.exchange.request_seconds = 0.0
    client = await connected(played)
    counts = played.host.connections[1].state["counts"]
    counts["snapshot"] = deque([time.monotonic()] * 399)
    await client.send(snapshot_of("BTC/USDT"))
    assert [each["m"] for each in await client.everything()] == ["depth-snapshot"]
    await client.send(snapshot_of("BTC/USDT"))
    assert await client.everything() == []  # past 400 a minute: ignored
    counts["snapshot"] = deque([time.monotonic()] * 500)
    await client.send(snapshot_of("BTC/USDT"))
    assert (await client.receive())["m"] == "disconnected"
    with pytest.raises(websockets.ConnectionClosed):
        await client.receive()
    again = await played.connect()
    assert (await again.receive())["m"] == "disconnected"  # the address is banned
    assert (await played.get("/api/pro/v2/risk-limit-info"))["data"]["banned"] is True


async def test_a_silent_symbol_keeps_its_snapshot_back(play: Any, follow: Any) -> None:
    played = await play("ascendex")
    await played.fault("silence", symbol="BTC-USDT")
    follower = await follow(played)
    assert [each for each in follower.seen if each["m"].startswith("depth")] == []
    await played.fault("resume", symbol="BTC-USDT")
    message = await asyncio.wait_for(follower.client.receive(), 5)
    assert message["m"] == "depth-snapshot"


async def test_a_twenty_first_connection_is_refused(play: Any) -> None:
    played = await play("ascendex", limits=True)
    for _ in range(20):
        await played.connect()
    with pytest.raises(websockets.InvalidStatus) as refused:
        await played.connect()
    assert refused.value.response.status_code == 429


async def test_products_and_depth_over_rest(play: Any) -> None:
    played = await play("ascendex")
    rows = {row["symbol"]: row for row in (await played.get("/api/pro/v1/products"))["data"]}
    assert {name: row["status"] for name, row in rows.items()} == {
        "BTC/USDT": "Normal",
        "ETH/USDT": "Normal",
        "HALTED/USDT": "NoTrading",
        "BTC-PERP": "Normal",
    }
    row = rows["BTC/USDT"]
    assert (row["baseAsset"], row["quoteAsset"]) == ("BTC", "USDT")
    assert (row["tickSize"], row["lotSize"]) == ("0.01", "0.00001")
    cash = {row["symbol"]: row for row in (await played.get("/api/pro/v1/cash/products"))["data"]}
    assert cash.keys() == rows.keys() - {"BTC-PERP"}
    assert cash["BTC/USDT"]["statusCode"] == "Normal"
    answer = await played.get("/api/pro/v1/depth", symbol="BTC/USDT")
    true = await played.control("/book/BTC-USDT?depth=500")
    assert answer["code"] == 0
    assert (answer["data"]["m"], answer["data"]["symbol"]) == ("depth-snapshot", "BTC/USDT")
    assert answer["data"]["data"]["bids"] == [row[:2] for row in true["bids"]]
    status, _, text = await played.raw("/api/pro/v1/depth", symbol="NOPE/USDT")
    assert (status, json.loads(text)["code"]) == (400, 100002)


async def test_messages_have_the_shape_of_recorded_ones(play: Any, captures: Path) -> None:
    folder = captures / "ascendex"
    if not folder.exists():
        pytest.skip(f"no recordings in {folder}")
    real: dict[str, set[str]] = {}
    spaces: set[bool] = set()
    for name in ("cryptofeed-spot-v1-depth-2021.jsonl", "cryptofeed-futures-v2-depth-2022.jsonl"):
        for text in recorded_texts(folder / name):
            message = json.loads(text)
            if message["m"] != "trades":
                real.setdefault(message["m"], set()).update(paths(message))
            if message["m"].startswith("depth"):
                spaces.add('", "data":' in text)
    assert spaces == {True}
    played = await play("ascendex")
    played.host.exchange.request_seconds = 0.0
    client = await played.connect()
    await client.send({"op": "sub", "ch": "depth:BTC/USDT"})
    await client.send(snapshot_of("BTC/USDT"))
    await played.step(50, "BTC-USDT")
    mine: dict[str, set[str]] = {}
    messages = await client.everything()
    played.host.connections[1].state["due"] = 0.0
    for message in [*messages, await asyncio.wait_for(client.receive(), 5)]:
        mine.setdefault(message["m"], set()).update(paths(message))
    assert set(real) == {"connected", "sub", "depth", "depth-snapshot", "ping"}
    assert mine == real
