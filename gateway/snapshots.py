"""A channel as it is now, for one who asks once: copied, merged and encoded like the stream."""

from __future__ import annotations

from dataclasses import dataclass

from gateway._ffi import ffi, lib
from gateway.channels import Channel, Options, View
from gateway.directory import SegmentDirectory
from gateway.native_loop import subscription_of
from handlers.registry import EXCHANGES

LEVEL_BYTES_MAX = 160


@dataclass(frozen=True)
class Snapshot:
    """One encoded snapshot; ``live`` of ``known`` books are in it."""

    body: bytes
    live: int
    known: int


def snapshot(directory: SegmentDirectory, channel: Channel, options: Options, patience_ms: int) -> Snapshot:
    """Copies, merges and encodes a channel as it is now. Raises MemoryError when there is no room."""
    rows = [row for row in EXCHANGES if channel.view is not View.SINGLE or row.id == channel.exchange]
    texts = [ffi.new("char[]", str(directory.path(row.id)).encode()) for row in rows]
    exchanges = ffi.new("bw_gateway_exchange[]", [(row.number, row.id.encode()) for row in rows])
    room = 4096 + 2 * options.depth * LEVEL_BYTES_MAX
    out = ffi.new("uint8_t[]", room)
    live, known = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    size = lib.bw_snapshot_of(
        subscription_of(0, channel, options), ffi.new("char *[]", texts), exchanges, len(rows),
        patience_ms, out, room, live, known,
    )  # fmt: skip
    if size < 0:
        raise MemoryError(f"no room for a snapshot of {channel.name} at depth {options.depth}")
    return Snapshot(bytes(ffi.buffer(out, size)), live[0], known[0])
