"""One connection that is always wanted: made, watched, made again, its subscriptions with it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import time
import weakref
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal, overload

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException

from bookwire_client.arb import Arb
from bookwire_client.book import Book
from bookwire_client.events import (
    ArbChanged,
    BookChanged,
    Connected,
    Disconnected,
    Event,
    EventsDropped,
    Heartbeat,
    Message,
    ReconnectNotice,
    Refused,
    RefusedError,
    StatusChanged,
)

STEADY_S = 10.0  # a connection that held so long starts the backoff anew
RETRIED = (5, 22)  # unknown symbol, no room: both pass, for instance while a box starts
FRAME_BYTES_MAX = 4 << 20


@dataclass
class _Subscription:
    request: dict[str, Any]
    book: Book[Any] | Arb | None
    retry: asyncio.TimerHandle | None = None


@dataclass
class _Question:
    """A request under way. Its subscription is kept as the answer is read: its snapshot may be next."""

    answer: asyncio.Future[dict[str, Any]]
    subscription: _Subscription | None


class Events:
    """What happens from now on, in order, until the client is closed. The oldest leave when nobody takes them
    in time: told as EventsDropped."""

    def __init__(self, client: Client, room: int) -> None:
        self._client = client
        self._room = room
        self._waiting: deque[Event] = deque()
        self._dropped = 0
        self._filled = asyncio.Event()

    def put(self, event: Event | None) -> None:
        """None: nothing more will come."""
        if event is not None:
            if len(self._waiting) >= self._room:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(event)
        self._filled.set()

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        """Raises what broke the client, if anything did."""
        while True:
            if self._dropped:
                count, self._dropped = self._dropped, 0
                return EventsDropped(count)
            if self._waiting:
                return self._waiting.popleft()
            if self._client.ended():
                raise StopAsyncIteration
            self._filled.clear()
            await self._filled.wait()


class Client:
    """``async with Client(url) as client``. Books are kept up to date in the background.

    ``token``: sent as first message where the box asks for one. Backoff: the n-th wait is random between
    0 and min(``backoff_max_s``, ``backoff_s`` * 2^n). ``idle_s``: after so long without a message the
    gateway is pinged, after twice that the connection counts as dead.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        backoff_s: float = 0.25,
        backoff_max_s: float = 30.0,
        idle_s: float = 10.0,
    ) -> None:
        self.url = url
        self.connected = False
        self._token = token
        self._backoff = (backoff_s, backoff_max_s)
        self._idle_s = idle_s
        self._subscriptions: dict[str, _Subscription] = {}
        self._asked: dict[int, _Question] = {}
        self._again: dict[int, str] = {}  # id of a repeated subscribe -> its channel
        self._ids = itertools.count(1)
        self._listeners: weakref.WeakSet[Events] = weakref.WeakSet()  # an iterator left behind ends
        self._socket: ClientConnection | None = None
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Client:
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._wake)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection and every ``events()``. Raises what broke the client, if anything did."""
        if self._task is None:
            return
        task, self._task = self._task, None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    @property
    def books(self) -> dict[str, Book[Any]]:
        """By channel, as answered by the gateway."""
        held = self._subscriptions.items()
        return {name: each.book for name, each in held if isinstance(each.book, Book)}

    @overload
    async def subscribe(
        self, channel: str, *, exact: Literal[True], depth: int = 20, **options: Any
    ) -> Book[Decimal]: ...
    @overload
    async def subscribe(
        self, channel: str, *, exact: Literal[False] = False, depth: int = 20, **options: Any
    ) -> Book[float]: ...
    async def subscribe(
        self, channel: str, *, exact: bool = False, depth: int = 20, **options: Any
    ) -> Book[Any]:
        """Asks for a channel; its book, which fills as messages come (``await client.whole(book)``).

        ``options``: ``mode`` ("inc"), ``interval`` ms, ``stamps`` (True), ``slow``, ``heartbeat`` s, as in
        docs/gateway.md. Waits for a connection if there is none. Raises RefusedError.
        """
        request = {
            "op": "subscribe", "channel": channel, "depth": depth, "mode": "inc", "stamps": True,
            "numbers": "string" if exact else "number", **options,
        }  # fmt: skip
        book: Book[Any] = Book(channel, Decimal) if exact else Book(channel, float)
        await self._ask(request, _Subscription(request, book))
        return book

    async def subscribe_arb(self, symbol: str, *, depth: int = 20, **options: Any) -> Arb:
        """What pays between two exchanges, both taker fees paid, walked through ``depth`` levels.

        ``options``: ``min_bp`` and ``capital`` (else the box's own), ``interval`` ms. Raises RefusedError.
        """
        channel = f"arb:{symbol}"
        request = {"op": "subscribe", "channel": channel, "depth": depth, "heartbeat": 1, **options}
        arb = Arb(channel)
        await self._ask(request, _Subscription(request, arb))
        return arb

    async def subscribe_status(self) -> None:
        """Exchanges and books going live, stale, resyncing or down: ``StatusChanged`` events from now on."""
        request = {"op": "subscribe", "channel": "status"}
        await self._ask(request, _Subscription(request, None))

    async def unsubscribe(self, channel: str) -> None:
        """Nothing of the channel comes after it. Raises RefusedError."""
        answer = await self._ask({"op": "unsubscribe", "channel": channel})
        gone = self._subscriptions.pop(str(answer["channel"]), None)
        if gone and gone.book:
            gone.book.connected = False

    async def whole(self, book: Book[Any] | Arb) -> None:
        """Waits until the book is whole: its snapshot, with all its pages, is there."""
        events = self.events()
        while not (book.whole and book.connected):
            await anext(events)

    async def exchanges(self) -> list[dict[str, Any]]:
        """Rows of id, name, quote, symbols (live books), status, depth (ceiling)."""
        rows: list[dict[str, Any]] = (await self._ask({"op": "exchanges"}))["data"]
        return rows

    async def symbols(self, **filters: str) -> list[dict[str, Any]]:
        """Rows of symbol and exchanges; filters ``quote`` and ``exchange``. Raises RefusedError."""
        rows: list[dict[str, Any]] = (await self._ask({"op": "symbols", **filters}))["data"]
        return rows

    def events(self, room: int = 10_000) -> Events:
        """What happens from now on, to be iterated. At most ``room`` events wait for that.

        A book may be ahead of an event that waited: who needs each state in order applies the events'
        messages to a Book of their own.
        """
        events = Events(self, room)
        self._listeners.add(events)
        return events

    def ended(self) -> bool:
        """Closed, or broken. Raises what broke the client, if anything did."""
        if self._task is not None and self._task.done():
            self._task.result()
        return self._task is None or self._task.done()

    def _wake(self, _: asyncio.Task[None]) -> None:
        """Nothing more will come: whoever waits must look."""
        self._up.set()
        for events in self._listeners:
            events.put(None)

    def _tell(self, event: Event) -> None:
        for events in self._listeners:
            events.put(event)

    async def _ask(
        self, request: dict[str, Any], subscription: _Subscription | None = None
    ) -> dict[str, Any]:
        """Sends a request and waits for its answer; once more where the connection ended between."""
        while True:
            await self._up.wait()
            if self.ended():
                raise ConnectionError("the client is closed")
            number = next(self._ids)
            question = _Question(asyncio.get_running_loop().create_future(), subscription)
            self._asked[number] = question
            try:
                await self._send({**request, "id": number})
                message = await question.answer
            except ConnectionError:
                continue
            finally:
                del self._asked[number]
            if message["type"] == "error":
                raise RefusedError(_refused(message))
            return message

    def _keep(self, name: str, subscription: _Subscription) -> None:
        """Remembers a subscription under the name the gateway answers with."""
        subscription.request["channel"] = name
        self._subscriptions[name] = subscription
        if subscription.book is not None:
            subscription.book.channel = name
            subscription.book.connected = self.connected

    async def _send(self, request: dict[str, Any]) -> None:
        if self._socket is None:
            raise ConnectionError("not connected")
        try:
            await self._socket.send(json.dumps(request))
        except ConnectionClosed as closed:
            raise ConnectionError(str(closed)) from closed

    async def _run(self) -> None:
        attempts, tries = 0, 0
        loop = asyncio.get_running_loop()
        reason, code = "closed by us", 1000
        try:
            while True:
                attempts += 1
                begun_s = loop.time()
                try:
                    async with connect(
                        self.url, max_size=FRAME_BYTES_MAX, ping_interval=None, compression=None
                    ) as socket:
                        begun_s = loop.time()
                        await self._attend(socket, attempts)
                except ConnectionClosed as closed:
                    code = closed.rcvd.code if closed.rcvd else 1006
                    reason = closed.rcvd.reason if closed.rcvd and closed.rcvd.reason else str(closed)
                except (OSError, TimeoutError, InvalidHandshake, WebSocketException) as problem:
                    reason, code = str(problem) or type(problem).__name__, 1006 if self.connected else 0
                tries = 0 if self.connected and loop.time() - begun_s > STEADY_S else tries + 1
                base_s, most_s = self._backoff
                wait_s = random.uniform(0, min(most_s, base_s * 2 ** min(tries, 32)))
                self._lost(Disconnected(reason, code, wait_s))
                await asyncio.sleep(wait_s)
        finally:
            self._lost(Disconnected("closed by us", 1000, None))

    def _lost(self, event: Disconnected) -> None:
        """No book is to be believed, no answer will come."""
        self.connected, self._socket = False, None
        self._up.clear()
        self._again.clear()
        for subscription in self._subscriptions.values():
            if subscription.retry:
                subscription.retry.cancel()
            if subscription.book:
                subscription.book.connected = subscription.book.whole = False
        for question in self._asked.values():
            if not question.answer.done():
                question.answer.set_exception(ConnectionError(event.reason))
        self._tell(event)

    async def _attend(self, socket: ClientConnection, attempt: int) -> None:
        """Reads one connection until it ends, by an exception."""
        self._socket = socket
        if self._token is not None:
            await socket.send(json.dumps({"op": "auth", "token": self._token}))
        self.connected = True
        self._tell(Connected(attempt))
        for name in list(self._subscriptions):
            await self._subscribe_again(name)
        self._up.set()
        pinged = False
        while True:
            try:
                async with asyncio.timeout(self._idle_s):  # wait_for() may lose a cancellation
                    text = await socket.recv()
            except TimeoutError:
                if pinged:
                    raise TimeoutError(f"nothing came for {2 * self._idle_s:g} s") from None
                pinged = True
                await self._send({"op": "ping"})
                continue
            pinged = False
            try:
                message = json.loads(text)
            except ValueError as unreadable:
                raise ConnectionError(f"unreadable message: {unreadable}") from unreadable
            self._take(message)

    async def _subscribe_again(self, name: str) -> None:
        number = next(self._ids)
        self._again[number] = name
        await self._send({**self._subscriptions[name].request, "id": number})

    def _take(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind in ("snapshot", "delta"):
            subscription = self._subscriptions.get(message["channel"])
            book = subscription.book if subscription is not None else None
            if book is not None:
                book.apply(message)
                if isinstance(book, Arb):
                    return self._tell(ArbChanged(book, message))
                return self._tell(BookChanged(book, str(kind), message))
            self._tell(StatusChanged(message) if message["channel"] == "status" else Message(message))
        elif kind == "status":
            self._tell(StatusChanged(message))
        elif kind == "heartbeat":
            heard = self._subscriptions.get(message["channel"])
            if heard is not None and heard.book is not None:
                heard.book.heard_s = time.monotonic()
            self._tell(Heartbeat(message["channel"], message["ts"]))
        elif kind == "reconnect":
            self._tell(ReconnectNotice(message["reason"], message["deadline_ms"]))
        elif not self._answered(message):
            if kind == "error":
                self._tell(_refused(message))
            elif kind != "pong":
                self._tell(Message(message))

    def _answered(self, message: dict[str, Any]) -> bool:
        """Hands an answer to who asked, before the message after it is read."""
        number = message.get("id")
        if not isinstance(number, int):
            return False
        if (name := self._again.pop(number, None)) is not None:
            self._answered_again(name, message)
            return True
        question = self._asked.get(number)
        if question is None or question.answer.done():
            return False
        if question.subscription is not None and message["type"] != "error":
            self._keep(str(message["channel"]), question.subscription)
        question.answer.set_result(message)
        return True

    def _answered_again(self, name: str, message: dict[str, Any]) -> None:
        """A subscription repeated on a new connection was taken or refused."""
        subscription = self._subscriptions.get(name)
        refused = message["type"] == "error"
        if refused:
            self._tell(_refused(message))
        if subscription is None:
            return
        if subscription.book is not None:
            subscription.book.connected = not refused
        if refused and message["code"] in RETRIED:
            loop = asyncio.get_running_loop()
            subscription.retry = loop.call_later(random.uniform(0.5, 1.5), self._retry, name)

    def _retry(self, name: str) -> None:
        if self.connected and name in self._subscriptions:
            task = asyncio.create_task(self._subscribe_again(name))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())


def _refused(message: dict[str, Any]) -> Refused:
    return Refused(
        int(message.get("code", 0)), str(message["msg"]), message.get("channel"), bool(message.get("fatal"))
    )
