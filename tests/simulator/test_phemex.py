"""Phemex's conversation, field by field, as its documentation, a recording and probes have it."""

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

PERPETUALS = ("BTC-USDT", "BTC-USDT-PERPETUAL", "1000SHIB-USDT-PERPETUAL", "SHIB-USDT")


async def subscribed(played: Any, *parameters: Any, channel: str = "orderbook", number: int = 1) -> Any:
    client = await played.connect()
    await client.send({"id": number, "method": f"{channel}.subscribe", "params": list(parameters)})
    return client


def plain(rows: Any, places: int = 0) -> list[list[float]]:
    return [[float(price) / 10**places, float(size) / 10**places] for price, size in rows]


async def test_acknowledgement_then_snapshot_then_deltas_of_scaled_integers(play: Any) -> None:
    played = await play("phemex")
    client = await subscribed(played, "sBTCUSDT")
    assert await client.text() == '{"error":null,"id":1,"result":{"status":"success"}}'
    await played.step(20, "BTC-USDT")
    last = 0
    for number in range(15):
        text = await client.text()
        message = json.loads(text)
        assert list(message) == ["book", "depth", "sequence", "symbol", "timestamp", "type"]
        assert list(message["book"]) == ["asks", "bids"]
        assert (message["depth"], message["symbol"]) == (30, "sBTCUSDT")
        assert message["type"] == ("incremental" if number else "snapshot")
        assert message["sequence"] > last
        last = message["sequence"]
        assert abs(message["timestamp"] - time.time_ns()) < 60 * 10**9
        for row in message["book"]["asks"] + message["book"]["bids"]:
            assert all(isinstance(each, int) for each in row)
            assert row[0] % 10**6 == 0  # ticks of 0.01 at a scale of 8
            assert row[1] % 100 == 0  # steps of 0.000001
        if number == 0:
            assert {len(side) for side in message["book"].values()} == {30}


async def test_the_scale_of_quantities_is_the_base_currencys(play: Any) -> None:
    played = await play("phemex", symbols=PERPETUALS)
    client = await subscribed(played, "sSHIBUSDT")
    _, message = await client.everything()
    true = await played.control("/book/SHIB-USDT?depth=30")
    price, size = message["book"]["bids"][0]
    assert (price / 10**8, size / 10**2) == (float(true["bids"][0][0]), float(true["bids"][0][1]))
    products = (await played.get("/public/products"))["data"]
    scales = {row["currency"]: row["valueScale"] for row in products["currencies"]}
    assert (scales["SHIB"], scales["BTC"]) == (2, 8)


async def test_perpetuals_have_a_method_of_their_own(play: Any) -> None:
    played = await play("phemex", symbols=PERPETUALS)
    client = await subscribed(played, "BTCUSDT", channel="orderbook_p")
    await client.receive()
    await played.step(30, "BTC-USDT-PERPETUAL")
    sides: dict[str, dict[str, str]] = {"asks": {}, "bids": {}}
    messages = await client.everything()
    for message in messages:
        keys = ["depth", "dts", "mts", "orderbook_p", "sequence", "symbol", "timestamp", "type"]
        assert list(message) == keys
        for name, side in sides.items():
            for price, size in message["orderbook_p"][name]:
                assert not re.search(r"\.\d*0$", price + " " + size)
                side[price] = size
                if size == "0":
                    del side[price]
            assert len(side) == 30
    true = await played.control("/book/BTC-USDT-PERPETUAL?depth=30")
    assert sides["bids"] == {row[0]: row[1] for row in true["bids"]}
    assert len(messages) > 15


async def test_depths_of_perpetuals(play: Any) -> None:
    played = await play("phemex", symbols=PERPETUALS)
    for parameters, depth, levels in (
        (["BTCUSDT", True], 0, 600),
        (["BTCUSDT", False, 5], 5, 5),
        (["BTCUSDT", False, 0], 30, 30),
    ):
        client = await subscribed(played, *parameters, channel="orderbook_p")
        _, snapshot = await client.everything()
        assert (snapshot["depth"], len(snapshot["orderbook_p"]["asks"])) == (depth, levels)
    client = await subscribed(played, "BTCUSDT", False, 7, channel="orderbook_p")
    assert (await client.receive())["error"]["code"] == 6001


@pytest.mark.parametrize(
    ("message", "number"),
    [
        ("{", None),
        ({"id": 106, "method": "orderbook.subscribe", "params": ["sNOPE"]}, 106),
        ({"id": 107, "method": "orderbook.subscribe", "params": ["BTCUSDT"]}, 107),
        ({"id": 108, "method": "orderbook_p.subscribe", "params": ["sBTCUSDT"]}, 108),
        ({"id": 109, "method": "nonsense.subscribe", "params": ["sBTCUSDT"]}, 109),
    ],
)
async def test_errors(play: Any, message: Any, number: int | None) -> None:
    played = await play("phemex", symbols=PERPETUALS)
    client = await played.connect()
    await client.send(message)
    answer = await client.receive()
    error = {"code": 6001, "message": "invalid argument"}
    assert answer == {"error": error, "id": number, "result": None}
    assert list(answer) == ["error", "id", "result"]


async def test_only_the_first_text_is_a_symbol(play: Any) -> None:
    played = await play("phemex")
    client = await subscribed(played, "sBTCUSDT", "sETHUSDT")
    assert [each.get("symbol") for each in await client.everything()] == [None, "sBTCUSDT"]


async def test_unsubscribing_drops_all_books_of_the_method(play: Any) -> None:
    played = await play("phemex", symbols=("BTC-USDT", "ETH-USDT", "BTC-USDT-PERPETUAL"))
    client = await subscribed(played, "sBTCUSDT")
    await client.send({"id": 2, "method": "orderbook.subscribe", "params": ["sETHUSDT"]})
    await client.send({"id": 3, "method": "orderbook_p.subscribe", "params": ["BTCUSDT"]})
    await client.send({"id": 9, "method": "orderbook.unsubscribe", "params": []})
    assert (await client.everything())[-1] == {"error": None, "id": 9, "result": {"status": "success"}}
    await played.step(30)
    assert {each["symbol"] for each in await client.everything()} == {"BTCUSDT"}


async def test_the_whole_book_comes_again_with_the_last_sequence(play: Any, follow: Any) -> None:
    played = await play("phemex", options=("phemex.repeat=1",))
    follower = await follow(played)
    await played.step(10, "BTC-USDT")
    await follower.catch_up()
    last = follower.book.last
    for _ in range(2):
        message = await asyncio.wait_for(follower.client.receive(), 5)
        assert (message["type"], message["sequence"]) == ("snapshot", last)
        kept = dict(follower.book.bids)
        follower.book.apply(message)
        assert follower.book.bids == kept


async def test_what_is_lost_shows_only_when_the_book_comes_again(play: Any, follow: Any) -> None:
    played = await play("phemex", options=("phemex.repeat=1",))
    follower = await follow(played)
    await played.fault("drop", symbol="BTC-USDT", top=True)
    await played.step(1, "BTC-USDT")
    while not (await played.control("/faults"))["fired"].get("drop"):
        await played.step(1, "BTC-USDT")
    assert not await follower.is_right()
    follower.book.apply(await asyncio.wait_for(follower.client.receive(), 5))
    assert await follower.is_right()


async def test_swapped_deltas_show_in_the_sequence(play: Any, follow: Any) -> None:
    played = await play("phemex")
    follower = await follow(played)
    await played.fault("reorder", symbol="BTC-USDT", top=True)
    await played.step(12, "BTC-USDT")
    with pytest.raises(AssertionError, match="gap: out of order"):
        await follower.catch_up()


async def test_a_silence_hides_the_repeated_book_too(play: Any, follow: Any) -> None:
    played = await play("phemex", options=("phemex.repeat=1",))
    follower = await follow(played)
    await played.fault("silence")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(follower.client.receive(), 2.5)
    await played.fault("resume")
    message = await asyncio.wait_for(follower.client.receive(), 5)
    assert message["type"] == "snapshot"


async def test_deletions_are_repeated_now_and_then(play: Any) -> None:
    played = await play("phemex")
    client = await subscribed(played, "sBTCUSDT", True)
    await played.step(300, "BTC-USDT")
    repeated = 0
    for message in (await client.everything())[2:]:
        for rows in message["book"].values():
            gone = [row[0] for row in rows if row[1] == 0]
            repeated += len(gone) - len(set(gone))
            assert len(rows) - len({row[0] for row in rows}) == len(gone) - len(set(gone))
    assert repeated > 5


async def test_who_says_nothing_is_cut_without_a_word(play: Any, follow: Any) -> None:
    played = await play("phemex", limits=True)
    follower = await follow(played)
    (connection,) = played.host.connections.values()
    connection.last_received = time.monotonic() - 32
    with pytest.raises(websockets.ConnectionClosedError) as closed:
        await asyncio.wait_for(follower.client.connection.recv(), 5)
    assert closed.value.rcvd is None


async def test_limits(play: Any) -> None:
    symbols = tuple(f"{letter}{digit}X-USDT" for letter in "ABC" for digit in range(7))
    played = await play("phemex", symbols=symbols, levels=20, limits=True)
    client = await played.connect()
    codes = []
    for number, symbol in enumerate(symbols):
        request = {"id": number, "method": "orderbook.subscribe", "params": ["s" + symbol.replace("-", "")]}
        await client.send(request)
        answer = next(each for each in await client.everything() if "id" in each)
        played.host.connections[1].received_at.clear()
        codes.append(answer["error"] and answer["error"]["code"])
    assert codes == [None] * 20 + [6015]
    for _ in range(4):
        await played.connect()
    with pytest.raises(websockets.InvalidStatus) as refused:
        await played.connect()
    assert refused.value.response.status_code == 429
    played.host.connections[1].received_at = [time.monotonic()] * 20
    await client.send({"id": 77, "method": "orderbook.unsubscribe", "params": []})
    assert (await client.receive())["error"] == {"code": 6001, "message": "too many requests"}


async def test_products_and_books_over_rest(play: Any) -> None:
    played = await play("phemex", symbols=PERPETUALS)
    data = (await played.get("/public/products"))["data"]
    spot = {row["symbol"]: row for row in data["products"]}
    assert {name: row["status"] for name, row in spot.items()} == {
        "sBTCUSDT": "Listed",
        "sSHIBUSDT": "Listed",
        "sGONEUSDT": "Delisted",
    }
    btc = spot["sBTCUSDT"]
    assert (btc["type"], btc["priceScale"]) == ("Spot", 8)
    assert (btc["quoteTickSize"], btc["quoteTickSizeEv"]) == ("0.01 USDT", 1_000_000)
    assert (btc["baseTickSize"], btc["baseTickSizeEv"]) == ("0.000001 BTC", 100)
    contracts = {row["symbol"]: row for row in data["perpProductsV2"]}
    assert set(contracts) == {"BTCUSDT", "u1000SHIBUSDT"}
    assert contracts["u1000SHIBUSDT"]["baseCurrency"] == "1000 SHIB"
    assert (contracts["BTCUSDT"]["tickSize"], contracts["BTCUSDT"]["qtyStepSize"]) == ("0.1", "0.001")

    answer = await played.get("/md/orderbook", symbol="sBTCUSDT")
    true = await played.control("/book/BTC-USDT?depth=30")
    assert (answer["error"], answer["result"]["type"]) == (None, "snapshot")
    assert plain(answer["result"]["book"]["bids"], 8) == [
        [float(row[0]), float(row[1])] for row in true["bids"]
    ]
    full = await played.get("/md/fullbook", symbol="sBTCUSDT")
    assert (full["result"]["depth"], len(full["result"]["book"]["asks"])) == (0, 600)
    contract = await played.get("/md/v2/orderbook", symbol="BTCUSDT")
    assert len(contract["result"]["orderbook_p"]["asks"]) == 30
    await played.step(5)
    assert await played.get("/md/v2/orderbook", symbol="BTCUSDT") == contract  # a cached copy
    assert (await played.get("/md/orderbook", symbol="BTCUSDT"))["error"]["code"] == 6001


async def test_messages_have_the_shape_of_recorded_ones(play: Any, captures: Path) -> None:
    folder = captures / "phemex"
    if not folder.exists():
        pytest.skip(f"no recordings in {folder}")

    def kind(message: Any) -> str | None:
        for key in ("book", "orderbook_p"):
            if key in message:
                return f"{key} {message['type']}"
        return "answer" if "result" in message and isinstance(message["result"], dict) else None

    real: dict[str, set[str]] = {}
    for name in (
        "cryptofeed-orderbook-scaled-2021.jsonl",
        "arbobservatory-orderbookp-frames-2026.jsonl",
    ):
        for message in map(json.loads, recorded_texts(folder / name)):
            if (what := kind(message)) is not None:
                real.setdefault(what, set()).update(paths(message))
    played = await play("phemex", symbols=PERPETUALS)
    mine: dict[str, set[str]] = {}
    for name, channel in (("sBTCUSDT", "orderbook"), ("BTCUSDT", "orderbook_p")):
        client = await subscribed(played, name, channel=channel)
        await played.step(50)
        for message in await client.everything():
            if (what := kind(message)) is not None:
                mine.setdefault(what, set()).update(paths(message))
    assert set(real) == {
        "answer",
        *(f"{key} {each}" for key in ("book", "orderbook_p") for each in ("snapshot", "incremental")),
    }
    assert mine == real


async def test_inverse_perpetuals_are_not_listed(play: Any) -> None:
    from appliance.simulator import SimulatorError

    with pytest.raises(SimulatorError, match="phemex lists no inverse perpetuals: BTC-PERPETUAL"):
        await play("phemex", symbols=("BTC-PERPETUAL",))
