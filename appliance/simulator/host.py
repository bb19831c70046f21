"""Puts one simulated exchange on the network: TLS, HTTP, WebSocket, and the faults that live there."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import WSMsgType, web

from .book import Change
from .connection import Connection, binary_frame, frame, text_frame
from .control import Control
from .exchange import Exchange, Reply, SimulatedBook
from .faults import ACTION, CONNECTION, Fault, FaultError, Marks, ScriptLine, parse_fault
from .pump import Pump

_NO_MARKS = Marks()
_MESSAGE_BYTES_MAX = 4 << 20
_OVERSIZED_BYTES = 80 << 20
_NOTICE_SECONDS = 10.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Host:
    """One exchange on one port. `start`, then `stop`."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        rate: float,
        burst: int,
        seed: int,
        script: tuple[ScriptLine, ...] = (),
        age_limit: float | None = None,
        paused: bool = False,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.exchange = exchange
        self.connections: dict[int, Connection] = {}
        self.connections_total = 0
        self.frames_total = 0
        self.slow_consumers = 0
        self.requests_total = 0
        self.unknown_requests: list[str] = []
        self.age_limit = age_limit
        self.port = 0
        self.pump = Pump(
            list(exchange.books.values()),
            self.advance,
            rate=rate,
            burst=burst,
            seed=f"{seed}:{exchange.id}:time",
            on_failure=on_failure,
        )
        self._on_failure = on_failure
        self.pump.paused = paused
        self._script = [line for line in script if self._can_play(line)]
        self.scripted = tuple(self._script)
        self._held: dict[str, list[tuple[Connection, bytes]]] = {}
        self._routes = exchange.routes()
        self._started = 0.0
        self._messages_before = 0  # by connections that are gone
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    # --- life

    async def start(self, context: ssl.SSLContext, host: str, port: int) -> None:
        """Listen. Raises OSError when the port is taken."""
        app = web.Application(middlewares=[self._middleware])
        Control(self).add_routes(app)
        app.router.add_route("*", "/{path:.*}", self._any)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]
        if host == "127.0.0.1":
            # localhost may mean ::1 first; a machine without IPv6 does without
            with suppress(OSError):
                await web.TCPSite(self._runner, "::1", self.port, ssl_context=context).start()
        self.exchange.address = f"localhost:{self.port}"
        self.exchange.later = asyncio.get_running_loop().call_later
        self._started = time.monotonic()
        self.pump.start()
        self._tasks = [asyncio.create_task(self._seconds())]
        self._tasks[0].add_done_callback(lambda task: None if task.cancelled() else self._on_failure())

    async def stop(self) -> None:
        """Stop the flow and drop every connection."""
        self.pump.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self.connections.values()):
            if connection.frozen:
                connection.abort()
            else:
                connection.close(1001, "going away")
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def messages_total(self) -> int:
        """Text and binary messages ever sent, of all connections there were."""
        return self._messages_before + sum(each.messages for each in self.connections.values())

    # --- updates

    def advance(self, book: SimulatedBook) -> None:
        """One update of one book: the flow moves, the protocol encodes, the faults have their say."""
        exchange = self.exchange
        changes: list[Change] = book.flow.step()
        book.updates += 1
        if self._script:
            self._run_script(book)
        now, names = time.monotonic(), []
        if exchange.faults.armed and exchange.has_readers(book.symbol):
            names = exchange.faults.marks(book.symbol, now, at_top=book.flow.book.at_top(changes))
        marks = Marks(**dict.fromkeys(names, True)) if names else _NO_MARKS
        batch = exchange.encode(book, changes, marks)
        frames = exchange.frames(batch) if batch else []
        if names and frames:
            # an update that nobody would have seen does not use a fault up
            for name in names:
                exchange.faults.take(name, book.symbol, now)
            frames = self._suffer(book, frames, marks)
        if frames and book.symbol in self._held:
            frames = frames + self._held.pop(book.symbol)
        for connection, raw in frames:
            connection.send(raw)
        self.frames_total += len(frames)

    def _suffer(
        self, book: SimulatedBook, frames: list[tuple[Connection, bytes]], marks: Marks
    ) -> list[tuple[Connection, bytes]]:
        if marks.drop:
            return []
        if marks.reorder:
            self._held.setdefault(book.symbol, []).extend(frames)
            return []
        return [each for each in frames for _ in (0, 1)] if marks.duplicate else frames

    def _run_script(self, book: SimulatedBook) -> None:
        for line in list(self._script):
            if (
                line.at_update is not None
                and book.updates == line.at_update
                and (line.request.get("symbol") in (None, book.symbol))
            ):
                self._script.remove(line)
                self.apply(line.request)

    async def _seconds(self) -> None:
        """Once a second: heartbeats, pings, ages, timed script lines."""
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            for line in list(self._script):
                if line.at_seconds is not None and now - self._started >= line.at_seconds:
                    self._script.remove(line)
                    self.apply(line.request)
            connections = list(self.connections.values())
            self.exchange.second(connections, now)
            for connection in connections:
                self._look_after(connection, now)

    def _look_after(self, connection: Connection, now: float) -> None:
        every, state = self.exchange.ping_seconds, connection.state
        if every is not None:
            pinged, answered = (
                state.setdefault("pinged", connection.opened),
                state.get("ponged", connection.opened),
            )
            if now - pinged >= every:
                state["pinged"] = now
                connection.ping(str(self.exchange.clock.now_ms()).encode())
            if self.exchange.limits and now - answered > every + self.exchange.pong_seconds:
                connection.close(1008, "Pong timeout")
        if self.age_limit is not None:
            age = now - connection.opened
            if age >= self.age_limit:
                connection.close(1001, "connection too old")
            elif age >= self.age_limit - _NOTICE_SECONDS and not state.get("noticed"):
                state["noticed"] = True
                self.exchange.notice(connection)

    # --- faults

    def _can_play(self, line: ScriptLine) -> bool:
        """Does a line of the script concern this exchange? Raises FaultError when it is named but cannot."""
        if line.exchange not in (None, self.exchange.id):
            return False
        try:
            self._check(line.request)
        except FaultError:
            if line.exchange is None:
                return False
            raise
        return True

    def _check(self, request: Mapping[str, Any]) -> Fault:
        """The fault of a request. Raises FaultError when it makes no sense for this exchange."""
        exchange = self.exchange
        fault = parse_fault(request, exchange.books, time.monotonic())
        if fault.name in ("wrong_checksum", "zero_checksum") and not exchange.has_checksum:
            raise FaultError(f"{exchange.id} sends no checksum")
        if fault.name == "restart" and type(exchange).restart is Exchange.restart:
            raise FaultError(f"{exchange.id} announces nothing when it restarts: close the connections")
        return fault

    def apply(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Apply or arm a fault. Raises FaultError when it makes no sense for this exchange."""
        fault = self._check(request)
        if fault.kind == ACTION:
            self._act(fault)
        elif fault.kind == CONNECTION:
            hit = [each for each in self.connections.values() if self._concerns(fault, each)]
            for connection in hit:
                self._strike(fault, connection)
            self.exchange.faults.fired[fault.name] += len(hit)
            return {"fault": fault.name, "connections": [each.number for each in hit]}
        elif fault.name == "silence" and fault.options.get("until") == "resubscribe":
            self.exchange.mute(fault.symbol)
            self.exchange.faults.fired["silence"] += 1
        else:
            if fault.name == "silence":
                self.exchange.faults.fired["silence"] += 1
            self.exchange.faults.arm(fault)
        return {"fault": fault.name, "kind": fault.kind}

    def _concerns(self, fault: Fault, connection: Connection) -> bool:
        if "connection" in fault.options and connection.number != int(fault.options["connection"]):
            return False
        return fault.symbol is None or any(topic.symbol == fault.symbol for topic in connection.topics)

    def _strike(self, fault: Fault, connection: Connection) -> None:
        match fault.name:
            case "garbage":
                binary = fault.options.get("kind") == "binary"
                noise = self.exchange.random.randbytes(200)
                connection.send(binary_frame(noise) if binary else text_frame(b'{"garbage":[[["' + b"x" * 40))
            case "oversized":
                size = int(fault.number("bytes", _OVERSIZED_BYTES))
                connection.send(frame(0x81, b'{"oversized":"' + b"x" * max(0, size - 16) + b'"}'))
            case "half_open":
                connection.freeze()
            case "close":
                connection.close(int(fault.number("code", 1001)), str(fault.options.get("reason", "")))
            case "reset":
                connection.abort()
            case "notice":
                self.exchange.notice(connection)

    def _act(self, fault: Fault) -> None:
        exchange = self.exchange
        match fault.name:
            case "clock_jump":
                exchange.clock.offset_ns += int(fault.number("by", 0) * 1e9)
            case "age_limit":
                self.age_limit = fault.number("age", 0) or None
            case "restart":
                for book in exchange.books.values():
                    if fault.symbol in (None, book.symbol):
                        exchange.restart(book)
            case "resume":
                exchange.faults.remove("silence", fault.symbol)
                exchange.unmute(fault.symbol)
            case "clear":
                exchange.faults.remove()
                exchange.unmute(None)
        exchange.faults.fired[fault.name] += 1

    # --- HTTP

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/_control"):
            return await handler(request)
        faults, now = self.exchange.faults, time.monotonic()
        if request.headers.get("Upgrade", "").lower() == "websocket":
            refusal = faults.take("refuse_connections", None, now)
            if refusal is None:
                excess = self.exchange.admit(request.headers)
                return await handler(request) if excess is None else _response(excess)
            if "status" in refusal.options:
                return web.Response(status=int(refusal.options["status"]), body=b"refused")
            _reset(request)
            return web.Response(status=503)
        slow = faults.take("slow_rest", None, now)
        if slow is not None:
            await asyncio.sleep(slow.number("delay", 2.0))
        refusal = faults.take("rest_status", None, now)
        if refusal is not None:
            status = int(refusal.number("status", 429))
            headers = (
                {"Retry-After": str(int(refusal.number("retry_after", 1)))} if status in (418, 429) else {}
            )
            return web.Response(
                status=status,
                body=self.exchange.rest_error(status),
                headers=headers,
                content_type="application/json",
            )
        return await handler(request)

    async def _any(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket" and self.exchange.accepts(request.path):
            most = self.exchange.connections_max
            if most is None or not self.exchange.limits or len(self.connections) < most:
                return await self._websocket(request)
            return web.Response(status=429, body=self.exchange.rest_error(429))
        self.requests_total += 1
        key = request.path if request.method == "GET" else f"{request.method} {request.path}"
        route = self._routes.get(key) or (
            self.exchange.route(request.path) if request.method == "GET" else None
        )
        if route is None:
            self.unknown_requests = [*self.unknown_requests[-99:], f"{request.method} {request.path_qs}"]
            reply = Reply(self.exchange.rest_error(404), 404)
        else:
            reply = route(request.query)
        return _response(reply)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        socket_response = web.WebSocketResponse(
            autoping=False, autoclose=True, compress=False, max_msg_size=_MESSAGE_BYTES_MAX
        )
        await socket_response.prepare(request)
        transport = request.transport
        if transport is None:
            return socket_response
        self.connections_total += 1
        connection = Connection(self.connections_total, transport, time.monotonic(), request.path)
        self.connections[connection.number] = connection
        try:
            self.exchange.on_open(connection, request.query)
            await self._converse(connection, socket_response)
        finally:
            self.exchange.forget(connection)
            del self.connections[connection.number]
            self._messages_before += connection.messages
            self.slow_consumers += connection.slow
        return socket_response

    async def _converse(self, connection: Connection, messages: web.WebSocketResponse) -> None:
        async for message in messages:
            now = time.monotonic()
            connection.last_received = now
            if connection.frozen or connection.closing:
                continue
            connection.received_at = [each for each in connection.received_at if each > now - 1.0] + [now]
            if message.type is WSMsgType.TEXT:
                self.exchange.on_text(connection, message.data)
            elif message.type is WSMsgType.PING and self.exchange.answers_pings:
                connection.pong(message.data)
            elif message.type is WSMsgType.PONG:
                connection.state["ponged"] = now


def _response(reply: Reply) -> web.Response:
    return web.Response(
        status=reply.status, body=reply.body, headers=reply.headers, content_type="application/json"
    )


def _reset(request: web.Request) -> None:
    """Drop a request's TCP connection with a reset."""
    transport = request.transport
    if transport is not None:
        Connection(0, transport, 0.0, request.path).abort()
