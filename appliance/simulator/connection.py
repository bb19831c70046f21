"""One client's WebSocket, written in whole frames so that a message is encoded once for all its readers."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
BACKLOG_BYTES_MAX = 256 << 20


def frame(opcode: int, payload: bytes) -> bytes:
    """A final, unmasked WebSocket frame (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((opcode, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", opcode, 126, size) + payload
    return struct.pack("!BBQ", opcode, 127, size) + payload


def text_frame(payload: bytes) -> bytes:
    """A text message as one frame."""
    return frame(_TEXT, payload)


def binary_frame(payload: bytes) -> bytes:
    """A binary message as one frame."""
    return frame(_BINARY, payload)


@dataclass(frozen=True, slots=True)
class Topic:
    """What one can subscribe to: a channel of a canonical symbol, with depth and variant if any."""

    channel: str
    symbol: str = ""
    depth: int = 0
    variant: str = ""
    wrapped: bool = False


class Connection:
    """A client. `topics` is what it subscribed to, `waiting` the topics whose snapshot is held back by a
    silence or, if also in `early`, is not due yet, `lost` how many messages a silence swallowed, `state`
    belongs to the exchange's protocol."""

    def __init__(self, number: int, transport: asyncio.Transport, opened: float, path: str) -> None:
        self.number = number
        self.opened = opened
        self.path = path
        self.topics: dict[Topic, None] = {}  # in order of subscription
        self.waiting: set[Topic] = set()
        self.early: set[Topic] = set()
        self.state: dict[str, Any] = {}
        self.received_at: list[float] = []
        self.last_received = opened
        self.last_sent = opened
        self.frames = 0
        self.messages = 0
        self.lost: dict[Topic, int] = {}
        self.frozen = False
        self.closing = False
        self.slow = False
        self._transport = transport

    def send(self, raw: bytes) -> bool:
        """Queue one whole frame; False when it was not (frozen, closing, or the reader is too slow)."""
        if self.frozen or self.closing or self._transport.is_closing():
            return False
        if self._transport.get_write_buffer_size() > BACKLOG_BYTES_MAX:
            self.slow = True
            self.abort()
            return False
        self._transport.write(raw)
        self.last_sent = time.monotonic()
        self.frames += 1
        self.messages += raw[0] in (_TEXT, _BINARY)
        return True

    def send_text(self, payload: str | bytes) -> bool:
        """Send one text message."""
        return self.send(text_frame(payload.encode() if isinstance(payload, str) else payload))

    def ping(self, payload: bytes) -> None:
        """Send a WebSocket ping."""
        self.send(frame(_PING, payload))

    def pong(self, payload: bytes) -> None:
        """Answer a WebSocket ping."""
        self.send(frame(_PONG, payload))

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye with a close frame, then close the transport."""
        if self.send(frame(_CLOSE, struct.pack("!H", code) + reason.encode()[:120])):
            self.closing = True
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection with a TCP reset."""
        self.closing = True
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def freeze(self) -> None:
        """Half-open: neither read nor write any more, and keep the socket."""
        self.frozen = True
        self._transport.pause_reading()
