"""One replay, in a process of its own: the journal is read, books moved and messages made here, where no
subscriber of the stream waits for it.

The gateway starts it (``gateway.played``), tells it on stdin what to play, and takes chunks of
whole WebSocket frames from its stdout: u32 length, bytes. An empty chunk comes first, once it is known that
there is something to play. It waits for its reader: the past can wait, and nothing piles up. stdin's end
ends it.
"""

from __future__ import annotations

import heapq
import os
import select
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from gateway._ffi import ffi, lib
from gateway.channels import ArbTerms, Channel, Format, Options, Slow, View
from gateway.native_loop import subscription_of
from handlers.errors import UnavailableError
from handlers.recording.journal import BlockType, JournalFile, files_of
from handlers.recording.played import PlayedBook, steps
from handlers.registry import EXCHANGES

CHUNK_BYTES = 32 << 10
LATE_S = 0.25  # a replay that is further behind goes on from where it is
NO_RECORDING, NO_ROOM = 3, 4  # exit codes beside 0 (played to the end) and 1 (failed)


@dataclass(frozen=True)
class Span:
    """What is to be played. Times are ns since the epoch; ``speed`` 10: ten times as fast as it was."""

    from_ns: int
    to_ns: int
    speed: float


@dataclass(frozen=True)
class Order:
    """Everything a player is told."""

    directory: Path
    shm_dir: Path
    channel: Channel
    options: Options
    span: Span

    def line(self) -> bytes:
        """As it goes over stdin."""
        return orjson.dumps(asdict(self), default=str) + b"\n"

    @staticmethod
    def read(line: bytes) -> Order:
        """The order of a line."""
        told: dict[str, Any] = orjson.loads(line)
        channel, options = told["channel"], told["options"]
        terms = {**options["arb"], "taker_ppm": tuple(options["arb"]["taker_ppm"])}
        kinds = {"format": Format(options["format"]), "slow": Slow(options["slow"])}
        return Order(
            Path(told["directory"]),
            Path(told["shm_dir"]),
            Channel(**{**channel, "view": View(channel["view"])}),
            Options(**{**options, **kinds, "arb": ArbTerms(**terms)}),
            Span(**told["span"]),
        )


def carriers(directory: Path, channel: Channel) -> Iterator[tuple[str, int, NDArray[np.void], int]]:
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


def directory_of(shm_dir: Path, pid: int) -> Path:
    """Where a player's segments stand while it opens them."""
    return shm_dir / f"replay-{pid}"


class Outlet:
    """stdout in chunks. Blocks while the gateway does not read."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting = bytearray()

    def begin(self) -> None:
        self._write(bytes(4))

    def put(self, frame: memoryview) -> None:
        self._waiting += frame
        if len(self._waiting) >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._write(len(self._waiting).to_bytes(4, "little") + self._waiting)
            self._waiting.clear()

    def _write(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]


class Encoder:
    """Books in, frames out, by the stream's own encoder."""

    def __init__(self, where: Path, order: Order, books: list[tuple[str, int]]) -> None:
        paths = [ffi.new("char[]", str(where / f"{name}.shm").encode()) for name, _ in books]
        exchanges = ffi.new("bw_gateway_exchange[]", [(number, name.encode()) for name, number in books])
        error = ffi.new("char[]", 512)
        wanted = subscription_of(0, order.channel, order.options)
        self._handle = lib.bw_replay_new(
            wanted, ffi.new("char *[]", paths), exchanges, len(books), error, 512
        )
        if self._handle == ffi.NULL:
            raise UnavailableError(ffi.string(error).decode(errors="replace"))
        self._bytes = int(lib.bw_replay_room(self._handle))
        self._room = ffi.new("uint8_t[]", self._bytes)

    def frame(self, now_ns: int, updates: int) -> memoryview:
        """What a subscriber must be told now, empty where nothing has changed."""
        size = lib.bw_replay_next(self._handle, now_ns, updates, self._room, self._bytes)
        assert size >= 0, os.strerror(-size)
        return memoryview(ffi.buffer(self._room, size))

    def close(self) -> None:
        lib.bw_replay_free(self._handle)


class Pace:
    """When a moment of the recording is due."""

    def __init__(self, span: Span, outlet: Outlet) -> None:
        self._span, self._outlet = span, outlet
        self._begun_s = time.monotonic()

    def due_s(self, time_ns: int) -> float:
        """On the monotonic clock."""
        return self._begun_s + (time_ns - self._span.from_ns) / 1e9 / self._span.speed

    def until(self, when_s: float) -> None:
        """Waits, everything flushed. Raises BrokenPipeError when the gateway is gone."""
        while (left_s := when_s - time.monotonic()) > 0:
            self._outlet.flush()
            if select.select([0], [], [], left_s)[0]:
                raise BrokenPipeError
        self._begun_s += max(0.0, -left_s - LATE_S)


def play(order: Order, books: dict[str, PlayedBook], encoder: Encoder, outlet: Outlet) -> None:
    """From the span's beginning to its end."""
    span, interval_s = order.span, order.options.interval_ms / 1000
    streams = [_tagged(order, exchange) for exchange in books]
    pace: Pace | None = None
    sent_s, updates, unsent = 0.0, 0, False

    def send(now_ns: int) -> None:
        nonlocal sent_s, unsent
        frame = encoder.frame(now_ns, updates)
        sent_s, unsent = (time.monotonic(), False) if frame else (sent_s, False)
        outlet.put(frame)

    for time_ns, _, exchange, payload, whole in heapq.merge(*streams):
        if time_ns >= span.from_ns:
            if pace is None:  # how it stood when the span begins
                pace = Pace(span, outlet)
                send(span.from_ns)
            due_s = pace.due_s(time_ns)
            while unsent and sent_s + interval_s <= due_s:
                pace.until(sent_s + interval_s)
                send(time_ns)
            pace.until(due_s)
        turned = books[exchange].apply(payload, whole)
        updates += 1
        unsent = True
        if pace is not None and (turned or time.monotonic() >= sent_s + interval_s):
            send(time_ns)
    send(span.to_ns)
    outlet.flush()


def _tagged(order: Order, exchange: str) -> Iterator[tuple[int, int, str, memoryview, bool]]:
    """Sortable over exchanges: equal times keep each exchange's own order."""
    span = order.span
    stream = steps(order.directory, exchange, order.channel.symbol, span.from_ns, span.to_ns)
    for number, (time_ns, payload, whole) in enumerate(stream):
        yield time_ns, number, exchange, payload, whole


def run(order: Order, outlet: Outlet) -> int:
    """Exit code. The segments lose their names once they are open: a kill leaves nothing behind."""
    found = list(carriers(order.directory, order.channel))
    if not found:
        return NO_RECORDING
    where = directory_of(order.shm_dir, os.getpid())
    books: dict[str, PlayedBook] = {}
    with ExitStack() as stack:
        try:
            where.mkdir()
            for exchange, number, symbol, levels in found:
                books[exchange] = PlayedBook(where, exchange, number, symbol, levels)
                stack.callback(books[exchange].close)
            encoder = Encoder(where, order, [(row[0], row[1]) for row in found])
            stack.callback(encoder.close)
        finally:
            shutil.rmtree(where, ignore_errors=True)
        outlet.begin()
        play(order, books, encoder, outlet)
    return 0


def main() -> int:
    """Reads the order, plays it."""
    line = sys.stdin.buffer.readline()
    if not line:
        return 0
    try:
        return run(Order.read(line), Outlet(1))
    except UnavailableError as error:
        print(f"replay_has_no_room error={error.what!r}", file=sys.stderr)
        return NO_ROOM
    except BrokenPipeError:
        return 0
