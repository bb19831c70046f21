"""Every fault does what its name says, on every exchange that can suffer it, and passes when it is over."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
import websockets
from dialects import DIALECTS, no_load

EXCHANGES = ("binance", "coinbase", "okx", "bybit", "kraken", *DIALECTS)
every_exchange = pytest.mark.parametrize("exchange", EXCHANGES)
# where each level is a message of its own the counts differ: those exchanges' own tests do this
one_frame_per_update = pytest.mark.parametrize(
    "exchange", [name for name in EXCHANGES if name not in DIALECTS or DIALECTS[name].one_frame_per_update]
)
# whole books carry nothing that says which of two came first
ORDERED = [
    name
    for name in EXCHANGES
    if name not in DIALECTS
    or (DIALECTS[name].one_frame_per_update and DIALECTS[name].shows_gaps and DIALECTS[name].counts)
]
# where the next message neither shows nor heals what was lost: those exchanges' own tests do this
noticing = pytest.mark.parametrize(
    "exchange",
    [name for name in EXCHANGES if name not in DIALECTS or DIALECTS[name].shows_gaps or DIALECTS[name].heals],
)
REST = {
    "binance": ("/api/v3/depth", {"symbol": "BTCUSDT"}),
    "coinbase": ("/api/v3/brokerage/market/products", {}),
    "okx": ("/api/v5/public/instruments", {"instType": "SPOT"}),
    "bybit": ("/v5/market/instruments-info", {"category": "spot"}),
    "kraken": ("/0/public/AssetPairs", {}),
}
LOADED = ("binance", *(name for name, each in DIALECTS.items() if each.load is not no_load))
REST.update({name: each.rest for name, each in DIALECTS.items()})


async def recovers(played: Any, follow: Any) -> None:
    """A new client finds everything right."""
    follower = await follow(played)
    await played.step(10)
    await follower.catch_up()
    assert await follower.is_right()


async def notices(follower: Any) -> None:
    """What was lost shows as a gap; where each message is the whole book the next one heals it."""
    if follower.played.exchange in DIALECTS and not DIALECTS[follower.played.exchange].shows_gaps:
        await follower.catch_up()
        assert await follower.is_right()
        return
    with pytest.raises(AssertionError, match="gap"):
        await follower.catch_up()


@noticing
async def test_a_dropped_update_leaves_a_gap(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    btc, eth = await follow(played), await follow(played, "ETH-USDT")
    # kraken's checksum covers ten levels: what is lost deeper does not show
    await played.fault("drop", symbol="BTC-USDT", top=True)
    await played.step(20)
    await notices(btc)
    assert len(await eth.catch_up()) >= 15
    assert await eth.is_right()
    assert (await played.control("/counts"))["faults"] == {"drop": 1}
    await recovers(played, follow)


@one_frame_per_update
async def test_a_duplicate_is_the_same_bytes_twice(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    follower = await follow(played)
    await played.fault("duplicate", count=2)
    await played.step(3, "BTC-USDT")
    texts = [await follower.client.text() for _ in range(5)]
    assert texts[0] == texts[1]
    assert texts[2] == texts[3]
    assert len(set(texts)) == 3


@pytest.mark.parametrize("exchange", ORDERED)
async def test_reordered_updates_are_swapped(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    follower, mirror = await follow(played), await follow(played)
    await played.fault("reorder", symbol="BTC-USDT")
    await played.step(3, "BTC-USDT")
    messages = await follower.client.everything()
    key = {
        "binance": lambda m: m["data"]["u"],
        "coinbase": lambda m: m["sequence_num"],
        "okx": lambda m: m["data"][0]["seqId"],
        "bybit": lambda m: m["data"]["u"],
        "kraken": lambda m: m["data"][0]["timestamp"],
        **{name: each.order_of for name, each in DIALECTS.items()},
    }[exchange]
    first, second, third = map(key, messages)
    assert second < first < third
    await notices(mirror)
    await recovers(played, follow)


@pytest.mark.parametrize("exchange", ["okx", "kraken"])
async def test_wrong_and_zero_checksums(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    follower = await follow(played)
    await played.step(1, "BTC-USDT")
    await played.fault("wrong_checksum", symbol="BTC-USDT")
    await played.step(1, "BTC-USDT")
    await played.fault("zero_checksum", count=0)
    await played.step(2, "BTC-USDT")
    await played.fault("clear")
    await played.step(1, "BTC-USDT")
    messages = await follower.client.everything()
    sums = [message["data"][0]["checksum"] for message in messages]
    assert (sums[2], sums[3]) == (0, 0)
    if exchange == "okx":
        assert sums[0] == sums[4] == 0 != sums[1]
        return
    follower.book.apply(messages[0])
    with pytest.raises(AssertionError, match="checksum"):
        follower.book.apply(messages[1])
    for message in messages[2:4]:
        with pytest.raises(AssertionError, match="checksum"):
            follower.book.apply(message)
    follower.book.apply(messages[4])
    assert await follower.is_right()


@pytest.mark.parametrize(
    "exchange",
    ["binance", "coinbase", "bybit", *(name for name, each in DIALECTS.items() if not each.has_checksum)],
)
async def test_no_checksum_cannot_be_wrong(play: Any, exchange: str) -> None:
    played = await play(exchange)
    answer = await played.control("/fault", {"fault": "wrong_checksum"}, status=400)
    assert answer["error"] == f"{exchange} sends no checksum"


@one_frame_per_update
async def test_a_malformed_level_is_valid_json_that_does_not_fit(
    play: Any, follow: Any, exchange: str
) -> None:
    played = await play(exchange)
    follower = await follow(played)
    await played.fault("malformed", symbol="BTC-USDT")
    await played.step(2, "BTC-USDT")
    bad, good = await follower.client.everything()
    assert json.dumps(bad).count("not-a-price") == 1
    assert "not-a-price" not in json.dumps(good)
    await recovers(played, follow)


@one_frame_per_update
async def test_a_crossed_book(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    follower = await follow(played)
    await played.fault("crossed", symbol="BTC-USDT")
    await played.step(1, "BTC-USDT")
    (message,) = await follower.client.everything()
    if exchange == "kraken" or (exchange in DIALECTS and DIALECTS[exchange].checks_sums):
        with pytest.raises(AssertionError, match="checksum"):
            follower.book.apply(message)
    else:
        follower.book.apply(message)
    assert max(map(float, follower.book.bids)) > min(map(float, follower.book.asks))
    await recovers(played, follow)


@every_exchange
async def test_garbage_and_oversized_frames_come_between_updates(
    play: Any, follow: Any, exchange: str
) -> None:
    played = await play(exchange)
    follower = await follow(played)
    await played.fault("garbage")
    await played.fault("garbage", kind="binary")
    await played.fault("oversized", bytes=1 << 20)
    await played.step(3)
    text = await follower.client.text()
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    noise = await follower.client.connection.recv()
    assert isinstance(noise, bytes)
    assert len(noise) == 200
    assert len(await follower.client.text()) >= 1 << 20
    await follower.catch_up()
    assert await follower.is_right()


@every_exchange
async def test_a_half_open_socket_says_nothing_more(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    frozen, healthy = await follow(played), await follow(played)
    await played.fault("half_open", connection=1)
    await played.step(5)
    await healthy.catch_up()
    assert await healthy.is_right()
    pong = await frozen.client.connection.ping()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(frozen.client.connection.recv(), 0.5)
    assert not pong.done()
    pong.cancel()
    assert len((await played.control("/counts"))["connections"]) == 2
    frozen.client.connection.transport.abort()


@every_exchange
async def test_close_with_a_code_and_reset(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    first, second = await follow(played), await follow(played)
    assert (await played.fault("close", connection=1, code=1012, reason="restart"))["connections"] == [1]
    with pytest.raises(websockets.ConnectionClosedError) as closed:
        await first.client.connection.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "restart")
    assert (await played.fault("reset"))["connections"] == [2]
    with pytest.raises(websockets.ConnectionClosedError) as closed:
        await second.client.connection.recv()
    assert closed.value.rcvd is None
    await recovers(played, follow)


@noticing
async def test_silence_of_one_symbol_with_the_connection_alive(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    btc, eth = await follow(played), await follow(played, "ETH-USDT")
    await played.fault("silence", symbol="BTC-USDT")
    await played.step(10)
    assert await btc.catch_up() == []  # it answers, but says nothing of the book
    await eth.catch_up()
    assert await eth.is_right()
    if played.host.exchange.answers_pings:
        await (await btc.client.connection.ping())
    late = await follow(played)
    if exchange in DIALECTS:
        assert [each for each in late.seen if DIALECTS[exchange].is_book(each)] == []
    else:
        books = [each for each in late.seen if "data" in each or each.get("channel") in ("book", "l2_data")]
        assert books in ([], late.seen[:1] if exchange == "kraken" else [])  # kraken's status message
    await played.fault("resume", symbol="BTC-USDT")
    await played.step(10)
    await notices(btc)
    if exchange in LOADED:
        await late.load()
    await late.catch_up()
    await played.step(10)
    await late.catch_up()
    assert await late.is_right()


@noticing
async def test_a_silence_that_ends_by_itself(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    old = await follow(played)
    await played.fault("silence", symbol="BTC-USDT", seconds=1.5)
    silent = await follow(played)
    await played.step(20)
    assert await old.catch_up() == []
    async with asyncio.timeout(5):
        while played.host.exchange.silent("BTC-USDT"):
            await asyncio.sleep(0.05)
    await played.step(20)
    await notices(old)
    if exchange in LOADED:
        await silent.load()
    await silent.catch_up()
    await played.step(5)
    await silent.catch_up()
    assert await silent.is_right()


@every_exchange
async def test_a_first_message_that_a_silence_held_back(play: Any, follow: Any, exchange: str) -> None:
    """Nobody else reads the symbol."""
    played = await play(exchange)
    await played.fault("silence", symbol="BTC-USDT", seconds=1.5)
    only = await follow(played)
    async with asyncio.timeout(10):
        while played.host.exchange.silent("BTC-USDT"):
            await asyncio.sleep(0.05)
    await played.step(20)
    if exchange in LOADED:
        await only.load()
    await only.catch_up()
    await played.step(5)
    await only.catch_up()
    assert await only.is_right()


@every_exchange
async def test_silence_that_a_new_subscription_ends(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    old = await follow(played)
    await played.fault("silence", until="resubscribe")
    await played.step(10)
    assert await old.catch_up() == []
    await recovers(played, follow)
    assert await old.catch_up() == []


@every_exchange
async def test_refused_connections(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    await played.fault("refuse_connections", status=503, count=1)
    with pytest.raises(websockets.InvalidStatus) as refused:
        await played.connect()
    assert refused.value.response.status_code == 503
    await played.fault("refuse_connections")
    for _ in range(2):
        with pytest.raises((websockets.InvalidMessage, OSError)):
            await played.connect()
    await played.fault("clear")
    await recovers(played, follow)


@every_exchange
async def test_a_refused_subscription(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange)
    await played.fault("refuse_subscription", symbol="BTC-USDT", count=1)
    refused = await follow(played)
    text = json.dumps(refused.seen)
    if exchange == "binance":
        assert '"result": null' in text  # Binance acknowledges and stays silent
    else:
        own = (DIALECTS[exchange].refusal,) if exchange in DIALECTS else ()
        assert any(word in text for word in own or ('"error"', '"success": false'))
    await played.step(5)
    assert await refused.catch_up() == []
    assert (await played.control("/counts"))["subscriptions"]["BTC-USDT"] == 0
    await recovers(played, follow)


@every_exchange
@pytest.mark.parametrize(("status", "retry_after"), [(429, "7"), (418, "120"), (451, None), (503, None)])
async def test_rest_refusals(play: Any, exchange: str, status: int, retry_after: str | None) -> None:
    played = await play(exchange)
    path, query = REST[exchange]
    options = {"retry_after": int(retry_after)} if retry_after else {}
    await played.fault("rest_status", status=status, count=2, **options)
    for _ in range(2):
        answered, headers, text = await played.raw(path, **query)
        assert (answered, headers.get("Retry-After")) == (status, retry_after)
        assert isinstance(json.loads(text), dict | list)
    assert (await played.raw(path, **query))[0] == 200


async def test_slow_rest(play: Any) -> None:
    played = await play("binance")
    path, query = REST["binance"]
    await played.fault("slow_rest", delay=0.4)
    started = time.monotonic()
    await played.get(path, **query)
    assert time.monotonic() - started >= 0.4
    started = time.monotonic()
    await played.get(path, **query)
    assert time.monotonic() - started < 0.4


async def test_the_clock_jumps(play: Any) -> None:
    played = await play("binance")
    before = (await played.get("/api/v3/time"))["serverTime"]
    await played.fault("clock_jump", by=-3600)
    after = (await played.get("/api/v3/time"))["serverTime"]
    assert -3_600_000 <= after - before < -3_590_000


@every_exchange
async def test_connections_are_cut_at_their_age(play: Any, follow: Any, exchange: str) -> None:
    played = await play(exchange, age_limit=11.0)
    follower = await follow(played)
    await played.fault("age_limit", age=2)
    async with asyncio.timeout(8):
        seen = [text async for text in follower.client.connection]
    assert follower.client.connection.close_code == 1001
    announced = {"binance": "serverShutdown", "okx": "64008"}.get(exchange)
    assert announced is None or announced in str(seen)
