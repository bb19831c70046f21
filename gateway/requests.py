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

from gateway.channels import Channel, Options, Slow, View, canonical_form, parse_channel, parse_options
from gateway.directory import SegmentDirectory
from gateway.errors import Refusal, RequestError
from gateway.fees import arb_terms
from gateway.played import Asked, Played, span_of
from gateway.player import Span
from gateway.settings import GatewaySettings

POLICY_VIOLATION = 1008


class Commands(Protocol):
    """What the native loop is asked to do. ``text`` goes out before anything of the subscription."""

    def send(self, client: int, text: bytes) -> None: ...
    def subscribe(self, client: int, tag: int, channel: Channel, options: Options, text: bytes) -> None: ...
    def unsubscribe(self, client: int, tag: int, text: bytes) -> None: ...
    def authorise(self, client: int, text: bytes) -> None: ...
    def close(self, client: int, code: int, reason: str) -> None: ...


@dataclass
class Subscription:
    tag: int
    channel: Channel
    options: Options


@dataclass
class Client:
    subscriptions: dict[str, Subscription] = field(default_factory=dict)  # by channel name
    errors: deque[float] = field(default_factory=deque)  # when, s


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
        self._tags += 1
        held[channel.name] = Subscription(self._tags, channel, options)
        answer = _dump({"type": "subscribed", "channel": channel.name}, identifier)
        if span is not None and self._played is not None:
            del held[channel.name]
            self._played.start(self._asked(client, channel, options, span, answer, identifier))
            held[channel.name] = Subscription(self._tags, channel, options)
            return
        self._commands.subscribe(client, self._tags, channel, options, answer)

    def _asked(
        self, client: int, channel: Channel, options: Options, span: Span, answer: bytes, identifier: Any
    ) -> Asked:
        """A replay; the subscription ends with it."""

        def ended() -> None:
            self._clients.get(client, Client()).subscriptions.pop(channel.name, None)

        def refused(refusal: Refusal) -> None:
            ended()
            self._refuse(client, RequestError(refusal, channel.name), identifier, time.monotonic())

        return Asked(client, channel, options, span, answer, refused, ended)

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
