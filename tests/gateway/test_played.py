"""Channels of the past: the recording played to a subscriber, through the encoder of the stream."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import time
from decimal import Decimal

import psutil
import pytest
from gateway_support import LIVE, STALE, RandomFlow, SubscriberBook, expected_side

from handlers.logs import Log
from handlers.recording.recorder import RecordSettings, Track

SPEED = 10


class Scene:
    """Two exchanges' books, recorded while they moved for a second."""

    def __init__(self, gateway, record_dir) -> None:
        told = RecordSettings(
            gateway.settings.shm_dir, gateway.settings.run_dir, record_dir, ("okx", "binance")
        )
        self.books, self.flows, self.writers, tracks = {}, {}, {}, []
        for name, exponents in (("okx", (1, 8)), ("binance", (2, 5))):
            writer = gateway.writer(name)
            self.writers[name] = writer
            self.books[name] = writer.add("BTC-USDT", *exponents)
            self.flows[name] = RandomFlow(exponents[0], 45000 * 10 ** exponents[0])
            self.flows[name].fill(writer, self.books[name])
            tracks.append(Track(told, name, Log("record", stream=io.StringIO())))
        self.tracks = tracks
        for track in tracks:
            track.poll(1.0)
        self.from_ms = time.time_ns() // 1_000_000 + 1
        while time.time_ns() < self.from_ms * 1_000_000:  # the copies of the books stand before it
            pass
        self.first = self.books["okx"].sequence
        self.turn = 2.0
        self.truth = {}  # of okx: sides after each sequence

    def step(self) -> None:
        """One update of each book, recorded."""
        for name, writer in self.writers.items():
            self.flows[name].step(writer, self.books[name])
        book = self.books["okx"]
        self.truth[book.sequence] = [book.decimals(side) for side in (0, 1)]
        for track in self.tracks:
            track.poll(self.turn)
        self.turn += 1.0

    async def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.step()
            await asyncio.sleep(0.01)
        await self.ends()

    async def ends(self) -> None:
        """What comes after this is not asked for."""
        self.to_ms = time.time_ns() // 1_000_000 + 1
        while time.time_ns() <= self.to_ms * 1_000_000:
            await asyncio.sleep(0.001)

    def close(self) -> None:
        for track in self.tracks:
            track.close("stopped")


async def scene_of(make_gateway, tmp_path, seconds=0.3):
    gateway = await make_gateway(record_dir=tmp_path)
    scene = Scene(gateway, tmp_path)
    await scene.run(seconds)
    return gateway, scene


async def played(client, channel, scene, **options):
    """(snapshots, seconds) of a replay to its end."""
    ack = await client.ask(
        op="subscribe", channel=channel, **{"from": scene.from_ms, "to": scene.to_ms, **options}
    )
    assert ack["type"] == "subscribed", ack
    found, begun = [], time.monotonic()
    while True:
        message = await client.next(60.0)
        if not isinstance(message, bytes) and message["type"] == "replayed":
            return found, time.monotonic() - begun
        found.append(message)


@pytest.mark.parametrize(
    "channel", ["okx:BTC-USDT", "consbook:BTC-USDT", "fullbook:BTC-USDT", "top:BTC-USDT"]
)
async def test_a_replay_ends_in_the_same_books(make_gateway, tmp_path, order, channel):
    gateway, scene = await scene_of(make_gateway, tmp_path)
    want = [expected_side(channel, scene.books, side, 30, order) for side in (0, 1)]
    for name, writer in scene.writers.items():  # what comes later is not played
        scene.flows[name].step(writer, scene.books[name])
    scene.close()
    async with gateway.client() as client:
        found, _ = await played(client, channel, scene, depth=30, speed=SPEED, interval=1)
        assert len(found) > 1, "it moves"
        assert {(message["type"], message["channel"]) for message in found} == {("snapshot", channel)}
        for side, key in enumerate(("bids", "asks")):
            told = [(Decimal(r[0]), Decimal(r[1]), *r[2:]) for r in found[-1]["data"][key]]
            assert told == want[side]
        live = await client.subscribe(channel, depth=30)  # the replay is over: the name is free again
        assert live["data"] != found[-1]["data"]


async def test_every_change_is_told_with_the_books_of_every_sequence(make_gateway, tmp_path):
    gateway, scene = await scene_of(make_gateway, tmp_path)
    scene.close()
    async with gateway.client() as client:
        found, _ = await played(
            client, "okx:BTC-USDT", scene, depth=1000, speed=1000, interval=0, mode="inc", stamps=True
        )
    assert [message["type"] for message in found] == ["snapshot", *["delta"] * (len(found) - 1)]
    book, seen = SubscriberBook(), []
    for message in found:
        book.apply(message)
        if book.sequence in scene.truth:
            assert [book.side(side) for side in (0, 1)] == scene.truth[book.sequence]
            seen.append(book.sequence)
    # an update that leaves every level as it was is no message
    silent = {at for at in scene.truth if scene.truth[at] == scene.truth.get(at - 1)}
    assert set(scene.truth) - set(seen) <= silent
    assert len(seen) > 10


@pytest.mark.parametrize("channel", ["consbook:BTC-USDT", "fullbook:BTC-USDT", "top:BTC-USDT"])
async def test_deltas_end_in_the_same_books(make_gateway, tmp_path, order, channel):
    gateway, scene = await scene_of(make_gateway, tmp_path)
    scene.close()
    async with gateway.client() as client:
        found, _ = await played(client, channel, scene, depth=30, speed=50, interval=0, mode="inc")
    book = SubscriberBook(full=channel.startswith("fullbook"))
    for message in found:
        book.apply(message)
    for side in (0, 1):
        assert book.side(side, order) == expected_side(channel, scene.books, side, 30, order)
    assert "delta" in {message["type"] for message in found}


async def test_other_formats_are_framed_as_the_stream_frames_them(make_gateway, tmp_path):
    gateway, scene = await scene_of(make_gateway, tmp_path)
    scene.close()
    async with gateway.client() as client:
        found, _ = await played(client, "okx:BTC-USDT", scene, speed=100, format="binary", mode="inc")
        assert [message[1] for message in found] == [1, *[2] * (len(found) - 1)]  # snapshot, deltas
        found, _ = await played(client, "okx:BTC-USDT", scene, speed=100, format="tardis")
        assert {message["type"] for message in found} == {"orderbook_snapshot"}
        assert {message["symbol"] for message in found} == {"BTCUSDT"}


async def test_a_replay_waits_for_who_reads_slowly(make_gateway, tmp_path):
    gateway = await make_gateway(record_dir=tmp_path, send_buffer_bytes=8192)
    scene = Scene(gateway, tmp_path)
    for _ in range(1500):
        scene.step()
    await scene.ends()
    scene.close()
    async with gateway.client(max_queue=1) as client:
        client.socket.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        request = {"channel": "okx:BTC-USDT", "from": scene.from_ms, "to": scene.to_ms, "speed": 1000}
        more = {"depth": 1000, "interval": 0, "mode": "inc", "stamps": True}
        await client.send(op="subscribe", **request, **more)
        await client.until("snapshot", 60.0)
        async with gateway.client() as other:  # the stream goes on
            first = await other.subscribe("okx:BTC-USDT", interval=0, stamps=True)
            for _ in range(20):
                scene.flows["okx"].step(scene.writers["okx"], scene.books["okx"])
            while first["data"]["seq"] < scene.books["okx"].sequence:
                first = await other.next()
        book = SubscriberBook()
        while (message := await client.next(60.0))["type"] != "replayed":
            assert "conflated" not in message
            book.apply(message)
        assert book.messages > 1000, "every change, none merged"


async def test_a_player_that_dies_is_told_and_the_name_is_free_again(make_gateway, tmp_path):
    gateway, scene = await scene_of(make_gateway, tmp_path)
    scene.close()
    async with gateway.client() as client:
        request = {"channel": "okx:BTC-USDT", "from": scene.from_ms, "to": scene.to_ms, "speed": 0.01}
        await client.send(op="subscribe", id=7, **request)
        await client.until("snapshot", 60.0)
        players = [
            each for each in psutil.Process().children() if "gateway.player" in " ".join(each.cmdline())
        ]
        assert len(players) == 1
        assert os.getsid(players[0].pid) == players[0].pid, "a session of its own, from its start on"
        assert players[0].nice() >= 10
        players[0].kill()
        error = await client.until("error")
        assert (error["msg"], error["code"], error["id"]) == ("replay failed", 27, 7)
        assert (await client.subscribe("okx:BTC-USDT"))["type"] == "snapshot"
    assert list(gateway.settings.shm_dir.glob("replay-*")) == []


async def test_no_more_than_allowed_at_a_time(make_gateway, tmp_path):
    gateway = await make_gateway(record_dir=tmp_path, replays_max=1)
    scene = Scene(gateway, tmp_path)
    await scene.run(0.2)
    scene.close()
    async with gateway.client() as client:
        request = {"op": "subscribe", "from": scene.from_ms, "to": scene.to_ms, "speed": 0.01}
        assert (await client.ask(channel="okx:BTC-USDT", **request))["type"] == "subscribed"
        await client.send(channel="binance:BTC-USDT", **request)
        assert (await client.until("error"))["msg"] == "no room"


async def test_a_book_that_was_not_live_is_played_as_not_live(make_gateway, tmp_path):
    gateway = await make_gateway(record_dir=tmp_path)
    scene = Scene(gateway, tmp_path)
    book, writer = scene.books["okx"], scene.writers["okx"]
    writer.state(book, STALE)
    for track in scene.tracks:
        track.poll(5.0)
    await scene.ends()
    writer.state(book, LIVE)
    scene.close()
    async with gateway.client() as client:
        found, _ = await played(client, "okx:BTC-USDT", scene, speed=1000, interval=0)
        assert found[-1]["data"]["bids"] == found[-1]["data"]["asks"] == []


async def test_speed_is_what_was_asked_for(make_gateway, tmp_path):
    gateway, scene = await scene_of(make_gateway, tmp_path, 0.6)
    scene.close()
    async with gateway.client() as client:
        _, slow_s = await played(client, "okx:BTC-USDT", scene, speed=1)
        _, quick_s = await played(client, "okx:BTC-USDT", scene, speed=1000)
        assert slow_s > 0.5
        assert slow_s > quick_s


async def test_a_replay_is_unsubscribed_like_any_other(make_gateway, tmp_path):
    gateway, scene = await scene_of(make_gateway, tmp_path)
    scene.close()
    async with gateway.client() as client:
        request = {"op": "subscribe", "channel": "okx:BTC-USDT", "from": scene.from_ms, "speed": 0.01}
        assert (await client.ask(**request))["type"] == "subscribed"
        await client.until("snapshot")
        assert (await client.ask(**request))["msg"] == "already subscribed"
        await client.send(op="unsubscribe", channel="okx:BTC-USDT")
        await client.until("unsubscribed")
        assert await client.silent(0.3)
    assert list(gateway.settings.shm_dir.glob("replay-*")) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"from": "yesterday"}, "invalid replay"), ({"from": 5, "to": 4}, "invalid replay"),
        ({"from": 5, "speed": 0}, "invalid replay"), ({"from": 5, "speed": "fast"}, "invalid replay"),
        ({"from": 5, "speed": True}, "invalid replay"), ({"from": 5, "mode": "deltas"}, "invalid mode"),
    ],
)  # fmt: skip
async def test_what_cannot_be_played_is_refused(make_gateway, tmp_path, options, message):
    gateway, scene = await scene_of(make_gateway, tmp_path, 0.01)
    scene.close()
    async with gateway.client() as client:
        answer = await client.ask(op="subscribe", channel="okx:BTC-USDT", **options)
        assert (answer["type"], answer["msg"]) == ("error", message)
        assert (await client.subscribe("okx:BTC-USDT"))["type"] == "snapshot"


async def test_without_a_recording_there_is_no_past(gateway):
    gateway.writer("okx").add("BTC-USDT")
    async with gateway.client() as client:
        answer = await client.ask(op="subscribe", channel="okx:BTC-USDT", **{"from": 5})
        assert answer["msg"] == "no recording"
