"""OKX's conversation, field by field, as its documentation and recordings have it."""

from __future__ import annotations

import asyncio
import json
import re
import time
import zlib
from typing import Any

import pytest
import websockets

BTC = {"channel": "books", "instId": "BTC-USDT"}
ETH = {"channel": "books", "instId": "ETH-USDT"}


async def test_acknowledgements_are_per_argument(play: Any) -> None:
    played = await play("okx")
    client = await played.connect()
    await client.send({"id": "1512", "op": "subscribe", "args": [BTC, {**ETH, "instId": "NO-SUCH"}, ETH]})
    messages = await client.everything()
    events = [message for message in messages if "event" in message]
    assert [each["event"] for each in events] == ["subscribe", "error", "subscribe"]
    assert list(events[0]) == ["id", "event", "arg", "connId"]
    assert (events[0]["id"], events[0]["arg"]) == ("1512", BTC)
    assert re.fullmatch("[0-9a-f]{8}", events[0]["connId"])
    assert events[1]["code"] == "60018"
    await client.send({"op": "unsubscribe", "args": [ETH]})
    answer = await client.receive()
    assert list(answer) == ["event", "arg", "connId"]
    await client.send("{")
    assert (await client.receive())["code"] == "60012"


async def test_snapshot_and_update(play: Any) -> None:
    played = await play("okx")
    client = await played.connect()
    await client.send({"op": "subscribe", "args": [BTC]})
    await client.receive()
    await played.step(20, "BTC-USDT")
    texts = [await client.text() for _ in range(10)]
    assert re.match(
        r'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":\[{"asks":\[\["', texts[0]
    )
    chain = None
    for text in texts:
        message = json.loads(text)
        (data,) = message["data"]
        assert list(data) == ["asks", "bids", "ts", "checksum", "seqId", "prevSeqId"]
        assert data["checksum"] == 0
        assert re.fullmatch(r"\d{13}", data["ts"])
        assert data["prevSeqId"] == (-1 if chain is None else chain)
        assert data["seqId"] > data["prevSeqId"]
        chain = data["seqId"]
        for row in data["asks"] + data["bids"]:
            price, quantity, zero, orders = row
            assert zero == "0"
            assert (int(orders) == 0) == (quantity == "0")
            assert not any(re.search(r"\.\d*0$", number) for number in (price, quantity))
    snapshot = json.loads(texts[0])["data"][0]
    assert len(snapshot["asks"]) == len(snapshot["bids"]) == 400


async def test_text_ping(play: Any) -> None:
    client = await (await play("okx")).connect()
    await client.send("ping")
    assert await client.text() == "pong"


async def test_keep_alive_of_a_quiet_book(play: Any, follow: Any) -> None:
    played = await play("okx")
    follower = await follow(played)
    played.host.exchange.books["BTC-USDT"].state.sent_at = time.monotonic() - 61
    message = await asyncio.wait_for(follower.client.receive(), 5)
    data = message["data"][0]
    assert (data["asks"], data["bids"]) == ([], [])
    assert data["seqId"] == data["prevSeqId"] == follower.book.last


async def test_maintenance_reset_links_to_a_lower_id(play: Any, follow: Any) -> None:
    played = await play("okx")
    follower = await follow(played)
    before = follower.book.last
    await played.fault("restart", symbol="BTC-USDT")
    await played.step(3)
    messages = await follower.catch_up()
    reset = messages[0]["data"][0]
    assert reset["prevSeqId"] == before > reset["seqId"]
    assert await follower.is_right()


async def test_the_checksums_of_old_on_request(play: Any, follow: Any) -> None:
    played = await play("okx", okx_checksums=True)
    follower = await follow(played)
    await played.step(100, "BTC-USDT")
    messages = await follower.catch_up()
    book = await played.control("/book/BTC-USDT?depth=25")
    parts = [f"{row[0]}:{row[1]}" for pair in zip(book["bids"], book["asks"], strict=True) for row in pair]
    crc = zlib.crc32(":".join(parts).encode())
    assert messages[-1]["data"][0]["checksum"] == (crc - (1 << 32) if crc >> 31 else crc)


async def test_idle_connections_are_cut_after_thirty_seconds(play: Any) -> None:
    played = await play("okx", limits=True)
    client = await played.connect()
    await client.send("ping")
    assert await client.text() == "pong"
    (connection,) = played.host.connections.values()
    connection.last_received = connection.opened = time.monotonic() - 31
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await asyncio.wait_for(client.receive(), 5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4004


async def test_operations_are_limited(play: Any) -> None:
    played = await play("okx", limits=True)
    client = await played.connect()
    for _ in range(480):
        await client.send({"op": "unsubscribe", "args": []})
    await client.send({"op": "subscribe", "args": [BTC]})
    assert (await client.receive())["event"] == "error"


async def test_instruments_and_books_over_rest(play: Any) -> None:
    played = await play("okx")
    rows = (await played.get("/api/v5/public/instruments", instType="SPOT"))["data"]
    assert [(row["instId"], row["state"]) for row in rows] == [
        ("BTC-USDT", "live"),
        ("ETH-USDT", "live"),
        ("COMING-USDT", "preopen"),
    ]
    assert (rows[0]["baseCcy"], rows[0]["quoteCcy"]) == ("BTC", "USDT")
    assert (rows[0]["tickSz"], rows[0]["lotSz"]) == ("0.1", "0.00000001")
    assert (rows[2]["tickSz"], rows[2]["lotSz"]) == ("", "")
    answer = await played.get("/api/v5/market/books", instId="BTC-USDT", sz="400")
    true = await played.control("/book/BTC-USDT?depth=400")
    (data,) = answer["data"]
    assert answer["code"] == "0"
    assert [[row[0], row[1]] for row in data["asks"]] == [row[:2] for row in true["asks"]]
    assert data["seqId"] == true["sequence"]["seqId"]
    assert len((await played.get("/api/v5/market/books", instId="BTC-USDT"))["data"][0]["bids"]) == 1
    assert (await played.get("/api/v5/market/books", instId="NO-SUCH"))["code"] == "51001"
    assert (await played.get("/api/v5/market/books", instId="BTC-USDT", sz="401"))["code"] == "51000"
    deep = (await played.get("/api/v5/market/books-full", instId="BTC-USDT", sz="5000"))["data"][0]
    assert len(deep["bids"]) == 600
    assert len(deep["bids"][0]) == 3
