"""The gateway process: one native loop, and the asyncio thread that decides what requests mean."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import orjson

from gateway.directory import SegmentDirectory
from gateway.native_loop import Event, EventType, NativeLoop
from gateway.observe import read_gateway_stats
from gateway.played import Played
from gateway.requests import Requests
from gateway.settings import GatewaySettings, SettingsError
from handlers.background import go_first
from handlers.errors import SetupError, UnavailableError
from handlers.logs import Log
from handlers.registry import EXCHANGES
from handlers.service import Service, handed_listener

BACKLOG = 1024
ID_OF = {row.number: row.id for row in EXCHANGES}
STOP_PATIENCE_S = 3.0
RETRY_S = 0.002

Ready = Callable[[str, int], None]


def listen(host: str, port: int) -> socket.socket:
    """The service manager's socket, or one of our own.

    Raises UnavailableError saying what to do when the address is taken.
    """
    handed = handed_listener()
    if handed is not None:
        return handed
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise UnavailableError(
            f"cannot listen: {error.strerror or error}",
            where=f"{host}:{port}",
            do="stop what holds the port, or choose another host and port",
        ) from error
    return listener


def read_tokens(path: Path | None) -> list[str]:
    """Bearer tokens, one a line; blank lines and lines that start with # do not count."""
    if path is None:
        return []
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except OSError as error:
        raise UnavailableError(
            f"cannot read the token file: {error.strerror}",
            where=str(path),
            do="create it or drop token_file",
        ) from error
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise SetupError("the token file holds no token", where=str(path), do="write one token a line")
    return tokens


class Server:
    """Everything of one gateway process. ``await serve()`` ends after ``stop()``."""

    def __init__(self, settings: GatewaySettings, log: Log) -> None:
        self._settings = settings
        self._log = log
        for path in (settings.shm_dir, settings.run_dir):
            path.mkdir(parents=True, exist_ok=True)
        tokens = read_tokens(settings.token_file)
        with contextlib.closing(listen(settings.host, settings.port)) as listener:
            self.port: int = listener.getsockname()[1]
            descriptor = os.dup(listener.fileno())
        self._loop = NativeLoop(settings, descriptor, "\n".join(tokens) if tokens else None)
        self._directory = SegmentDirectory(settings.shm_dir, settings.writer_patience_ms)
        self._played = Played(
            settings.record_dir, settings.shm_dir, self._loop.send, self._loop.push, settings.replays_max
        )
        self._requests = Requests(settings, self._directory, self._loop, tokens, self._played)
        self._stopped = asyncio.Event()
        self._service = Service()
        self._lost: set[str] = set()  # exchanges that went and did not come back

    def stop(self, why: str) -> None:
        """Tells every client that it should come again, closes all, ends ``serve()``."""
        self._log.detail("stopping", why=why)
        self._service.tell("STOPPING=1", f"STATUS={why}")
        notice = {"type": "reconnect", "reason": why, "deadline_ms": 1000}
        self._loop.send_all(orjson.dumps(notice))
        self._loop.stop()
        asyncio.get_running_loop().call_later(STOP_PATIENCE_S, self._stopped.set)

    def reload(self, reread: Callable[[], GatewaySettings]) -> None:
        """On SIGHUP: symbols are those of the segments, looked at now; what else changed wants a restart."""
        self._service.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            fresh = reread()
        except SetupError as error:
            self._log("reload_refused", what=error.what, where=error.where or None, do=error.do or None)
        else:
            names = [field.name for field in fields(fresh)]
            changed = [name for name in names if getattr(fresh, name) != getattr(self._settings, name)]
            self._directory.refresh(force=True)
            self._log("reloaded", restart_for=",".join(changed) or None)
        self._service.tell("READY=1")

    async def serve(self, ready: Ready | None = None) -> None:
        """Runs until stopped. ``ready`` is told host and port once clients can connect."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._loop.event_fd, self._drain)
        self._loop.start()
        if ready:
            ready(self._settings.host, self.port)
        self._service.tell("READY=1")
        attending = loop.create_task(self._service.attend(self._turns, self._status))
        try:
            await self._stopped.wait()
        finally:
            attending.cancel()
            await self._played.close()
            loop.remove_reader(self._loop.event_fd)
            self._loop.free()
            self._directory.close()

    def _turns(self) -> int:
        """How often the native loop turned."""
        stats = read_gateway_stats(self._settings.shm_dir / "gateway.stats")
        return stats.counters["loop_turns"] if stats else 0

    def _status(self) -> str:
        stats = read_gateway_stats(self._settings.shm_dir / "gateway.stats")
        counters = stats.counters if stats else {}
        return f"{counters.get('clients', 0)} clients, {counters.get('segments_open', 0)} exchanges"

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._loop.event_fd, 8)
        for event in self._loop.events():
            self._handle(event)
        if not self._loop.retry():
            asyncio.get_running_loop().call_later(RETRY_S, self._drain)

    def _handle(self, event: Event) -> None:
        now_s = time.monotonic()
        if event.type is EventType.TEXT:
            self._requests.text(event.client, event.body, authorised=event.code == 1, now_s=now_s)
        elif event.type is EventType.EVENTS:
            self._requests.events(event.client, event.body.decode("utf-8", "replace"), now_s)
        elif event.type is EventType.CLOSED:
            self._requests.closed(event.client)
        elif event.type is EventType.TOO_LARGE:
            self._requests.too_large(event.client, now_s)
        elif event.type is EventType.REFUSED:
            self._requests.refused(event.client, event.tag, now_s)
            self._log("subscription_refused", why=event.body.decode())
        elif event.type is EventType.EXCHANGE:
            self._exchange(ID_OF[event.code], bool(event.tag), event.body.decode())
        elif event.type is EventType.PUSHED:
            self._played.pushed(event.client, event.code)
        elif event.type is EventType.STOPPED:
            self._stopped.set()

    def _exchange(self, exchange: str, up: bool, why: str) -> None:
        """Says that an exchange came or went; the first time it comes is a step of good running."""
        say = self._log if exchange in self._lost or not up else self._log.detail
        say("exchange", exchange=exchange, state="up" if up else "down", why=why)
        if up:
            self._lost.discard(exchange)
        else:
            self._lost.add(exchange)


async def _serve(
    settings: GatewaySettings, log: Log, ready: Ready | None, reread: Callable[[], GatewaySettings]
) -> None:
    server = Server(settings, log)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop, "the gateway stops")
    loop.add_signal_handler(signal.SIGHUP, server.reload, reread)
    log.detail("listening", host=settings.host, port=server.port, tls=settings.tls_certificate is not None)
    await server.serve(ready)
    log.detail("stopped")


def run(
    settings: GatewaySettings,
    ready: Ready | None = None,
    reread: Callable[[], GatewaySettings] | None = None,
) -> int:
    """Runs the gateway until SIGTERM or SIGINT; returns the exit code.

    ``ready`` is called with host and port (the real one where 0 was asked) once clients can connect.
    ``reread`` gives the settings anew when SIGHUP asks for it.
    """
    log = Log("gateway")
    if settings.poll == "epoll":  # who spins would have the core from everybody
        go_first()
    try:
        settings.check()
        asyncio.run(_serve(settings, log, ready, reread or (lambda: settings)))
    except SettingsError as error:
        log("cannot_start", why=error)
        return SetupError.exit_code
    except SetupError as error:
        log("cannot_start", why=error)
        return error.exit_code
    except PermissionError as error:
        log("cannot_start", why=error)
        return 77
    return 0
