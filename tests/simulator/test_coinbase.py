"""Coinbase's conversation, field by field, as its documentation and recordings have it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
import websockets

PRODUCTS = "/api/v3/brokerage/market/products"


async def test_level2_snapshot_update_and_acknowledgement(play: Any) -> None:
    played = await play("coinbase", symbols=("BTC", "ETH"))
    client = await played.connect()
    await client.send({"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channel": "level2"})
    await played.step(1, "BTC-USD")
    texts = [await client.text() for _ in range(4)]
    for number, text in enumerate(texts):
        assert re.match(
            r'{"channel":"(l2_data|subscriptions)","timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z",'
            rf'"sequence_num":{number},"events":\[',
            text,
        )
    snapshot, _, acknowledged, update = map(json.loads, texts)
    assert acknowledged["events"] == [{"subscriptions": {"level2": ["BTC-USD", "ETH-USD"]}}]
    assert [event["type"] for event in snapshot["events"]] == ["snapshot"]
    assert list(update) == ["channel", "timestamp", "sequence_num", "events"]
    event = update["events"][0]
    assert list(event) == ["type", "product_id", "updates"]
    assert (event["type"], event["product_id"]) == ("update", "BTC-USD")
    rows = snapshot["events"][0]["updates"] + event["updates"]
    for row in rows:
        assert list(row) == ["side", "event_time", "price_level", "new_quantity"]
        assert row["side"] in ("bid", "offer")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", row["event_time"])
        assert not re.search(r"\.\d*0$", row["price_level"])
        assert not re.search(r"\.\d*0$", row["new_quantity"])
    assert len(snapshot["events"][0]["updates"]) == 1200


async def test_heartbeats_count_in_the_same_sequence(play: Any) -> None:
    played = await play("coinbase")
    client = await played.connect()
    await client.send({"type": "subscribe", "channel": "heartbeats"})
    acknowledged = await client.receive()
    assert acknowledged["events"] == [{"subscriptions": {"heartbeats": ["heartbeats"]}}]
    beats = [await asyncio.wait_for(client.receive(), 5) for _ in range(2)]
    assert [each["sequence_num"] for each in beats] == [1, 2]
    assert [each["channel"] for each in beats] == ["heartbeats"] * 2
    counters = [each["events"][0]["heartbeat_counter"] for each in beats]
    assert counters[1] == counters[0] + 1
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9}\+00:00", beats[0]["events"][0]["current_time"]
    )


async def test_errors_have_no_sequence_number(play: Any) -> None:
    played = await play("coinbase")
    client = await played.connect()
    for request in (
        "{",
        '{"type":"subscribe","channel":"level2","product_ids":["NO-SUCH"]}',
        '{"type":"subscribe","channel":"user"}',
    ):
        await client.send(request)
        answer = await client.receive()
        assert list(answer) == ["type", "message"]
        assert answer["type"] == "error"
    await client.send({"type": "subscribe", "channel": "heartbeats"})
    assert (await client.receive())["sequence_num"] == 0


async def test_usdc_is_another_name_of_usd(play: Any) -> None:
    played = await play("coinbase", symbols=("BTC",))
    client = await played.connect()
    await client.send({"type": "subscribe", "product_ids": ["BTC-USDC"], "channel": "level2"})
    assert (await client.receive())["events"][0]["product_id"] == "BTC-USD"
    rows = {row["product_id"]: row for row in (await played.get(PRODUCTS))["products"]}
    assert rows["BTC-USD"]["alias_to"] == ["BTC-USDC"]
    assert rows["BTC-USDC"]["alias"] == "BTC-USD"


async def test_a_deep_book_is_one_frame_of_more_than_four_mebibytes(play: Any, follow: Any) -> None:
    played = await play("coinbase", levels=25_000, symbols=("BTC-USDT",))
    client = await played.connect()
    await client.send({"type": "subscribe", "product_ids": ["BTC-USDT"], "channel": "level2"})
    text = await client.text()
    assert len(text) > 4 << 20
    assert json.loads(text)["events"][0]["type"] == "snapshot"


async def test_the_first_subscription_must_come_within_five_seconds(play: Any) -> None:
    played = await play("coinbase", limits=True)
    idle, busy = await played.connect(), await played.connect()
    await busy.send({"type": "subscribe", "channel": "heartbeats"})
    with pytest.raises(websockets.ConnectionClosed):
        await asyncio.wait_for(idle.receive(), 9)
    assert (await busy.receive())["channel"] == "subscriptions"


async def test_products_and_product_book(play: Any) -> None:
    played = await play("coinbase", symbols=("BTC", "ETH"))
    answer = await played.get(PRODUCTS)
    rows = {row["product_id"]: row for row in answer["products"]}
    assert answer["num_products"] == len(rows) == 5
    btc = rows["BTC-USD"]
    assert (btc["base_currency_id"], btc["quote_currency_id"], btc["product_type"]) == ("BTC", "USD", "SPOT")
    assert (btc["status"], btc["trading_disabled"], btc["price_increment"]) == ("online", False, "0.01")
    assert btc["base_increment"] == "0.00000001"
    assert rows["HALTED-USD"]["trading_disabled"] is True
    assert (await played.get(PRODUCTS, product_type="FUTURE"))["products"] == []
    assert (await played.get(f"{PRODUCTS}/BTC-USD")) == btc
    book = await played.get("/api/v3/brokerage/market/product_book", product_id="BTC-USD", limit="3")
    true = await played.control("/book/BTC-USD?depth=3")
    assert [[row["price"], row["size"]] for row in book["pricebook"]["bids"]] == [
        row[:2] for row in true["bids"]
    ]
    assert book["pricebook"]["product_id"] == "BTC-USD"
