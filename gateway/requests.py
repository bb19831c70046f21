"""What subscribers ask and what they are answered. Sans-I/O: text and time in, commands out.

One Requests object serves all clients. It remembers who is subscribed to what; sockets, books and
streams are behind ``Commands``.
"""

from __future__ import annotations

import hmac
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from gateway.channels import (
    Channel,
    Format,
    Options,
    Slow,
    View,
    canonical_form,
    parse_channel,
    parse_options,
)
from gateway.directory import SegmentDirectory
from gateway.errors import Refusal, RequestError
from gateway.events import refusal, requests_of
from gateway.fees import arb_terms
from gateway.played import Asked, Played, span_of
from gateway.player import Span
from gateway.settings import GatewaySettings

NORMAL, POLICY_VIOLATION = 1000, 1008


class Commands(Protocol):
    """What the native loop is asked to do. ``text`` goes out before anything of the subscription."""

    def send(self, client: int, text: bytes) -> None: ...
    def answer(self, client: int, text: bytes) -> None: ...
    def subscribe(self, client: int, tag: int, channel: Channel, options: Options, text: bytes) -> None: ...
    def unsubscribe(self, client: int, tag: int, text: bytes) -> None: ...
    def authorise(self, client: int, text: bytes) -> None: ...
    def close(self, client: int, code: int, reason: str) -> None: ...


@dataclass(frozen=True)
class Wanted:
    """What a subscribe request asks for, found to be possible. ``span`` None: the live stream."""

    channel: Channel
    options: Options
    span: Span | None


@dataclass
class Subscription:
    tag: int
    channel: Channel
    options: Options


@dataclass
class Client:
    subscriptions: dict[str, Subscription] = field(default_factory=dict)  # by channel name
    errors: deque[float] = field(default_factory=deque)  # when, s
    events: bool = False  # over plain HTTP: it ends with its last subscription


class Requests:
    """Answers requests. ``tokens`` empty: everybody is authorised."""

    def __init__(
        self,
        settings: GatewaySettings,
        directory: SegmentDirectory,
        commands: Commands,
        tokens: Sequence[str] = (),
        played: Played | None = None,
    ) -> None:
        self._played = played
        self._settings = settings
        self._directory = directory
        self._commands = commands
        self._tokens = tokens
        self._terms = arb_terms(settings.arb)
        self._clients: dict[int, Client] = {}
        self._tags = 0

    def closed(self, client: int) -> None:
        """Forgets a client that is gone."""
        self._clients.pop(client, None)
        if self._played is not None:
            self._played.stop(client)

    def too_large(self, client: int, now_s: float) -> None:
        """Answers a request above request_bytes_max, which is not even read."""
        self._refuse(client, RequestError(Refusal.MESSAGE_TOO_LARGE), None, now_s)

    def refused(self, client: int, tag: int, now_s: float) -> None:
        """The loop had no room for a subscription."""
        state = self._clients.get(client)
        for name, subscription in list(state.subscriptions.items()) if state else []:
            if state and subscription.tag == tag:
                del state.subscriptions[name]
                self._refuse(client, RequestError(Refusal.NO_ROOM, name), None, now_s)
                self._left(client, name)

    def events(self, client: int, target: str, now_s: float) -> None:
        """Subscribes who asked for server-sent events, or answers with the first thing that is wrong."""
        state = self._clients[client] = Client(events=True)
        try:
            wanted = [self._wanted(client, request) for request in requests_of(target)]
            if any(one.options.format is Format.BINARY for one in wanted):
                raise RequestError(Refusal.INVALID_FORMAT)
            if len(wanted) > self._settings.subscriptions_per_client:
                raise RequestError(Refusal.TOO_MANY_SUBSCRIPTIONS)
            for one in {one.channel.name: one for one in wanted}.values():
                self._take(client, one, None)
        except RequestError as error:
            if state.subscriptions:
                self._refuse(client, error, None, now_s)
            else:
                self._commands.answer(client, refusal(error, target))

    def text(self, client: int, text: bytes, *, authorised: bool, now_s: float) -> None:
        """Answers one request; never raises for what a client sent."""
        identifier: Any = None
        try:
            try:
                request = orjson.loads(text)
            except orjson.JSONDecodeError:
                raise RequestError(Refusal.INVALID_JSON) from None
            if not isinstance(request, dict):
                raise RequestError(Refusal.INVALID_JSON)
            if isinstance(request.get("id"), str | int | float):
                identifier = request["id"]
            self._run(client, request, identifier, authorised)
        except RequestError as error:
            self._refuse(client, error, identifier, now_s)

    def _run(self, client: int, request: Mapping[str, Any], identifier: Any, authorised: bool) -> None:
        op = request.get("op", request.get("action"))
        if op is None:
            raise RequestError(Refusal.MISSING_OP)
        if op == "auth":
            return self._authorise(client, request, identifier)
        if not authorised:
            raise RequestError(Refusal.NOT_AUTHORISED)
        if op == "subscribe":
            return self._subscribe(client, request, identifier)
        if op == "unsubscribe":
            return self._unsubscribe(client, request, identifier)
        self._commands.send(client, _dump(self._answer(client, op, request), identifier))

    def _answer(self, client: int, op: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        if op == "ping":
            return {"type": "pong"}
        if op == "exchanges":
            return {"type": "exchanges", "data": self._directory.exchanges(self._settings.depth_max)}
        if op == "symbols":
            return {"type": "symbols", "data": self._symbols(request)}
        if op == "list":
            held = self._clients.get(client, Client()).subscriptions.values()
            return {"type": "subscriptions", "data": [_row(subscription) for subscription in held]}
        raise RequestError(Refusal.UNKNOWN_OP)

    def _symbols(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        quote, exchange = request.get("quote"), request.get("exchange")
        if exchange is not None:
            exchange = str(exchange).strip().lower()
            if self._directory.exchange_number(exchange) is None:
                raise RequestError(Refusal.UNKNOWN_EXCHANGE)
        return self._directory.symbols(None if quote is None else str(quote), exchange)

    def _authorise(self, client: int, request: Mapping[str, Any], identifier: Any) -> None:
        token = request.get("token")
        known = [
            isinstance(token, str) and hmac.compare_digest(token.encode(), held.encode())
            for held in self._tokens
        ]
        if self._tokens and not any(known):
            raise RequestError(Refusal.INVALID_TOKEN)
        self._commands.authorise(client, _dump({"type": "authorised"}, identifier))

    @staticmethod
    def _channel_text(request: Mapping[str, Any]) -> tuple[str, str]:
        """The channel asked for in either dialect, and that dialect's default mode."""
        channel = request.get("channel")
        if isinstance(channel, str) and channel:
            return channel, "snapshot"
        exchange, symbol = request.get("exchange"), request.get("symbol")
        if isinstance(exchange, str) and isinstance(symbol, str) and exchange and symbol:
            return f"{exchange}:{symbol}", "inc"
        raise RequestError(Refusal.MISSING_CHANNEL)

    def _subscribe(self, client: int, request: Mapping[str, Any], identifier: Any) -> None:
        self._take(client, self._wanted(client, request), identifier)

    def _wanted(self, client: int, request: Mapping[str, Any]) -> Wanted:
        """Raises RequestError."""
        text, mode = self._channel_text(request)
        channel = parse_channel(text, self._directory)
        settings = self._settings
        options = parse_options(
            request, channel, depth_default=settings.depth_default, depth_max=settings.depth_max,
            interval_default=settings.interval_ms_default, interval_max=settings.interval_ms_max,
            mode_default=mode, terms=self._terms,
        )  # fmt: skip
        span = span_of(request, channel)
        if span is not None and self._played is None:
            raise RequestError(Refusal.NO_RECORDING, channel.name)
        held = self._clients.setdefault(client, Client()).subscriptions
        if channel.name in held:
            raise RequestError(Refusal.ALREADY_SUBSCRIBED, channel.name)
        if len(held) >= settings.subscriptions_per_client:
            raise RequestError(Refusal.TOO_MANY_SUBSCRIPTIONS, channel.name)
        return Wanted(channel, options, span)

    def _take(self, client: int, wanted: Wanted, identifier: Any) -> None:
        """Raises RequestError where a replay has no room."""
        channel, options = wanted.channel, wanted.options
        answer = _dump({"type": "subscribed", "channel": channel.name}, identifier)
        if wanted.span is not None and self._played is not None:
            self._played.start(self._asked(client, channel, options, wanted.span, answer, identifier))
        self._tags += 1
        self._clients[client].subscriptions[channel.name] = Subscription(self._tags, channel, options)
        if wanted.span is not None:
            return
        self._commands.subscribe(client, self._tags, channel, options, answer)

    def _asked(
        self, client: int, channel: Channel, options: Options, span: Span, answer: bytes, identifier: Any
    ) -> Asked:
        """A replay; the subscription ends with it."""

        def ended() -> None:
            self._left(client, channel.name)

        def refused(why: Refusal) -> None:
            self._clients.get(client, Client()).subscriptions.pop(channel.name, None)
            self._refuse(client, RequestError(why, channel.name), identifier, time.monotonic())
            self._left(client, channel.name)

        return Asked(client, channel, options, span, answer, refused, ended)

    def _left(self, client: int, name: str) -> None:
        """A subscription ended by itself; events end when nothing is left to come."""
        state = self._clients.get(client)
        if state is not None:
            state.subscriptions.pop(name, None)
            if state.events and not state.subscriptions:
                self._commands.close(client, NORMAL, "nothing is left")

    def _unsubscribe(self, client: int, request: Mapping[str, Any], identifier: Any) -> None:
        text, _ = self._channel_text(request)
        held = self._clients.setdefault(client, Client()).subscriptions
        prefix, colon, symbol = text.partition(":")
        name = f"{prefix.strip().lower()}:{canonical_form(symbol)}" if colon else text
        if name not in held:  # not by its canonical name: say what is wrong with it
            name = parse_channel(text, self._directory).name
        if name not in held:
            raise RequestError(Refusal.NOT_SUBSCRIBED, name)
        subscription = held.pop(name)
        answer = _dump({"type": "unsubscribed", "channel": name}, identifier)
        if self._played is not None and self._played.stop(client, name):
            self._commands.send(client, answer)
            return
        self._commands.unsubscribe(client, subscription.tag, answer)

    def _refuse(self, client: int, error: RequestError, identifier: Any, now_s: float) -> None:
        """Answers with an error; a flood of them is a policy violation."""
        errors = self._clients.setdefault(client, Client()).errors
        errors.append(now_s)
        while errors and errors[0] < now_s - self._settings.errors_window_s:
            errors.popleft()
        fatal = len(errors) > self._settings.errors_max
        message: dict[str, Any] = {
            "type": "error",
            "msg": error.refusal.text,
            "code": error.refusal.code,
            "fatal": fatal,
        }
        if error.channel is not None:
            message["channel"] = error.channel
        self._commands.send(client, _dump(message, identifier))
        if fatal:
            self._commands.close(client, POLICY_VIOLATION, "too many errors")


def _dump(message: dict[str, Any], identifier: Any) -> bytes:
    if identifier is not None:
        message["id"] = identifier
    return orjson.dumps(message)


def _row(subscription: Subscription) -> dict[str, Any]:
    options = subscription.options
    arb = subscription.channel.view is View.ARB
    own = {"min_bp": options.arb.min_bp, "capital": options.arb.capital} if arb else {}
    return {
        "channel": subscription.channel.name,
        "depth": options.depth if subscription.channel.view is not View.STATUS else 0,
        "mode": "inc" if options.deltas else "snapshot",
        "interval": options.interval_ms,
        "format": options.format.name.lower(),
        "numbers": "string" if options.strings else "number",
        "stamps": options.stamps,
        "slow": Slow(options.slow).name.lower(),
        "heartbeat": options.heartbeat_ms / 1000,
        **own,
    }
