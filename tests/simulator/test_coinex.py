"""CoinEx's conversation, field by field, as its documentation and probes have it."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import time
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import websockets
from message_shapes import paths, recorded_texts


async def subscribed(played: Any, *markets: list[Any]) -> Any:
    client = await played.connect()
    await client.send({"method": "depth.subscribe", "params": {"market_list": list(markets)}, "id": 1})
    return client


def btc(limit: int = 50, *, full: bool = False) -> list[Any]:
    return ["BTCUSDT", limit, "0", full]


async def test_every_frame_is_gzip_even_an_answer(play: Any) -> None:
    played = await play("coinex")
    client = await subscribed(played, btc(5))
    frames = [await client.connection.recv() for _ in range(2)]
    assert all(isinstance(frame, bytes) and frame[:2] == b"\x1f\x8b" for frame in frames)
    assert gzip.decompress(frames[0]) == b'{"id":1,"code":0,"message":"OK"}'


@pytest.mark.parametrize("limit", [5, 10, 20, 50])
async def test_a_full_push_then_deltas_with_a_checksum_of_all_levels(play: Any, limit: int) -> None:
    played = await play("coinex")
    client = await subscribed(played, btc(limit))
    await client.receive()
    await played.step(300, "BTC-USDT")
    sides: dict[str, dict[str, str]] = {"asks": {}, "bids": {}}
    missing, messages = 0, await client.everything()
    assert len(messages) > 100
    for number, message in enumerate(messages):
        assert list(message) == ["method", "data", "id"]
        assert (message["method"], message["id"]) == ("depth.update", None)
        assert list(message["data"]) == ["market", "is_full", "depth"]
        assert message["data"]["is_full"] == (number == 0)
        depth = message["data"]["depth"]
        keys = ["asks", "bids", "last", "updated_at", "checksum"]
        assert list(depth) == [key for key in keys if key in depth]
        missing += len(depth) < 5
        for name, side in sides.items():
            for price, size in depth.get(name, []):
                assert size == "0" or re.fullmatch(r"\d+\.\d{8}", size)
                assert not re.search(r"\.\d*0$", price)
                side[price] = size
                if size == "0":
                    del side[price]
            assert len(side) == limit
        levels = sorted(sides["bids"].items(), key=lambda each: -Decimal(each[0]))
        levels += sorted(sides["asks"].items(), key=lambda each: Decimal(each[0]))
        text = ":".join(f"{price}:{size}" for price, size in levels)
        assert zlib.crc32(text.encode()) == depth["checksum"]
    assert missing > 10  # sides without changes
    first = messages[0]["data"]["depth"]
    assert [Decimal(row[0]) for row in first["bids"]] == sorted(
        (Decimal(row[0]) for row in first["bids"]), reverse=True
    )
    assert first["last"] == first["bids"][0][0]
    assert any(message["data"]["depth"]["checksum"] > 1 << 31 for message in messages)  # unsigned


async def test_whole_books_on_request(play: Any) -> None:
    played = await play("coinex")
    client = await subscribed(played, btc(20, full=True))
    await played.step(50, "BTC-USDT")
    messages = (await client.everything())[1:]
    assert len(messages) > 20
    for message in messages:
        assert message["data"]["is_full"] is True
        assert len(message["data"]["depth"]["bids"]) == len(message["data"]["depth"]["asks"]) == 20
    true = await played.control("/book/BTC-USDT?depth=20")
    last = messages[-1]["data"]["depth"]
    assert [[Decimal(each) for each in row] for row in last["asks"]] == [
        [Decimal(each) for each in row[:2]] for row in true["asks"]
    ]


@pytest.mark.parametrize(
    "entry",
    [["NOPEUSDT", 50, "0", False], ["BTCUSDT", 7, "0", False], ["BTCUSDT", 50, "9", False], "BTCUSDT"],
)
async def test_what_does_not_exist_is_acknowledged_and_silent(play: Any, entry: Any) -> None:
    played = await play("coinex")
    client = await subscribed(played, entry)
    await played.step(10)
    assert await client.everything() == [{"id": 1, "code": 0, "message": "OK"}]


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ("{", 20001, "invalid argument"),
        ({"method": "depth.subscribe", "params": [], "id": 4}, 20001, "invalid argument"),
        ({"method": "depth.subscribe", "params": {}, "id": 4}, 20001, "invalid argument"),
        ({"method": "nonsense", "params": {}, "id": 4}, 20002, "unknown method"),
    ],
)
async def test_errors(play: Any, message: Any, code: int, text: str) -> None:
    client = await (await play("coinex")).connect()
    await client.send(message)
    number = None if message == "{" else 4
    assert await client.receive() == {"id": number, "code": code, "message": text}


async def test_a_market_has_one_subscription_and_unsubscribing_names_it(play: Any) -> None:
    played = await play("coinex")
    client = await subscribed(played, btc(50), ["ETHUSDT", 5, "0", False])
    await client.everything()
    await client.send({"method": "depth.subscribe", "params": {"market_list": [btc(10)]}, "id": 2})
    _, again = await client.everything()
    assert len(again["data"]["depth"]["bids"]) == 10
    assert (await played.control("/counts"))["subscriptions"] == {"BTC-USDT": 1, "ETH-USDT": 1}
    await client.send({"method": "depth.unsubscribe", "params": {"market_list": ["BTCUSDT"]}, "id": 3})
    assert await client.everything() == [{"id": 3, "code": 0, "message": "OK"}]
    await played.step(30)
    assert {each["data"]["market"] for each in await client.everything()} == {"ETHUSDT"}


async def test_ping_and_the_cut_of_who_says_nothing(play: Any) -> None:
    played = await play("coinex", limits=True)
    client = await played.connect()
    pong = await client.connection.ping()
    await client.send({"method": "server.ping", "params": {}, "id": 1})
    assert await client.text() == '{"id":1,"code":0,"data":{"result":"pong"},"message":"OK"}'
    (connection,) = played.host.connections.values()
    connection.last_received = time.monotonic() - 61
    with pytest.raises(websockets.ConnectionClosedError) as closed:
        await asyncio.wait_for(client.receive(), 5)
    assert closed.value.rcvd is None
    # ping frames are not answered: the connection's end is all there was
    assert pong.exception() is not None


async def test_the_whole_book_comes_again(play: Any, follow: Any) -> None:
    played = await play("coinex", options=("coinex.repeat=1",))
    follower = await follow(played)
    await played.step(10, "BTC-USDT")
    await follower.catch_up()
    kept = dict(follower.book.bids)
    message = await asyncio.wait_for(follower.client.receive(), 5)
    assert message["data"]["is_full"] is True
    follower.book.apply(message)
    assert follower.book.bids == kept


async def test_a_lost_delta_shows_in_the_checksum_until_the_whole_book_comes(play: Any, follow: Any) -> None:
    played = await play("coinex")
    follower = await follow(played)
    await played.fault("reorder", symbol="BTC-USDT", top=True)
    await played.step(12, "BTC-USDT")
    with pytest.raises(AssertionError, match="gap: checksum"):
        await follower.catch_up()
    await follower.request()  # the way back
    await played.step(5)
    for message in await follower.client.everything():
        if message.get("data", {}).get("is_full"):
            follower.book.clear()
            follower.book.apply(message)
            break
    assert len(follower.book.bids) == 50


async def test_faults_of_the_checksum(play: Any, follow: Any) -> None:
    played = await play("coinex")
    follower = await follow(played)
    for fault, wrong in (("wrong_checksum", None), ("zero_checksum", 0)):
        await played.fault(fault, symbol="BTC-USDT", top=True)
        while not (await played.control("/faults"))["fired"].get(fault):
            await played.step(1, "BTC-USDT")
        *right, bad = await follower.client.everything()
        for message in right:
            follower.book.apply(message)
        with pytest.raises(AssertionError, match="checksum"):
            follower.book.apply(bad)
        assert wrong is None or bad["data"]["depth"]["checksum"] == wrong
        assert await follower.is_right()  # only the sum was wrong


async def test_markets_and_depth_over_rest(play: Any) -> None:
    played = await play("coinex")
    answer = await played.get("/v2/spot/market")
    assert (answer["code"], answer["message"]) == (0, "OK")
    rows = {row["market"]: row for row in answer["data"]}
    assert {name: row["is_api_trading_available"] for name, row in rows.items()} == {
        "BTCUSDT": True,
        "ETHUSDT": True,
        "CLOSEDUSDT": False,
    }
    row = rows["BTCUSDT"]
    assert (row["base_ccy"], row["quote_ccy"]) == ("BTC", "USDT")
    assert (row["base_ccy_precision"], row["quote_ccy_precision"]) == (8, 2)
    query = {"market": "BTCUSDT", "limit": "50", "interval": "0"}
    data = (await played.get("/v2/spot/depth", **query))["data"]
    true = await played.control("/book/BTC-USDT?depth=50")
    assert (data["market"], data["is_full"]) == ("BTCUSDT", True)
    assert data["depth"]["checksum"] == true["sequence"]["checksum"]["50"]
    assert len(data["depth"]["bids"]) == 50
    assert (await played.get("/v2/spot/depth", **{**query, "limit": "7"}))["code"] != 0


async def test_messages_have_the_shape_of_recorded_ones(play: Any, captures: Path) -> None:
    path = captures / "coinex" / "arbobservatory-v2-depth-frames-2026.jsonl"
    if not path.exists():
        pytest.skip(f"no recording {path}")

    def kind(message: Any) -> str | None:
        if message.get("method") == "depth.update":
            return "push"
        return None if "method" in message else "error" if message["code"] else "answer"

    real: dict[str, set[str]] = {}
    for message in map(json.loads, recorded_texts(path)):
        if (what := kind(message)) is not None:
            real.setdefault(what, set()).update(paths(message))
    played = await play("coinex")
    client = await subscribed(played, btc())
    await client.send({"method": "nonsense", "params": {}, "id": 8})
    await client.send({"method": "server.ping", "params": {}, "id": 1})
    mine: dict[str, set[str]] = {}
    for message in await client.everything():
        mine.setdefault(str(kind(message)), set()).update(paths(message))
    assert set(real) == {"push", "answer", "error"}
    assert mine == real
