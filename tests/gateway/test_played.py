"""Channels of the past: the recording played to a subscriber, through the encoder of the stream."""

from __future__ import annotations

import asyncio
import io
import time
from decimal import Decimal

import pytest
from gateway_support import LIVE, STALE, RandomFlow, expected_side

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
        self.from_ms = time.time_ns() // 1_000_000

    async def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        turn = 2.0
        while time.monotonic() < end:
            for name, writer in self.writers.items():
                self.flows[name].step(writer, self.books[name])
            for track in self.tracks:
                track.poll(turn)
            turn += 1.0
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


async def scene_of(make_gateway, tmp_path):
    gateway = await make_gateway(record_dir=tmp_path)
    scene = Scene(gateway, tmp_path)
    await scene.run(1.0)
    return gateway, scene


async def played(client, channel, scene, **options):
    """(snapshots, seconds) of a replay to its end."""
    ack = await client.ask(
        op="subscribe", channel=channel, **{"from": scene.from_ms, "to": scene.to_ms, **options}
    )
    assert ack["type"] == "subscribed", ack
    found, begun = [], time.monotonic()
    while (message := await client.next())["type"] != "replayed":
        assert message["type"] == "snapshot"
        assert message["channel"] == channel
        found.append(message)
    return found, time.monotonic() - begun


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
        found, took_s = await played(client, channel, scene, depth=30, speed=SPEED, interval=10)
        assert len(found) > 3, "it moves"
        assert took_s < 1.0
        for side, key in enumerate(("bids", "asks")):
            told = [(Decimal(r[0]), Decimal(r[1]), *r[2:]) for r in found[-1]["data"][key]]
            assert told == want[side]
        live = await client.subscribe(channel, depth=30)  # the replay is over: the name is free again
        assert live["data"] != found[-1]["data"]


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
    gateway, scene = await scene_of(make_gateway, tmp_path)
    scene.close()
    async with gateway.client() as client:
        _, took_s = await played(client, "okx:BTC-USDT", scene, speed=2)
        assert 0.3 < took_s < 2.0


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
        ({"from": 5, "speed": True}, "invalid replay"), ({"from": 5, "mode": "inc"}, "invalid mode"),
    ],
)  # fmt: skip
async def test_what_cannot_be_played_is_refused(make_gateway, tmp_path, options, message):
    gateway, scene = await scene_of(make_gateway, tmp_path)
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
