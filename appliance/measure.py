"""Short measurements, each bounded in time: how evenly a core runs, how far away exchanges are."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

SPIN_S = 0.2
DIAL_TRIES = 3
DIAL_S = 3.0


@dataclass(frozen=True)
class Jitter:
    """How a core was taken away from a thread that only looked at the clock. Nanoseconds."""

    core: int
    worst_ns: int
    lost_ns: int  # all interruptions of more than THRESHOLD_NS together
    spun_ns: int


THRESHOLD_NS = 20_000  # well above what the interpreter itself may take between two looks


def jitter(core: int, seconds: float = SPIN_S) -> Jitter:
    """Spins on ``core`` for so long. Raises OSError if this process may not run there."""
    done: list[Jitter | OSError] = []

    def spin() -> None:
        try:
            os.sched_setaffinity(0, {core})  # of this thread alone
        except OSError as error:
            done.append(error)
            return
        now = time.perf_counter_ns()
        start, end, worst, lost = now, now + int(seconds * 1e9), 0, 0
        while now < end:
            before, now = now, time.perf_counter_ns()
            if now - before > THRESHOLD_NS:
                worst, lost = max(worst, now - before), lost + now - before
        done.append(Jitter(core, worst, lost, now - start))

    gc.disable()
    try:
        thread = threading.Thread(target=spin)
        thread.start()
        thread.join()
    finally:
        gc.enable()
    if isinstance(done[0], OSError):
        raise done[0]
    return done[0]


@dataclass(frozen=True)
class Distance:
    """The quickest of a few TCP handshakes with an exchange's WebSocket host, or why there was none."""

    exchange: str
    host: str
    milliseconds: float | None
    reason: str = ""


async def distances(urls: Mapping[str, str]) -> list[Distance]:
    """One host an exchange, all at once; nothing is sent to them."""
    return list(await asyncio.gather(*(_distance(name, url) for name, url in urls.items())))


async def _distance(exchange: str, url: str) -> Distance:
    split = urlsplit(url)
    host, port = split.hostname or "", split.port or (443 if split.scheme == "wss" else 80)
    best: float | None = None
    try:
        for _ in range(DIAL_TRIES):
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(DIAL_S):
                found = await loop.getaddrinfo(host, port)  # the name is not a part of the distance
                address = found[0][4][0]
                start = time.perf_counter()
                _, writer = await asyncio.open_connection(str(address), port)
                taken = (time.perf_counter() - start) * 1000
            writer.close()
            best = taken if best is None else min(best, taken)
    except (OSError, TimeoutError) as error:
        return Distance(exchange, host, best, str(error) or type(error).__name__)
    return Distance(exchange, host, best)
