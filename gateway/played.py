"""Channels of the past: a subscription with ``from``, ``to`` and ``speed`` is played from the recording.

The books are brought back in segments of the subscription's own and encoded by what encodes the stream.
Sent are snapshots, at the subscription's interval of real time; ``{"type": "replayed"}`` ends them. Python
paces it on the asyncio thread; the native loop and its subscribers notice nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from gateway.channels import Channel, Options, View
from gateway.errors import Refusal, RequestError
from gateway.history import BadRequestError, moment_ns
from handlers.errors import UnavailableError
from handlers.recording.journal import BlockType, JournalFile, files_of
from handlers.recording.played import PlayedBook, steps
from handlers.registry import EXCHANGES

SPEED_MAX = 1000.0
AT_ONCE = 4
STEPS_A_TURN = 2000

Encode = Callable[[Path, Channel, Options], bytes]


@dataclass(frozen=True)
class Span:
    """What is to be played. Times are ns since the epoch; ``speed`` 10: ten times as fast as it was."""

    from_ns: int
    to_ns: int
    speed: float


def span_of(request: Mapping[str, Any], channel: Channel) -> Span | None:
    """The span a request asks for, None for the live stream. Raises RequestError."""
    if request.get("from") is None:
        return None
    try:
        begin = moment_ns(str(request["from"]), "from")
        end = moment_ns(str(request["to"]), "to") if request.get("to") is not None else time.time_ns()
    except BadRequestError:
        raise RequestError(Refusal.INVALID_REPLAY, channel.name) from None
    speed = request.get("speed", 1)
    number = isinstance(speed, int | float) and not isinstance(speed, bool)
    if not number or not 0 < speed <= SPEED_MAX or begin >= end or channel.view is View.STATUS:
        raise RequestError(Refusal.INVALID_REPLAY, channel.name)
    return Span(begin, end, float(speed))


def _carriers(directory: Path, channel: Channel) -> Iterator[tuple[str, int, NDArray[np.void], int]]:
    """(exchange, number, bw_symbol, levels) of each exchange that recorded the channel's symbol."""
    for row in EXCHANGES:
        if channel.view is View.SINGLE and row.id != channel.exchange:
            continue
        for path in reversed(files_of(directory, row.id)):
            levels, found = 64, None
            for block in JournalFile(path):
                if block.type is BlockType.FILE:
                    levels = int(block.json()["level_capacity"])
                elif block.type is BlockType.SYMBOLS:
                    names = [each["canonical"].tobytes().rstrip(b"\0").decode() for each in block.symbols()]
                    if channel.symbol in names:
                        found = block.symbols()[names.index(channel.symbol)]
                else:
                    break
            if found is not None:
                yield row.id, row.number, found, levels
                break


class Played:
    """All replays of a gateway. ``send`` posts a text to a client; ``encode`` makes a snapshot."""

    def __init__(
        self, directory: Path | None, shm_dir: Path, send: Callable[[int, bytes], None], encode: Encode
    ) -> None:
        self._directory, self._shm_dir = directory, shm_dir
        self._send, self._encode = send, encode
        self._tasks: dict[tuple[int, str], asyncio.Task[None]] = {}

    def start(
        self, client: int, channel: Channel, options: Options, span: Span, ended: Callable[[], None]
    ) -> None:
        """Begins after the answer. Raises RequestError where there is nothing, or too much is played."""
        if self._directory is None or next(_carriers(self._directory, channel), None) is None:
            raise RequestError(Refusal.NO_RECORDING, channel.name)
        if options.deltas:
            raise RequestError(Refusal.INVALID_MODE, channel.name)
        if len(self._tasks) >= AT_ONCE:
            raise RequestError(Refusal.NO_ROOM, channel.name)
        task = asyncio.get_running_loop().create_task(
            self._play(self._directory, client, channel, options, span)
        )
        key = client, channel.name
        self._tasks[key] = task

        def over(done: asyncio.Task[None]) -> None:
            self._tasks.pop(key, None)
            if not done.cancelled():
                done.result()
                ended()

        task.add_done_callback(over)

    def stop(self, client: int, name: str | None = None) -> bool:
        """Ends one replay of a client, or all; whether there was one."""
        keys = [key for key in self._tasks if key[0] == client and name in (None, key[1])]
        for key in keys:
            self._tasks.pop(key).cancel()
        return bool(keys)

    async def _play(
        self, directory: Path, client: int, channel: Channel, options: Options, span: Span
    ) -> None:
        books: dict[str, PlayedBook] = {}
        with tempfile.TemporaryDirectory(prefix="replay-", dir=self._shm_dir) as where:
            try:
                streams = []
                for exchange, number, symbol, levels in _carriers(directory, channel):
                    books[exchange] = PlayedBook(Path(where), exchange, number, symbol, levels)
                    stream = steps(directory, exchange, channel.symbol, span.from_ns, span.to_ns)
                    streams.append(_tagged(exchange, stream))
                await self._pace(client, channel, options, span, Path(where), books, heapq.merge(*streams))
            except UnavailableError as error:
                self._send(client, orjson.dumps({"type": "error", "msg": "no room", "code": 22,
                                                 "fatal": False, "detail": error.what}))  # fmt: skip
            finally:
                for book in books.values():
                    book.close()

    async def _pace(
        self, client: int, channel: Channel, options: Options, span: Span, where: Path,
        books: dict[str, PlayedBook], merged: Iterator[tuple[int, int, str, bytes, bool]],
    ) -> None:  # fmt: skip
        begun, last, waiting = time.monotonic(), b"", next(merged, None)
        while True:
            reached = span.from_ns + int((time.monotonic() - begun) * 1e9 * span.speed)
            count = 0
            while waiting is not None and waiting[0] <= reached:
                books[waiting[2]].apply(waiting[3], waiting[4])
                waiting, count = next(merged, None), count + 1
                if count % STEPS_A_TURN == 0:
                    await asyncio.sleep(0)
            for book in books.values():
                book.beat()
            made = self._encode(where, channel, options)
            if made != last:
                self._send(client, made)
                last = made
            if waiting is None:
                break
            pause_s = max(options.interval_ms / 1000, (waiting[0] - reached) / 1e9 / span.speed, 0.001)
            await asyncio.sleep(min(pause_s, 1.0))
        told = {"type": "replayed", "channel": channel.name, "to": span.to_ns // 1_000_000}
        self._send(client, orjson.dumps(told))


def _tagged(
    exchange: str, stream: Iterator[tuple[int, bytes, bool]]
) -> Iterator[tuple[int, int, str, bytes, bool]]:
    """Sortable over exchanges: equal times keep each exchange's own order."""
    for number, (time_ns, payload, whole) in enumerate(stream):
        yield time_ns, number, exchange, payload, whole
