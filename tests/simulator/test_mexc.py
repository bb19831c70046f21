"""MEXC's conversation and its protobuf frames, as its documentation and recordings have them."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import websockets
from dialects.mexc import decode, fields
from message_shapes import paths

AGGREGATED = "spot@public.aggre.depth.v3.api.pb@100ms@BTCUSDT"
LIMITED = "spot@public.limit.depth.v3.api.pb@BTCUSDT@5"
BEST = "spot@public.aggre.bookTicker.v3.api.pb@100ms@BTCUSDT"
# constructed from the .proto files with the values of a documented example
DOCUMENTED = bytes.fromhex(
    "0a2f73706f74407075626c69632e61676772652e64657074682e76332e6170692e7062403130306d7340425443555344541a0742"
    "54435553445430a8e3eef58833ca136c0a0e0a093131373134352e343912013012170a093131373035332e3431120a312e383638"
    "33373237311a2773706f74407075626c69632e61676772652e64657074682e76332e6170692e7062403130306d73220b34333239"
    "363336333233362a0b3433323936333633323535"
)


async def subscribed(played: Any, *streams: str) -> Any:
    client = await played.connect()
    await client.send({"method": "SUBSCRIPTION", "params": list(streams) or [AGGREGATED], "id": 1})
    return client


async def frames(client: Any, count: int) -> list[bytes]:
    """So many data frames."""
    out: list[bytes] = []
    while len(out) < count:
        frame = await asyncio.wait_for(client.connection.recv(), 5)
        out += [frame] if isinstance(frame, bytes) else []
    return out


async def test_controls_are_json_text(play: Any) -> None:
    client = await subscribed(await play("mexc"))
    assert await client.connection.recv() == f'{{"id":0,"code":0,"msg":"{AGGREGATED}"}}'
    for method in ("PING", "ping"):
        await client.send({"method": method})
        assert await client.connection.recv() == '{"id":0,"code":0,"msg":"PONG"}'
    both = [AGGREGATED, AGGREGATED.replace("BTC", "ETH")]
    await client.send({"method": "SUBSCRIPTION", "params": both})
    assert (await client.receive())["msg"] == ",".join(both)
    await client.send({"method": "UNSUBSCRIPTION", "params": both})
    assert (await client.receive())["msg"] == ",".join(both)


async def test_refusals_have_code_0_and_are_told_in_the_text(play: Any) -> None:
    wrong = [AGGREGATED.replace("BTC", "NOPE"), AGGREGATED.replace("100ms", "1ms"), "nonsense"]
    retired = "spot@public.increase.depth.v3.api@BTCUSDT"
    client = await subscribed(await play("mexc"), AGGREGATED, *wrong, retired)
    messages = await client.everything()
    assert [each["code"] for each in messages] == [0, 0, 0]
    assert messages[0]["msg"] == AGGREGATED
    assert (
        messages[1]["msg"]
        == f"Not Subscribed successfully! [{','.join(wrong)}].  Reason： Invalid parameter! "
    )
    assert messages[2]["msg"] == f"Not Subscribed successfully! [{retired}].  Reason： Blocked! "


async def test_fields_and_their_order_on_the_wire(play: Any) -> None:
    played = await play("mexc")
    client = await subscribed(played)
    await played.step(40, "BTC-USDT")
    last = None
    for frame in await frames(client, 40):
        assert [number for number, _ in fields(frame)] == [1, 3, 6, 313]
        body = dict(fields(frame))[313]
        assert isinstance(body, bytes)
        numbers = [number for number, _ in fields(body)]
        assert numbers == sorted(numbers)
        assert numbers[-4:] == [3, 4, 5, 6]
        message = decode(frame)
        data = message["publicAggreDepths"]
        assert (message["channel"], message["symbol"]) == (AGGREGATED, "BTCUSDT")
        assert data["eventType"] == AGGREGATED.removesuffix("@BTCUSDT")
        assert re.fullmatch(r"\d{13}", str(message["sendTime"]))
        first, until = int(data["fromVersion"]), int(data["toVersion"])
        assert until >= first > 1 << 32
        assert last in (None, first - 1)
        last = until
        for row in data.get("asks", []) + data.get("bids", []):
            assert list(row) == ["price", "quantity"]
            assert not any(re.search(r"\.\d*0$", text) for text in row.values())


def test_the_documented_frame_has_the_same_structure() -> None:
    """The reader of these tests, on the worked example."""
    message = decode(DOCUMENTED)
    assert (message["sendTime"], message["symbol"]) == (1754741322152, "BTCUSDT")
    data = message["publicAggreDepths"]
    assert data["asks"] == [{"price": "117145.49", "quantity": "0"}]
    assert data["bids"] == [{"price": "117053.41", "quantity": "1.86837271"}]
    assert (data["fromVersion"], data["toVersion"]) == ("43296363236", "43296363255")


async def test_messages_have_the_shape_of_recorded_ones(play: Any, captures: Path) -> None:
    """Frames of the streams that were recorded as bytes, and increments that were recorded decoded."""
    folder, real = captures / "mexc", {}
    for line in (folder / "daxalgo-v3pb-spot-frames-2026.jsonl").read_text().splitlines():
        frame = base64.b64decode(json.loads(line)["b64"])
        stream = str(dict(fields(frame))[1])
        if "limit.depth" in stream or "bookTicker" in stream:
            real["limit" if "limit.depth" in stream else "best"] = frame
    decoded = json.loads((folder / "tardisnode-v3pb-decoded-live-samples.jsonl").read_text().splitlines()[1])[
        "decoded"
    ]
    played = await play("mexc")
    client = await subscribed(played, LIMITED, BEST, AGGREGATED)
    await played.step(30, "BTC-USDT")
    mine = {}
    for frame in await frames(client, 40):
        stream = str(dict(fields(frame))[1])
        mine["limit" if "limit.depth" in stream else "best" if "bookTicker" in stream else "aggregated"] = (
            frame
        )
    for name in ("limit", "best"):
        assert [number for number, _ in fields(mine[name])] == [number for number, _ in fields(real[name])]
        assert paths(decode(mine[name])) == paths(decode(real[name]))
    ours, theirs = decode(mine["aggregated"]), json.loads(decoded)
    ours["publicAggreDepths"].pop("lastOrderCreateTime")  # added after the recording
    assert list(ours) == list(theirs)
    assert list(ours["publicAggreDepths"])[-3:] == list(theirs["publicAggreDepths"])[-3:]


async def test_whole_books_and_the_best_levels(play: Any) -> None:
    played = await play("mexc")
    for stream, depth in ((LIMITED, 5), (LIMITED.replace("@5", "@20"), 20), (BEST, 1)):
        client = await subscribed(played, stream)
        await played.step(30, "BTC-USDT")
        message = (await client.everything())[-1]
        true = await played.control(f"/book/BTC-USDT?depth={depth}")
        if depth == 1:
            data = message["publicAggreBookTicker"]
            assert [data["bidPrice"], data["bidQuantity"]] == true["bids"][0][:2]
            assert [data["askPrice"], data["askQuantity"]] == true["asks"][0][:2]
        else:
            data = message["publicLimitDepths"]
            assert all(re.fullmatch(r"\d+\.\d{8}", row["quantity"]) for row in data["asks"])
            assert [float(row["price"]) for row in data["asks"]] == [float(row[0]) for row in true["asks"]]
        assert int(data["version"]) <= true["sequence"]["version"]


async def test_the_snapshot_joins_the_increments(play: Any) -> None:
    """lastUpdateId + 1 is the first version of the next message."""
    played = await play("mexc")
    client = await subscribed(played)
    await played.step(3, "BTC-USDT")
    snapshot = await played.get("/api/v3/depth", symbol="BTCUSDT", limit="5000")
    assert list(snapshot) == ["lastUpdateId", "bids", "asks", "timestamp"]
    await played.step(1, "BTC-USDT")
    before, after = (await client.everything())[-2:]
    assert int(before["publicAggreDepths"]["toVersion"]) == snapshot["lastUpdateId"]
    assert int(after["publicAggreDepths"]["fromVersion"]) == snapshot["lastUpdateId"] + 1


async def test_a_snapshot_that_is_too_old(play: Any, follow: Any) -> None:
    """A stale answer ends before the first increment; the next one joins."""
    played = await play("mexc", options=("mexc.snapshot=stale",))
    await played.get("/api/v3/depth", symbol="BTCUSDT", limit="5000")
    await played.step(5, "BTC-USDT")
    follower = await follow(played)
    await played.step(5, "BTC-USDT")
    with pytest.raises(AssertionError, match="gap"):
        await follower.catch_up()
    again = await follow(played)  # what was asked for at its predecessor's subscription
    for message in follower.seen:
        again.book.apply(message)
    assert await again.is_right()


async def test_a_wrapper_without_a_body(play: Any) -> None:
    played = await play("mexc")
    client = await subscribed(played)
    await client.everything()
    played.host.exchange.books["BTC-USDT"].state.told_at = time.monotonic() - 6
    (frame,) = await frames(client, 1)
    assert list(decode(frame)) == ["channel", "symbol", "sendTime"]


async def test_limits(play: Any) -> None:
    symbols = tuple(f"A{number}-USDT" for number in range(31))
    played = await play("mexc", limits=True, symbols=symbols, levels=20)
    streams = [AGGREGATED.replace("BTC", f"A{number}") for number in range(31)]
    client = await subscribed(played, *streams)
    messages = await client.everything()
    assert messages[0]["msg"] == ",".join(streams[:30])
    assert streams[30] in messages[1]["msg"]
    assert messages[1]["msg"].startswith("Not Subscribed successfully!")
    assert len(next(iter(played.host.connections.values())).topics) == 30


@pytest.mark.parametrize("quiet", [True, False])
async def test_connections_without_use_are_cut(play: Any, quiet: bool) -> None:
    played = await play("mexc", limits=True)
    client = await subscribed(played) if quiet else await played.connect()
    await client.everything()
    (connection,) = played.host.connections.values()
    if quiet:
        played.host.exchange.books["BTC-USDT"].state.told_at = time.monotonic()
        connection.last_received = connection.last_sent = time.monotonic() - 61
    else:
        connection.state["empty_since"] = time.monotonic() - 31
    with pytest.raises(websockets.ConnectionClosed):
        await asyncio.wait_for(client.connection.recv(), 5)


async def test_symbols_and_book_over_rest(play: Any) -> None:
    played = await play("mexc")
    rows = (await played.get("/api/v3/exchangeInfo"))["symbols"]
    assert [(row["symbol"], row["status"], row["isSpotTradingAllowed"]) for row in rows] == [
        ("BTCUSDT", "1", True),
        ("ETHUSDT", "1", True),
        ("HALTEDUSDT", "2", False),
    ]
    btc = rows[0]
    assert (btc["baseAsset"], btc["quoteAsset"]) == ("BTC", "USDT")
    assert (btc["quoteAssetPrecision"], btc["baseAssetPrecision"]) == (2, 8)
    assert (await played.get("/api/v3/defaultSymbols"))["data"] == ["BTCUSDT", "ETHUSDT"]
    assert len((await played.get("/api/v3/depth", symbol="BTCUSDT"))["bids"]) == 100
    assert len((await played.get("/api/v3/depth", symbol="BTCUSDT", limit="5000"))["bids"]) == 600
    for query in ({"symbol": "NOPE"}, {"symbol": "BTCUSDT", "limit": "5001"}):
        assert (await played.raw("/api/v3/depth", **query))[0] == 400


async def test_requests_are_limited(play: Any) -> None:
    played = await play("mexc", limits=True)
    played.host.exchange._requests = [time.monotonic()] * 500
    status, headers, text = await played.raw("/api/v3/ping")
    assert (status, headers["Retry-After"], json.loads(text)["code"]) == (429, "10", 429)
