"""Bitfinex's conversation, field by field, as its documentation and recordings have it."""

from __future__ import annotations

import asyncio
import json
import re
import time
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import websockets
from message_shapes import paths, recorded_texts

from appliance.simulator.numbers import javascript

TIMESTAMP, SEQ_ALL, OB_CHECKSUM = 32768, 65536, 131072
BOOK = {"event": "subscribe", "channel": "book", "prec": "P0", "freq": "F0", "len": "25"}


async def opened(played: Any, flags: int = 0, *symbols: str, length: str = "25") -> Any:
    """A connection with flags and books; everything up to the snapshots is taken."""
    client = await played.connect()
    await client.receive()
    if flags:
        await client.send({"event": "conf", "flags": flags})
        assert await client.receive() == {"event": "conf", "status": "OK", "flags": flags}
    for symbol in symbols:
        await client.send({**BOOK, "symbol": symbol, "len": length})
    return client


def texts_of(numbers: str) -> list[str]:
    """The number tokens of a frame."""
    return re.findall(r"-?\d[\d.e-]*", numbers)


class Book:
    """A book of number texts exactly as they came, and the checksum over them."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[str, str]] = {"": {}, "-": {}}

    def apply(self, text: str) -> None:
        rows = re.findall(r"\[([^][]+)]", text)
        if "[[" in text:
            self.sides = {"": {}, "-": {}}
        for row in rows:
            price, count, amount = row.split(",")
            side = self.sides["-" if amount.startswith("-") else ""]
            if count == "0":
                del side[price]
            else:
                side[price] = amount

    def ordered(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        bids = sorted(self.sides[""].items(), key=lambda row: -float(row[0]))
        return bids, sorted(self.sides["-"].items(), key=lambda row: float(row[0]))

    def checksum(self) -> int:
        bids, asks = self.ordered()
        rows = [side[index] for index in range(25) for side in (bids, asks) if index < len(side)]
        crc = zlib.crc32(":".join(f"{price}:{amount}" for price, amount in rows).encode())
        return crc - (1 << 32) if crc >> 31 else crc


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[6000,1,1],[5900,1,2],[6100,1,-3],[6200,1,-4]]", 1756193398),
        ("[[6000,1,1],[1.7e-8,1,2],[6100,1,-3],[6200,1,-4]]", 952615146),
    ],
)
def test_the_worked_checksums_of_the_documentation(text: str, expected: int) -> None:
    book = Book()
    book.apply(f"[1,{text}]")
    assert book.checksum() == expected


def test_numbers_are_written_as_javascript_does() -> None:
    written = [
        javascript(*each) for each in ((1, 6), (1, 7), (17, 9), (2505, 8), (118940, 0), (50, 1), (0, 8))
    ]
    assert written == ["0.000001", "1e-7", "1.7e-8", "0.00002505", "118940", "5", "0"]


def test_the_recipe_of_numbers_on_what_was_recorded(captures: Path) -> None:
    """Every number of the recording is what our writer makes of its value."""
    checked = 0
    for text in recorded_texts(captures / "bitfinex" / "bbgo-v2-p0book-2025.jsonl"):
        if text.startswith("["):
            for number in texts_of(text.replace('"', "")):
                digits = number.lstrip("-")
                exponent = int(digits.partition("e")[2] or 0)
                whole, _, rest = digits.partition("e")[0].partition(".")
                decimals = max(len(rest) - exponent, 0)
                units = int(whole + rest) * 10 ** max(0, exponent - len(rest))
                assert javascript(units, decimals) == digits
                checked += 1
    assert checked > 10_000


async def test_greeting_configuration_and_acknowledgement(play: Any) -> None:
    played = await play("bitfinex", symbols=("BTC-USD", "DOGE-USD", "BTC-USDT"))
    client = await played.connect()
    greeting = await client.text()
    assert re.fullmatch(
        r'{"event":"info","version":2,"serverId":"[0-9a-f-]{36}","platform":{"status":1}}', greeting
    )
    await client.send({"event": "conf", "flags": 229376})
    assert await client.text() == '{"event":"conf","status":"OK","flags":229376}'
    await client.send({"event": "conf", "flags": 536870912})
    assert (await client.receive())["event"] == "error"
    for symbol, name in (("tBTCUSD", "tBTCUSD"), ("tDOGE:USD", "tDOGE:USD"), ("BTCUST", "tBTCUST")):
        await client.send({**BOOK, "symbol": symbol, "len": 25, "subId": 7})
        answer, snapshot = await client.receive(), await client.receive()
        assert list(answer) == [
            "event",
            "channel",
            "chanId",
            "symbol",
            "prec",
            "freq",
            "len",
            "subId",
            "pair",
        ]
        assert (answer["symbol"], answer["pair"]) == (name, name[1:])
        assert (answer["prec"], answer["freq"], answer["len"], answer["subId"]) == ("P0", "F0", "25", 7)
        assert snapshot[0] == answer["chanId"]
        assert len(snapshot) == 4
    await client.send({"event": "unsubscribe", "chanId": answer["chanId"]})
    unsubscribed = await client.receive()
    assert unsubscribed == {"event": "unsubscribed", "status": "OK", "chanId": answer["chanId"]}
    await client.send({"event": "ping", "cid": 1})
    assert list(await client.receive()) == ["event", "ts", "cid"]


async def test_data_may_come_before_its_channel_is_known(play: Any) -> None:
    played = await play("bitfinex", symbols=("BTC-USD",), options=("bitfinex.subscribed=late",))
    client = await opened(played, 0, "tBTCUSD")
    snapshot, answer = await client.receive(), await client.receive()
    assert answer["event"] == "subscribed"
    assert snapshot[0] == answer["chanId"]


async def test_errors(play: Any) -> None:
    played = await play("bitfinex", symbols=("BTC-USD",))
    client = await opened(played, 0, "tBTCUSD")
    answer, _ = await client.receive(), await client.receive()
    wrong = [
        ({**BOOK, "symbol": "tNOPE"}, 10300),
        ({**BOOK, "symbol": "tBTCUSD", "len": "26"}, 10300),
        ({**BOOK, "symbol": "tBTCUSD", "prec": "R0"}, 10300),
        ({**BOOK, "symbol": "tBTCUSD"}, 10301),
        ({"event": "unsubscribe", "chanId": answer["chanId"] + 1}, 10400),
        ({"event": "jump"}, 10000),
    ]
    for request, code in wrong:
        await client.send(request)
        error = await client.receive()
        assert (error["event"], error["code"]) == ("error", code)
        assert error.get("chanId") in (None, answer["chanId"], answer["chanId"] + 1)


@pytest.mark.parametrize("flags", [0, SEQ_ALL, TIMESTAMP, TIMESTAMP | SEQ_ALL])
async def test_what_the_flags_append(play: Any, flags: int) -> None:
    played = await play("bitfinex", symbols=("BTC-USD", "ETH-USD"))
    client = await opened(played, flags, "tBTCUSD", "tETHUSD")
    await played.step(10)
    arrays = [each for each in await client.everything() if isinstance(each, list)]
    assert len(arrays) > 20
    for index, array in enumerate(arrays):
        rest = array[2:]
        if flags & SEQ_ALL:
            assert rest.pop(0) == index + 1  # over both books
        if flags & TIMESTAMP:
            assert re.fullmatch(r"\d{13}", str(rest.pop(0)))
        assert rest == []


@pytest.mark.parametrize("length", [1, 25, 100, 250])
async def test_rows_and_windows(play: Any, length: int) -> None:
    """Never crossed, never longer than asked for, deletions name a level that is there, in five digits."""
    played = await play("bitfinex", symbols=("BTC-USD", "SOL-USD"))
    for name, symbol in (("tBTCUSD", "BTC-USD"), ("tSOLUSD", "SOL-USD")):
        client = await opened(played, 0, name, length=str(length))
        await played.step(150, symbol)
        await client.send({"event": "ping", "cid": 5})
        book = Book()
        while '"cid":5' not in (text := await client.text()):
            if text.startswith("["):
                book.apply(text[text.index(",") :])
                bids, asks = book.ordered()
                assert len(bids) <= length
                assert len(asks) <= length
                assert not bids or not asks or float(bids[0][0]) < float(asks[0][0])
                assert not re.search(r",0,(?!-?1])", text)
        true = await played.control(f"/book/{symbol}?depth={length}")
        bids, asks = book.ordered()
        assert [[float(each) for each in row] for row in bids] == [
            [float(each) for each in row[:2]] for row in true["bids"]
        ]
        assert [abs(float(row[1])) for row in asks] == [float(row[1]) for row in true["asks"]]
        assert all(len(price.replace(".", "")) <= 5 for price, _ in bids)


async def test_checksums_of_the_book_as_it_was_sent(play: Any) -> None:
    played = await play("bitfinex", symbols=("BTC-USD",))
    client, plain = await opened(played, OB_CHECKSUM | SEQ_ALL, "tBTCUSD"), await opened(played, 0, "tBTCUSD")
    check = next(iter(played.host.exchange.books["BTC-USD"].state.checks.values()))
    book, proved = Book(), 0
    while proved < 3:
        await played.step(120)
        check.told_at = time.monotonic() - 3
        while True:
            text = await asyncio.wait_for(client.text(), 5)
            if '"cs"' in text:
                _, _, value, sequence = json.loads(text)
                assert book.checksum() == value
                proved += 1
                break
            if text.startswith("["):
                book.apply(text[text.index(",") : text.rindex(",")])
    assert isinstance(sequence, int)
    assert all('"cs"' not in json.dumps(each) for each in await plain.everything())


async def test_amounts_below_a_millionth_have_an_exponent(play: Any) -> None:
    played = await play("bitfinex", symbols=("BTC-USD",))
    client = await opened(played, 0, "tBTCUSD", length="250")
    await played.step(1000)
    await client.send({"event": "ping", "cid": 5})
    found: list[str] = []
    while '"cid":5' not in (text := await client.text()):
        found += re.findall(r"[\d.]+e-\d+", text)
    assert found
    assert all(float(each) < 1e-6 for each in found)


async def test_wrong_and_zero_checksums(play: Any) -> None:
    played = await play("bitfinex", symbols=("BTC-USD",))
    client = await opened(played, OB_CHECKSUM, "tBTCUSD")
    for fault in ("wrong_checksum", "zero_checksum"):
        await played.fault(fault, symbol="BTC-USD")
        await played.step(1)
        true = (await played.control("/book/BTC-USD"))["sequence"]["cs"]
        await played.step(1)
        sums = [each[2] for each in await client.everything() if isinstance(each, list) and each[1] == "cs"]
        assert sums == ([true ^ 1] if fault == "wrong_checksum" else [0])


async def test_duplicate_reordered_malformed_and_crossed_updates(play: Any, follow: Any) -> None:
    played = await play("bitfinex")
    for fault in ("duplicate", "reorder"):
        follower = await follow(played)
        await played.fault(fault, symbol="BTC-USDT")
        await played.step(3, "BTC-USDT")
        messages = [each for each in await follower.client.everything() if isinstance(each, list)]
        numbers = [each[2] for each in messages]
        if fault == "duplicate":
            assert any(left == right for left, right in pairwise(messages))
        else:
            assert numbers != sorted(numbers)
        with pytest.raises(AssertionError, match="gap"):
            list(map(follower.book.apply, messages))
    follower = await follow(played)
    await played.fault("malformed", symbol="BTC-USDT")
    await played.step(2, "BTC-USDT")
    assert json.dumps(await follower.client.everything()).count("not-a-price") == 1
    follower = await follow(played)
    await played.fault("crossed", symbol="BTC-USDT")
    await played.step(1, "BTC-USDT")
    await follower.catch_up()
    assert max(map(float, follower.book.bids)) > min(map(float, follower.book.asks))


async def test_heartbeats_per_channel_take_a_number(play: Any, follow: Any) -> None:
    played = await play("bitfinex")
    follower = await follow(played)
    (connection,) = played.host.connections.values()
    connection.state["heard"] = dict.fromkeys(connection.state["heard"], time.monotonic() - 16)
    message = await asyncio.wait_for(follower.client.receive(), 5)
    assert message == [follower.book.channel, "hb", follower.book.last + 1]


async def test_messages_have_the_shape_of_recorded_ones(play: Any, captures: Path) -> None:
    def kind(message: Any) -> str:
        if isinstance(message, dict):
            return str(message["event"])
        if message[1] == "hb":
            return "hb"
        return "snapshot" if isinstance(message[1][0], list) else "update"

    real: dict[str, set[str]] = {}
    channel = None
    for text in recorded_texts(captures / "bitfinex" / "bbgo-v2-p0book-2025.jsonl"):
        message = json.loads(text)
        if isinstance(message, dict):
            if message.get("symbol") == "tBTCUSD" and message["channel"] == "book":
                channel = message["chanId"]
            if message["event"] == "info" or message.get("chanId") == channel is not None:
                real.setdefault(kind(message), set()).update(paths(message))
        elif message[0] == channel:
            real.setdefault(kind(message), set()).update(paths(message))
    assert set(real) == {"info", "subscribed", "snapshot", "update", "hb"}
    played = await play("bitfinex", symbols=("BTC-USD",))
    client = await played.connect()
    await client.send({**BOOK, "symbol": "tBTCUSD"})
    await played.step(100)
    (connection,) = played.host.connections.values()
    async with asyncio.timeout(5):
        while not connection.state["heard"]:
            await asyncio.sleep(0.01)
    connection.state["heard"] = dict.fromkeys(connection.state["heard"], time.monotonic() - 16)
    mine: dict[str, set[str]] = {}
    while "hb" not in mine:
        message = json.loads(await asyncio.wait_for(client.text(), 5))
        mine.setdefault(kind(message), set()).update(paths(message))
    assert mine == real


async def test_notice_limits_and_idle_connections(play: Any) -> None:
    played = await play(
        "bitfinex", limits=True, symbols=tuple(f"A{number}-USD" for number in range(31)), levels=20
    )
    client = await opened(played)
    await played.fault("notice")
    assert (await client.receive())["code"] == 20051
    for number in range(31):
        await client.send({**BOOK, "symbol": f"tA{number}USD"})
    events = [each for each in await client.everything() if isinstance(each, dict)]
    assert [each["event"] for each in events] == ["subscribed"] * 30 + ["error"]
    assert events[-1]["code"] == 10305
    idle = await opened(played)
    played.host.connections[2].state["empty_since"] = time.monotonic() - 61
    with pytest.raises(websockets.ConnectionClosedError) as closed:
        await asyncio.wait_for(idle.text(), 5)
    assert closed.value.rcvd is None


async def test_pairs_and_books_over_rest(play: Any) -> None:
    played = await play("bitfinex", symbols=("BTC-USD", "DOGE-USDT", "XRP-USD"))
    pairs, renames = await played.get("/v2/conf/pub:info:pair,pub:map:currency:sym")
    assert [row[0] for row in pairs] == ["BTCUSD", "DOGE:UST", "XRPUSD", "TESTBTC:TESTUSD"]
    assert len(pairs[0][1]) == 12
    assert (pairs[0][1][3], pairs[0][1][4]) == ("0.00004", "2000.0")
    assert ["UST", "USDt"] in renames
    rows = await played.get("/v2/book/tBTCUSD/P0", len="100")
    assert len(rows) == 200
    assert (await played.raw("/v2/book/tNOPE/P0"))[0] == 500
    assert (await played.raw("/v2/other"))[0] == 404
