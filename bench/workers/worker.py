"""One contestant in a process of its own: datasets come as JSON lines on stdin, answers go to stdout.

Runs under the peers' interpreter as well as ours, so it imports nothing of the project. A contestant
is told a snapshot outside the measured time, then gets every update frame in order:

- CPU: one pass under ``time.process_time_ns`` around the bare loop;
- p50 and p99: another pass with a clock read around each frame.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

Book = dict[str, list[tuple[float, float]]]


class Unfit(Exception):
    """The peer cannot take this venue's frames; the message says why."""


class Contestant(Protocol):
    """``begin`` loads the snapshot and returns what takes one update (awaitable if ``waits``)."""

    name: str
    waits: bool
    takes_text: bool

    def begin(self, venue: str, symbol: str, snapshot: Any) -> Callable[[Any], Any]: ...

    def book(self) -> Book:
        """Both sides as (price, quantity), best first."""
        ...


def read_frames(path: str, text: bool) -> list[Any]:
    with open(path, "rb") as file:
        data = file.read()
    frames: list[Any] = []
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        frame = data[at + 4 : at + 4 + size]
        frames.append(frame.decode() if text else frame)
        at += 4 + size
    return frames


def total_ns(take: Callable[[Any], Any], frames: list[Any]) -> int:
    started = time.process_time_ns()
    for frame in frames:
        take(frame)
    return time.process_time_ns() - started


async def total_ns_awaited(take: Callable[[Any], Awaitable[Any]], frames: list[Any]) -> int:
    started = time.process_time_ns()
    for frame in frames:
        await take(frame)
    return time.process_time_ns() - started


def each_ns(take: Callable[[Any], Any], frames: list[Any]) -> list[int]:
    clock, spent = time.perf_counter_ns, []
    for frame in frames:
        started = clock()
        take(frame)
        spent.append(clock() - started)
    return spent


async def each_ns_awaited(take: Callable[[Any], Awaitable[Any]], frames: list[Any]) -> list[int]:
    clock, spent = time.perf_counter_ns, []
    for frame in frames:
        started = clock()
        await take(frame)
        spent.append(clock() - started)
    return spent


async def measure(contestant: Contestant, request: dict[str, Any]) -> dict[str, Any]:
    snapshot, *frames = read_frames(request["path"], contestant.takes_text)

    def begin() -> Callable[[Any], Any]:
        return contestant.begin(request["venue"], request["symbol"], snapshot)

    if contestant.waits:
        spent = sorted(await each_ns_awaited(begin(), frames))
        totals = [await total_ns_awaited(begin(), frames) for _ in range(request["passes"])]
    else:
        spent = sorted(each_ns(begin(), frames))
        totals = [total_ns(begin(), frames) for _ in range(request["passes"])]
    return {
        "cpu_ns": sorted(totals)[len(totals) // 2],
        "p50_ns": spent[len(spent) // 2],
        "p99_ns": spent[len(spent) * 99 // 100],
        "book": contestant.book(),
    }


async def serve(contestant: Contestant) -> None:
    """Answers requests until stdin ends."""
    for line in sys.stdin:
        try:
            answer = await measure(contestant, json.loads(line))
        except Unfit as reason:
            answer = {"unfit": str(reason)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main(contestant: Contestant) -> None:
    asyncio.run(serve(contestant))
