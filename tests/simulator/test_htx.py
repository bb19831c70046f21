"""HTX's conversation, field by field, as its documentation and recordings have it."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import websockets
from message_shapes import paths, recorded_texts

from appliance.simulator.numbers import java_double

TOPIC = "market.btcusdt.mbp.150"


async def received(client: Any, count: int) -> list[str]:
    """So many texts, pings left out."""
    texts: list[str] = []
    while len(texts) < count:
        text = await client.text()
        texts += [] if text.startswith('{"ping"') else [text]
    return texts


async def test_every_frame_is_one_gzip_member(play: Any) -> None:
    client = await (await play("htx")).connect()
    await client.send({"sub": TOPIC, "id": "id1"})
    frame = await client.connection.recv()
    assert isinstance(frame, bytes)
    assert frame[:2] == b"\x1f\x8b"
    assert re.fullmatch(
        r'{"id":"id1","status":"ok","subbed":"market.btcusdt.mbp.150","ts":\d{13}}',
        gzip.decompress(frame).decode(),
    )


async def test_acknowledgements_and_errors(play: Any) -> None:
    client = await (await play("htx")).connect()
    both = [TOPIC, "market.ethusdt.mbp.150"]
    await client.send({"sub": both, "id": 7})
    answer = await client.receive()
    assert (answer["id"], answer["subbed"]) == (7, both)
    await client.send({"unsub": both, "id": "id3"})
    assert list(await client.receive()) == ["id", "status", "unsubbed", "ts"]
    for topic in ("market.xyz.mbp.150", "market.btcusdt.mbp.50", "market.btcusdt.depth.step0", "nonsense"):
        for verb in ("sub", "req"):
            await client.send({verb: topic, "id": "id1"})
            error = await client.receive()
            assert list(error) == ["status", "ts", "id", "err-code", "err-msg"]
            assert (error["status"], error["err-code"]) == ("error", "bad-request")
            assert error["err-msg"] == f"invalid topic {topic}"
    await client.send({"unsub": TOPIC, "id": "id9"})
    assert (await client.receive())["status"] == "error"


async def test_the_increments_are_not_on_the_other_path(play: Any) -> None:
    client = await (await play("htx")).connect("/ws")
    await client.send({"sub": TOPIC, "id": "id1"})
    assert (await client.receive())["err-msg"] == f"invalid topic {TOPIC}"


@pytest.mark.parametrize("levels", [5, 20, 150, 400])
async def test_answer_and_increments(play: Any, levels: int) -> None:
    played = await play("htx")
    client = await played.connect()
    topic = f"market.btcusdt.mbp.{levels}"
    await client.send({"sub": topic, "id": "id1"})
    await client.send({"req": topic, "id": "id2"})
    _, text = await received(client, 2)
    answer = json.loads(text)
    assert list(answer) == ["id", "status", "ts", "rep", "data"]
    assert list(answer["data"]) == ["bids", "asks", "seqNum"]
    assert len(answer["data"]["bids"]) == len(answer["data"]["asks"]) == levels
    await played.step(200, "BTC-USDT")
    last = answer["data"]["seqNum"]
    messages = await client.everything()
    assert len(messages) > 80
    one_sided = 0
    for message in messages:
        assert list(message) == ["ch", "ts", "tick"]
        tick = message["tick"]
        assert tick["prevSeqNum"] == last < tick["seqNum"]
        last = tick["seqNum"]
        expected = ["seqNum", "prevSeqNum", "asks", "bids"]
        if levels < 150:
            # the other side is left out, not empty
            assert set(tick) <= set(expected)
            assert all(tick[side] for side in ("asks", "bids") if side in tick)
            one_sided += len(tick) == 3
        else:
            assert list(tick) == expected
    assert (one_sided > 0) == (levels < 150)


async def test_numbers_are_written_as_java_does(play: Any) -> None:
    assert [
        java_double(*each) for each in ((533, 6), (1, 3), (0, 2), (10, 1), (91210, 11), (111111110, 1))
    ] == [
        "5.33E-4",
        "0.001",
        "0.0",
        "1.0",
        "9.121E-7",
        "1.1111111E7",
    ]
    played = await play("htx")
    client = await played.connect()
    await client.send({"sub": TOPIC, "id": "id1"})
    await client.send({"req": TOPIC, "id": "id2"})
    await played.step(100, "BTC-USDT")
    texts = await received(client, 60)
    numbers = [
        number for text in texts for row in re.findall(r"\[([^][]+)]", text) for number in row.split(",")
    ]
    assert all(re.fullmatch(r"\d+\.\d+(E-?\d+)?", each) for each in numbers)
    assert all(java(float(each)) == each for each in numbers)
    assert any("E-" in each for each in numbers)
    assert "0.0" in numbers


def java(number: float) -> str:
    """Double.toString, by way of Python's shortest digits."""
    if number == 0:
        return "0.0"
    digits, exponent = f"{number:.17e}".split("e")[0], int(f"{number:e}".split("e")[1])
    digits = repr(number).replace(".", "").split("e")[0].strip("0") or digits
    if not -3 <= exponent < 7:
        return f"{digits[0]}.{digits[1:] or '0'}E{exponent}"
    return repr(number)


async def test_a_snapshot_that_is_older_than_the_newest_push(play: Any, follow: Any) -> None:
    """The answer is of the time of the question and comes three pushes later: a client must keep those."""
    played = await play("htx", options=("htx.snapshot_lag=3",))
    client = await played.connect()
    await client.send({"sub": TOPIC, "id": "id1"})
    await played.step(2, "BTC-USDT")
    await client.send({"req": TOPIC, "id": "id2"})
    await client.everything()
    asked = (await played.control("/book/BTC-USDT"))["sequence"]["seqNum"]
    follower = await follow(played, client=client, read=False)
    await played.step(40, "BTC-USDT")
    messages = await client.everything()
    kinds = ["rep" if "rep" in each else "push" if "tick" in each else "answer" for each in messages]
    place = kinds.index("rep")
    assert kinds[:place].count("push") in (2, 3)
    assert messages[place]["data"]["seqNum"] <= asked
    pushes = [each for each in messages if "tick" in each]
    assert messages[place]["data"]["seqNum"] in [each["tick"]["prevSeqNum"] for each in pushes]
    follower.book.apply(messages[place])
    for message in pushes:
        follower.book.apply(message)
    assert await follower.is_right()


async def test_the_empty_increments_of_old(play: Any) -> None:
    played = await play("htx", options=("htx.empty_increments=yes",))
    client = await played.connect()
    await client.send({"sub": "market.btcusdt.mbp.150", "id": "id1"})
    await played.step(1500, "BTC-USDT")
    pushes = (await client.everything())[1:]
    assert len(pushes) == 1500
    empty = [each["tick"] for each in pushes if not each["tick"]["asks"] and not each["tick"]["bids"]]
    assert empty
    assert all(each["prevSeqNum"] < each["seqNum"] for each in empty)


async def test_the_whole_top_on_the_other_path(play: Any, captures: Path) -> None:
    played = await play("htx")
    client = await played.connect("/ws")
    await client.send({"sub": "market.btcusdt.depth.step0", "id": 1})
    messages = [json.loads(text) for text in await received(client, 2)]
    await played.step(5, "BTC-USDT")
    messages += [json.loads(text) for text in await asyncio.wait_for(received(client, 1), 5)]
    real: dict[str, set[str]] = {}
    for text in recorded_texts(captures / "htx" / "cryptofeed-spot-depthstep0-2021.jsonl"):
        message = json.loads(text)
        name = "answer" if "subbed" in message else message.get("ch", "").rpartition(".")[2]
        real.setdefault(name, set()).update(paths(message))
    assert paths(messages[0]) == real["answer"]
    for message in messages[1:]:
        assert paths(message) == real["step0"]
    true = await played.control("/book/BTC-USDT?depth=150")
    assert messages[2]["tick"]["bids"] == [[float(row[0]), float(row[1])] for row in true["bids"]]
    assert messages[2]["tick"]["version"] == true["sequence"]["seqNum"]


async def test_increments_have_the_shape_of_recorded_ones(play: Any, captures: Path) -> None:
    real: dict[str, set[str]] = {}
    for name in ("tardisnode-spot-samples.jsonl", "cryptomsgparser-samples-2021-2022.jsonl"):
        for text in recorded_texts(captures / "htx" / name):
            message = json.loads(text)
            topic = message.get("ch") or message.get("rep") or ""
            if ".mbp." in topic:
                kind = ("rep " if "rep" in message else "push ") + topic.rpartition(".")[2]
                real.setdefault(kind, set()).update(paths(message))
    assert {"rep 150", "push 150", "push 20"} <= set(real)
    played = await play("htx")
    client = await played.connect()
    mine: dict[str, set[str]] = {}
    for levels in (20, 150):
        topic = f"market.btcusdt.mbp.{levels}"
        await client.send({"sub": topic, "id": "1"})
        await client.send({"req": topic, "id": "1"})
    await played.step(50, "BTC-USDT")
    for message in [json.loads(json.dumps(each)) for each in map(json.loads, await received(client, 60))]:
        topic = message.get("ch") or message.get("rep") or ""
        if topic:
            kind = ("rep " if "rep" in message else "push ") + topic.rpartition(".")[2]
            mine.setdefault(kind, set()).update(paths(message))
    for kind in ("rep 150", "push 150"):
        assert real[kind] == mine[kind], kind
    # one-sided pushes leave a key out: the forms that were recorded are among ours
    assert real["push 20"] <= mine["push 20"]


async def test_pings_must_be_answered(play: Any) -> None:
    played = await play("htx", limits=True)
    dumb, good = await played.connect(), await played.connect()
    for round_ in range(3):
        for connection in played.host.connections.values():
            connection.state["pinged_at"] = time.monotonic() - 6
        if round_ < 2:
            for client in (dumb, good):
                ping = json.loads(await asyncio.wait_for(client.text(), 5))
                assert re.fullmatch(r"\d{13}", str(ping["ping"]))
                if client is good:
                    await client.send({"pong": ping["ping"]})
            await good.everything()
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await asyncio.wait_for(dumb.text(), 5)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1003, "ping check expired")
    assert "ping" in await asyncio.wait_for(good.text(), 5)


async def test_requests_are_limited(play: Any) -> None:
    client = await (await play("htx", limits=True)).connect()
    for number in range(11):
        await client.send({"req": TOPIC, "id": number})
    texts = await received(client, 11)
    assert ["429 too many request" in text for text in texts] == [False] * 10 + [True]


async def test_symbols_and_books_over_rest(play: Any) -> None:
    played = await play("htx")
    old = (await played.get("/v1/common/symbols"))["data"]
    assert [(row["symbol"], row["state"], row["api-trading"]) for row in old] == [
        ("btcusdt", "online", "enabled"),
        ("ethusdt", "online", "enabled"),
        ("haltedusdt", "suspend", "disabled"),
    ]
    assert (old[0]["base-currency"], old[0]["quote-currency"]) == ("btc", "usdt")
    assert (old[0]["price-precision"], old[0]["amount-precision"]) == (2, 5)
    middle = (await played.get("/v1/settings/common/market-symbols"))["data"]
    new = (await played.get("/v2/settings/common/symbols"))["data"]
    for first, second, third in zip(old, middle, new, strict=True):
        assert first["symbol"] == second["symbol"] == third["sc"]
        assert first["base-currency"] == second["bc"] == third["bc"]
        assert first["price-precision"] == second["pp"] == third["tpp"]
        assert first["amount-precision"] == second["ap"] == third["tap"]
        assert (first["state"] == "online") == (second["state"] == "online") == third["te"]
    book = await played.get("/market/depth", symbol="btcusdt", type="step0")
    full = await played.get("/market/fullMbp", symbol="btcusdt")
    true = await played.control("/book/BTC-USDT")
    assert (len(book["tick"]["bids"]), len(full["tick"]["bids"])) == (150, 600)
    assert [[float(each) for each in row] for row in full["tick"]["asks"]] == [
        [float(each) for each in row[:2]] for row in true["asks"]
    ]
    assert (await played.get("/market/depth", symbol="nope", type="step0"))["err-msg"] == "invalid symbol"
    assert (await played.get("/market/depth", symbol="btcusdt", type="step1"))["status"] == "error"
