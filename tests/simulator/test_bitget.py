"""Bitget's conversation in both generations, as its documentation and recordings have it."""

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

CLASSIC, UNIFIED = "/v2/ws/public", "/v3/ws/public"
BTC_CLASSIC = {"instType": "SPOT", "channel": "books", "instId": "BTCUSDT"}
BTC_UNIFIED = {"instType": "spot", "topic": "books", "symbol": "BTCUSDT"}
ARGUMENTS = {CLASSIC: BTC_CLASSIC, UNIFIED: BTC_UNIFIED}
both = pytest.mark.parametrize("path", [CLASSIC, UNIFIED])


async def subscribed(played: Any, path: str, *arguments: Any) -> Any:
    client = await played.connect(path)
    await client.send({"op": "subscribe", "args": list(arguments) or [ARGUMENTS[path]]})
    return client


def checksum(book: Any) -> int:
    parts = [
        f"{row[0]}:{row[1]}"
        for pair in zip(book["bids"][:25], book["asks"][:25], strict=True)
        for row in pair
    ]
    crc = zlib.crc32(":".join(parts).encode())
    return crc - (1 << 32) if crc >> 31 else crc


@both
async def test_acknowledgements_and_errors(play: Any, path: str) -> None:
    played = await play("bitget")
    name = "symbol" if path == UNIFIED else "instId"
    topic = "topic" if path == UNIFIED else "channel"
    right = ARGUMENTS[path]
    client = await subscribed(played, path, {**right, name: "NOPE"}, {**right, topic: "books50"}, right)
    messages = await client.everything()
    missing, parameter, accepted, snapshot = messages
    assert missing["event"] == parameter["event"] == "error"
    assert (missing["code"], parameter["code"], parameter["msg"]) == (30001, 30016, "Param error")
    if path == CLASSIC:
        assert list(missing) == ["event", "arg", "code", "msg", "op"]
        assert missing["msg"] == "instType:SPOT,channel:books,instId:NOPE,precision:null doesn't exist"
        assert accepted == {"event": "subscribe", "arg": right}
    else:
        assert list(missing) == ["event", "code", "msg", "connId"]
        assert missing["msg"] == '{"instType":"spot","symbol":"NOPE","topic":"books"} doesn\'t exist'
        assert list(accepted) == ["event", "arg", "connId"]
        assert accepted["arg"] == right
    assert snapshot["action"] == "snapshot"
    await client.send({"op": "jump", "args": []})
    assert (await client.receive())["code"] == 30003
    await client.send({"op": "unsubscribe", "args": [right]})
    assert (await client.receive())["event"] == "unsubscribe"


@both
async def test_a_wrong_kind_of_instrument_is_acknowledged_and_silent(play: Any, path: str) -> None:
    played = await play("bitget")
    client = await subscribed(played, path, {**ARGUMENTS[path], "instType": "sp"})
    await played.step(5)
    assert [each["event"] for each in await client.everything()] == ["subscribe"]


@both
async def test_snapshot_and_chain(play: Any, path: str) -> None:
    played = await play("bitget", levels=1500)
    client = await subscribed(played, path)
    await played.step(60, "BTC-USDT")
    _, *texts = [await client.text() for _ in range(30)]
    last = None
    for text in texts:
        message = json.loads(text)
        assert list(message) == ["action", "arg", "data", "ts"]
        assert message["arg"] == ARGUMENTS[path]
        (data,) = message["data"]
        assert data["pseq"] == (0 if last is None else last)
        assert data["seq"] > data["pseq"]
        assert data["seq"] > 1 << 32
        last = data["seq"]
        assert re.fullmatch(r"\d{13}", data["ts"])
        assert isinstance(message["ts"], int)
        assert "checksum" not in data
        for side, sign in (("a" if path == UNIFIED else "asks", 1), ("b" if path == UNIFIED else "bids", -1)):
            prices = [sign * float(row[0]) for row in data[side]]
            assert prices == sorted(prices)
    first = json.loads(texts[0])["data"][0]
    depth = 1000 if path == UNIFIED else 200
    assert {len(first[key]) for key in list(first)[:2]} == {depth}
    assert ("maxdepth" in first) == (path == UNIFIED)


@both
@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ("2026-09", {"seq", "pseq"}),
        ("2026-04", {"checksum", "seq", "pseq"}),
        ("2025", {"checksum", "seq"}),
        ("2024", {"checksum"}),
    ],
)
async def test_the_generations_of_a_push(play: Any, path: str, form: str, fields: set[str]) -> None:
    played = await play("bitget", options=(f"bitget.form={form}",))
    client = await subscribed(played, path)
    await played.step(200, "BTC-USDT")
    _, snapshot, *updates = await client.everything()
    for message in (snapshot, *updates):
        assert set(message["data"][0]) & {"checksum", "seq", "pseq"} == fields
    if "checksum" in fields:
        assert snapshot["data"][0]["checksum"] == 0
        sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
        for message in (snapshot, *updates):
            (data,) = message["data"]
            for name, side in sides.items():
                for price, size in data[name if path == CLASSIC else name[0]]:
                    side[price] = size
                    if size == "0":
                        del side[price]
            ordered = {
                name: sorted(side.items(), key=lambda row: float(row[0]), reverse=name == "bids")
                for name, side in sides.items()
            }
            if message is not snapshot:
                assert checksum(ordered) == data["checksum"]


def test_the_recipe_on_a_recorded_update(captures: Path) -> None:
    """The recipe of the test above gives the sum that Bitget sent."""
    texts = recorded_texts(captures / "bitget" / "gct-v2-spot-books-checksum-2025.jsonl")
    snapshot, update = (json.loads(text)["data"][0] for text in texts)
    for name in ("bids", "asks"):
        gone = {row[0] for row in update[name] if row[1] == "0"}
        snapshot[name] = [row for row in snapshot[name] if row[0] not in gone]
    assert checksum(snapshot) == update["checksum"] == 1041484092


@both
async def test_whole_books_of_a_few_levels(play: Any, path: str) -> None:
    played = await play("bitget")
    key = "topic" if path == UNIFIED else "channel"
    client = await subscribed(played, path, {**ARGUMENTS[path], key: "books5"})
    await played.step(30, "BTC-USDT")
    _, *pushes = await client.everything()
    assert len(pushes) > 5
    assert {each["action"] for each in pushes} == {"snapshot"}
    true = await played.control("/book/BTC-USDT?depth=5")
    last = pushes[-1]["data"][0]
    for side in ("asks", "bids"):
        rows = last[side if path == CLASSIC else side[0]]
        assert rows == [row[:2] for row in true[side]]


async def test_both_generations_of_one_book_agree(play: Any) -> None:
    played = await play("bitget", levels=100)
    old, new = await subscribed(played, CLASSIC), await subscribed(played, UNIFIED)
    await played.step(20, "BTC-USDT")
    for left, right in zip((await old.everything())[2:], (await new.everything())[2:], strict=True):
        mine, other = left["data"][0], right["data"][0]
        assert (mine["asks"], mine["bids"]) == (other["a"], other["b"])
        assert (mine["seq"], mine["pseq"]) == (other["seq"], other["pseq"])


async def test_messages_have_the_shape_of_recorded_ones(play: Any, captures: Path) -> None:
    real: dict[str, set[str]] = {}
    for text in recorded_texts(captures / "bitget" / "arbobservatory-v2-v3-books-frames-2026.jsonl"):
        message = json.loads(text) if text != "pong" else {}
        if "action" in message:
            generation = CLASSIC if "channel" in message["arg"] else UNIFIED
            real.setdefault(f"{generation} {message['action']}", set()).update(paths(message))
    assert set(real) == {f"{CLASSIC} snapshot", f"{CLASSIC} update", f"{UNIFIED} update"}
    played = await play("bitget")
    mine: dict[str, set[str]] = {}
    for path in ARGUMENTS:
        client = await subscribed(played, path)
        await played.step(50, "BTC-USDT")
        for message in (await client.everything())[1:]:
            mine.setdefault(f"{path} {message['action']}", set()).update(paths(message))
    # the recorded update of the unified feed has no ask
    real[f"{UNIFIED} update"].add("data.[]a.[][]number")
    for name, expected in real.items():
        assert mine[name] == expected, name


@pytest.mark.parametrize(
    ("form", "path", "name"),
    [
        ("2024", CLASSIC, "tardisnode-v2-spot-samples.jsonl"),
        ("2025", CLASSIC, "gct-v2-spot-books-checksum-2025.jsonl"),
        ("2026-04", UNIFIED, "tardisnode-v3uta-spot-samples.jsonl"),
    ],
)
async def test_older_generations_have_the_shape_of_recorded_ones(
    play: Any, captures: Path, form: str, path: str, name: str
) -> None:
    real: dict[str, set[str]] = {}
    for text in recorded_texts(captures / "bitget" / name):
        message = json.loads(text)
        argument = message.get("arg", {})
        if "action" in message and "books" in (argument.get("channel"), argument.get("topic")):
            real.setdefault(message["action"], set()).update(paths(message))
    assert set(real) == {"snapshot", "update"}
    played = await play("bitget", options=(f"bitget.form={form}",))
    client = await subscribed(played, path)
    await played.step(50, "BTC-USDT")
    mine: dict[str, set[str]] = {}
    for message in (await client.everything())[1:]:
        mine.setdefault(message["action"], set()).update(paths(message))
    for action, expected in real.items():
        # the recorded ones are few: some have levels on one side only
        assert expected <= mine[action]
        assert all(each.endswith("[][]number") for each in mine[action] - expected)


async def test_a_restart_announces_itself_with_pseq_0(play: Any, follow: Any) -> None:
    played = await play("bitget")
    follower = await follow(played)
    await played.fault("restart", symbol="BTC-USDT")
    (message,) = await follower.client.everything()
    (data,) = message["data"]
    assert (message["action"], data["pseq"], data["a"], data["b"]) == ("update", 0, [], [])
    assert data["seq"] < follower.book.last
    follower.book.last = data["seq"]
    await played.step(10)
    await follower.catch_up()
    assert await follower.is_right()


async def test_faults_of_the_checksum(play: Any) -> None:
    played = await play("bitget", options=("bitget.form=2025",))
    client = await subscribed(played, CLASSIC)
    await client.everything()
    sums, true = [], []
    for fault in (None, "wrong_checksum", "zero_checksum"):
        if fault:
            await played.fault(fault, symbol="BTC-USDT", top=True)
        await played.step(12, "BTC-USDT")
        messages = await client.everything()
        sums.append([each["data"][0]["checksum"] for each in messages])
        true.append(checksum(await played.control("/book/BTC-USDT?depth=25")))
    assert [each[-1] for each in sums] == true
    assert (sums[0].count(0), sums[1].count(0), sums[2].count(0)) == (0, 0, 1)


async def test_who_does_not_ping_is_cut_though_data_flows(play: Any, follow: Any) -> None:
    played = await play("bitget", limits=True)
    follower = await follow(played)
    (connection,) = played.host.connections.values()
    connection.state["pinged"] = time.monotonic() - 121
    with pytest.raises(websockets.ConnectionClosed):
        await asyncio.wait_for(follower.client.connection.recv(), 5)


async def test_limits(play: Any) -> None:
    played = await play("bitget", limits=True)
    client = await subscribed(played, UNIFIED, *[BTC_UNIFIED] * 25)
    with pytest.raises(websockets.ConnectionClosed):
        await client.receive()
    client = await subscribed(played, CLASSIC, *[{**BTC_CLASSIC, "padding": "x" * 50}] * 60)
    assert (await client.receive())["code"] == 30016
    for _ in range(11):
        await client.send({"op": "unsubscribe", "args": []})
    assert (await client.receive())["code"] == 30007
    client = await subscribed(played, CLASSIC)
    connection = played.host.connections[max(played.host.connections)]
    await client.everything()
    connection.state["operations"] = [time.monotonic()] * 240
    await client.send({"op": "subscribe", "args": [BTC_CLASSIC]})
    assert (await client.receive())["code"] == 30006


async def test_symbols_and_book_over_rest(play: Any) -> None:
    played = await play("bitget")
    answer = await played.get("/api/v2/spot/public/symbols")
    assert answer["code"] == "00000"
    rows = {row["symbol"]: row for row in answer["data"]}
    assert {name: row["status"] for name, row in rows.items()} == {
        "BTCUSDT": "online",
        "ETHUSDT": "online",
        "HALTEDUSDT": "halt",
    }
    btc = rows["BTCUSDT"]
    assert (btc["baseCoin"], btc["quoteCoin"]) == ("BTC", "USDT")
    assert (btc["pricePrecision"], btc["quantityPrecision"]) == ("2", "5")
    book = (await played.get("/api/v2/spot/market/orderbook", symbol="BTCUSDT", type="step0", limit="200"))[
        "data"
    ]
    true = await played.control("/book/BTC-USDT?depth=150")
    assert list(book) == ["asks", "bids", "ts"]
    assert book["bids"] == [row[:2] for row in true["bids"]]
    status, _, text = await played.raw("/api/v2/spot/market/orderbook", symbol="NOPE")
    assert (status, json.loads(text)["code"]) == (400, "40034")


async def test_an_option_that_does_not_exist_is_refused(play: Any) -> None:
    from appliance.simulator import SimulatorError

    for option, said in (("bitget.form=1999", "bitget.form=2026-09|"), ("nosuch.a=b", "EXCHANGE.NAME=VALUE")):
        with pytest.raises(SimulatorError) as refused:
            await play("bitget", options=(option,))
        assert said in str(refused.value)
        assert refused.value.code == 64
