"""BitMart's spot conversation, field by field, as its documentation has it."""

from __future__ import annotations

import asyncio
import json
import re
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
import websockets
from message_shapes import paths, recorded_texts

CHANNEL = "spot/depth/increase100"
BTC = f"{CHANNEL}:BTC_USDT"


async def ask(client: Any, operation: str, *names: str) -> None:
    await client.send({"op": operation, "args": list(names)})


async def subscribed(played: Any, *names: str) -> Any:
    client = await played.connect()
    await ask(client, "subscribe", *names)
    return client


async def test_data_is_raw_deflate_in_binary_frames_the_rest_is_text(play: Any) -> None:
    played = await play("bitmart")
    client = await subscribed(played, BTC)
    answer, snapshot = [await client.connection.recv() for _ in range(2)]
    assert answer == '{"topic":"spot/depth/increase100:BTC_USDT","event":"subscribe"}'
    assert isinstance(snapshot, bytes)
    text = zlib.decompress(snapshot, wbits=-15).decode()
    assert text.startswith('{"data":[{"asks":[["')
    await client.send("ping")
    assert await client.connection.recv() == "pong"


async def test_snapshot_and_versions(play: Any) -> None:
    played = await play("bitmart")
    client = await subscribed(played, BTC)
    await client.receive()
    await played.step(100, "BTC-USDT")
    messages = await client.everything()
    assert len(messages) > 60
    last = None
    for message in messages:
        assert list(message) == ["data", "table"]
        assert message["table"] == CHANNEL
        (data,) = message["data"]
        assert list(data) == ["asks", "bids", "ms_t", "symbol", "type", "version"]
        assert data["type"] == ("snapshot" if last is None else "update")
        assert last is None or data["version"] == last + 1
        last = data["version"]
    assert {len(messages[0]["data"][0][side]) for side in ("asks", "bids")} == {100}
    # the same price comes as 23200 and as 23200.00
    texts = [row[0] for message in messages for row in message["data"][0]["bids"]]
    assert any(re.fullmatch(r"\d+\.\d0", text) for text in texts)
    assert any(re.fullmatch(r"\d+(\.\d)?", text) for text in texts)


async def test_a_request_brings_the_snapshot_again(play: Any, follow: Any) -> None:
    played = await play("bitmart")
    follower = await follow(played)
    await played.fault("drop", symbol="BTC-USDT", top=True)
    await played.step(10, "BTC-USDT")
    with pytest.raises(AssertionError, match="gap"):
        await follower.catch_up()
    await ask(follower.client, "request", BTC)
    (snapshot,) = await follower.catch_up()
    assert snapshot["data"][0]["type"] == "snapshot"
    assert await follower.is_right()
    await played.step(10, "BTC-USDT")
    await follower.catch_up()
    assert await follower.is_right()


async def test_a_quiet_book_repeats_its_version_with_nothing(play: Any, follow: Any) -> None:
    played = await play("bitmart")
    follower = await follow(played)
    played.host.exchange.books["BTC-USDT"].state.sent_at = time.monotonic() - 11
    message = await asyncio.wait_for(follower.client.receive(), 5)
    (data,) = message["data"]
    assert (data["type"], data["asks"], data["bids"]) == ("update", [], [])
    assert data["version"] == follower.book.last


async def test_an_untold_tail(play: Any, follow: Any) -> None:
    """Levels that come back into the window are not sent: near its end the client knows too little."""
    played = await play("bitmart", options=("bitmart.tail=untold",))
    follower = await follow(played)
    await played.step(400, "BTC-USDT")
    await follower.catch_up()
    assert not await follower.is_right()
    bids, _ = await played.true_book("BTC-USDT", 30)
    best = sorted(follower.book.bids, key=float, reverse=True)[:30]
    assert [float(each) for each in best] == [float(each) for each in bids]


@pytest.mark.parametrize(("channel", "depth"), [("depth5", 5), ("depth20", 20), ("depth50", 50)])
async def test_whole_books_come_at_intervals(play: Any, channel: str, depth: int) -> None:
    played = await play("bitmart")
    client = await subscribed(played, f"spot/{channel}:BTC_USDT")
    _, first = [await client.receive() for _ in range(2)]
    await played.step(30, "BTC-USDT")
    message = await asyncio.wait_for(client.receive(), 5)
    assert message["table"] == first["table"] == f"spot/{channel}"
    (data,) = message["data"]
    assert list(data) == ["asks", "bids", "ms_t", "symbol"]
    true = await played.control(f"/book/BTC-USDT?depth={depth}")
    assert [[float(each) for each in row] for row in data["asks"]] == [
        [float(each) for each in row[:2]] for row in true["asks"]
    ]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.receive(), 2)


@pytest.mark.parametrize(
    ("message", "event", "code"),
    [
        ("{", "error", "90001"),
        ({"op": "nonsense", "args": [BTC]}, "nonsense", "90002"),
        ({"op": "subscribe", "args": []}, "subscribe", "90003"),
        ({"op": "subscribe", "args": ["spot/depth/increase7:BTC_USDT"]}, "subscribe", "90004"),
        ({"op": "subscribe", "args": [f"{CHANNEL}:NOPE_USDT"]}, "subscribe", "92001"),
        ({"op": "unsubscribe", "args": [BTC]}, "unsubscribe", "90009"),
    ],
)
async def test_errors(play: Any, message: Any, event: str, code: str) -> None:
    client = await (await play("bitmart")).connect()
    await client.send(message)
    answer = await client.receive()
    assert list(answer) == ["event", "errorMessage", "errorCode"]
    assert (answer["event"], answer["errorCode"]) == (event, code)


async def test_a_second_subscription_is_an_error_and_the_first_lives(play: Any, follow: Any) -> None:
    played = await play("bitmart")
    follower = await follow(played)
    await ask(follower.client, "subscribe", BTC)
    assert (await follower.client.receive())["errorCode"] == "90008"
    await played.step(10)
    await follower.catch_up()
    assert await follower.is_right()


async def cut(client: Any) -> str:
    """The error that comes before the connection's end."""
    message = await client.receive()
    while "errorCode" not in message:
        message = await client.receive()
    with pytest.raises(websockets.ConnectionClosed):
        await client.receive()
    return str(message["errorCode"])


async def test_limits_cut_the_connection(play: Any) -> None:
    played = await play("bitmart", limits=True)
    assert await cut(await subscribed(played, *[BTC] * 21)) == "90005"
    assert await cut(await subscribed(played, *[BTC + "x" * 300] * 15)) == "90003"
    client = await played.connect()
    for _ in range(101):
        await client.send("ping")
    for _ in range(100):
        assert await client.receive() == "pong"
    assert await cut(client) == "90007"


async def test_limits_of_connections(play: Any) -> None:
    played = await play("bitmart", limits=True)
    clients = [await played.connect() for _ in range(21)]
    assert await cut(clients[20]) == "94002"
    for client in clients[:20]:
        await client.connection.close()
    for _ in range(9):
        client = await played.connect()
        await client.connection.close()
    assert await cut(await played.connect()) == "94001"


async def test_a_connection_without_subscription_is_cut_after_five_minutes(play: Any) -> None:
    played = await play("bitmart", limits=True)
    idle, used = await played.connect(), await subscribed(played, BTC)
    await used.everything()
    for connection in played.host.connections.values():
        connection.state["unused"] = time.monotonic() - 301
    with pytest.raises(websockets.ConnectionClosed):
        await asyncio.wait_for(idle.receive(), 5)
    await used.send("ping")
    assert await used.receive() == "pong"


async def test_symbols_and_book_over_rest(play: Any) -> None:
    played = await play("bitmart")
    answer = await played.get("/spot/v1/symbols/details")
    assert (answer["code"], answer["message"]) == (1000, "success")
    rows = {row["symbol"]: row for row in answer["data"]["symbols"]}
    assert {name: row["trade_status"] for name, row in rows.items()} == {
        "BTC_USDT": "trading",
        "ETH_USDT": "trading",
        "COMING_USDT": "pre-trade",
    }
    row = rows["BTC_USDT"]
    assert (row["base_currency"], row["quote_currency"]) == ("BTC", "USDT")
    assert (row["price_max_precision"], float(row["base_min_size"])) == (2, 0.00001)
    data = (await played.get("/spot/quotation/v3/books", symbol="BTC_USDT"))["data"]
    assert isinstance(data["ts"], str)
    assert list(data) == ["ts", "symbol", "asks", "bids"]
    assert len(data["bids"]) == 35
    true = await played.control("/book/BTC-USDT?depth=50")
    data = (await played.get("/spot/quotation/v3/books", symbol="BTC_USDT", limit="50"))["data"]
    assert [[float(each) for each in row] for row in data["bids"]] == [
        [float(each) for each in row[:2]] for row in true["bids"]
    ]
    for query in ({"symbol": "NOPE"}, {"symbol": "BTC_USDT", "limit": "51"}):
        status, _, text = await played.raw("/spot/quotation/v3/books", **query)
        assert status == 400
        assert json.loads(text)["code"] != 1000


async def test_books_have_the_parts_of_recorded_ones_of_the_futures(play: Any, captures: Path) -> None:
    """Nobody recorded the spot socket: the futures' push, with objects for levels, has the same parts."""
    path = captures / "bitmart" / "arbobservatory-futures-v2-depthincrease-frames-2026.jsonl"
    if not path.exists():
        pytest.skip(f"no recording {path}")
    real: dict[str, Any] = {}
    for message in map(json.loads, recorded_texts(path)):
        if "depthIncrease" in message.get("group", "") and "data" in message:
            real[message["data"]["type"]] = message["data"]
    played = await play("bitmart")
    client = await subscribed(played, BTC)
    await played.step(30, "BTC-USDT")
    mine = {each["data"][0]["type"]: each["data"][0] for each in (await client.everything())[1:]}
    assert mine.keys() == real.keys() == {"snapshot", "update"}
    for name, data in real.items():
        assert mine[name].keys() == data.keys()
        for key in ("ms_t", "version", "type", "symbol"):
            assert paths(mine[name][key]) == paths(data[key])
