"""Crypto.com's conversation, field by field, as its documentation and recordings have it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import websockets
from message_shapes import paths, recorded_texts

BTC, ETH = "book.BTC_USDT.50", "book.ETH_USDT.50"


async def ask(client: Any, *channels: str, method: str = "subscribe", **parameters: Any) -> None:
    chosen = {"book_subscription_type": "SNAPSHOT_AND_UPDATE", "book_update_frequency": 10, **parameters}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    await client.send({"id": 1, "method": method, "params": {"channels": list(channels), **chosen}})


async def test_an_acknowledgement_per_channel(play: Any) -> None:
    played = await play("cryptocom")
    client = await played.connect()
    await ask(client, BTC, ETH)
    texts = [await client.text() for _ in range(4)]
    assert texts[0] == '{"id":1,"method":"subscribe","code":0,"channel":"book.BTC_USDT.50"}'
    assert texts[2] == '{"id":1,"method":"subscribe","code":0,"channel":"book.ETH_USDT.50"}'
    await ask(client, BTC)
    assert (await client.receive())["code"] == 0
    await ask(client, BTC, method="unsubscribe")
    assert (await client.receive())["method"] == "unsubscribe"
    await played.step(3)
    messages = await client.everything()
    assert {each["result"]["instrument_name"] for each in messages} == {"ETH_USDT"}


async def test_snapshot_and_updates(play: Any) -> None:
    played = await play("cryptocom")
    client = await played.connect()
    await ask(client, BTC)
    await played.step(100, "BTC-USDT")
    _, *texts = [await client.text() for _ in range(50)]
    last = None
    for text in texts:
        message = json.loads(text)
        assert list(message) == ["id", "method", "code", "result"]
        assert (message["id"], message["method"], message["code"]) == (-1, "subscribe", 0)
        result = message["result"]
        assert list(result) == ["instrument_name", "subscription", "channel", "depth", "data"]
        assert (result["subscription"], result["depth"]) == (BTC, 50)
        (data,) = result["data"]
        assert -(1 << 31) <= data["cs"] < 1 << 31
        assert data["tt"] <= data["t"]
        if last is None:
            assert result["channel"] == "book"
            assert list(data) == ["asks", "bids", "t", "tt", "u", "cs"]
            assert len(data["asks"]) == len(data["bids"]) == 50
        else:
            assert result["channel"] == "book.update"
            assert list(data) == ["update", "t", "tt", "u", "pu", "cs"]
            assert list(data["update"]) == ["asks", "bids"]
            assert data["pu"] == last < data["u"]
        last = data["u"]
        for price, size, orders in (
            row for side in data.get("update", data).values() if isinstance(side, list) for row in side
        ):
            assert re.fullmatch(r"\d+\.\d{2}", price)
            assert re.fullmatch(r"0|\d+\.\d{5}", size)
            assert (size == "0") == (orders == "0")


@pytest.mark.parametrize("depth", [10, 50])
async def test_the_server_keeps_the_window(play: Any, depth: int) -> None:
    played = await play("cryptocom")
    client = await played.connect()
    await ask(client, f"book.BTC_USDT.{depth}", book_update_frequency=100)
    await played.step(200, "BTC-USDT")
    sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
    for message in (await client.everything())[1:]:
        (data,) = message["result"]["data"]
        for name, side in sides.items():
            for price, size, _ in data.get("update", data)[name]:
                side[price] = size
                if size == "0":
                    del side[price]
            assert len(side) == depth
    true = await played.control(f"/book/BTC-USDT?depth={depth}")
    for name, side in sides.items():
        assert {float(price): float(size) for price, size in side.items()} == {
            float(row[0]): float(row[1]) for row in true[name]
        }


@pytest.mark.parametrize("parameters", [{"book_subscription_type": "SNAPSHOT"}, {}])
async def test_whole_books_twice_a_second(play: Any, parameters: dict[str, Any]) -> None:
    played = await play("cryptocom")
    client = await played.connect()
    empty = {"book_subscription_type": None, "book_update_frequency": None}
    await ask(client, "book.BTC_USDT.50", **{**empty, **parameters})
    await client.receive()
    for _ in range(2):
        await played.step(5, "BTC-USDT")
        message = await asyncio.wait_for(client.receive(), 3)
        assert message["result"]["channel"] == "book"
        assert "pu" not in message["result"]["data"][0]


async def test_the_camel_case_of_ccxt_is_understood(play: Any) -> None:
    client = await (await play("cryptocom")).connect()
    parameters = {"channels": [BTC], "bookSubscriptionType": "SNAPSHOT_AND_UPDATE"}
    await client.send({"method": "subscribe", "params": parameters, "nonce": 1})
    assert (await client.receive())["id"] == -1
    assert (await client.receive())["result"]["channel"] == "book"


@pytest.mark.parametrize(
    ("channel", "parameters", "message"),
    [
        ("book.NOPE_USDT.50", {}, "Unknown symbol"),
        ("book.BTC_USDT.150", {}, "Invalid depth"),
        ("book.BTC_USDT.20", {}, "Invalid depth"),
        (BTC, {"book_update_frequency": 50}, "Unsupported depth/interval combination"),
        (BTC, {"book_subscription_type": "DELTA"}, "Invalid book_subscription_type"),
        ("book.BTC_USDT", {}, "Unrecognized channel"),
        ("ticker.BTC_USDT", {}, "Unrecognized channel"),
    ],
)
async def test_errors_name_the_channel(
    play: Any, channel: str, parameters: dict[str, Any], message: str
) -> None:
    client = await (await play("cryptocom")).connect()
    await ask(client, channel, **parameters)
    answer = json.loads(await client.text())
    assert list(answer) == ["id", "method", "code", "channel", "message"]
    assert (answer["code"], answer["channel"], answer["message"]) == (40003, channel, message)


async def test_other_requests_are_refused(play: Any) -> None:
    client = await (await play("cryptocom")).connect()
    for request in ("{", "[]", {"id": 5, "method": "jump"}):
        await client.send(request)
        assert (await client.receive())["code"] == 40003


async def test_limits_of_requests_and_channels(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.simulator.exchanges.cryptocom._CHANNELS_MAX", 1)
    played = await play("cryptocom", limits=True)
    client = await played.connect()
    await asyncio.sleep(1.0 - time.time() % 1.0 + 0.01)  # into the next calendar second
    await ask(client, BTC, ETH)
    messages = [await client.receive() for _ in range(3)]
    assert messages[2] == {
        "id": 1,
        "method": "subscribe",
        "code": 40107,
        "message": "Maximum subscriptions exceeded",
    }
    await asyncio.gather(*(ask(client, "nonsense") for _ in range(300)))
    codes = [(await client.receive())["code"] for _ in range(300)]
    assert codes.count(42901) >= 50
    assert codes.count(40003) >= 90


async def test_a_quiet_channel_repeats_its_id(play: Any) -> None:
    played = await play("cryptocom")
    client = await played.connect()
    await ask(client, BTC)
    _, snapshot = [await client.receive() for _ in range(2)]
    ((_, view),) = played.host.exchange.books["BTC-USDT"].views.items()
    view.sent_at -= 5.0
    (data,) = (await asyncio.wait_for(client.receive(), 3))["result"]["data"]
    (first,) = snapshot["result"]["data"]
    assert data["update"] == {"asks": [], "bids": []}
    assert data["u"] == data["pu"] == first["u"]
    assert data["tt"] == first["tt"]


async def test_heartbeats_are_answered_or_the_connection_ends(play: Any) -> None:
    played = await play("cryptocom", limits=True)
    client = await played.connect()
    state = played.host.connections[1].state
    for answers in (True, False):
        state["beaten_at"] -= 30.0
        beat = json.loads(await asyncio.wait_for(client.text(), 3))
        assert list(beat) == ["id", "method", "code"]
        assert beat["method"] == "public/heartbeat"
        if answers:
            await client.send({"id": beat["id"], "method": "public/respond-heartbeat"})
            assert await client.everything() == []
            assert state["unanswered"] is None
    state["beaten_at"] -= 5.0
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await asyncio.wait_for(client.receive(), 3)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


async def test_the_first_snapshot_comes_a_while_later(play: Any, follow: Any) -> None:
    played = await play("cryptocom")
    assert type(played.host.exchange).snapshot_seconds == 1.0
    played.host.exchange.snapshot_seconds = 0.3
    started = time.monotonic()
    follower = await follow(played)
    await played.step(20)
    assert [message for message in follower.seen if "result" in message] == []
    assert await follower.catch_up() == []
    follower.book.apply(await asyncio.wait_for(follower.client.receive(), 3))
    assert time.monotonic() - started >= 0.3
    await played.step(20)
    await follower.catch_up()
    assert await follower.is_right()
    assert follower.book.applied > 5


async def test_a_resync_by_the_server(play: Any, follow: Any) -> None:
    played = await play("cryptocom")
    follower = await follow(played)
    await played.step(3)
    await played.fault("restart")
    await played.step(3)
    kinds = [message["result"]["channel"] for message in await follower.catch_up()]
    assert kinds.count("book") == 1
    assert await follower.is_right()


async def test_instruments_and_book_over_rest(play: Any) -> None:
    played = await play("cryptocom")
    answer = await played.get("/exchange/v1/public/get-instruments")
    rows = answer["result"]["data"]
    assert [(row["symbol"], row["inst_type"], row["tradable"]) for row in rows] == [
        ("BTC_USDT", "CCY_PAIR", True),
        ("ETH_USDT", "CCY_PAIR", True),
        ("HALTED_USDT", "CCY_PAIR", False),
        ("BTCUSD-PERP", "PERPETUAL_SWAP", True),
    ]
    btc = rows[0]
    assert (btc["base_ccy"], btc["quote_ccy"]) == ("BTC", "USDT")
    assert (btc["price_tick_size"], btc["qty_tick_size"]) == ("0.01", "0.00001")
    book = await played.get("/exchange/v1/public/get-book", instrument_name="BTC_USDT", depth="150")
    assert list(book) == ["id", "method", "code", "result"]
    (data,) = book["result"]["data"]
    assert "u" not in data
    true = await played.control("/book/BTC-USDT?depth=50")
    assert [[float(each) for each in row] for row in data["bids"]] == [
        [float(row[0]), float(row[1]), float(row[2])] for row in true["bids"]
    ]
    status, _, _ = await played.raw("/exchange/v1/public/get-book", instrument_name="NOPE")
    assert status == 400


async def test_rest_refuses_the_hundred_and_first_request_of_a_second(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.simulator.exchanges.cryptocom._REQUESTS_PER_SECOND", 2)
    played = await play("cryptocom", limits=True)
    answers = [played.raw("/exchange/v1/public/get-instruments") for _ in range(4)]
    statuses = sorted([status for status, _, _ in await asyncio.gather(*answers)])
    assert statuses == [200, 200, 429, 429]


async def test_messages_have_the_shape_of_recorded_ones(play: Any, captures: Path) -> None:
    def kind(message: Any) -> str:
        result = message.get("result", {})
        return str(result.get("channel") or f"{message['method']} {message['code']}")

    recording = captures / "cryptocom" / "arbobservatory-exchange-v1-book-frames-2026.jsonl"
    if not recording.exists():
        pytest.skip(f"no recording {recording}")
    real: dict[str, set[str]] = {}
    for text in recorded_texts(recording):
        message = json.loads(text, parse_float=str)
        real.setdefault(kind(message), set()).update(paths(message))
    played = await play("cryptocom")
    client = await played.connect()
    await ask(client, BTC, "book.NOPE_USDT.50")
    played.host.connections[1].state["beaten_at"] -= 30.0
    await played.step(50, "BTC-USDT")
    mine: dict[str, set[str]] = {}
    while "public/heartbeat 0" not in mine:
        message = json.loads(await asyncio.wait_for(client.text(), 3), parse_float=str)
        mine.setdefault(kind(message), set()).update(paths(message))
    compared = {"book", "book.update", "subscribe 0", "subscribe 40003", "public/heartbeat 0"}
    for name in compared:
        assert mine[name] == real[name], name
