"""The feed process against the simulator, as a process of its own: live, right, repaired, cleanly gone."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from appliance.simulator import Simulator, SimulatorSettings
from handlers.facts import Continuity, Sync
from handlers.registry import VENUES
from handlers.settings import FeedSettings
from handlers.shm import Book, ReadError, Segment, Side
from handlers.shm_layout import BookState, Reason

LONG = pytest.mark.long
SIDES: tuple[Side, Side] = ("bids", "asks")
DEADLINE_S = 30.0
# Levels a side that the simulator sends, where the exchange itself promises no number.
SHOWN = {"bitget": 1000}
SEQUENCE = {"binance": "lastUpdateId", "okx": "seqId", "bybit": "u"}  # of one book, as the wire calls it
RUN = """
import json, sys
from pathlib import Path
from handlers.feed import run
from handlers.settings import FeedSettings
told = json.loads(sys.argv[1])
for name in ("shm_dir", "run_dir", "ca_file"):
    told[name] = Path(told[name]) if told[name] else None
told["symbols"] = tuple(told["symbols"])
sys.exit(run(FeedSettings(**told)))
"""


class Feed:
    """A feed process and its segment."""

    def __init__(self, settings: FeedSettings) -> None:
        self.settings = settings
        self.lines: list[str] = []

    async def start(self) -> None:
        told = json.dumps(asdict(self.settings), default=str)
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", RUN, told, stderr=asyncio.subprocess.PIPE
        )
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode().rstrip())

    async def stop(self) -> int:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self.process.wait(), DEADLINE_S)
        await self._reader
        return code

    async def until(self, what: str, holds: Callable[[], bool], seconds: float = DEADLINE_S) -> None:
        """Polls shared memory: nothing wakes a mere reader of it."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline or self.process.returncode is not None:
                raise AssertionError(f"not {what} within {seconds} s:\n" + "\n".join(self.lines[-40:]))
            await asyncio.sleep(0.02)

    async def until_listed(self, books: int, seconds: float = DEADLINE_S) -> Segment:
        """The segment is there before the exchange's symbol list is."""
        await self.until("a segment", self.settings.segment_path.exists, seconds)
        segment = Segment.open(self.settings.segment_path)
        await self.until(f"{books} books listed", lambda: len(segment.symbols) == books, seconds)
        return segment

    async def until_live(self, books: int, seconds: float = DEADLINE_S) -> Segment:
        segment = await self.until_listed(books, seconds)
        await self.until(
            f"{books} books live", lambda: set(segment.books["state"]) == {BookState.LIVE}, seconds
        )
        return segment


def verified(book: Book, side: Side, rows: list[tuple[Decimal, Decimal]]) -> list[tuple[Decimal, Decimal]]:
    """Levels up to where the book's snapshot was cut: all, where it was whole."""
    price = int(book.header["side"]["verified_price"][SIDES.index(side)])
    bound = Decimal(price).scaleb(-book.price_exponent)
    sign = 1 if side == "asks" else -1
    return [row for row in rows if not price or sign * row[0] <= sign * bound]


class World:
    """A simulator in this process, and feeds beside it."""

    def __init__(self, simulator: Simulator, shm_dir: Path, run_dir: Path) -> None:
        self.ready = simulator.ready()
        self.ca_file = Path(self.ready["ca_file"])
        self._dirs = shm_dir, run_dir
        self._context = ssl.create_default_context(cafile=str(self.ca_file))
        self.feeds: list[Feed] = []

    async def feed(self, exchange: str, *, make: type[Feed] = Feed, **changes: Any) -> Feed:
        where = self.ready["exchanges"][exchange]
        settings = FeedSettings(
            exchange,
            **{
                "shm_dir": self._dirs[0],
                "run_dir": self._dirs[1],
                "symbols": ("*",),
                "websocket_url": where["websocket_url"],
                "rest_url": where["rest_url"],
                "ca_file": self.ca_file,
                **changes,
            },
        )
        feed = make(settings)
        await feed.start()
        self.feeds.append(feed)
        return feed

    async def control(self, exchange: str, path: str, body: Any = None) -> Any:
        url = f"{self.ready['exchanges'][exchange]['control_url']}/{path}"
        connector = aiohttp.TCPConnector(ssl=self._context)
        async with aiohttp.ClientSession(connector=connector) as session:
            method = "GET" if body is None else "POST"
            async with session.request(method, url, json=body) as response:
                assert response.status == 200, await response.text()
                return await response.json()

    async def equals(self, exchange: str, feed: Feed, segment: Segment) -> None:
        """With the flow at rest every book must become the simulator's own."""
        await self.control(exchange, "pause", {})
        depth = VENUES[exchange].depth or SHOWN.get(exchange, 10**6)
        for index, symbol in enumerate(segment.symbols):
            truth = await self.control(exchange, f"book/{symbol.canonical}?depth={depth}")
            wanted = {
                side: [(Decimal(price), Decimal(quantity)) for price, quantity, _ in truth[side]]
                for side in ("bids", "asks")
            }

            def same(index: int = index, wanted: dict[str, Any] = wanted) -> bool:
                try:
                    book = segment.book(index)
                except ReadError:
                    return False
                live = book.state is BookState.LIVE
                return live and all(
                    verified(book, side, book.decimals(side)) == verified(book, side, wanted[side])
                    for side in SIDES
                )

            await feed.until(f"{symbol.canonical} as the simulator has it", same, 10.0)
            if exchange in SEQUENCE:
                there = truth["sequence"][SEQUENCE[exchange]]
                there = there[str(VENUES[exchange].depth)] if isinstance(there, dict) else there
                assert segment.book(index).venue_sequence == there
        await self.control(exchange, "resume", {})


@pytest.fixture
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, shm_dir: Path, run_dir: Path
) -> AsyncIterator[World]:
    """The exchange a test is about, or Binance and OKX."""
    told = getattr(request.node, "callspec", None)
    exchange = told.params.get("exchange") if told else None
    settings = SimulatorSettings(
        (exchange,) if exchange else ("binance", "okx"),
        symbols=("BTC", "ETH", "SOL"),
        rate=40.0,
        levels=1100,  # more than any exchange shows at a fixed depth
        state_dir=tmp_path,
    )
    async with Simulator(settings) as simulator:
        made = World(simulator, shm_dir, run_dir)
        yield made
        for feed in made.feeds:
            if feed.process.returncode is None:
                feed.process.kill()
                await feed.process.wait()


def updates(segment: Segment) -> int:
    return int(segment.books["updates"].min())


@pytest.mark.parametrize("exchange", VENUES)
async def test_books_go_live_equal_the_exchanges_own_and_leave_nothing(exchange: str, world: World) -> None:
    feed = await world.feed(exchange)
    segment = await feed.until_live(3)
    await feed.until("moving", lambda: updates(segment) > 50)
    await world.equals(exchange, feed, segment)
    assert int(segment.stats["quarantined"]) == 0
    await feed.until("told", lambda: status_of(feed).get("subscriptions", {}).get("standing") == 3)
    status = status_of(feed)
    assert status["exchange"] == exchange
    assert status["books"]["wanted"] == 3
    assert await feed.stop() == 0, feed.lines
    assert not feed.settings.segment_path.exists()
    assert not feed.settings.status_path.exists()


async def lose_one_that_shows(
    exchange: str, world: World, feed: Feed, segment: Segment, replaced: Callable[[], bool]
) -> None:
    """Where only a checksum tells: a lost change that the next update makes once more leaves no trace.

    Then nothing is wrong, and another is lost. What is deeper than the sum reaches is not lost here.
    """
    facts, symbol = VENUES[exchange], segment.symbols[0].canonical
    assert facts.checksum is not None
    for _ in range(10):
        seen = int(segment.books["updates"][0])
        await world.control(exchange, "fault", {"fault": "drop", "symbol": symbol, "top": True, "count": 1})
        await feed.until(
            "replaced, or long past it",
            lambda seen=seen: replaced() or int(segment.books["updates"][0]) > seen + 40,
            15.0,
        )
        if replaced():
            return
        if facts.checksum.levels >= facts.depth:
            await world.equals(exchange, feed, segment)
    raise AssertionError(f"none of ten losses showed at {exchange}")


@pytest.mark.parametrize("exchange", VENUES)
@pytest.mark.parametrize(
    "fault", ["drop", pytest.param("reset", marks=LONG), pytest.param("malformed", marks=LONG)]
)
async def test_a_fault_is_noticed_and_repaired(exchange: str, fault: str, world: World) -> None:
    feed = await world.feed(exchange)
    segment = await feed.until_live(3)
    epochs = segment.books["epoch"].copy()
    await feed.until("moving", lambda: updates(segment) > 20)
    symbol, rule = segment.symbols[0].canonical, VENUES[exchange].continuity
    if fault == "drop" and rule is Continuity.RISES:
        pytest.skip("a lost update shows only when the next whole book is compared")

    def replaced() -> bool:
        return bool((segment.books["epoch"] > epochs).any())

    if fault == "drop" and rule is Continuity.NONE and VENUES[exchange].checksum:
        await lose_one_that_shows(exchange, world, feed, segment, replaced)
    else:
        await world.control(exchange, "fault", {"fault": fault, "symbol": symbol, "count": 1})
    if fault == "drop" and rule is Continuity.JUMPS:  # not told from ids that the venue skips: counted
        await feed.until("counted", lambda: int(segment.books["jumps"].sum()) > 0, 15.0)
        return
    if VENUES[exchange].sync is Sync.SNAPSHOTS_ONLY:  # nothing tells a loss: the next whole book mends it
        epochs = segment.books["epoch"].copy() + 2
        await feed.until("mended", lambda: bool((segment.books["epoch"] > epochs).all()), 15.0)
    await feed.until("replaced", replaced, 15.0)
    await feed.until("live again", lambda: set(segment.books["state"]) == {BookState.LIVE}, 15.0)
    await world.equals(exchange, feed, segment)
    assert await feed.stop() == 0


async def test_a_refused_subscription_is_down_with_its_reason_and_the_others_live(world: World) -> None:
    await world.control("okx", "fault", {"fault": "refuse_subscription", "symbol": "BTC-USDT"})
    feed = await world.feed("okx")
    segment = await feed.until_listed(3)
    wanted = sorted([BookState.DOWN, BookState.LIVE, BookState.LIVE])
    await feed.until("one refused", lambda: sorted(segment.books["state"]) == wanted)
    down = segment.books[segment.index("BTC-USDT")]
    assert down["reason"] == Reason.REFUSED
    await feed.until("told", lambda: "BTC-USDT" in status_of(feed).get("refused", {}))
    assert any(line.startswith("subscription_refused") and "BTC-USDT" in line for line in feed.lines)
    assert await feed.stop() == 0


async def test_a_banned_address_waits_as_told_and_says_so(world: World) -> None:
    feed = await world.feed("binance")
    segment = await feed.until_live(3)
    await world.control(
        "binance", "fault", {"fault": "rest_status", "status": 418, "retry_after": 3, "count": 1}
    )
    await world.control("binance", "fault", {"fault": "drop", "symbol": "ETH-USDT", "count": 1})
    await feed.until(
        "refused", lambda: bool(status_of(feed).get("rest", {}).get("breaker", {}).get("open_until"))
    )
    assert status_of(feed)["rest"]["breaker"]["reason"].startswith("HTTP 418: ")
    before = status_of(feed)["rest"]["requests"]
    await feed.until("live again", lambda: set(segment.books["state"]) == {BookState.LIVE}, 20.0)
    assert status_of(feed)["rest"]["requests"] <= before + 3
    await world.equals("binance", feed, segment)


async def test_a_subscription_that_is_acknowledged_and_dead_never_shows_a_live_book(world: World) -> None:
    await world.control("binance", "fault", {"fault": "refuse_subscription", "symbol": "BTC-USDT"})
    feed = await world.feed("binance")
    segment = await feed.until_listed(3)
    book = segment.index("BTC-USDT")

    def told() -> bool:
        assert segment.books["state"][book] != BookState.LIVE
        return any(line.startswith("acknowledged_but_silent") for line in feed.lines)

    await feed.until("noticed", told)
    await world.control("binance", "fault", {"fault": "clear"})
    await feed.until("live", lambda: set(segment.books["state"]) == {BookState.LIVE}, 20.0)
    await world.equals("binance", feed, segment)


async def test_a_quiet_market_goes_live_without_a_single_update(world: World) -> None:
    await world.control("binance", "pause", {})
    feed = await world.feed("binance")
    segment = await feed.until_live(3, 20.0)
    assert updates(segment) == 1
    await world.equals("binance", feed, segment)


@LONG
@pytest.mark.parametrize("exchange", VENUES)
async def test_a_symbol_that_falls_silent_is_stale_then_subscribed_afresh(
    exchange: str, world: World
) -> None:
    feed = await world.feed(exchange)
    segment = await feed.until_live(3)
    symbol = segment.symbols[0].canonical
    await feed.until("learned", lambda: updates(segment) > 150)
    await world.control(exchange, "fault", {"fault": "silence", "symbol": symbol, "until": "resubscribe"})
    await feed.until("not live", lambda: segment.books["state"][0] != BookState.LIVE, 16.0)
    await feed.until("live again", lambda: segment.books["state"][0] == BookState.LIVE, 10.0)
    await world.equals(exchange, feed, segment)
    assert int(segment.stats["connects"]) == 1


@LONG
@pytest.mark.parametrize("exchange", VENUES)
async def test_a_half_open_socket_is_left(exchange: str, world: World) -> None:
    feed = await world.feed(exchange)
    segment = await feed.until_live(3)
    await feed.until("learned", lambda: updates(segment) > 150)
    await world.control(exchange, "fault", {"fault": "half_open"})
    await feed.until("not live", lambda: set(segment.books["state"]) != {BookState.LIVE}, 20.0)
    await feed.until("live again", lambda: set(segment.books["state"]) == {BookState.LIVE}, 40.0)
    await world.equals(exchange, feed, segment)


async def test_the_venues_notice_is_followed_and_no_book_stops_meanwhile(world: World) -> None:
    feed = await world.feed("okx")
    segment = await feed.until_live(3)
    before = segment.books["epoch"].copy()
    await world.control("okx", "fault", {"fault": "notice"})
    await feed.until("rolled over", lambda: any(line.startswith("rolled_over") for line in feed.lines), 15.0)
    await feed.until("one connection", lambda: int(segment.stats["connections_open"]) == 1, 10.0)
    assert (segment.books["epoch"] == before + 1).all(), "each has the snapshot of its new connection"
    assert int(segment.books["gaps"].sum()) == 0
    assert not any(line.startswith("book_not_live") for line in feed.lines)
    await world.equals("okx", feed, segment)
    await feed.until("told", lambda: status_of(feed).get("reconnects") == {"rollover": 1})


async def test_binance_rolls_over_before_it_is_cut(world: World) -> None:
    feed = await world.feed("binance")
    segment = await feed.until_live(3)
    await world.control("binance", "fault", {"fault": "notice"})
    await feed.until("rolled over", lambda: any(line.startswith("rolled_over") for line in feed.lines), 15.0)
    await feed.until("live again", lambda: set(segment.books["state"]) == {BookState.LIVE}, 10.0)
    await world.equals("binance", feed, segment)
    assert await feed.stop() == 0


@LONG
async def test_many_symbols_are_shared_out_over_connections(
    tmp_path: Path, shm_dir: Path, run_dir: Path
) -> None:
    symbols = tuple(f"C{number:02}-USDT" for number in range(70))
    settings = SimulatorSettings(("okx",), symbols=symbols, rate=2.0, levels=50, state_dir=tmp_path)
    async with Simulator(settings) as simulator:
        world = World(simulator, shm_dir, run_dir)
        feed = await world.feed("okx")
        segment = await feed.until_live(70, 60.0)
        assert int(segment.stats["connections_open"]) == 3
        await world.equals("okx", feed, segment)
        assert await feed.stop() == 0


def status_of(feed: Feed) -> dict[str, Any]:
    path = feed.settings.status_path
    return dict(json.loads(path.read_bytes())) if path.exists() else {}


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"symbols": ("NOPE-USDT",)}, 64, "NOPE-USDT"),
        ({"ca_file": Path("/nowhere/ca.pem")}, 69, "/nowhere/ca.pem"),
        ({"ca_file": None}, 69, "certificate"),
        ({"rest_url": "https://127.0.0.1:1"}, 69, "https://127.0.0.1:1"),
        ({"websocket_url": "https://localhost"}, 78, "no WebSocket address"),
        ({"ring_bytes": 1 << 40}, 69, "bytes"),
    ],
)
async def test_what_cannot_work_ends_with_what_where_and_what_to_do(
    changes: dict[str, Any], code: int, words: str, world: World
) -> None:
    feed = await world.feed("binance", **changes)
    assert await asyncio.wait_for(feed.process.wait(), DEADLINE_S) == code
    await feed.stop()
    (line,) = [line for line in feed.lines if line.startswith("cannot_start")]
    assert words in line
    assert "do=" in line
    assert not feed.settings.segment_path.exists()
