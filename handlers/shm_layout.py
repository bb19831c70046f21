"""The numpy twins of the structs in shared memory.

Nothing is written down twice: names, types, offsets and sizes are asked of the compiler through cffi,
so a view cannot disagree with what the writer wrote. docs/shared-memory.md is checked against this.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any

import numpy as np

from handlers._ffi import ffi, lib

_NUMBERS = {
    "int64_t": "<i8",
    "uint64_t": "<u8",
    "int32_t": "<i4",
    "uint32_t": "<u4",
    "uint16_t": "<u2",
    "uint8_t": "u1",
    "char": "S1",
}
# glibc's fixed-width types are these underneath, and cffi may name either
_NUMBERS |= {
    "long": "<i8",
    "unsigned long": "<u8",
    "int": "<i4",
    "unsigned int": "<u4",
    "unsigned char": "u1",
}


def _dtype(ctype: Any) -> np.dtype[Any]:
    if ctype.kind == "primitive":
        return np.dtype(_NUMBERS[ctype.cname])
    if ctype.kind == "array":
        if ctype.item.cname == "char":
            return np.dtype(f"S{ctype.length}")
        return np.dtype((_dtype(ctype.item), (ctype.length,)))
    fields = dict(ctype.fields)
    return np.dtype(
        {
            "names": list(fields),
            "formats": [_dtype(field.type) for field in fields.values()],
            "offsets": [field.offset for field in fields.values()],
            "itemsize": ffi.sizeof(ctype),
        }
    )


def struct(name: str) -> np.dtype[Any]:
    """The numpy twin of a struct of the door to C."""
    return _dtype(ffi.typeof(name))


HEADER = struct("bw_shm_header")
SYMBOL = struct("bw_symbol")
BOOK = struct("bw_book")
SIDE = struct("bw_side")
LEVEL = struct("bw_level")
DIRECTORY_ENTRY = struct("bw_directory_entry")
CHUNK = struct("bw_chunk")
RECORD = struct("bw_record")
STATS = struct("bw_stats")
TIMING = struct("bw_timing")

LAYOUT_VERSION = int(lib.BW_SHM_LAYOUT_VERSION)
HISTOGRAM_BUCKETS = int(lib.BW_HISTOGRAM_BUCKETS)


class SegmentState(IntEnum):
    """enum bw_segment_state"""

    STARTING = 0
    RUNNING = 1
    CLOSED = 2


class BookState(IntEnum):
    """enum bw_book_state; only a LIVE book is known to be right."""

    SYNCING = 0
    LIVE = 1
    STALE = 2
    RESYNC = 3
    DOWN = 4


class Reason(IntEnum):
    """enum bw_reason: why a book is in its state."""

    NONE = 0
    START = 1
    DISCONNECTED = 2
    GAP = 3
    CHECKSUM = 4
    CROSSED = 5
    SILENT = 6
    DECODE = 7
    BUFFER_FULL = 8
    OPERATOR = 9
    REFUSED = 10


class VerifiedBy(IntFlag):
    """enum bw_verified_by: how the last update was proved."""

    NONE = 0
    SEQUENCE = 1
    CHECKSUM = 2


class VerifierState(IntEnum):
    """enum bw_verifier_state: of the venue's checksum."""

    ABSENT = 0
    OK = 1
    NOT_SENT = 2
    SUSPENDED = 3


class RecordType(IntEnum):
    """enum bw_record_type; PAD never reaches a reader."""

    PAD = 0
    DELTA = 1
    RESET = 2
    STATE = 3


class Stage(IntEnum):
    """enum bw_stage: the parts of a tick's way that are measured."""

    RECEIVE_TO_PLAINTEXT = 0
    PLAINTEXT_TO_DECODED = 1
    DECODED_TO_PUBLISHED = 2
    RECEIVE_TO_PUBLISHED = 3


class Budget(IntEnum):
    """enum bw_budget: the stages that one message in some is measured in, border to border."""

    TCP = 0
    TLS = 1
    WEBSOCKET = 2
    DECODE = 3
    BOOK = 4
    RING = 5


def histogram_floor_ns(bucket: int) -> int:
    """The smallest latency (ns) that is counted in a bucket; the inverse of bw_histogram_bucket()."""
    if bucket < 8:
        return bucket
    octave, step = bucket // 8 + 2, bucket % 8
    return (8 + step) << (octave - 3)
