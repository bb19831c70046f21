"""A recording of five exchanges while its recorder is killed ten times: nothing lost, nothing twice, and
the raw frames give every book again. The exchanges' own counts say how many updates there were.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import pytest
from box import Box, running
from play import until

from handlers import shm_layout as layout
from handlers.recording.audit import audit, record_offsets
from handlers.recording.journal import BlockType, JournalFile, files_of
from handlers.recording.replay import processes, replay

KILLS = 10
EXCHANGES = ("binance", "coinbase", "okx", "bybit", "kraken")  # whose every update is one of a book
CONFIG = "[record]\nenabled = false\nraw = true\n[simulate]\nlevels = 200\n"


async def order(box: Box, session: aiohttp.ClientSession, verb: str) -> None:
    for exchange in EXCHANGES:
        async with session.post(f"{box.simulator(exchange)['control_url']}/{verb}", json={}) as answer:
            assert answer.status == 200


async def sent(box: Box, session: aiohttp.ClientSession) -> dict[tuple[str, str], int]:
    """Updates each exchange says it made, by exchange and symbol."""
    found = {}
    for exchange in EXCHANGES:
        async with session.get(f"{box.simulator(exchange)['control_url']}/counts") as answer:
            told: dict[str, Any] = await answer.json()
            found |= {(exchange, symbol): count for symbol, count in told["updates"].items()}
    return found


async def standing(box: Box) -> dict[tuple[str, str], int]:
    """Sequences of all books once nothing moves any more."""
    last: dict[tuple[str, str], int] = {}

    def still() -> bool:
        nonlocal last
        with box.observer() as observer:
            observer.look()
            now = {
                (exchange, symbol.canonical): int(segment.books[index]["sequence"])
                for exchange in EXCHANGES
                if (segment := observer.segment(exchange)) is not None
                for index, symbol in enumerate(segment.symbols)
            }
        same, last = now == last, now
        return same

    await until(still, 10, "the books stand still", every_s=0.4)
    return last


def recorded(directory: Path) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """(sequence, type) of every recorded update, by exchange and symbol, in file order."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for path in files_of(directory):
        names: dict[int, str] = {}
        for block in JournalFile(path):
            if block.type is BlockType.SYMBOLS:
                for at, row in enumerate(block.symbols()):
                    names[block.book + at] = row["canonical"].tobytes().rstrip(b"\0").decode()
            if block.type is BlockType.RECORDS:
                for at in record_offsets(block.payload):
                    head = np.frombuffer(block.payload, layout.RECORD, 1, at)[0]
                    key = path.parent.name, names[int(head["book"])]
                    found.setdefault(key, []).append((int(head["sequence"]), int(head["type"])))
    return found


async def start(box: Box) -> asyncio.subprocess.Process:
    """A recorder that follows the box; returns when it writes."""
    directory = box.run_dir / "data" / "simulated" / "record"
    files = len(files_of(directory))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "appliance.cli", "record"),
        *("--config", str(box.run_dir / "up.toml")),
    )
    await until(lambda: len(files_of(directory)) >= files + len(EXCHANGES), 20, "the recorder writes")
    return process


async def record(seconds: float, pause_s: float) -> dict[str, Any]:
    """Runs a box, kills its recorder KILLS times; what the exchanges and the recording say."""
    with running("--exchanges", ",".join(EXCHANGES), config=CONFIG) as box:
        directory = box.run_dir / "data" / "simulated" / "record"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=box.tls())) as session:
            await order(box, session, "pause")
            first, first_sent = await standing(box), await sent(box, session)
            await order(box, session, "resume")
            cpu_s, begun_s = 0.0, time.monotonic()
            for _ in range(KILLS):
                recorder = await start(box)
                await asyncio.sleep(pause_s)  # how long a recorder lives is the test's matter
                times = psutil.Process(recorder.pid).cpu_times()
                cpu_s += times.user + times.system
                recorder.kill()
                await recorder.wait()
            recorder = await start(box)
            await asyncio.sleep(max(0.0, seconds - (time.monotonic() - begun_s)))
            ran_s = time.monotonic() - begun_s
            await order(box, session, "pause")
            last, last_sent = await standing(box), await sent(box, session)
            recorder.terminate()
            assert await asyncio.wait_for(recorder.wait(), 10) == 0
        report, found = audit(directory), recorded(directory)
        outcomes = [replay(*key, paths) for key, paths in processes(files_of(directory)).items()]
    updates = {key: last_sent[key] - first_sent[key] for key in first}
    spans = {key: (first[key], last[key]) for key in first}
    return {
        "updates": updates, "spans": spans, "found": found, "report": report, "outcomes": outcomes,
        "cpu": cpu_s / ran_s, "seconds": ran_s,
    }  # fmt: skip


def check(told: dict[str, Any]) -> None:
    """Nothing lost, nothing twice, and every book comes out of the raw frames again."""
    assert told["report"].findings == [] or all(row.kind == "torn" for row in told["report"].findings)
    assert told["report"].gaps == 0
    for key, (first, last) in told["spans"].items():
        rows = [row for row in told["found"][key] if first < row[0] <= last]
        assert [sequence for sequence, _ in rows] == list(range(first + 1, last + 1)), key
        changes = sum(kind != layout.RecordType.STATE for _, kind in rows)
        assert changes == told["updates"][key], f"{key}: the exchange says {told['updates'][key]}"
        assert changes > 0
    assert len(told["outcomes"]) == len(EXCHANGES)
    for outcome in told["outcomes"]:
        assert outcome.equal, outcome
        assert outcome.copies >= 2 * len(outcome.sequences)
        assert outcome.unrecorded == 0
    report, updates = told["report"], sum(told["updates"].values())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    print(
        f"\n{updates} updates in {told['seconds']:.0f} s, {KILLS} kills: {report.files} files, "
        f"{report.bytes} bytes, {report.bytes / max(1, report.updates):.0f} bytes an update with raw frames, "
        f"{100 * told['cpu']:.1f} % of a core, {report.torn} torn ends; largest child {peak} MiB"
    )


async def test_ten_kills_of_the_recorder_lose_nothing_and_replay_gives_every_book() -> None:
    check(await record(12, 0.9))


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_recording_of_five_minutes() -> None:
    check(await record(300, 25))
