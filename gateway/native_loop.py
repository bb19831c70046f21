"""The native loop as Python sees it: events drained in bursts, commands posted, nothing awaited."""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from gateway._ffi import ffi, lib
from gateway.channels import ArbTerms, Channel, Options
from gateway.settings import GatewaySettings
from handlers.errors import UnavailableError
from handlers.registry import EXCHANGES

EVENT_BYTES = 1 << 20
_HEADER = struct.Struct("<IIQQII")  # struct bw_pipe_message


class EventType(IntEnum):
    """enum bw_gateway_event."""

    TEXT = 1
    CLOSED = 2
    TOO_LARGE = 3
    REFUSED = 4
    EXCHANGE = 5
    STOPPED = 6
    PUSHED = 7
    EVENTS = 8


@dataclass(frozen=True)
class Event:
    type: EventType
    client: int
    tag: int
    code: int
    body: bytes


def limits_of(settings: GatewaySettings) -> dict[str, int]:
    """The limits the native side enforces, by the names it has for them."""
    names = (
        "clients_max", "clients_per_address", "request_bytes_max", "message_bytes_max",
        "requests_per_second", "requests_burst", "handshake_ms", "ping_ms", "timeout_ms",
        "queue_bytes_max", "frame_bytes_max", "send_buffer_bytes", "writer_patience_ms",
    )  # fmt: skip
    return {name: getattr(settings, name) for name in names}


def subscription_of(tag: int, channel: Channel, options: Options) -> Any:
    """A filled bw_subscription."""
    return ffi.new(
        "bw_subscription *",
        {
            "tag": tag, "kind": int(channel.view), "exchange": channel.number, "instrument": channel.kind,
            "depth": options.depth, "deltas": options.deltas, "interval_ms": options.interval_ms,
            "format": int(options.format), "strings": options.strings, "stamps": options.stamps,
            "slow": int(options.slow), "heartbeat_ms": options.heartbeat_ms,
            "channel": channel.name.encode(), "symbol": channel.symbol.encode(),
            "native": channel.native.encode(), "arb": _terms_of(options.arb),
        },
    )  # fmt: skip


def _terms_of(terms: ArbTerms) -> dict[str, Any]:
    """Fields of a bw_arb_terms: net in hundredths of a basis point, money in 10^-8 of the quote asset."""
    return {
        "min_net": round(terms.min_bp * 100),
        "min_notional": round(terms.min_notional * 10**8),
        "capital": round(terms.capital * 10**8),
        "taker_ppm": terms.taker_ppm,
    }


class NativeLoop:
    """Owns a bw_gateway. Implements ``requests.Commands``; all calls from one thread."""

    def __init__(self, settings: GatewaySettings, listen_fd: int, tokens: str | None) -> None:
        keep: list[Any] = []

        def text(value: str | os.PathLike[str] | None) -> Any:
            if value is None:
                return ffi.NULL
            keep.append(ffi.new("char[]", os.fsencode(value)))
            return keep[-1]

        exchanges = ffi.new("bw_gateway_exchange[]", [(row.number, row.id.encode()) for row in EXCHANGES])
        spec = ffi.new(
            "bw_gateway_spec *",
            {
                "listen_fd": listen_fd,
                "shm_dir": text(settings.shm_dir),
                "bell_path": text(settings.run_dir / "gateway.bell"),
                "fifo_path": text(settings.run_dir / "gateway.fifo"),
                "stats_path": text(settings.shm_dir / "gateway.stats"),
                "tls_certificate": text(settings.tls_certificate),
                "tls_key": text(settings.tls_key),
                "tokens": text(tokens),
                "exchange": exchanges,
                "exchange_count": len(EXCHANGES),
                "busy": settings.poll == "busy",
                "cpu": -1 if settings.cpu is None else settings.cpu,
                "limits": limits_of(settings),
            },
        )
        error = ffi.new("char[512]")
        self._gateway = lib.bw_gateway_new(spec, error, 512)
        if self._gateway == ffi.NULL:
            raise UnavailableError(bytes(ffi.string(error)).decode("utf-8", "replace"))
        self._room = ffi.new("uint8_t[]", EVENT_BYTES)
        self._waiting: deque[Callable[[], int]] = deque()  # commands the full pipe did not take

    @property
    def event_fd(self) -> int:
        """Readable when there are events."""
        return int(lib.bw_gateway_event_fd(self._gateway))

    def start(self) -> None:
        """Starts the thread. Raises UnavailableError when the system has none to give."""
        failed = lib.bw_gateway_start(self._gateway)
        if failed:
            raise UnavailableError(f"cannot start the gateway's thread: {os.strerror(-failed)}")

    def free(self) -> None:
        """Stops the thread and closes everything."""
        lib.bw_gateway_free(self._gateway)
        self._gateway = ffi.NULL

    def events(self) -> Iterator[Event]:
        """All events there are; sends what an earlier full pipe left waiting."""
        self.retry()
        while taken := lib.bw_gateway_events(self._gateway, self._room, EVENT_BYTES):
            view = memoryview(ffi.buffer(self._room, taken))
            at = 0
            while at < taken:
                size, kind, client, tag, code, body = _HEADER.unpack_from(view, at)
                start = at + _HEADER.size
                yield Event(EventType(kind), client, tag, code, bytes(view[start : start + body]))
                at += size

    def _post(self, command: Callable[[], int]) -> None:
        if self._waiting or command() != 0:
            self._waiting.append(command)

    def retry(self) -> bool:
        """Posts what the full pipe did not take; True when nothing waits any more."""
        while self._waiting and self._waiting[0]() == 0:
            self._waiting.popleft()
        return not self._waiting

    def send(self, client: int, text: bytes) -> None:
        self._post(lambda: int(lib.bw_gateway_send(self._gateway, client, text, len(text))))

    def answer(self, client: int, text: bytes) -> None:
        """A whole HTTP answer and the end, to a client that asked for events and was sent none."""
        self._post(lambda: int(lib.bw_gateway_answer(self._gateway, client, text, len(text))))

    def push(self, client: int, frames: bytes) -> None:
        """Whole WebSocket frames; a PUSHED event follows."""
        self._post(lambda: int(lib.bw_gateway_push(self._gateway, client, frames, len(frames))))

    def subscribe(self, client: int, tag: int, channel: Channel, options: Options, text: bytes) -> None:
        wanted = subscription_of(tag, channel, options)
        self._post(lambda: int(lib.bw_gateway_subscribe(self._gateway, client, wanted, text, len(text))))

    def unsubscribe(self, client: int, tag: int, text: bytes) -> None:
        self._post(lambda: int(lib.bw_gateway_unsubscribe(self._gateway, client, tag, text, len(text))))

    def authorise(self, client: int, text: bytes) -> None:
        self._post(lambda: int(lib.bw_gateway_authorise(self._gateway, client, text, len(text))))

    def close(self, client: int, code: int, reason: str) -> None:
        said = reason.encode()
        self._post(lambda: int(lib.bw_gateway_close_client(self._gateway, client, code, said)))

    def send_all(self, text: bytes) -> None:
        """To every open client."""
        self._post(lambda: int(lib.bw_gateway_send_all(self._gateway, text, len(text))))

    def stop(self) -> None:
        """Closes every client with 1001; a STOPPED event follows."""
        self._post(lambda: int(lib.bw_gateway_stop(self._gateway)))
