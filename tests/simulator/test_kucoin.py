"""KuCoin's conversation in both generations, as its documentation and recordings have it."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import websockets
from message_shapes import paths

BTC = {"id": "p1", "channel": "obu", "tradeType": "SPOT", "symbol": "BTC-USDT", "depth": "increment@10ms"}
LEVEL2 = "/market/level2:"


async def token(played: Any) -> dict[str, Any]:
    url = played.where["rest_url"] + "/api/v1/bullet-public"
    async with played.session.post(url, ssl=played.context) as answer:
        assert answer.status == 200
        body: dict[str, Any] = json.loads(await answer.text())
    assert body["code"] == "200000"
    return dict(body["data"])


async def classic(played: Any, *symbols: str) -> Any:
    """A client of the older generation, welcomed and subscribed."""
    data = await token(played)
    (server,) = data["instanceServers"]
    path = "/" + server["endpoint"].split("/", 3)[3]
    client = await played.connect(f"{path}?token={data['token']}&connectId=me")
    assert await client.text() == '{"id":"me","type":"welcome"}'
    if symbols:
        await client.send(level2(*symbols))
        assert await client.text() == '{"id":"1","type":"ack"}'
    return client


def level2(*symbols: str, kind: str = "subscribe", response: bool = True) -> dict[str, Any]:
    topic = LEVEL2 + ",".join(symbols)
    return {"id": 1, "type": kind, "topic": topic, "privateChannel": False, "response": response}


async def pro(played: Any, **more: Any) -> Any:
    """A client of the newer generation, welcomed and subscribed."""
    client = await played.connect()
    welcome = json.loads(await client.text())
    assert list(welcome) == ["sessionId", "message", "pingInterval"]
    assert (welcome["message"], welcome["pingInterval"]) == ("welcome", 18000)
    await client.send({**BTC, "action": "SUBSCRIBE", **more})
    return client


async def test_pro_frames_are_binary_and_acknowledged(play: Any) -> None:
    played = await play("kucoin")
    client = await pro(played)
    frame = await client.connection.recv()
    assert frame == b'{"id":"p1","result":true}'
    assert isinstance(await client.connection.recv(), bytes)
    await client.send({**BTC, "action": "unsubscribe", "id": "2"})
    assert await client.text() == '{"id":"2","result":true}'
    await played.step(3)
    assert await client.everything() == []


async def test_pro_snapshot_and_deltas(play: Any) -> None:
    played = await play("kucoin")
    client = await pro(played)
    await played.step(150, "BTC-USDT")
    _, *messages = await client.everything()
    last = None
    sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    for message in messages:
        assert list(message) == ["T", "dp", "t", "P", "d"]
        assert (message["T"], message["dp"]) == ("obu.SPOT", "increment@10ms")
        data = message["d"]
        assert data["M"] % 1_000_000 == 0
        assert message["P"] > data["M"] > 1 << 53
        if last is None:
            assert (message["t"], data["O"]) == ("snapshot", data["C"])
        else:
            assert message["t"] == "delta"
            assert data["O"] == last + 1 <= data["C"]
        last = data["C"]
        for name, side in sides.items():
            for price, size in data[name]:
                side[price] = size
                if size == "0":
                    del side[price]
            assert len(side) == 500
    true = await played.control("/book/BTC-USDT?depth=500")
    assert sides["b"] == {row[0]: row[1] for row in true["bids"]}
    assert sides["a"] == {row[0]: row[1] for row in true["asks"]}


@pytest.mark.parametrize("depth", ["1", "5", "50"])
async def test_pro_best_levels_are_whole_pushes(play: Any, depth: str) -> None:
    played = await play("kucoin")
    client = await pro(played, depth=depth)
    await client.receive()
    for _ in range(2):
        message = await asyncio.wait_for(client.receive(), 3)
        assert (message["t"], message["dp"]) == ("snapshot", depth)
        assert len(message["d"]["a"]) == len(message["d"]["b"]) == int(depth)
    await played.step(20, "BTC-USDT")
    true = await played.control(f"/book/BTC-USDT?depth={depth}")
    async with asyncio.timeout(5):
        while message["d"]["b"] != [row[:2] for row in true["bids"]]:
            message = await client.receive()
    assert message["d"]["a"] == [row[:2] for row in true["asks"]]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"symbol": ["BTC-USDT", "ETH-USDT"]}, "symbols are not supported for topic obu"),
        ({"channel": "ticker"}, "ticker"),
        ({"tradeType": "FUTURES"}, "obu"),
        ({"depth": "7"}, "depth 7"),
        ({"action": "JUMP"}, "JUMP"),
    ],
)
async def test_pro_refusals_give_a_reason(play: Any, wrong: dict[str, Any], reason: str) -> None:
    client = await pro(await play("kucoin"), **wrong)
    answer = await client.receive()
    assert list(answer) == ["id", "result", "reason"]
    assert (answer["id"], answer["result"]) == ("p1", False)
    assert reason in answer["reason"]


async def test_pro_acknowledges_unknown_symbols_and_stays_silent(play: Any) -> None:
    played = await play("kucoin")
    client = await pro(played, symbol="NOPE-USDT")
    await played.step(5)
    assert await client.everything() == [{"id": "p1", "result": True}]


async def test_pro_pings_are_answered_but_not_twice_a_second(play: Any) -> None:
    played = await play("kucoin", limits=True)
    client = await pro(played)
    await client.everything()
    await client.send({"id": "p32", "type": "ping"})
    seen = [text async for text in client.connection]
    assert b'"pong"' not in b"".join(seen)
    assert client.connection.close_code == 1000


async def test_pro_pong(play: Any) -> None:
    client = await (await play("kucoin")).connect()
    await client.receive()
    await client.send({"id": "p32", "type": "ping"})
    text = await client.text()
    assert re.fullmatch(r'{"type":"pong","id":"p32","ts":\d{19}}', text)


async def test_limits_of_messages_and_topics(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.simulator.exchanges.kucoin._PRO_TOPICS_MAX", 1)
    monkeypatch.setattr("appliance.simulator.exchanges.kucoin._CLASSIC_TOPICS_MAX", 1)
    monkeypatch.setattr("appliance.simulator.exchanges.kucoin._TOPICS_PER_FRAME", 2)
    played = await play("kucoin", limits=True)
    client = await pro(played)
    assert (await client.receive())["result"] is True
    await client.send({**BTC, "action": "SUBSCRIBE", "symbol": "ETH-USDT"})
    while "result" not in (answer := await client.receive()):
        pass
    assert answer["reason"] == "topic limit"
    older = await classic(played)
    for symbols, most in ((["BTC-USDT"] * 3, "2 per time"), (["BTC-USDT", "ETH-USDT"], "1 per session")):
        await older.send(level2(*symbols))
        answer = await older.receive()
        assert (answer["code"], answer["data"].endswith(most)) == (509, True)
    played.host.connections[2].state["messages"].most = 0
    await older.send(level2("BTC-USDT"))
    assert (await older.receive())["code"] == 429


async def test_without_pings_the_server_hangs_up(play: Any) -> None:
    played = await play("kucoin", limits=True)
    reading = await classic(played, "BTC-USDT")
    idle = await played.connect()
    await idle.receive()
    following = await pro(played)
    for connection in played.host.connections.values():
        connection.state["pinged_at"] -= 61.0
    assert await asyncio.wait_for(reading.receive(), 3) == {
        "id": "",
        "type": "error",
        "code": 400,
        "data": "ping timeout",
    }
    for client in (reading, idle):
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(client.receive(), 3)
    await (await following.connection.ping())


async def test_the_token_opens_the_classic_socket(play: Any) -> None:
    played = await play("kucoin")
    data = await token(played)
    assert list(data) == ["token", "instanceServers"]
    (server,) = data["instanceServers"]
    assert server == {
        "endpoint": f"wss://localhost:{played.host.port}/endpoint",
        "encrypt": True,
        "protocol": "websocket",
        "pingInterval": 18000,
        "pingTimeout": 10000,
    }
    for wrong in ("", "?token=nosuch&connectId=7"):
        client = await played.connect("/endpoint" + wrong)
        answer = await client.receive()
        assert (answer["type"], answer["data"]) == ("error", "token is expired")
        with pytest.raises(websockets.ConnectionClosed):
            await client.receive()


async def test_classic_conversation(play: Any) -> None:
    played = await play("kucoin")
    client = await classic(played, "BTC-USDT", "ETH-USDT")
    await played.step(2)
    await client.send({"id": "1545910590801", "type": "ping"})
    seen = set()
    while "topic" in (message := await client.receive()):
        seen.add(message["topic"])
    assert seen == {LEVEL2 + "BTC-USDT", LEVEL2 + "ETH-USDT"}
    assert list(message) == ["id", "type", "timestamp"]
    assert len(str(message["timestamp"])) == 16
    await client.send(level2("BTC-USDT", kind="unsubscribe", response=False))
    await client.send(level2("NOPE-USDT"))
    answer = await client.receive()
    assert list(answer) == ["id", "type", "code", "data"]
    assert answer["code"] == 404
    await client.send({"id": "2", "type": "open"})
    assert (await client.receive())["code"] == 415
    await played.step(3, "BTC-USDT")
    assert await client.everything() == []


def joined(snapshot: Any, updates: list[Any]) -> tuple[dict[str, dict[str, str]], int, int]:
    """A REST snapshot with the updates that follow it, the last sequence, and how many changed nothing."""
    start, last, nothings = int(snapshot["sequence"]), None, 0
    sides = {"bids": dict(snapshot["bids"]), "asks": dict(snapshot["asks"])}
    assert updates[0]["sequenceStart"] <= start + 1
    for data in updates:
        assert last is None or data["sequenceStart"] == last + 1
        last, numbers = data["sequenceEnd"], []
        for name, side in sides.items():
            for price, size, sequence in data["changes"][name]:
                numbers.append(int(sequence))
                if price == "0":
                    assert (size, data["sequenceStart"]) == ("0", data["sequenceEnd"])
                    nothings += 1
                elif int(sequence) > start:
                    side[price] = size
                    if size == "0":
                        del side[price]
        assert sorted(numbers) == list(range(data["sequenceStart"], data["sequenceEnd"] + 1))
        if data["sequenceEnd"] > start:
            assert max(map(float, sides["bids"])) < min(map(float, sides["asks"]))
    assert last is not None
    return sides, last, nothings


async def test_classic_level2_joins_a_rest_snapshot(play: Any) -> None:
    played = await play("kucoin", levels=80)
    client = await classic(played, "BTC-USDT")
    await played.step(30, "BTC-USDT")
    answer = await played.get("/api/v1/market/orderbook/level2_100", symbol="BTC-USDT")
    snapshot = answer["data"]
    assert list(snapshot) == ["time", "sequence", "bids", "asks"]
    await played.step(200, "BTC-USDT")
    messages = await client.everything()
    for message in messages:
        assert (message["type"], message["topic"]) == ("message", LEVEL2 + "BTC-USDT")
        assert message["subject"] == "trade.l2update"
    sides, last, nothings = joined(snapshot, [message["data"] for message in messages])
    assert 30 < nothings < 110
    true = await played.control("/book/BTC-USDT")
    assert last == true["sequence"]["sequence"]
    for name, side in sides.items():
        assert side == {row[0]: row[1] for row in true[name]}


@pytest.mark.parametrize("fault", ["drop", "reorder"])
async def test_classic_losses_break_the_sequence(play: Any, fault: str) -> None:
    played = await play("kucoin")
    client = await classic(played, "BTC-USDT")
    await played.step(2, "BTC-USDT")
    await played.fault(fault, symbol="BTC-USDT")
    await played.step(3, "BTC-USDT")
    ends = [
        (each["data"]["sequenceStart"], each["data"]["sequenceEnd"]) for each in await client.everything()
    ]
    jumps = [start - end for (_, end), (start, _) in itertools.pairwise(ends)]
    assert sum(jump != 1 for jump in jumps) >= 1


async def test_classic_malformed_and_crossed(play: Any) -> None:
    played = await play("kucoin")
    client = await classic(played, "BTC-USDT")
    await played.fault("malformed")
    await played.step(1, "BTC-USDT")
    assert "not-a-price" in json.dumps(await client.everything())
    await played.fault("crossed")
    await played.step(1, "BTC-USDT")
    bids = [float(row[0]) for each in await client.everything() for row in each["data"]["changes"]["bids"]]
    true = await played.control("/book/BTC-USDT?depth=1")
    assert max(bids) > float(true["asks"][0][0])


async def test_books_and_symbols_over_rest(play: Any) -> None:
    played = await play("kucoin", limits=True)
    status, headers, text = await played.raw("/api/v1/market/orderbook/level2_20", symbol="BTC-USDT")
    assert (status, headers["gw-ratelimit-remaining"]) == (200, "1998")
    assert len(json.loads(text)["data"]["bids"]) == 20
    for path in ("/api/v3/market/orderbook/level2", "/api/ua/v1/market/orderbook"):
        assert (await played.raw(path, symbol="BTC-USDT"))[0] == 401
    assert (await played.raw("/api/v1/market/orderbook/level2_20", symbol="NOPE"))[0] == 400
    rows = (await played.get("/api/v2/symbols"))["data"]
    assert [(row["symbol"], row["enableTrading"]) for row in rows] == [
        ("BTC-USDT", True),
        ("ETH-USDT", True),
        ("HALTED-USDT", False),
    ]
    btc = rows[0]
    assert (btc["baseCurrency"], btc["priceIncrement"], btc["baseIncrement"]) == ("BTC", "0.01", "0.00001")
    newer = (await played.get("/api/ua/v1/market/instrument", tradeType="SPOT"))["data"]["list"]
    assert [(row["symbol"], row["tradingStatus"]) for row in newer][1:] == [
        ("ETH-USDT", "1"),
        ("HALTED-USDT", "0"),
    ]
    assert (newer[0]["tickSize"], newer[0]["baseOrderStep"]) == ("0.01", "0.00001")
    played.host.exchange._weight.most = 12
    status, _, text = await played.raw("/api/v2/symbols")
    assert (status, json.loads(text)["code"]) == (429, "429000")


def recorded(path: Path) -> list[Any]:
    if not path.exists():
        pytest.skip(f"no recording {path}")
    return [json.loads(json.loads(line)["raw"]) for line in path.read_text().splitlines()]


async def test_pro_messages_have_the_shape_of_recorded_ones(play: Any, captures: Path) -> None:
    def kind(message: dict[str, Any]) -> str:
        return str(message.get("t") or message.get("type") or message.get("message") or message.get("result"))

    real: dict[str, set[str]] = {}
    for message in recorded(captures / "kucoin" / "arbobservatory-uta-obu-futures-frames-2026.jsonl"):
        real.setdefault(kind(message), set()).update(paths(message))
    # the recorded deltas changed bids only
    real["delta"] |= {path.replace("d.b.", "d.a.") for path in real["delta"]}
    played = await play("kucoin")
    client = await played.connect()
    mine: dict[str, set[str]] = {}
    await client.send({**BTC, "action": "SUBSCRIBE", "symbol": ["BTC-USDT"]})
    await client.send({**BTC, "action": "SUBSCRIBE"})
    await played.step(30, "BTC-USDT")
    await client.send({"id": "p32", "type": "ping"})
    while "pong" not in mine:
        text = await client.text()
        if '"d":' in text:
            assert re.match(
                r'{"T":"obu.SPOT", "dp":"increment@10ms", "t":"(snapshot|delta)", "P":\d+, "d":{"a"', text
            )
        message = json.loads(text)
        mine.setdefault(kind(message), set()).update(paths(message))
    assert mine.keys() == {"welcome", "True", "False", "snapshot", "delta", "pong"}
    for name, shape in mine.items():
        assert shape == real[name], name


async def test_classic_messages_have_the_shape_of_recorded_ones(play: Any, captures: Path) -> None:
    samples = recorded(captures / "kucoin" / "cryptomsgparser-samples-2021-2022.jsonl")
    (newest,) = [
        paths(each) for each in samples if each.get("subject") == "trade.l2update" and "time" in each["data"]
    ]
    # the sample changed bids only
    newest |= {path.replace("bids", "asks") for path in newest if ">" not in path}
    played = await play("kucoin")
    client = await classic(played, "BTC-USDT")
    await played.step(30, "BTC-USDT")
    mine: set[str] = set()
    for message in await client.everything():
        mine |= paths(message)
    assert mine == newest


def test_the_classic_client_of_these_tests_follows_the_real_exchange(captures: Path) -> None:
    recording = captures / "kucoin" / "cryptofeed-classic-spot-level2-2021.jsonl.gz"
    if not recording.exists():
        pytest.skip(f"no recording {recording}")
    snapshots: dict[str, Any] = {}
    updates: dict[str, list[Any]] = {}
    for line in map(json.loads, gzip.decompress(recording.read_bytes()).decode().splitlines()):
        message = json.loads(line["raw"])
        if line.get("rest"):
            snapshots[line["url"].split("symbol=")[1]] = message["data"]
        elif message.get("subject") == "trade.l2update":
            updates.setdefault(message["data"]["symbol"], []).append(message["data"])
    nothings = [joined(snapshots[symbol], updates[symbol])[2] for symbol in snapshots]
    assert (len(nothings), sum(nothings)) == (9, 1355)
