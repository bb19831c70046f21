"""The shipped clients against one live box: examples as the READMEs start them, books across kills."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import signal
import subprocess
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from box import Box
from shipped import CARRIED, LANGUAGES, Clone

SECONDS = (4.0, 16.0, 64.0)  # the first in which a busy machine lets an example say what it has to say
SAYS = {
    "bot": r"position [+-]?0\.0[01]",
    "arbitrage_scanner": r"10 fresh books, 40 pairs\n  buy \w+:[A-Z]+-USDT +sell .* net +-?\d",
    "arbitrage_30": r"buy [\d.]+ at \w+ for [\d.]+, sell at \w+ for [\d.]+: \d.* bp, .* old",
    "dashboard": r"BTC-USDT +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +-?[\d.]+ bp",
    "analytics": r"kraken(:BTC-USDT)? +100\.0",
    "check": r'"different": ?0, ?"deltas": ?[1-9]',
}
CHANNELS = ("top:BTC-USDT", "consbook:BTC-USDT", "fullbook:BTC-USDT", "binance:BTC-USDT", "kraken:ETH-USDT")
DELTAS, COMPARED = 3_000, 100
PATIENCE_S = 180.0


async def started(clone: Clone, box: Box, name: str, *arguments: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *clone.example(name, *arguments), cwd=clone.directory, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, limit=16 << 20,
        env=clone.environment | {"BOOKWIRE_URL": box.websocket_url},
    )  # fmt: skip


@pytest.mark.timeout(600)  # the first run compiles
@pytest.mark.parametrize(
    "language", ["python", *(pytest.param(each, marks=pytest.mark.long) for each in ("node", "rust"))]
)
async def test_the_examples_run_as_the_readme_says(
    box: Box, clone: Callable[[str], Clone], language: str, tmp_path: Path
) -> None:
    ready = clone(language)
    assert set(ready.examples) == {*SAYS, "research"}
    study = tmp_path / "study.csv"

    async def run(name: str, seconds: float) -> str:
        more = {"research": (study,), "arbitrage_30": ("BTC-USDT", 0)}  # 0: any profit
        process = await started(ready, box, name, seconds, *more.get(name, ()))
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert process.returncode == 0, f"{name}: {err.decode()}"
        return out.decode()

    async def until_said(name: str, pattern: str) -> None:
        for seconds in SECONDS:
            said = await run(name, seconds)
            if re.search(pattern, said):
                return
        pytest.fail(f"{name}: {said[-2000:]}")

    await asyncio.gather(*(until_said(*each) for each in SAYS.items()), run("research", SECONDS[1]))
    rows = list(csv.DictReader(study.open()))
    assert {row["channel"] for row in rows} == {f"{name}:BTC-USDT" for name in CARRIED}
    assert len(rows) > 100
    assert all(Decimal(row["bid"]) < Decimal(row["ask"]) for row in rows if row["bid"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_examples_fit_a_screen(language: str) -> None:
    examples = (Path(__file__).parents[2] / "clients" / language / "examples").glob("*.*")
    sizes = {path.stem: len(path.read_text().splitlines()) for path in examples}
    shown = {name: sizes[name] for name in ({*SAYS, "research"} - {"check"})}
    assert max(shown.values()) <= 70, shown
    assert shown["arbitrage_30"] <= 40


class Check:
    """A running ``check``: what it said last."""

    def __init__(self, language: str, process: asyncio.subprocess.Process) -> None:
        self.language = language
        self.said: dict[str, int] = {}
        self._process = process

    async def until(self, true: Callable[[dict[str, int]], bool], what: str) -> None:
        assert self._process.stdout
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (self.said and true(self.said)):
                    line = await self._process.stdout.readline()
                    assert line, await self._error()
                    self.said = json.loads(line)
                    assert self.said["different"] == 0, self.said
        except TimeoutError:
            pytest.fail(f"{self.language}: {what}: {self.said}")

    async def _error(self) -> str:
        assert self._process.stderr
        return f"{self.language} ended: {(await self._process.stderr.read()).decode()[-2000:]}"

    def all_live(self) -> bool:
        return self.said["live"] == self.said["books"] == len(CHANNELS)

    async def goes_on(self) -> None:
        """All books live, and as many comparisons again as make one believe it."""
        wanted = self.said["compared"] + COMPARED
        await self.until(lambda said: self.all_live() and said["compared"] >= wanted, "right again")


async def everyone(checks: list[Check], wait: Callable[[Check], Awaitable[None]]) -> None:
    await asyncio.gather(*(wait(check) for check in checks))


def strike(box: Box, name: str, number: signal.Signals) -> None:
    pid = box.pid(name)
    assert pid
    os.kill(pid, number)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_books_equal_snapshots_across_a_killed_gateway_and_a_killed_feed(
    box: Box, clone: Callable[[str], Clone]
) -> None:
    checks: list[Check] = []
    missing: list[str] = []
    processes: list[asyncio.subprocess.Process] = []
    for language in LANGUAGES:
        try:
            ready = clone(language)
        except pytest.skip.Exception as absent:
            missing.append(f"{language}: {absent}")
            continue
        processes.append(await started(ready, box, "check", 600, *CHANNELS))
        checks.append(Check(language, processes[-1]))
    try:
        await everyone(checks, lambda check: check.until(
            lambda said: said["deltas"] >= DELTAS and said["compared"] >= COMPARED, "thousands of deltas"
        ))  # fmt: skip
        assert all(check.said["disconnects"] == 0 for check in checks)

        strike(box, "gateway", signal.SIGKILL)
        await everyone(checks, lambda check: check.until(lambda said: said["disconnects"] > 0, "noticed"))
        await everyone(checks, Check.goes_on)
        assert all(check.said["notices"] == 0 for check in checks)

        strike(box, "feed binance", signal.SIGKILL)
        await everyone(checks, lambda check: check.until(lambda said: said["emptied"] > 0, "binance left"))
        await everyone(checks, Check.goes_on)

        strike(box, "gateway", signal.SIGTERM)  # this one says so before
        await everyone(checks, lambda check: check.until(lambda said: said["notices"] > 0, "told"))
        await everyone(checks, Check.goes_on)
        for check in checks:
            print(check.language, check.said)
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()
    if missing:
        pytest.skip("; ".join(missing))


def program(clone: Clone, *arguments: object) -> list[str]:
    """The shared-memory reader of a language."""
    if clone.language == "node":
        return ["node", "examples/read_shm.js", *map(str, arguments)]
    return [*clone.example("check")[:-2], "read_shm", "--", *map(str, arguments)]


def sides(book: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(tuple(map(tuple, book[side])) for side in ("bids", "asks"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", ["node", "rust"])
async def test_a_reader_of_shared_memory_equals_pythons_on_a_live_feed(
    box: Box, clone: Callable[[str], Clone], language: str
) -> None:
    ready = clone(language)
    path = box.shm_dir / "okx.shm"
    for seconds in (2, 4, 8, 16, 32, 64):  # until both have seen enough of the same moments
        own, lines = await read_beside(box, program(ready, path, "BTC-USDT", seconds), ready)
        common = [line for line in lines if line["sequence"] in own]
        assert [line["sequence"] for line in common if sides(line) != own[line["sequence"]]] == []
        if len({line["sequence"] for line in common}) > 20:
            break
    assert len({line["sequence"] for line in common}) > 20
    assert {line["how"] for line in common} == {"copy", "ring"}


async def read_beside(
    box: Box, words: list[str], ready: Clone
) -> tuple[dict[int, tuple[Any, ...]], list[dict[str, Any]]]:
    """Python's books by sequence while the program runs, and what that said."""
    own: dict[int, tuple[Any, ...]] = {}
    with box.observer() as observer:
        segment = observer.segment("okx")
        assert segment
        process = await asyncio.create_subprocess_exec(
            *words, cwd=ready.directory, env=ready.environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=64 << 20,
        )  # fmt: skip
        reading = asyncio.create_task(process.communicate())
        while not reading.done():
            book = segment.book("BTC-USDT")
            own[book.sequence] = tuple(
                tuple((int(row["price"]), int(row["quantity"]), int(row["orders"])) for row in side)
                for side in (book.bids, book.asks)
            )
            await asyncio.sleep(0.002)
    out, err = reading.result()
    assert process.returncode == 0, err.decode()
    return own, [json.loads(line) for line in out.splitlines()]


@pytest.mark.timeout(600)
def test_the_crates_own_tests_and_a_build_without_a_network(clone: Callable[[str], Clone]) -> None:
    ready = clone("rust")
    for command in (["cargo", "build", "--locked", "--offline"], ["cargo", "test", "--locked", "--quiet"]):
        done = subprocess.run(
            command, cwd=ready.directory, env=ready.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
    assert re.search(r"[1-9]\d* passed", done.stdout)
