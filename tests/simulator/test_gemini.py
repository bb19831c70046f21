"""Gemini's conversation in both generations, as its documentation and recordings have it."""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets
from dialects import DIALECTS
from message_shapes import paths, recorded_texts

V2 = "/v2/marketdata"
STREAMS = ["btcusdt@depth@100ms", "ethusdt@depth@100ms"]


def level2(*symbols: str, kind: str = "subscribe") -> dict[str, Any]:
    return {"type": kind, "subscriptions": [{"name": "l2", "symbols": list(symbols)}]}


async def streams(played: Any, *names: str, path: str | None = None) -> Any:
    client = await played.connect(path)
    await client.send({"id": 1, "method": "subscribe", "params": list(names)})
    return client


async def test_the_acknowledgement_comes_after_the_snapshots(play: Any) -> None:
    client = await streams(await play("gemini"), *STREAMS)
    first, second = json.loads(await client.text()), json.loads(await client.text())
    for message, symbol in ((first, "btcusdt"), (second, "ethusdt")):
        assert list(message) == ["e", "E", "s", "U", "u", "b", "a"]
        assert (message["e"], message["s"]) == ("depthUpdate", symbol)
        assert message["U"] == message["u"] > 1 << 50
        assert message["E"] > 1 << 53
        assert len(message["b"]) == len(message["a"]) == 600
    assert await client.text() == '{"id":1,"status":200}'


async def test_diffs_overlap_by_one_id(play: Any) -> None:
    played = await play("gemini")
    client = await streams(played, STREAMS[0])
    snapshot, _ = [await client.receive() for _ in range(2)]
    await played.step(80, "BTC-USDT")
    previous = None
    for message in await client.everything():
        assert message["u"] > message["U"]
        if previous is None:
            assert message["U"] <= snapshot["u"] < message["u"]
        else:
            assert message["U"] == previous
        previous = message["u"]
        for price, quantity in message["b"] + message["a"]:
            assert re.fullmatch(r"\d+\.\d{4}", price)
            assert re.fullmatch(r"\d+\.\d{10}", quantity)


async def test_the_first_diff_may_begin_below_the_snapshot(play: Any) -> None:
    played = await play("gemini")
    below = set()
    for _ in range(12):
        client = await streams(played, STREAMS[0])
        snapshot = await client.receive()
        await played.step(1, "BTC-USDT")
        below.add((await client.everything())[-1]["U"] < snapshot["u"])
    assert below == {True, False}


async def test_who_does_not_ask_for_snapshots_gets_none(play: Any) -> None:
    played = await play("gemini")
    client = await streams(played, STREAMS[0], path="/")
    assert await client.receive() == {"id": 1, "status": 200}
    await played.step(1, "BTC-USDT")
    assert (await client.receive())["e"] == "depthUpdate"


async def test_the_slow_stream_gathers_a_second(play: Any) -> None:
    played = await play("gemini")
    fast = await streams(played, "btcusdt@depth@100ms")
    slow = await streams(played, "btcusdt@depth")
    start = (await slow.everything())[0]
    await fast.everything()
    await played.step(10, "BTC-USDT")
    first, *_, last = await fast.everything()
    gathered = await asyncio.wait_for(slow.receive(), 5)
    assert gathered["U"] == first["U"] <= start["u"]
    assert gathered["u"] == last["u"]
    prices = [row[0] for row in gathered["b"]]
    assert len(prices) == len(set(prices))


async def test_one_bad_stream_refuses_the_lot(play: Any) -> None:
    played = await play("gemini")
    client = await streams(played, STREAMS[0], "nosuch@depth")
    assert await client.receive() == {
        "id": 1,
        "status": 400,
        "error": {"code": -1013, "msg": "Invalid stream name: nosuch@depth"},
    }
    assert (await played.control("/counts"))["subscriptions"]["BTC-USDT"] == 0


async def test_ping_time_and_unknown_methods(play: Any) -> None:
    client = await (await play("gemini")).connect()
    await client.send({"id": 100, "method": "ping"})
    assert await client.receive() == {"id": 100, "status": 200}
    await client.send({"id": "time", "method": "time"})
    answer = await client.receive()
    assert len(str(answer["result"]["serverTime"])) == 13
    for wrong in ({"id": 7, "method": "jump"}, "{"):
        await client.send(wrong)
        assert (await client.receive())["status"] == 400


async def test_weights_and_connection_attempts_are_counted(play: Any) -> None:
    played = await play("gemini", limits=True)
    client = await played.connect()
    played.host.connections[1].state["weight"].most = 2
    for number in range(3):
        await client.send({"id": number, "method": "ping"})
    assert [(await client.receive())["status"] for _ in range(3)] == [200, 200, 429]
    played.host.exchange._connects.most = 1
    with pytest.raises(websockets.InvalidStatus) as refused:
        await played.connect()
    assert refused.value.response.status_code == 429


async def test_the_server_pings_where_ids_are_and_beats_where_they_are_not(play: Any) -> None:
    played = await play("gemini", limits=True)
    played.host.exchange.ping_seconds = 1.0
    played.host.exchange.pong_seconds = 1.0
    played.host.exchange._beaten_at -= 4.0
    session: aiohttp.ClientSession = played.session
    base = "/".join(played.where["websocket_url"].split("/")[:3])
    beating = await played.connect(V2)
    async with session.ws_connect(base + "/", ssl=played.context, autoping=False) as silent:
        assert (await silent.receive(timeout=5)).type is aiohttp.WSMsgType.PING
        while (message := await silent.receive(timeout=10)).type is aiohttp.WSMsgType.PING:
            pass
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
    text = await asyncio.wait_for(beating.text(), 8)
    assert re.fullmatch(r'{"timestamp":\d{13},"type":"heartbeat"}', text)


async def test_v2_book_trades_and_end(play: Any) -> None:
    played = await play("gemini")
    client = await played.connect(V2)
    await client.send(level2("BTCUSDT", "ETHUSDT"))
    await played.step(200)
    sides: dict[str, dict[Decimal, Decimal]] = {}
    trades = updates = 0
    while updates < 200:
        message = json.loads(await client.text())
        if message["type"] == "trade":
            trades += 1
            continue
        if message["symbol"] != "BTCUSDT":
            continue
        if "trades" in message:
            assert list(message) == ["auction_events", "changes", "symbol", "trades", "type"]
            assert len(message["trades"]) == 50
            kinds = [row[0] for row in message["changes"]]
            assert kinds == ["buy"] * 600 + ["sell"] * 600
            sides = {"buy": {}, "sell": {}}
        else:
            assert list(message) == ["changes", "symbol", "type"]
            updates += 1
        for side, price, quantity in message["changes"]:
            assert re.fullmatch(r"\d+\.\d+", price)
            assert re.fullmatch(r"0\.0|\d+\.\d*[1-9]|\d+\.0", quantity)
            sides[side][Decimal(price)] = Decimal(quantity)
    true = await played.control("/book/BTC-USDT")
    for side, name in (("buy", "bids"), ("sell", "asks")):
        held = {price: size for price, size in sides[side].items() if size}
        assert held == {Decimal(row[0]): Decimal(row[1]) for row in true[name]}
    while trades < 1:
        trades += json.loads(await asyncio.wait_for(client.text(), 5))["type"] == "trade"
    await client.send(level2("BTCUSDT", "ETHUSDT", kind="unsubscribe"))
    await client.send(level2("NOSUCH"))
    while "reason" not in (message := await client.receive()):
        pass
    assert message == {"reason": "NoValidTradingPairs", "result": "error"}
    assert set((await played.control("/counts"))["subscriptions"].values()) == {0}


async def test_v2_refuses_lower_case_and_sends_a_snapshot_unasked(play: Any) -> None:
    played = await play("gemini")
    client = await played.connect(V2 + "/")
    await client.send(level2("btcusdt"))
    assert await client.text() == '{"reason":"NoValidTradingPairs","result":"error"}'
    await client.send(level2("BTCUSDT", "NOSUCH"))
    assert "trades" in await client.receive()
    await played.fault("restart", symbol="BTC-USDT")
    assert "trades" in await client.receive()
    await played.fault("refuse_subscription", symbol="ETH-USDT")
    await client.send(level2("ETHUSDT"))
    assert (await client.receive())["result"] == "error"
    await client.send("[")
    assert (await client.receive())["result"] == "error"


async def test_symbols_details_and_books_over_rest(play: Any) -> None:
    played = await play("gemini", symbols=("BTC", "ETH"))
    assert await played.get("/v1/symbols") == ["btcusd", "ethusd", "haltedusd", "btcgusdperp"]
    status, _, text = await played.raw("/v1/symbols/details/btcusd")
    assert status == 200
    assert '"tick_size":1E-8,"quote_increment":0.01,' in text
    details = await played.get("/v1/symbols/details/all")
    assert [(row["symbol"], row["status"], row["product_type"]) for row in details] == [
        ("BTCUSD", "open", "spot"),
        ("ETHUSD", "open", "spot"),
        ("HALTEDUSD", "closed", "spot"),
        ("BTCGUSDPERP", "open", "swap"),
    ]
    assert (details[0]["base_currency"], details[0]["quote_currency"]) == ("BTC", "USD")
    book = await played.get("/v1/book/btcusd")
    true = await played.control("/book/BTC-USD?depth=50")
    assert [[row["price"], row["amount"]] for row in book["bids"]] == [row[:2] for row in true["bids"]]
    assert len((await played.get("/v1/book/btcusd", limit_bids="0", limit_asks="3"))["bids"]) == 600
    assert (await played.raw("/v1/book/btcusd", limit_bids="x"))[0] == 400
    assert (await played.raw("/v1/book/nosuch"))[0] == 404


async def test_rest_refuses_the_hundred_and_twenty_first_request_of_a_minute(play: Any) -> None:
    played = await play("gemini", limits=True)
    played.host.exchange._requests.most = 3
    statuses = [(await played.raw("/v1/symbols"))[0] for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


@pytest.mark.parametrize(
    ("path", "capture"),
    [
        ("/?snapshot=-1", "fastmm-fastapi-v3-perp-depth-2026.jsonl"),
        (V2, "cryptofeed-v2-marketdata-l2-2026.jsonl"),
    ],
)
async def test_messages_have_the_shape_of_recorded_ones(
    play: Any, captures: Path, path: str, capture: str
) -> None:
    def kind(message: Any) -> str:
        return str(message.get("e") or message.get("type") or "answer") + ("+" if "trades" in message else "")

    recording = captures / "gemini" / capture
    if not recording.exists():
        pytest.skip(f"no recording {recording}")
    real: dict[str, set[str]] = {}
    for text in recorded_texts(recording):
        message = json.loads(text, parse_float=str)
        real.setdefault(kind(message), set()).update(paths(message))
    played = await play("gemini")
    client = await streams(played, STREAMS[0], path=path) if path != V2 else await played.connect(V2)
    if path == V2:
        await client.send(level2("BTCUSDT"))
        played.host.exchange._beaten_at -= 4.0
    await played.step(50, "BTC-USDT")
    wanted = {"l2_updates+", "l2_updates", "trade", "heartbeat"} if path == V2 else {"depthUpdate"}
    mine: dict[str, set[str]] = {}
    while not wanted <= mine.keys() or "[]empty" in mine:
        message = json.loads(await asyncio.wait_for(client.text(), 8), parse_float=str)
        mine.setdefault(kind(message), set()).update(paths(message))
    for _ in range(30):
        message = json.loads(await asyncio.wait_for(client.text(), 8), parse_float=str) if path != V2 else {}
        mine.setdefault(kind(message), set()).update(paths(message))
    for name in wanted:
        assert mine[name] == real[name], name


def test_the_client_that_follows_the_simulator_follows_the_real_exchange(
    rebuild: Any, captures: Path
) -> None:
    """The overlap rule holds for recorded books, whose best levels the recorded tickers confirm."""
    recording = captures / "gemini" / "fastmm-fastapi-v3-perp-depth-2026.jsonl"
    if not recording.exists():
        pytest.skip(f"no recording {recording}")
    books: dict[str, Any] = {}
    confirmed = 0
    tickers = {}
    for text in recorded_texts(recording):
        message = json.loads(text)
        if DIALECTS["gemini"].is_book(message):
            book = books.setdefault(message["s"], rebuild("gemini", message["s"]))
            book.apply(message)
            bid, ask = max(map(Decimal, book.bids)), min(map(Decimal, book.asks))
            assert bid < ask
            ticker = tickers.get((message["s"], message["u"]))
            confirmed += ticker == (bid, ask)
            assert ticker in (None, (bid, ask))
        elif "B" in message:
            tickers[message["s"], message["u"]] = (Decimal(message["b"]), Decimal(message["a"]))
    assert sum(book.applied for book in books.values()) == 30
    assert confirmed == 9


def test_the_rule_of_v2_keeps_real_books_uncrossed(captures: Path) -> None:
    recording = captures / "gemini" / "cryptofeed-v2-marketdata-l2-2026.jsonl"
    if not recording.exists():
        pytest.skip(f"no recording {recording}")
    books: dict[str, dict[str, dict[Decimal, Decimal]]] = {}
    applied = 0
    for text in recorded_texts(recording):
        message = json.loads(text)
        if message["type"] != "l2_updates":
            continue
        if "trades" in message:
            books[message["symbol"]] = {"buy": {}, "sell": {}}
        sides = books[message["symbol"]]
        for side, price, quantity in message["changes"]:
            sides[side][Decimal(price)] = Decimal(quantity)
        held = {side: [price for price, size in rows.items() if size] for side, rows in sides.items()}
        assert max(held["buy"]) < min(held["sell"])
        applied += 1
    assert (len(books), applied) == (10, 559)
