"""Books against the venue's REST books: is the market quiet, or is the subscription dead?

For venues whose REST book carries the stream's update ids. An exchange may acknowledge a subscription
and never send anything; it may stop sending while its pings go on. Only the id of its REST book tells
such a silence from a quiet market, and a book is never taken for live without that proof.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import orjson

from handlers._ffi import lib
from handlers.facts import Instrument, Venue
from handlers.logs import Log
from handlers.native_feed import NativeFeed
from handlers.rest import RestError
from handlers.snapshots import Getter

QUIET_PROOF_S = 4.0  # a REST book that did not change for so long belongs to a quiet market


class Repairs(Protocol):
    """What the keeper does about it."""

    def restart(self, book: int, now: float) -> None: ...

    def awaits_start(self, book: int) -> bool: ...


class Comparison:
    """One question about a book at a time; what is found is acted upon at once."""

    def __init__(
        self,
        venue: Venue,
        rest: Getter,
        native: NativeFeed,
        rows: Sequence[Instrument],
        repairs: Repairs,
        log: Log,
    ) -> None:
        self._venue = venue
        self._rest = rest
        self._native = native
        self._rows = rows
        self._repairs = repairs
        self._log = log
        self._asking: set[int] = set()

    async def silent(self, book: int) -> None:
        """A book that should move: if the venue went on without us, its subscription starts afresh."""
        with self._alone(book) as alone:
            found = await self._fetch(book) if alone else None
        if found is None:
            return
        missed = found[1] > self._native.book(book).venue_sequence
        self._log("compared", symbol=self._rows[book].canonical, missed=missed)
        if missed:
            self._repairs.restart(book, time.monotonic())
            self._native.resync(book, lib.BW_REASON_SILENT)
        else:
            self._native.load_snapshot(book, found[0])

    async def quiet_start(self, book: int) -> None:
        """A subscribed book that never got a message: two REST books with the same id let it start."""
        with self._alone(book) as alone:
            first = await self._fetch(book) if alone else None
            if first is None:
                return
            await asyncio.sleep(QUIET_PROOF_S)
            second = await self._fetch(book)
        if second is None or not self._repairs.awaits_start(book):
            return
        if first[1] == second[1]:
            self._native.load_snapshot(book, second[0])
        else:
            self._log("acknowledged_but_silent", symbol=self._rows[book].canonical)
            self._repairs.restart(book, time.monotonic())

    async def _fetch(self, book: int) -> tuple[bytes, int] | None:
        """Body and update id of the venue's REST book, None where it cannot be had now."""
        how = self._venue.snapshots[0]
        try:
            body = await self._rest.get(how.path(self._rows[book].native), how.weight)
            return body, sequence_of(self._venue, body)
        except (RestError, ValueError, KeyError) as error:
            self._log("comparison_failed", symbol=self._rows[book].canonical, reason=error)
            return None

    @contextmanager
    def _alone(self, book: int) -> Iterator[bool]:
        """False inside if the book is being asked about already."""
        if book in self._asking:
            yield False
            return
        self._asking.add(book)
        try:
            yield True
        finally:
            self._asking.discard(book)


def sequence_of(venue: Venue, body: bytes) -> int:
    """The update id of a REST book, where the venue's facts say it stands."""
    path = next(message.last for message in venue.messages if message.kind == "rest_snapshot")
    value = orjson.loads(body)
    for key in (path or "").split("."):
        value = value[key]
    return int(value)
