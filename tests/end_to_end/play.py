"""One simulated exchange in a test's hands: step it, hurt it, and hold Bookwire's book to what is true.

While its flow is paused the test makes every update itself and remembers each state the exchange's book
was ever in. A LIVE book of ours must always be one of these; anything else is a wrong book sold as right.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp

from appliance.observe import Observer
from handlers.shm import Book, BusyError, OverrunError, Ring, Segment, WriterGoneError
from handlers.shm_layout import BookState

NOISE_S = 2.0  # two cores run everything here, tests included
Key = tuple[tuple[tuple[Decimal, Decimal], ...], tuple[tuple[Decimal, Decimal], ...]]


class Player:
    """``depth`` 0 compares whole books. ``blind``: the venue tells no loss, so its book may be LIVE and wrong
    until it is next audited."""

    def __init__(
        self,
        exchange: str,
        symbol: str,
        control_url: str,
        session: aiohttp.ClientSession,
        observer: Observer,
        depth: int = 0,
        *,
        blind: bool = False,
    ) -> None:
        self.exchange = exchange
        self.symbol = symbol
        self.depth = depth
        self.blind = blind
        self.truths: dict[Key, int] = {}
        self.latest: Key = ((), ())
        self._control = control_url
        self._session = session
        self._observer = observer

    async def post(self, verb: str, **body: Any) -> dict[str, Any]:
        async with self._session.post(f"{self._control}/{verb}", json=body) as answer:
            told: dict[str, Any] = await answer.json()
            assert answer.status == 200, f"{self.exchange} {verb}: {told}"
            return told

    async def fault(self, name: str, **options: Any) -> dict[str, Any]:
        return await self.post("fault", fault=name, **options)

    async def fired(self, name: str) -> int:
        async with self._session.get(f"{self._control}/faults") as answer:
            return int((await answer.json())["fired"].get(name, 0))

    async def pause(self) -> None:
        await self.post("pause")
        await self.learn()

    async def resume(self) -> None:
        await self.post("resume")
        self.truths.clear()

    async def learn(self) -> None:
        """Remembers the true book of this moment."""
        parameters = {"depth": str(self.depth)} if self.depth else {}
        async with self._session.get(f"{self._control}/book/{self.symbol}", params=parameters) as answer:
            told = await answer.json()
        bids, asks = (
            tuple((Decimal(row[0]), Decimal(row[1])) for row in told[side]) for side in ("bids", "asks")
        )
        self.latest = (bids, asks)
        self.truths[self.latest] = len(self.truths)

    async def step(self) -> None:
        """One update of the symbol, and what is true after it."""
        await self.post("step", n=1, symbol=self.symbol)
        await self.learn()

    def book(self) -> Book | None:
        """Ours, None while its process is down."""
        segment = self._observer.segment(self.exchange)
        if segment is None or not segment.alive():
            return None
        try:
            return segment.book(self.symbol, self.depth)
        except (WriterGoneError, BusyError, KeyError):
            return None

    def is_right(self) -> bool:
        """LIVE and the newest truth. Raises AssertionError when LIVE and not true at any time."""
        book = self.book()
        if book is None or book.state is not BookState.LIVE:
            return False
        key = key_of(book)
        assert self.blind or key in self.truths, (
            f"{self.exchange} is LIVE and wrong: {difference(key, self.latest)}"
        )
        return key == self.latest


def key_of(book: Book) -> Key:
    """Comparable levels."""
    return tuple(book.decimals("bids")), tuple(book.decimals("asks"))


def difference(ours: Key, true: Key) -> str:
    """The first levels that differ, for a failure's message."""
    parts = []
    for name, mine, theirs in zip(("bids", "asks"), ours, true, strict=True):
        extra, missing = sorted(set(mine) - set(theirs))[:4], sorted(set(theirs) - set(mine))[:4]
        parts.append(f"{name} ours only {extra}, true only {missing}")
    return "; ".join(parts)


class Witness:
    """Follows every book of an exchange that must notice nothing: no gap, no replacement, no long silence."""

    def __init__(self, exchange: str, segment: Segment) -> None:
        self.exchange = exchange
        self.records = 0
        self.longest_pause_s = 0.0
        self.complaints: list[str] = []
        self._segment = segment
        self._ring: Ring = segment.records()
        self._sequences: dict[int, int] = {}
        self._heard_s = time.monotonic()

    def look(self) -> None:
        """Call often: the ring holds some seconds only."""
        try:
            for record in self._ring:
                expected = self._sequences.get(record.book)
                if expected is not None and record.sequence != expected + 1:
                    self._complain(f"sequence {expected} -> {record.sequence}", record.book)
                if record.state is not BookState.LIVE:
                    self._complain(f"became {record.state.name}", record.book)
                self._sequences[record.book] = record.sequence
                self.records += 1
                now_s = time.monotonic()
                self.longest_pause_s = max(self.longest_pause_s, now_s - self._heard_s)
                self._heard_s = now_s
        except OverrunError:
            self.complaints.append(f"{self.exchange}: the test was too slow to follow")
        if self._segment.replaced() or not self._segment.alive():
            self.complaints.append(f"{self.exchange}: its process was replaced")

    def _complain(self, what: str, book: int) -> None:
        self.complaints.append(f"{self.exchange} {self._segment.symbols[book].canonical}: {what}")


@asynccontextmanager
async def watched(observer: Observer, exchanges: Sequence[str]) -> AsyncIterator[None]:
    """Follows exchanges that must notice nothing while the block runs."""
    witnesses = []
    for name in exchanges:
        segment = observer.segment(name)
        assert segment is not None
        witnesses.append(Witness(name, segment))

    async def follow() -> None:
        while True:
            for witness in witnesses:
                witness.look()
            await asyncio.sleep(0.02)

    following = asyncio.create_task(follow())
    begun_s = time.monotonic()
    try:
        yield
        await asyncio.sleep(max(0.0, 0.5 - (time.monotonic() - begun_s)))
    finally:
        following.cancel()
        (end,) = await asyncio.gather(following, return_exceptions=True)
    assert isinstance(end, asyncio.CancelledError), f"the witnesses fell: {end!r}"
    for witness in witnesses:
        assert witness.complaints == []
        assert witness.records > 0, f"{witness.exchange} stood still"
        assert witness.longest_pause_s < NOISE_S, (
            f"{witness.exchange}: silent for {witness.longest_pause_s:.1f} s"
        )


async def until(happened: Callable[[], bool], seconds: float, what: str, every_s: float = 0.02) -> float:
    """Waits until ``happened``; how long it took. Fails after ``seconds`` saying ``what`` was awaited."""
    begun_s = time.monotonic()
    while not happened():
        waited_s = time.monotonic() - begun_s
        assert waited_s < seconds, f"{what}: not within {seconds:.0f} s"
        await asyncio.sleep(every_s)
    return time.monotonic() - begun_s
