"""Channels of the past: a subscription with ``from``, ``to`` and ``speed`` is played from the recording.

Each is played by a process of its own (``gateway.player``); here its chunks of frames are passed on, one at a
time: the next is read when the last is with the client's socket. So a replay waits for a client that is slow,
memory stays bounded, and the native loop does for it what it does for an answer.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from gateway import player
from gateway.channels import Channel, Options, View
from gateway.errors import Refusal, RequestError
from gateway.history import BadRequestError, moment_ns
from gateway.player import Order, Span
from handlers.background import Aside

SPEED_MAX = 1000.0
REFUSALS = {player.NO_RECORDING: Refusal.NO_RECORDING, player.NO_ROOM: Refusal.NO_ROOM}
# Before it loads anything: that is most of what a short replay costs.
START = "from handlers.background import share_less; share_less(); "
START += "import sys; from gateway.player import main; sys.exit(main())"
COMMAND = (sys.executable, "-P", "-c", START)

Key = tuple[int, str]


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


@dataclass(frozen=True)
class Asked:
    """A subscription to the past. ``answer`` goes out before its first message; ``refused`` or ``ended`` is
    called when it is over."""

    client: int
    channel: Channel
    options: Options
    span: Span
    answer: bytes
    refused: Callable[[Refusal], None]
    ended: Callable[[], None]


class Played:
    """All replays of a gateway, ``most`` at a time. ``send`` posts a text to a client, ``push`` frames."""

    def __init__(
        self,
        directory: Path | None,
        shm_dir: Path,
        send: Callable[[int, bytes], None],
        push: Callable[[int, bytes], None],
        most: int,
    ) -> None:
        self._directory, self._shm_dir, self._most = directory, shm_dir, most
        self._send, self._push = send, push
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._unanswered: dict[Key, bytes] = {}
        self._gone: set[asyncio.Task[None]] = set()  # stopped, and still taking their process away
        self._aside = Aside()
        self._out: dict[int, deque[asyncio.Event]] = {}  # by client: pushes that its socket has not taken

    def start(self, asked: Asked) -> None:
        """Begins; the answer comes later. Raises RequestError: no recording, no room."""
        name = asked.channel.name
        if self._directory is None:
            raise RequestError(Refusal.NO_RECORDING, name)
        if len(self._tasks) >= self._most:
            raise RequestError(Refusal.NO_ROOM, name)
        key = asked.client, name
        self._unanswered[key] = asked.answer
        order = Order(self._directory, self._shm_dir, asked.channel, asked.options, asked.span)
        task = asyncio.get_running_loop().create_task(self._play(asked, order))
        self._tasks[key] = task
        self._aside.begin()
        task.add_done_callback(lambda done: self._over(key, done))

    def _over(self, key: Key, done: asyncio.Task[None]) -> None:
        self._gone.discard(done)
        if self._tasks.get(key) is done:
            self._forget(key)
        if not done.cancelled():
            done.result()

    def _forget(self, key: Key) -> None:
        self._tasks.pop(key, None)
        self._unanswered.pop(key, None)
        if not self._tasks:
            self._aside.end()

    def pushed(self, client: int, count: int) -> None:
        """So many pushes of a client are with its socket."""
        waiting = self._out.get(client, deque())
        for _ in range(min(count, len(waiting))):
            waiting.popleft().set()
        if not waiting:
            self._out.pop(client, None)

    def stop(self, client: int, name: str | None = None) -> bool:
        """Ends one replay of a client, or all; whether there was one."""
        keys = [key for key in self._tasks if key[0] == client and name in (None, key[1])]
        for key in keys:
            if name is not None and key in self._unanswered:  # each request is answered, in its order
                self._send(client, self._unanswered[key])
            self._gone.add(self._tasks[key])
            self._tasks[key].cancel()
            self._forget(key)
        if name is None:
            self._out.pop(client, None)
        return bool(keys)

    async def close(self) -> None:
        """Ends all."""
        for client, _ in list(self._tasks):
            self.stop(client)
        await asyncio.gather(*self._gone, return_exceptions=True)

    async def _play(self, asked: Asked, order: Order) -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=pipe, stdout=pipe, start_new_session=True
        )
        self._aside.put_back(process.pid)  # now: until it could itself, its interpreter has to start
        try:
            assert process.stdin is not None
            process.stdin.write(order.line())
            begun = await self._pass_on(asked, process.stdout)
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            shutil.rmtree(player.directory_of(order.shm_dir, process.pid), ignore_errors=True)
        self._forget((asked.client, asked.channel.name))
        if code != 0:
            refusal = REFUSALS.get(code, Refusal.REPLAY_FAILED)
            return asked.refused(Refusal.REPLAY_FAILED if begun else refusal)
        told = {"type": "replayed", "channel": asked.channel.name, "to": asked.span.to_ns // 1_000_000}
        self._send(asked.client, orjson.dumps(told))
        asked.ended()

    async def _pass_on(self, asked: Asked, chunks: asyncio.StreamReader | None) -> bool:
        """Chunk by chunk until there are no more; whether there was anything to play."""
        assert chunks is not None
        begun = False
        while len(head := await chunks.read(4)) == 4:
            size = int.from_bytes(head, "little")
            if size == 0:
                begun = True
                self._unanswered.pop((asked.client, asked.channel.name), None)
                self._send(asked.client, asked.answer)
                continue
            try:
                frames = await chunks.readexactly(size)
            except asyncio.IncompleteReadError:
                break  # it was killed; its exit code says so
            out = asyncio.Event()
            self._out.setdefault(asked.client, deque()).append(out)
            self._push(asked.client, frames)
            await out.wait()
        return begun
