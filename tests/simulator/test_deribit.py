"""Deribit's conversation, field by field, as its documentation and probes have it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import websockets
from message_shapes import paths, recorded_texts

SYMBOLS = ("BTC-USDC", "BTC-PERPETUAL", "ETH-PERPETUAL", "BTC-USDC-PERPETUAL", "ETH-USDC")
NUMBER = re.compile(r"(?<=[,\[:])-?\d+(?:\.\d+)?(?:e-?\d+)?(?=[,\]}])")


async def call(client: Any, method: str, number: int = 3, **parameters: Any) -> None:
    await client.send({"jsonrpc": "2.0", "id": number, "method": method, "params": parameters})


async def subscribed(played: Any, *channels: str) -> Any:
    client = await played.connect()
    await call(client, "public/subscribe", channels=list(channels))
    return client


def exact(text: str) -> Any:
    """JSON with its numbers as they were written."""
    return json.loads(text, parse_float=str, parse_int=str)


async def test_bad_channels_are_left_out_of_the_answer(play: Any) -> None:
    played = await play("deribit", symbols=SYMBOLS)
    wanted = [
        "book.BTC_USDC.100ms",
        "book.NOPE.100ms",
        "book.BTC-PERPETUAL.50ms",
        "book.BTC_USDC.none.7.100ms",
    ]
    client = await subscribed(played, *wanted, "book.BTC-PERPETUAL.100ms")
    answer = await client.receive()
    assert list(answer) == ["jsonrpc", "id", "result", "usIn", "usOut", "usDiff", "testnet"]
    assert (answer["id"], answer["testnet"]) == (3, False)
    assert sorted(answer["result"]) == ["book.BTC-PERPETUAL.100ms", "book.BTC_USDC.100ms"]
    assert answer["usOut"] - answer["usIn"] == answer["usDiff"] >= 0
    channels = [(await client.receive())["params"]["channel"] for _ in range(2)]
    assert channels == ["book.BTC_USDC.100ms", "book.BTC-PERPETUAL.100ms"]
    await call(client, "public/subscribe", channels=["book.NOPE.100ms"])
    assert (await client.receive())["result"] == []


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("BTC-USDC", "BTC_USDC"),
        ("BTC-USDC-PERPETUAL", "BTC_USDC-PERPETUAL"),
        ("BTC-PERPETUAL", "BTC-PERPETUAL"),
        ("ETH-PERPETUAL", "ETH-PERPETUAL"),
    ],
)
async def test_snapshot_and_changes(play: Any, symbol: str, name: str) -> None:
    played = await play("deribit", symbols=SYMBOLS)
    client = await subscribed(played, f"book.{name}.100ms")
    await client.receive()
    await played.step(60, symbol)
    sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
    last, actions = None, set()
    for text in [await client.text() for _ in range(61)]:
        message = exact(text)
        assert list(message) == ["jsonrpc", "method", "params"]
        assert (message["method"], message["params"]["channel"]) == ("subscription", f"book.{name}.100ms")
        data = message["params"]["data"]
        keys = ["timestamp", "type", "change_id", "instrument_name", "bids", "asks"]
        assert list(data) == (keys if last is None else [*keys, "prev_change_id"])
        assert data["type"] == ("snapshot" if last is None else "change")
        assert last is None or data["prev_change_id"] == last
        assert last is None or int(data["change_id"]) > int(last)
        last = data["change_id"]
        for key, side in sides.items():
            for action, price, amount in data[key]:
                actions.add(action)
                assert (Decimal(price) in side) == (action != "new")
                assert (Decimal(amount) == 0) == (action == "delete")
                # dollars of inverse contracts are whole numbers, everything else has a point
                assert ("." in amount) == (symbol not in ("BTC-PERPETUAL", "ETH-PERPETUAL"))
                assert "." in price
                if symbol == "BTC-PERPETUAL":
                    assert int(amount) % 10 == 0
                    assert Decimal(price) % Decimal("0.5") == 0
                side[Decimal(price)] = Decimal(amount)
                if action == "delete":
                    del side[Decimal(price)]
    assert actions == {"new", "change", "delete"}
    true = await played.control(f"/book/{symbol}")
    for key, side in sides.items():
        assert side == {Decimal(row[0]): Decimal(row[1]) for row in true[key]}


async def test_numbers_are_printed_as_in_frames_of_2026(captures: Path) -> None:
    """The shorter of decimal and exponent form: every float of the frames comes out again."""
    from appliance.simulator.exchanges.deribit import number

    path = captures / "deribit" / "arbobservatory-v2-book-frames-2026.jsonl"
    if not path.exists():
        pytest.skip(f"no recording {path}")
    seen = [each for text in recorded_texts(path) for each in NUMBER.findall(text) if re.search("[.e]", each)]
    assert len(seen) > 50
    assert any("e" in each for each in seen)
    for text in [*seen, "2.2e3", "0.0"]:
        exponent = -int(Decimal(text).as_tuple().exponent)
        decimals = max(0, exponent)
        assert number(int(Decimal(text).scaleb(decimals)), decimals) == text


async def test_grouped_channels_resend_their_window(play: Any) -> None:
    played = await play("deribit", symbols=SYMBOLS)
    client = await subscribed(played, "book.BTC_USDC.none.10.100ms")
    await client.receive()
    await played.step(5, "BTC-USDC")
    texts = [await client.text() for _ in range(6)]
    data = json.loads(texts[-1])["params"]["data"]
    assert list(data) == ["timestamp", "change_id", "instrument_name", "bids", "asks"]
    true = await played.control("/book/BTC-USDC?depth=10")
    assert data["bids"] == [[float(row[0]), float(row[1])] for row in true["bids"]]
    assert data["change_id"] == true["sequence"]["change_id"]


async def test_subscribing_again_brings_no_snapshot_but_after_unsubscribing_it_does(
    play: Any, follow: Any
) -> None:
    played = await play("deribit")
    follower = await follow(played)
    await follower.request()
    assert [list(each)[2] for each in await follower.client.everything()] == ["result"]
    await call(follower.client, "public/unsubscribe", channels=["book.BTC_USDT.100ms", "book.NOPE.100ms"])
    assert (await follower.client.receive())["result"] == ["book.BTC_USDT.100ms"]
    await follower.request()
    _, snapshot = await follower.client.everything()
    assert snapshot["params"]["data"]["type"] == "snapshot"
    await call(follower.client, "public/unsubscribe_all")
    assert (await follower.client.receive())["result"] == "ok"


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ("{", 11050, "bad_request"),
        ({"id": 1, "method": "public/nonsense"}, -32601, "Method not found"),
        ({"id": 1, "method": "public/subscribe", "params": {}}, -32602, "Invalid params"),
        ({"id": 1, "method": "public/set_heartbeat", "params": {"interval": 5}}, -32602, "Invalid params"),
        (
            {"id": 5, "method": "public/subscribe", "params": {"channels": ["book.BTC_USDT.raw"]}},
            13778,
            "raw_subscriptions_not_available_for_unauthorized",
        ),
    ],
)
async def test_errors(play: Any, message: Any, code: int, text: str) -> None:
    client = await (await play("deribit")).connect()
    await client.send(message if isinstance(message, str) else {"jsonrpc": "2.0", **message})
    answer = await client.receive()
    assert (answer["error"]["code"], answer["error"]["message"]) == (code, text)
    assert ("id" in answer) == (message != "{")


async def test_one_count_over_all_instruments(play: Any) -> None:
    played = await play("deribit", symbols=SYMBOLS)
    client = await subscribed(played, *(f"book.{name}.100ms" for name in ("BTC_USDC", "BTC-PERPETUAL")))
    await played.step(20)
    books = [each["params"]["data"] for each in (await client.everything())[1:]]
    ids = [each["change_id"] for each in books][2:]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids) == 40


async def test_heartbeats_that_must_be_answered(play: Any) -> None:
    played = await play("deribit", limits=True)
    client = await played.connect()
    await call(client, "public/set_heartbeat", interval=10)
    assert (await client.receive())["result"] == "ok"
    (connection,) = played.host.connections.values()
    connection.state["beat"] = connection.last_received = time.monotonic() - 10
    request = await asyncio.wait_for(client.text(), 5)
    assert request == '{"params":{"type":"test_request"},"method":"heartbeat","jsonrpc":"2.0"}'
    await call(client, "public/test", 12)
    assert list((await client.receive())["result"]) == ["version"]
    # spoken since: the next one needs no answer
    connection.state["beat"] = time.monotonic() - 10
    assert json.loads(await asyncio.wait_for(client.text(), 5))["params"]["type"] == "heartbeat"
    # not answered: cut after ten seconds
    connection.state["asked"] = time.monotonic() - 11
    with pytest.raises(websockets.ConnectionClosedError) as closed:
        await asyncio.wait_for(client.receive(), 5)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "heartbeat close")


async def test_a_socket_without_use_is_cut_a_quiet_one_with_a_book_is_not(play: Any, follow: Any) -> None:
    played = await play("deribit", limits=True)
    follower, idle = await follow(played), await played.connect()
    for connection in played.host.connections.values():
        connection.state["used"] = connection.last_received = time.monotonic() - 61
    with pytest.raises(websockets.ConnectionClosedError) as closed:
        await asyncio.wait_for(idle.receive(), 5)
    assert closed.value.rcvd is None
    await played.step(5)
    await follower.catch_up()
    assert await follower.is_right()


async def test_credits(play: Any) -> None:
    played = await play("deribit", limits=True)
    client = await played.connect()
    for _ in range(10):
        await call(client, "public/subscribe", channels=[])
        assert (await client.receive())["result"] == []
    (pool,) = played.host.connections[1].state["pools"]
    assert pool == (3_000, 30_000)
    played.host.connections[1].state["pools"][pool] = (-1e6, time.monotonic())
    await call(client, "public/subscribe", channels=[])
    assert (await client.receive())["error"] == {"code": 10028, "message": "too_many_requests"}
    with pytest.raises(websockets.ConnectionClosedError):
        await client.receive()


async def test_a_thirty_third_connection_is_refused(play: Any) -> None:
    played = await play("deribit", limits=True)
    for _ in range(32):
        await played.connect()
    with pytest.raises(websockets.InvalidStatus) as refused:
        await played.connect()
    assert refused.value.response.status_code == 429


async def test_instruments_and_books_over_rest(play: Any) -> None:
    played = await play("deribit", symbols=SYMBOLS)
    rows = {
        row["instrument_name"]: row for row in (await played.get("/api/v2/public/get_instruments"))["result"]
    }
    assert {name: (row["kind"], row["instrument_type"], row["state"]) for name, row in rows.items()} == {
        "BTC_USDC": ("spot", "linear", "open"),
        "ETH_USDC": ("spot", "linear", "open"),
        "BTC-PERPETUAL": ("future", "reversed", "open"),
        "ETH-PERPETUAL": ("future", "reversed", "open"),
        "BTC_USDC-PERPETUAL": ("future", "linear", "open"),
        "LOCKED_USDC": ("spot", "linear", "locked"),
        "BTC-25DEC26-100000-C": ("option", "linear", "open"),
    }
    inverse = rows["BTC-PERPETUAL"]
    assert (inverse["counter_currency"], inverse["settlement_currency"]) == ("USD", "BTC")
    assert (inverse["tick_size"], inverse["contract_size"]) == ("0.5", "10.0")
    assert rows["BTC_USDC-PERPETUAL"]["settlement_period"] == "perpetual"
    spot = await played.get("/api/v2/public/get_instruments", kind="spot", currency="ETH")
    assert [row["instrument_name"] for row in spot["result"]] == ["ETH_USDC"]
    book = (await played.get("/api/v2/public/get_order_book", instrument_name="BTC-PERPETUAL", depth="1000"))[
        "result"
    ]
    true = await played.control("/book/BTC-PERPETUAL")
    assert book["change_id"] == true["sequence"]["change_id"]
    assert [[float(row[0]), row[1]] for row in book["asks"]] == [
        [float(row[0]), int(row[1])] for row in true["asks"]
    ]
    status, _, text = await played.raw("/api/v2/public/get_order_book", instrument_name="NOPE")
    assert (status, json.loads(text)["error"]["message"]) == (400, "not_found")
    status, _, text = await played.raw("/api/v2/public/get_order_book", instrument_name="BTC_USDC", depth="7")
    assert (status, json.loads(text)["error"]["code"]) == (400, -32602)


def kind(message: Any) -> str | None:
    """What a message is, or None for those that are not compared."""
    if message.get("method") == "heartbeat":
        return "heartbeat"
    if "error" in message:
        return f"error {message['error']['code']}"
    if "result" in message:
        return "answer"
    if not message["params"]["channel"].startswith("book."):
        return None
    inverse = "_" not in message["params"]["channel"]
    return f"{message['params']['data'].get('type', 'grouped')} {'inverse' if inverse else 'linear'}"


async def test_messages_have_the_shape_of_recorded_ones(play: Any, captures: Path) -> None:
    path = captures / "deribit" / "arbobservatory-v2-book-frames-2026.jsonl"
    if not path.exists():
        pytest.skip(f"no recording {path}")
    real: dict[str, set[str]] = {}
    for message in map(json.loads, recorded_texts(path)):
        if (what := kind(message)) is not None:
            real.setdefault(what, set()).update(paths(message))
    played = await play("deribit", symbols=SYMBOLS)
    mine: dict[str, set[str]] = {}
    client = await subscribed(
        played,
        "book.BTC_USDC-PERPETUAL.100ms",
        "book.BTC_USDC-PERPETUAL.none.20.100ms",
        "book.ETH-PERPETUAL.100ms",
    )
    await call(client, "public/subscribe", channels=["book.BTC_USDC.raw"])
    await client.send("{")
    await call(client, "public/set_heartbeat", interval=10)
    await played.step(50)
    connection = played.host.connections[1]
    await call(client, "public/test", 987654)
    texts = [await client.text()]
    while '"id":987654' not in texts[-1]:
        texts.append(await client.text())
    connection.state["beat"] = connection.last_received = time.monotonic() - 10
    texts.append(await asyncio.wait_for(client.text(), 5))
    for message in map(json.loads, texts):
        if (what := kind(message)) is not None:
            mine.setdefault(what, set()).update(paths(message))
    assert set(real) == {
        "answer",
        "heartbeat",
        "error 13778",
        "error 11050",
        "snapshot linear",
        "snapshot inverse",
        "change linear",
        "grouped linear",
    }
    for name in real:
        if name != "answer":  # those of other calls are among mine
            assert mine[name] == real[name], name
    assert mine["answer"] > real["answer"]
