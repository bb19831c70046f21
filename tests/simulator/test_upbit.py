"""Upbit's conversation, field by field, as its documentation and recordings have it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import websockets
from message_shapes import paths

LONG = [
    *("type", "code", "timestamp", "total_ask_size", "total_bid_size", "orderbook_units"),
    *("stream_type", "level"),
]
SHORT = ["ty", "cd", "tms", "tas", "tbs", "obu", "st", "lv"]
NUMBER = re.compile(r'"(?:ask|bid)_price":([^,}]+)')


def request(*codes: str, style: str = "DEFAULT", **options: Any) -> list[dict[str, Any]]:
    return [{"ticket": "t"}, {"type": "orderbook", "codes": list(codes), **options}, {"format": style}]


async def subscribed(played: Any, *codes: str, **options: Any) -> Any:
    client = await played.connect()
    await client.send(request(*codes, **options))
    return client


async def test_frames_are_binary_whole_books(play: Any) -> None:
    played = await play("upbit")
    client = await subscribed(played, "USDT-BTC", "USDT-ETH")
    frames = [await client.connection.recv() for _ in range(2)]
    assert all(isinstance(frame, bytes) for frame in frames)
    await played.step(40, "BTC-USDT")
    messages = [json.loads(frame, parse_float=Decimal) for frame in frames]
    messages += [json.loads(text, parse_float=Decimal) for text in [await client.text() for _ in range(20)]]
    assert [message["code"] for message in messages] == ["USDT-BTC", "USDT-ETH"] + ["USDT-BTC"] * 20
    assert [message["stream_type"] for message in messages] == ["SNAPSHOT"] * 2 + ["REALTIME"] * 20
    for message in messages:
        assert list(message) == LONG
        assert message["level"] == 0
        units = message["orderbook_units"]
        assert len(units) == 30
        assert list(units[0]) == ["ask_price", "bid_price", "ask_size", "bid_size"]
        for side, sign in (("ask", 1), ("bid", -1)):
            prices = [sign * unit[f"{side}_price"] for unit in units]
            assert prices == sorted(prices)
            assert sum(unit[f"{side}_size"] for unit in units) == message[f"total_{side}_size"]


async def test_numbers_have_exponents_from_ten_millions_on(play: Any) -> None:
    played = await play("upbit", symbols=("BTC-KRW", "XRP-BTC"))
    client = await subscribed(played, "KRW-BTC", "BTC-XRP")
    won, satoshi = [await client.text() for _ in range(2)]
    assert '"code":"KRW-BTC"' in won
    for number in NUMBER.findall(won):
        assert re.fullmatch(r"\d\.\d*[1-9]E7|\d\.0E7", number)
        assert Decimal(number) % 1000 == 0
    for number in NUMBER.findall(satoshi):
        assert re.fullmatch(r"\d\.\d+E-[4-9]", number)
    assert re.search(r'"ask_size":\d+\.\d{8},', won)
    true = await played.control("/book/BTC-KRW?depth=30")
    prices = [Decimal(number) for number in re.findall(r'"bid_price":([^,]+)', won)]
    assert prices == [Decimal(row[0]) for row in true["bids"]]


@pytest.mark.parametrize(("suffix", "levels"), [(".1", 1), (".5", 5), (".15", 15), (".30", 30), (".20", 30)])
async def test_a_suffix_sets_the_levels(play: Any, suffix: str, levels: int) -> None:
    played = await play("upbit")
    client = await subscribed(played, f"USDT-BTC{suffix}")
    await played.step(60, "BTC-USDT")
    messages = await client.everything()
    assert {len(message["orderbook_units"]) for message in messages} == {levels}
    assert {message["code"] for message in messages} == {"USDT-BTC"}
    true = await played.control(f"/book/BTC-USDT?depth={levels}")
    bids = [unit["bid_price"] for unit in messages[-1]["orderbook_units"]]
    assert [Decimal(each) for each in bids] == [Decimal(row[0]) for row in true["bids"]]
    assert len(messages) < 61 or levels > 1


async def test_the_short_and_the_listed_formats(play: Any) -> None:
    played = await play("upbit")
    client = await subscribed(played, "USDT-BTC", style="SIMPLE")
    message = json.loads(await client.text())
    assert list(message) == SHORT
    assert list(message["obu"][0]) == ["ap", "bp", "as", "bs"]
    for style, key in (("SIMPLE_LIST", "cd"), ("JSON_LIST", "code")):
        client = await subscribed(played, "USDT-BTC", style=style)
        (message,) = json.loads(await client.text())
        assert message[key] == "USDT-BTC"


async def test_a_request_replaces_the_one_before(play: Any) -> None:
    played = await play("upbit")
    client = await subscribed(played, "USDT-BTC")
    await client.send(request("USDT-ETH"))
    await played.step(3)
    codes = [message["code"] for message in await client.everything()]
    assert codes[:2] == ["USDT-BTC", "USDT-ETH"]
    assert set(codes[1:]) == {"USDT-ETH"}


@pytest.mark.parametrize("spelling", ["is_only_{}", "isOnly{}"])
async def test_only_the_first_or_only_the_later(play: Any, spelling: str) -> None:
    def name(word: str) -> str:
        return spelling.format(word if "_" in spelling else word.capitalize())

    played = await play("upbit")
    first = await subscribed(played, "USDT-BTC", **{name("snapshot"): True})
    later = await subscribed(played, "USDT-BTC", **{name("realtime"): True})
    await played.step(5, "BTC-USDT")
    assert [message["stream_type"] for message in await first.everything()] == ["SNAPSHOT"]
    assert {message["stream_type"] for message in await later.everything()} == {"REALTIME"}


async def test_unknown_and_lower_case_codes_are_passed_over(play: Any) -> None:
    played = await play("upbit")
    client = await subscribed(played, "USDT-NOPE", "usdt-btc", "USDT-ETH")
    assert [message["code"] for message in await client.everything()] == ["USDT-ETH"]


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("{", "WRONG_FORMAT"),
        ('{"ticket":"t"}', "WRONG_FORMAT"),
        ('[{"type":"orderbook","codes":["USDT-BTC"]}]', "NO_TICKET"),
        ('[{"ticket":"t"}]', "NO_TYPE"),
        ('[{"ticket":"t"},{"type":"orderbook"}]', "NO_CODES"),
        ('[{"ticket":"t"},{"type":"orderbook","codes":["USDT-BTC"]},{"format":"XML"}]', "INVALID_PARAM"),
    ],
)
async def test_errors_end_the_connection(play: Any, sent: str, name: str) -> None:
    client = await (await play("upbit")).connect()
    await client.send(sent)
    answer = await client.receive()
    assert list(answer["error"]) == ["name", "message"]
    assert answer["error"]["name"] == name
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await client.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


async def test_the_status_is_repeated_and_idle_connections_are_cut(play: Any) -> None:
    played = await play("upbit", limits=True)
    idle, asking = await played.connect(), await played.connect()
    await asking.send("PING")
    assert await asking.text() == '{"status":"UP"}'
    first, second = played.host.connections.values()
    second.state["status_at"] -= 10.0
    assert await asyncio.wait_for(asking.text(), 3) == '{"status":"UP"}'
    first.opened -= 60.0
    first.last_received -= 60.0
    with pytest.raises(websockets.ConnectionClosedError) as closed:
        await asyncio.wait_for(idle.receive(), 3)
    assert closed.value.rcvd is None
    await (await asking.connection.ping())


async def test_limits_of_messages_and_connections(play: Any) -> None:
    played = await play("upbit", limits=True)
    client = await subscribed(played, "USDT-BTC")
    for _ in range(5):
        await client.send("PING")
    *_, last = [frame async for frame in client.connection]
    assert json.loads(last)["error"]["name"] == "TOO_MANY_REQUESTS"
    statuses = []
    while 418 not in statuses:
        assert len(statuses) < 40
        try:
            await played.connect()
        except websockets.InvalidStatus as refused:
            statuses.append(refused.response.status_code)
    assert statuses == [429] * 10 + [418]
    status, headers, _ = await played.raw("/v1/market/all")
    assert (status, headers["Retry-After"]) == (418, "10")
    played.host.exchange._blocked_until = 0.0
    assert (await played.raw("/v1/market/all"))[0] == 200


async def test_an_origin_throttles(play: Any) -> None:
    played = await play("upbit", limits=True)
    opened = []
    for _ in range(2):
        connecting = websockets.connect(
            played.where["websocket_url"], ssl=played.context, origin="https://example.com"
        )
        try:
            async with connecting:
                opened.append(101)
        except websockets.InvalidStatus as refused:
            opened.append(refused.response.status_code)
    assert opened == [101, 429]
    await played.connect()


async def test_the_first_book_comes_a_while_later(play: Any) -> None:
    played = await play("upbit")
    assert type(played.host.exchange).snapshot_seconds == 0.25
    played.host.exchange.snapshot_seconds = 0.25
    started = time.monotonic()
    client = await subscribed(played, "USDT-BTC")
    await played.step(10)
    message = await client.receive()
    assert message["stream_type"] == "SNAPSHOT"
    assert time.monotonic() - started >= 0.25


async def test_zeros_fill_up_the_shorter_side(play: Any) -> None:
    played = await play("upbit", levels=8)
    client = await subscribed(played, "USDT-BTC")
    await played.step(120, "BTC-USDT")
    uneven = 0
    for message in await client.everything():
        units = message["orderbook_units"]
        zeros = [unit for unit in units if "0.0" in (unit["ask_price"], unit["bid_price"])]
        uneven += bool(zeros)
        assert all(unit["ask_size"] == "0.0" or unit["ask_price"] != "0.0" for unit in zeros)
    assert uneven > 10


async def test_swapped_frames_end_right(play: Any, follow: Any) -> None:
    played = await play("upbit")
    follower = await follow(played)
    await played.fault("reorder")
    await played.step(3, "BTC-USDT")
    assert len(await follower.catch_up()) == 3
    assert await follower.is_right()


async def test_books_markets_and_ticks_over_rest(play: Any) -> None:
    played = await play("upbit", symbols=("BTC-KRW", "BTC-USDT"), limits=True)
    status, headers, text = await played.raw("/v1/orderbook", markets="KRW-BTC,USDT-BTC", count="99")
    assert (status, headers["Remaining-Req"]) == (200, "group=orderbook; min=600; sec=9")
    books = json.loads(text)
    assert list(books[0]) == ["market", *LONG[2:6], "level"]
    assert [(book["market"], len(book["orderbook_units"])) for book in books] == [
        ("KRW-BTC", 30),
        ("USDT-BTC", 30),
    ]
    assert len((await played.get("/v1/orderbook", markets="KRW-BTC", count="3"))[0]["orderbook_units"]) == 3
    assert (await played.raw("/v1/orderbook", markets="KRW-BTC,KRW-NOPE"))[0] == 404
    assert (await played.raw("/v1/orderbook", markets="KRW-BTC", count="x"))[0] == 400
    markets = await played.get("/v1/market/all", is_details="true")
    assert [row["market"] for row in markets] == ["KRW-BTC", "USDT-BTC"]
    assert markets[0]["market_event"]["warning"] is False
    assert "market_event" not in (await played.get("/v1/market/all"))[0]
    ticks = await played.get("/v1/orderbook/instruments", markets="KRW-BTC,USDT-BTC")
    assert [row["tick_size"] for row in ticks] == ["1000", "0.01"]
    statuses = [(await played.raw("/v1/market/all"))[0] for _ in range(12)]
    assert 429 in statuses


async def test_messages_have_the_shape_of_recorded_ones(play: Any, captures: Path) -> None:
    recording = captures / "upbit" / "cryptofeed-orderbook-simple-2021.jsonl"
    if not recording.exists():
        pytest.skip(f"no recording {recording}")

    def forms(text: str) -> set[tuple[str, str]]:
        """What a key's number looks like: an integer, with decimals, with an exponent."""
        numbers = re.findall(r'"(\w+)":(-?\d[^,}\]]*)', text)
        return {(key, "E" if "E" in number else "." if "." in number else "0") for key, number in numbers}

    real: tuple[set[str], set[tuple[str, str]]] = (set(), set())
    for line in recording.read_text().splitlines():
        text = base64.b64decode(json.loads(line)["b64"]).decode()
        if '"ty":"orderbook"' in text:
            real[0].update(paths(json.loads(text)))
            real[1].update(forms(text))
    played = await play("upbit", symbols=("XRP-BTC", "BTC-USDT"))
    client = await subscribed(played, "BTC-XRP", "USDT-BTC", style="SIMPLE")
    await played.step(20)
    mine: tuple[set[str], set[tuple[str, str]]] = (set(), set())
    for _ in range(30):
        text = await client.text()
        mine[0].update(paths(json.loads(text)))
        mine[1].update(forms(text))
    # since 2021 frames say the price grouping as well
    assert {path.removesuffix(">lv") for path in mine[0]} - {"lv.int"} == real[0]
    assert mine[1] >= real[1]
    assert {kind for _, kind in mine[1] - real[1] - {("lv", "0")}} <= {"E"}


def test_recorded_books_are_sorted_uncrossed_and_add_up(captures: Path) -> None:
    """What the first test finds of simulated books."""
    recording = captures / "upbit" / "cryptofeed-orderbook-simple-2021.jsonl"
    if not recording.exists():
        pytest.skip(f"no recording {recording}")
    books = 0
    for line in recording.read_text().splitlines():
        message = json.loads(base64.b64decode(json.loads(line)["b64"]), parse_float=Decimal)
        if message["ty"] != "orderbook":
            continue
        books += 1
        for side, total, sign in (("a", "tas", 1), ("b", "tbs", -1)):
            prices = [sign * unit[f"{side}p"] for unit in message["obu"]]
            assert prices == sorted(prices)
            assert sum(unit[f"{side}s"] for unit in message["obu"]) == message[total]
        assert message["obu"][0]["ap"] > message["obu"][0]["bp"]
    assert books == 145
