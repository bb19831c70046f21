"""Gate's conversation in both generations, as its documentation and recordings have it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import websockets
from dialects import DIALECTS
from message_shapes import paths, recorded_texts

OBU, UPDATE = "spot.obu", "spot.order_book_update"
# the push of 2025-08-01 that the documentation of tardis shows, levels cut
REAL_FULL = (
    '{"channel":"spot.obu","result":{"t":1754006400261,"full":true,"s":"ob.BTC_USDT.400","u":25847113075,'
    '"b":[["115765.1","0.337839"]],"a":[["115765.2","0.631155"]]},"time_ms":1754006400264,"event":"update"}'
)
REAL_DELTA = (
    '{"channel":"spot.obu","result":{"t":1754006460600,"s":"ob.BTC_USDT.400","u":25847129996,"U":25847129970,'
    '"b":[["115717.7","0"]],"a":[["115742.9","0"]]},"time_ms":1754006460601,"event":"update"}'
)


async def ask(client: Any, channel: str, *payload: str, event: str = "subscribe", **more: Any) -> None:
    await client.send(
        {"time": int(time.time()), "channel": channel, "event": event, "payload": list(payload), **more}
    )


def joined(book: Any, updates: list[Any], depth: int) -> tuple[dict[str, dict[str, str]], int]:
    """A REST snapshot with the updates that follow it, cut to the window; how many followed."""
    sides = {"b": dict(book["bids"]), "a": dict(book["asks"])}
    last, chained, applied = book["id"], None, 0
    for data in updates:
        assert chained is None or data["U"] == chained + 1
        chained = data["u"]
        if data["u"] <= last:
            continue
        assert data["U"] <= last + 1 <= data["u"]
        last = data["u"]
        applied += 1
        for name, sign in (("b", -1), ("a", 1)):
            sides[name].update(dict(data[name]))
            rows = [row for row in sides[name].items() if float(row[1])]
            sides[name] = dict(sorted(rows, key=lambda row: sign * float(row[0]))[:depth])
        assert max(map(float, sides["b"])) < min(map(float, sides["a"]))
    return sides, applied


async def test_several_streams_in_one_request(play: Any) -> None:
    played = await play("gateio")
    client = await played.connect()
    await ask(client, OBU, "ob.BTC_USDT.400", "ob.ETH_USDT.50", id=7)
    messages = await client.everything()
    (answer,) = [each for each in messages if each["event"] == "subscribe"]
    assert list(answer) == [
        *(
            "time",
            "time_ms",
            "id",
            "conn_id",
            "trace_id",
            "channel",
            "event",
            "payload",
            "result",
            "requestId",
        )
    ]
    assert (answer["id"], answer["channel"], answer["result"]) == (7, OBU, {"status": "success"})
    assert answer["payload"] == ["ob.BTC_USDT.400", "ob.ETH_USDT.50"]
    assert re.fullmatch(r"[0-9a-f]{16}", answer["conn_id"])
    assert re.fullmatch(r"[0-9a-f]{32}", answer["trace_id"])
    books = [each["result"] for each in messages if each["event"] == "update"]
    assert [(each["s"], len(each["b"])) for each in books] == [
        ("ob.BTC_USDT.400", 400),
        ("ob.ETH_USDT.50", 50),
    ]


async def test_the_whole_book_may_come_before_the_acknowledgement(play: Any) -> None:
    played = await play("gateio")
    first = set()
    for _ in range(12):
        client = await played.connect()
        await ask(client, OBU, "ob.BTC_USDT.50")
        first.add((await client.receive())["event"])
    assert first == {"subscribe", "update"}


async def test_deltas_chain_and_may_carry_no_level(play: Any) -> None:
    played = await play("gateio")
    client = await played.connect()
    await ask(client, OBU, "ob.BTC_USDT.50")
    await played.step(300, "BTC-USDT")
    texts = []
    while len(texts) < 301:
        text = await client.text()
        if '"event":"update"' in text:
            texts.append(text)
    last = None
    sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    keys = set()
    for text in texts:
        message = json.loads(text)
        assert list(message) == ["channel", "result", "time_ms", "event"]
        data = message["result"]
        keys.add(tuple(data))
        if last is None:
            assert tuple(data) == ("t", "full", "s", "u", "b", "a")
            assert data["full"] is True
        else:
            assert data["U"] == last + 1 <= data["u"]
        last = data["u"]
        for name, side in sides.items():
            for price, size in data.get(name, []):
                assert not any(re.search(r"\.\d*0$|\.$", number) for number in (price, size))
                side[price] = size
                if size == "0":
                    del side[price]
            assert len(side) == 50
    assert {key[3:] for key in keys if "U" in key} == {
        ("U",),
        ("U", "b"),
        ("U", "a"),
        ("U", "b", "a"),
    }
    true = await played.control("/book/BTC-USDT?depth=50")
    assert last == true["sequence"]["u"]
    assert sides["b"] == {row[0]: row[1] for row in true["bids"]}
    assert sides["a"] == {row[0]: row[1] for row in true["asks"]}


def test_a_recorded_pair_has_these_shapes() -> None:
    full, delta = json.loads(REAL_FULL), json.loads(REAL_DELTA)
    assert list(full["result"]) == ["t", "full", "s", "u", "b", "a"]
    assert list(delta["result"]) == ["t", "s", "u", "U", "b", "a"]


async def test_obu_has_the_shape_of_real_pushes(play: Any) -> None:
    played = await play("gateio")
    client = await played.connect()
    await ask(client, OBU, "ob.BTC_USDT.400")
    await played.step(50, "BTC-USDT")
    mine: list[set[str]] = [set(), set()]
    for message in await client.everything():
        data = message["result"]
        if "full" in data or ("b" in data and "a" in data):
            mine["U" in data].update(paths(message))
    assert mine == [paths(json.loads(REAL_FULL)), paths(json.loads(REAL_DELTA))]


async def test_unknown_streams_are_acknowledged_and_silent(play: Any) -> None:
    played = await play("gateio")
    client = await played.connect()
    await ask(client, OBU, "ob.NOPE_USDT.400", "ob.BTC_USDT.100", "BTC_USDT")
    await played.step(5)
    (answer,) = await client.everything()
    assert answer["result"] == {"status": "success"}


async def test_errors(play: Any) -> None:
    played = await play("gateio")
    client = await played.connect()
    await ask(client, OBU, "ob.BTC_USDT.50")
    await client.everything()
    await ask(client, OBU, "ob.BTC_USDT.50")
    answer = await client.receive()
    assert list(answer)[-2:] == ["error", "result"]
    assert answer["error"] == {"code": 2, "message": "Alert sub ob.BTC_USDT.50"}
    assert answer["result"] == {"status": "fail"}
    for channel, payload, code in (
        (UPDATE, ["NOPE_USDT", "100ms"], 2),
        (UPDATE, ["BTC_USDT", "50ms"], 2),
        (UPDATE, ["BTC_USDT", "ETH_USDT", "100ms"], 2),
        ("spot.nonsense", ["BTC_USDT"], 2),
    ):
        await ask(client, channel, *payload)
        assert (await client.receive())["error"]["code"] == code
    await client.send("{")
    assert (await client.receive())["error"]["code"] == 1
    await ask(client, OBU, "ob.BTC_USDT.50", event="jump")
    assert (await client.receive())["error"]["code"] == 2
    await played.fault("refuse_subscription", symbol="ETH-USDT", count=1)
    await ask(client, OBU, "ob.ETH_USDT.50")
    assert (await client.receive())["error"]["code"] == 3


async def test_the_clock_of_a_request_must_be_right(play: Any) -> None:
    played = await play("gateio", limits=True)
    client = await played.connect()
    for sent, answered in (
        (time.time(), "spot.pong"),
        (time.time() * 1000, "spot.pong"),
        (time.time() - 100, "spot.ping"),
        (None, "spot.ping"),
    ):
        await client.send({"time": sent and int(sent), "channel": "spot.ping"})
        answer = await client.receive()
        assert answer["channel"] == answered
        assert (answer.get("error") is None) == (answered == "spot.pong")


async def test_an_idle_connection_without_subscription_is_cut(play: Any) -> None:
    played = await play("gateio", limits=True)
    idle, used = await played.connect(), await played.connect()
    await ask(used, OBU, "ob.BTC_USDT.50")
    for connection in played.host.connections.values():
        connection.last_received -= 30.0
        connection.opened -= 30.0
    with pytest.raises(websockets.ConnectionClosedError) as closed:
        await asyncio.wait_for(idle.receive(), 5)
    assert closed.value.rcvd is None
    await (await used.connection.ping())


@pytest.mark.parametrize(("speed", "depth"), [("100ms", 100), ("20ms", 20)])
async def test_order_book_update_joins_a_rest_snapshot(play: Any, speed: str, depth: int) -> None:
    played = await play("gateio")
    client = await played.connect()
    await ask(client, UPDATE, "BTC_USDT", speed)
    await played.step(20, "BTC-USDT")
    book = await played.get(
        "/api/v4/spot/order_book", currency_pair="BTC_USDT", limit=str(depth), with_id="true"
    )
    await played.step(200, "BTC-USDT")
    answer, first, *updates = await client.everything()
    assert answer["result"] == {"status": "success"}
    assert first["result"]["U"] == first["result"]["u"]
    assert len(first["result"]["b"]) == len(first["result"]["a"]) == depth
    sides, applied = joined(book, [message["result"] for message in updates], depth)
    assert applied > 50
    true = await played.control(f"/book/BTC-USDT?depth={depth}")
    assert sides["b"] == {row[0]: row[1] for row in true["bids"]}
    assert sides["a"] == {row[0]: row[1] for row in true["asks"]}


async def test_whole_books_that_nobody_asked_for(play: Any, follow: Any) -> None:
    played = await play("gateio")
    follower = await follow(played)
    await ask(follower.client, UPDATE, "BTC_USDT", "20ms")
    await follower.client.everything()
    await played.fault("restart", symbol="BTC-USDT")
    await played.step(3, "BTC-USDT")
    messages = await follower.client.everything()
    wholes = [each for each in messages if each["result"].get("full")]
    assert [each["channel"] for each in wholes] == [OBU, UPDATE]
    assert wholes[1]["result"]["l"] == "20"
    for message in messages:
        if message["channel"] == OBU:
            follower.book.apply(message)
    assert await follower.is_right()


async def test_deep_rest_snapshots_come_out_of_a_cache(play: Any) -> None:
    played = await play("gateio", levels=1200)
    url, pair = "/api/v4/spot/order_book", {"currency_pair": "BTC_USDT", "with_id": "true"}
    before = await played.get(url, limit="1000", **pair)
    assert list(before) == ["id", "current", "update", "asks", "bids"]
    assert len(before["asks"]) == len(before["bids"]) == 1000
    await played.step(5, "BTC-USDT")
    assert (await played.get(url, limit="1000", **pair))["id"] == before["id"]
    fresh = await played.get(url, limit="100", **pair)
    assert fresh["id"] == (await played.control("/book/BTC-USDT"))["sequence"]["u"] > before["id"]
    played.host.exchange._cache["BTC_USDT", 1000] = (time.monotonic() - 31, b"{}")
    assert (await played.get(url, limit="1000", **pair))["id"] == fresh["id"]
    assert "id" not in await played.get(url, currency_pair="BTC_USDT")
    assert len((await played.get(url, currency_pair="BTC_USDT"))["bids"]) == 10
    for query in ({"currency_pair": "NOPE"}, {"currency_pair": "BTC_USDT", "limit": "1001"}):
        assert (await played.raw(url, **query))[0] == 400


async def test_currency_pairs_and_their_limit(play: Any) -> None:
    played = await play("gateio", limits=True)
    rows = await played.get("/api/v4/spot/currency_pairs")
    assert [(row["id"], row["trade_status"]) for row in rows] == [
        ("BTC_USDT", "tradable"),
        ("ETH_USDT", "tradable"),
        ("HALTED_USDT", "untradable"),
    ]
    btc = rows[0]
    assert (btc["base"], btc["quote"], btc["precision"], btc["amount_precision"]) == ("BTC", "USDT", 2, 5)
    played.host.exchange._requests["/api/v4/spot/currency_pairs"].most = 2
    statuses = [(await played.raw("/api/v4/spot/currency_pairs"))[0] for _ in range(2)]
    assert statuses == [200, 429]


@pytest.mark.parametrize("capture", ["tardisnode-v4-spot-samples.jsonl"])
async def test_updates_have_the_shape_of_recorded_ones(play: Any, captures: Path, capture: str) -> None:
    recording = captures / "gateio" / capture
    if not recording.exists():
        pytest.skip(f"no recording {recording}")
    real: set[str] = set()
    for text in recorded_texts(recording):
        message = json.loads(text)
        if message["channel"] == UPDATE and message["event"] == "update":
            real |= paths(message)
    # the sample has no asks
    real |= {path.replace("result.b.", "result.a.") for path in real}
    played = await play("gateio")
    client = await played.connect()
    await ask(client, UPDATE, "BTC_USDT", "100ms")
    await played.step(30, "BTC-USDT")
    mine: set[str] = set()
    for message in (await client.everything())[1:]:
        mine |= paths(message)
    assert mine == real


def test_the_clients_of_these_tests_follow_the_real_exchange(rebuild: Any, captures: Path) -> None:
    """Recorded books: obu (of the futures twin, which has the same pushes) and spot updates with REST."""
    obu = captures / "gateio" / "fastmm-v4-futures-obu-2026.jsonl"
    spot = captures / "gateio" / "cryptofeed-spot-v4-orderbookupdate-2021.jsonl"
    if not obu.exists() or not spot.exists():
        pytest.skip(f"no recordings in {captures}")
    books: dict[str, Any] = {}
    for text in recorded_texts(obu):
        message = json.loads(text)
        if DIALECTS["gateio"].is_book(message) and message["channel"] == "futures.obu":
            name = message["result"]["s"].split(".")[1]
            book = books.setdefault(name, rebuild("gateio", name))
            book.apply(message)
            assert len(book.bids) == len(book.asks) == 50
    assert sum(book.applied for book in books.values()) == 53
    snapshots: dict[str, Any] = {}
    updates: dict[str, list[Any]] = {}
    for line in map(json.loads, spot.read_text().splitlines()):
        message = json.loads(line["raw"])
        if line.get("rest"):
            snapshots[line["url"].split("currency_pair=")[1].split("&")[0]] = message
        elif (message["channel"], message["event"]) == (UPDATE, "update"):
            updates.setdefault(message["result"]["s"], []).append(message["result"])
    followed = [joined(snapshots[pair], updates[pair], 100)[1] for pair in snapshots]
    assert len(followed) == 10
    assert sum(followed) > 100
