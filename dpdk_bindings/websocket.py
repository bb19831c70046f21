"""The native WebSocket parser, bytes in and events out, for tools and tests that run no loop."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from dpdk_bindings._ffi import ffi, lib

MESSAGE_BYTES_MAX = 1 << 20


class Role(IntEnum):
    """Which end we are: a server takes only masked frames, a client only unmasked ones."""

    CLIENT = 0
    SERVER = 1


class EventType(IntEnum):
    """enum bw_ws_event_type of websocket.h."""

    NONE = 0
    TEXT = 1
    BINARY = 2
    PING = 3
    PONG = 4
    CLOSED = 5
    FAILED = 6


class Event(NamedTuple):
    """``close_code`` is the peer's on CLOSED (1005: it sent none), the one to send on FAILED, else 0.
    ``payload`` is the message, the close reason, or the rule that was broken."""

    type: EventType
    close_code: int
    payload: bytes


class Parser:
    """One direction of a WebSocket connection (RFC 6455), fragments joined, control frames between them.

    Raises MemoryError when address space is short.
    """

    def __init__(self, role: Role, message_bytes_max: int = MESSAGE_BYTES_MAX, inflate: bool = False) -> None:
        self._ws = ffi.gc(lib.bw_ws_new(int(role), message_bytes_max, inflate), lib.bw_ws_free)
        if self._ws == ffi.NULL:
            raise MemoryError("no address space for a WebSocket buffer")
        self._event = ffi.new("bw_ws_event *")
        self._room = ffi.new("size_t *")

    def feed(self, data: bytes) -> Iterator[Event]:
        """Events that ``data`` completes. Nothing follows CLOSED or FAILED; later bytes are ignored."""
        while data:
            at = lib.bw_ws_room(self._ws, self._room)
            step = min(len(data), self._room[0])
            if not step:
                return
            ffi.memmove(at, data[:step], step)
            lib.bw_ws_filled(self._ws, step)
            data = data[step:]
            while lib.bw_ws_next(self._ws, self._event) != lib.BW_WS_NONE:
                event = self._event
                payload = (
                    bytes(ffi.buffer(event.payload, event.payload_bytes)) if event.payload_bytes else b""
                )
                code = event.close_code if event.type >= EventType.CLOSED else 0
                yield Event(EventType(event.type), code, payload)


def utf8_valid(data: bytes) -> bool:
    """Whether ``data`` is well-formed UTF-8, by the check that received text goes through."""
    return bool(lib.bw_utf8_valid(data, len(data)))
