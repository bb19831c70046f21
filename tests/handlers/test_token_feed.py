"""A venue that wants a token for each connection: KuCoin's classic feed, as a variant of its facts.

The classic generation is what ``Venue.token`` is for: a POST names endpoint and token, the socket welcomes,
one frame subscribes many symbols, and the book starts from a REST snapshot of 100 levels.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from test_feed import Feed, World, updates

from appliance.simulator import Simulator, SimulatorSettings
from handlers.shm_layout import BookState

RUN = """
import json, sys
from dataclasses import replace
from pathlib import Path
import orjson
from handlers import registry
from handlers.facts import Answer, Continuity, Levels, Limits, Message, Rate, RestSnapshot, Sync, Time, Token
from handlers.feed import run
from handlers.settings import FeedSettings

def request(kind, symbols, number):
    topic = "/market/level2:" + ",".join(symbols)
    told = {"id": str(number), "type": kind, "topic": topic, "privateChannel": False, "response": True}
    return orjson.dumps(told).decode()

def answer(message):
    if message["type"] == "welcome":
        return Answer("welcome")
    if message["type"] == "error":
        return Answer("refused", request=message.get("id"), reason=str(message.get("data", "")))
    return Answer("taken", request=message["id"])

def url(body):
    data = body["data"]
    return f"{data['instanceServers'][0]['endpoint']}?token={data['token']}&connectId=bookwire"

def path(symbol):
    return f"/api/v1/market/orderbook/level2_100?symbol={symbol}"

kucoin = registry.VENUES["kucoin"]
registry.VENUES["kucoin"] = replace(
    kucoin, token=Token("/api/v1/bullet-public", url), answer=answer,
    subscribe=lambda symbols, number: request("subscribe", symbols, number),
    unsubscribe=lambda symbols, number: request("unsubscribe", symbols, number),
    limits=replace(kucoin.limits, subscriptions_per_request=100),
    heartbeat=replace(kucoin.heartbeat, text=lambda number: f'{{"id":"{number}","type":"ping"}}'),
    sync=Sync.REST_SNAPSHOT, time_format=Time.MS, depth=0, levels_max=4096,
    snapshots=(RestSnapshot(path, 100, 4),),
    messages=(
        Message("delta", when={"subject": "trade.l2update"}, symbol="data.symbol", first="data.sequenceStart",
                last="data.sequenceEnd", time="data.time",
                levels=(Levels("data.changes.bids", "bids"), Levels("data.changes.asks", "asks"))),
        Message("rest_snapshot", last="data.sequence",
                levels=(Levels("data.bids", "bids"), Levels("data.asks", "asks"))),
        Message("heartbeat", when={"type": "pong"}),
        Message("control", when={"type": None}),
    ),
)
told = json.loads(sys.argv[1])
for name in ("shm_dir", "run_dir", "ca_file"):
    told[name] = Path(told[name])
sys.exit(run(FeedSettings(**told)))
"""


class Classic(Feed):
    """The feed process with the variant in its registry; the token's answer says where to connect."""

    async def start(self) -> None:
        told = json.dumps(
            {
                "exchange": "kucoin",
                "shm_dir": str(self.settings.shm_dir),
                "run_dir": str(self.settings.run_dir),
                "ca_file": str(self.settings.ca_file),
                "rest_url": self.settings.rest_url,
                "symbols": ["*"],
            }
        )
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", RUN, told, stderr=asyncio.subprocess.PIPE
        )
        self._reader = asyncio.create_task(self._read())


@pytest.fixture
async def world(tmp_path: Path, shm_dir: Path, run_dir: Path) -> AsyncIterator[World]:
    settings = SimulatorSettings(
        ("kucoin",), symbols=("BTC", "ETH", "SOL"), rate=40.0, levels=90, state_dir=tmp_path
    )
    async with Simulator(settings) as simulator:
        made = World(simulator, shm_dir, run_dir)
        yield made
        for feed in made.feeds:
            if feed.process.returncode is None:
                feed.process.kill()
                await feed.process.wait()


async def test_every_connection_has_a_token_of_its_own_and_books_are_right(
    world: World, shm_dir: Path, run_dir: Path
) -> None:
    feed = await world.feed("kucoin", make=Classic)
    segment = await feed.until_live(3)
    await feed.until("moving", lambda: updates(segment) > 50)
    await world.equals("kucoin", feed, segment)
    await world.control("kucoin", "fault", {"fault": "reset"})
    await feed.until("again", lambda: int(segment.stats["connects"]) == 2, 15.0)
    await feed.until("live", lambda: set(segment.books["state"]) == {BookState.LIVE}, 15.0)
    await world.equals("kucoin", feed, segment)
    assert await feed.stop() == 0
