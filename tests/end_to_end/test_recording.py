"""A recording while its recorder is killed ten times: nothing lost, nothing twice, the raw frames give every
book again, and a subscriber to the past gets the same. The exchanges' own counts say how much there was.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import pytest
from box import EXCHANGES, Box, running
from play import until
from websockets.asyncio.client import connect

from handlers import shm_layout as layout
from handlers.recording.audit import audit, record_offsets
from handlers.recording.journal import BlockType, JournalFile, files_of
from handlers.recording.replay import processes, raw_records, replay
from handlers.registry import EXCHANGES as ROWS
from handlers.shm_layout import BookState

KILLS = 10
FRAME = 1  # of the raw ring
NUMBERS = {row.id: row.number for row in ROWS}
FIVE = ("binance", "coinbase", "okx", "bybit", "kraken")
# An update of theirs may be none, or several, of the book that we subscribe to: their messages are counted.
OTHERS = ("cryptocom", "upbit", "htx", "bitfinex", "phemex", "bitmart", "coinex")
SPEED = 10
DEPTH = 1000  # of a subscription; books have some 200 levels, now a few more, now fewer
CONFIG = "[record]\nenabled = false\nraw = true\n[simulate]\nlevels = 200\n"


class Exchanges:
    """The control ports of a box's exchanges."""

    def __init__(self, box: Box, session: aiohttp.ClientSession) -> None:
        self.names = tuple(box.ready["exchanges"])
        self._urls = {name: box.simulator(name)["control_url"] for name in self.names}
        self._session = session

    async def order(self, verb: str) -> None:
        for url in self._urls.values():
            async with self._session.post(f"{url}/{verb}", json={}) as answer:
                assert answer.status == 200

    async def sent(self) -> tuple[dict[tuple[str, str], int], dict[str, int]]:
        """What each exchange says it did: updates by exchange and symbol, messages by exchange."""
        updates, messages = {}, {}
        for name, url in self._urls.items():
            async with self._session.get(f"{url}/counts") as answer:
                told: dict[str, Any] = await answer.json()
                updates |= {(name, symbol): count for symbol, count in told["updates"].items()}
                messages[name] = told["messages_total"]
        return updates, messages


@dataclass
class Rest:
    """A moment at which no book moves: sequences, updates, and what was sent before and after it, as an
    exchange's answers to pings come at any time."""

    sequences: dict[tuple[str, str], int]
    updates: dict[tuple[str, str], int]
    before: dict[str, int]
    time_ns: int
    after: dict[str, int]


async def rest(box: Box, market: Exchanges) -> Rest:
    """Pauses the exchanges and waits for the books to stand."""
    await market.order("pause")
    sequences = await standing(box)
    updates, before = await market.sent()
    time_ns = time.time_ns()
    return Rest(sequences, updates, before, time_ns, (await market.sent())[1])


async def standing(box: Box) -> dict[tuple[str, str], int]:
    """Sequences of all books once nothing moves any more."""
    last: dict[tuple[str, str], int] = {}

    def still() -> bool:
        nonlocal last
        with box.observer() as observer:
            observer.look()
            now = {
                (exchange, symbol.canonical): int(segment.books[index]["sequence"])
                for exchange in box.ready["exchanges"]
                if (segment := observer.segment(exchange)) is not None
                for index, symbol in enumerate(segment.symbols)
            }
        same, last = now == last, now
        return same

    await until(still, 30, "the books stand still", every_s=0.4)
    return last


@dataclass
class Found:
    """What a recording holds: (sequence, type) of every update in file order, and messages by exchange."""

    updates: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=dict)
    frames: dict[str, int] = field(default_factory=dict)


def recorded(directory: Path, from_ns: int, to_ns: int) -> Found:
    """Reads every block; messages are counted from ``from_ns`` to ``to_ns``."""
    found = Found()
    for path in files_of(directory):
        names: dict[int, str] = {}
        exchange = path.parent.name
        for block in JournalFile(path):
            if block.type is BlockType.SYMBOLS:
                for at, row in enumerate(block.symbols()):
                    names[block.book + at] = row["canonical"].tobytes().rstrip(b"\0").decode()
            elif block.type is BlockType.RECORDS:
                for at in record_offsets(block.payload):
                    head = np.frombuffer(block.payload, layout.RECORD, 1, at)[0]
                    rows = found.updates.setdefault((exchange, names[int(head["book"])]), [])
                    rows.append((int(head["sequence"]), int(head["type"])))
            elif block.type is BlockType.RAW:
                for head, _ in raw_records(block):
                    if head["type"] == FRAME and from_ns <= head["time_ns"] < to_ns:
                        found.frames[exchange] = found.frames.get(exchange, 0) + 1
    return found


async def start(box: Box) -> asyncio.subprocess.Process:
    """A recorder that follows the box; returns when it writes."""
    directory = box.run_dir / "data" / "simulated" / "record"
    files = len(files_of(directory))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "appliance.cli", "record"),
        *("--config", str(box.run_dir / "up.toml")),
    )
    wanted = files + len(box.ready["exchanges"])
    await until(lambda: len(files_of(directory)) >= wanted, 60, "the recorder writes")
    return process


class Past:
    """A subscriber to the past: a whole book of each exchange for each symbol, from one ``fullbook:``."""

    def __init__(self, box: Box, symbol: str) -> None:
        self._box, self._symbol = box, symbol
        self.messages = 0
        self.books: dict[tuple[str, str], tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]] = {}

    async def play(self, from_ms: int, to_ms: int) -> None:
        """From one moment to the other; raises AssertionError where it is refused."""
        async with connect(self._box.websocket_url, max_size=1 << 24) as client:
            request = {"op": "subscribe", "channel": f"fullbook:{self._symbol}", "mode": "inc"}
            more = {"depth": DEPTH, "interval": 100, "from": from_ms, "to": to_ms, "speed": SPEED}
            await client.send(json.dumps({**request, **more}))
            async for text in client:
                message = json.loads(text, parse_float=Decimal, parse_int=int)
                assert message["type"] != "error", message
                if message["type"] == "replayed":
                    return
                if message["type"] in ("snapshot", "delta"):
                    self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        self.messages += 1
        if message["type"] == "snapshot":
            self.books.clear()
        for side, name in enumerate(("bids", "asks")):
            for price, quantity, _, exchange in message["data"][name]:
                levels = self.books.setdefault((exchange, self._symbol), ({}, {}))[side]
                levels[Decimal(price)] = Decimal(quantity)
                if not quantity:
                    del levels[Decimal(price)]


def tops(box: Box, depth: int) -> dict[str, dict[tuple[str, str], list[Any]]]:
    """All LIVE books by symbol: (exchange, symbol) -> sides as they stand in shared memory."""
    found: dict[str, dict[tuple[str, str], list[Any]]] = {}
    with box.observer() as observer:
        observer.look()
        for exchange in box.ready["exchanges"]:
            segment = observer.segment(exchange)
            assert segment is not None
            for symbol in segment.symbols:
                book = segment.book(symbol.canonical)
                if book.state is BookState.LIVE:
                    sides = [dict(book.decimals(side)[:depth]) for side in ("bids", "asks")]
                    found.setdefault(symbol.canonical, {})[exchange, symbol.canonical] = sides
    return found


def merged_top(books: dict[tuple[str, str], list[Any]], depth: int) -> dict[tuple[str, str], list[Any]]:
    """What ``fullbook:`` holds of each at that depth: equal prices by quantity, then by exchange number."""
    shown: dict[tuple[str, str], list[Any]] = {}
    for side, sign in ((0, -1), (1, 1)):
        rows = [
            (sign * price, -quantity, NUMBERS[key[0]], key, price, quantity)
            for key, sides in books.items()
            for price, quantity in sides[side].items()
        ]
        for *_, key, price, quantity in sorted(rows)[:depth]:
            shown.setdefault(key, [{}, {}])[side][price] = quantity
    return shown


async def record(exchanges: Sequence[str], seconds: float, pause_s: float) -> dict[str, Any]:
    """Runs a box, kills its recorder KILLS times; what the exchanges and the recording say."""
    with running("--exchanges", ",".join(exchanges), config=CONFIG) as box:
        directory = box.run_dir / "data" / "simulated" / "record"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=box.tls())) as session:
            market = Exchanges(box, session)
            first = await rest(box, market)
            await market.order("resume")
            cpu_s, begun_s = 0.0, time.monotonic()
            for _ in range(KILLS):
                recorder = await start(box)
                await asyncio.sleep(pause_s)  # how long a recorder lives is the test's matter
                cpu_s += cpu_of(recorder)
                recorder.kill()
                await recorder.wait()
            recorder = await start(box)
            await asyncio.sleep(max(0.0, seconds - (time.monotonic() - begun_s)))
            ran_s = time.monotonic() - begun_s
            cpu_s += cpu_of(recorder)
            last = await rest(box, market)
            recorder.terminate()
            assert await asyncio.wait_for(recorder.wait(), 60) == 0
        books = tops(box, DEPTH)
        played = {symbol: Past(box, symbol) for symbol in books}
        for past in played.values():
            await past.play(first.time_ns // 1_000_000, last.time_ns // 1_000_000 + 1)
        report, found = audit(directory), recorded(directory, first.time_ns, last.time_ns)
        outcomes = [replay(*key, paths) for key, paths in processes(files_of(directory)).items()]
    return {
        "updates": {key: last.updates[key] - first.updates[key] for key in last.updates},
        "messages": {name: (last.before[name] - first.after[name], last.after[name] - first.before[name])
                     for name in last.before},
        "spans": {key: (first.sequences[key], last.sequences[key]) for key in first.sequences},
        "found": found, "report": report, "outcomes": outcomes, "cpu": cpu_s / ran_s, "seconds": ran_s,
        "books": books, "played": played,
    }  # fmt: skip


def cpu_of(process: asyncio.subprocess.Process) -> float:
    """Seconds of CPU that a running process has used."""
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


def check(told: dict[str, Any]) -> None:
    """Nothing lost, nothing twice, and every book comes out of the raw frames again."""
    assert all(row.kind == "torn" for row in told["report"].findings), told["report"].findings
    assert told["report"].gaps == 0
    for key, (first, last) in told["spans"].items():
        rows = [row for row in told["found"].updates[key] if first < row[0] <= last]
        assert [sequence for sequence, _ in rows] == list(range(first + 1, last + 1)), key
        changes = sum(kind != layout.RecordType.STATE for _, kind in rows)
        assert changes > 0
        if key[0] not in OTHERS:
            assert changes == told["updates"][key], f"{key}: the exchange says {told['updates'][key]}"
    for name, (least, most) in told["messages"].items():
        assert least <= told["found"].frames[name] <= most, f"{name} sent {least} to {most} messages"
    assert len(told["outcomes"]) == len(told["messages"])
    for outcome in told["outcomes"]:
        assert outcome.equal, outcome
        assert outcome.copies >= 2 * len(outcome.sequences)
        assert outcome.unrecorded == 0
    for symbol, past in told["played"].items():
        wanted = merged_top(told["books"][symbol], DEPTH)
        assert {key: list(sides) for key, sides in past.books.items() if any(sides)} == wanted
        assert past.messages > 10, "it moves"
    tell(told)


def tell(told: dict[str, Any]) -> None:
    """The figures."""
    report, updates = told["report"], sum(told["updates"].values())
    messages, seconds = sum(told["found"].frames.values()), told["seconds"]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    print(
        f"\n{len(told['messages'])} exchanges, {len(told['spans'])} books, {updates} updates and "
        f"{messages} messages in {seconds:.0f} s, {KILLS} kills: "
        f"{report.updates} recorded, {report.files} files, "
        f"{report.bytes / 1e6:.1f} MB ({report.bytes * 3600 / seconds / 1e9:.2f} GB an hour), "
        f"{report.bytes / max(1, report.updates):.0f} bytes an update with raw frames, "
        f"{100 * told['cpu']:.1f} % of a core, {report.torn} torn ends, {report.gaps} gaps; "
        f"{sum(outcome.copies for outcome in told['outcomes'])} whole books equal in the replay; "
        f"played at {SPEED} times: {sum(past.messages for past in told['played'].values())} messages; "
        f"largest child {peak} MiB"
    )


@pytest.mark.long
async def test_ten_kills_of_the_recorder_lose_nothing_and_replay_gives_every_book() -> None:
    check(await record(FIVE, 12, 0.9))


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_a_recording_of_all_exchanges_for_five_minutes() -> None:
    check(await record(EXCHANGES, 300, 25))
