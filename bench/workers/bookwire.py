"""Bookwire: its engine over the same bytes, from frame to published book, in this process.

The whole of it is paid for: decoding, sequence, checksum where the venue has one, the book and its
record in the shared-memory ring. The segment is an ordinary one with the ring the product has.
Argument: "checked", or "unchecked" to leave out the venue's checksum.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from handlers._ffi import ffi, lib
from handlers.facts import Instrument
from handlers.native_feed import NativeFeed
from handlers.registry import venue as venue_of
from handlers.settings import FeedSettings
from handlers.shm import Segment

PADDING = b" " * 64
PASSES = 21
CONNECTION = 0


class Frames:
    """A frames file as the engine takes it: one buffer and where each frame begins."""

    def __init__(self, path: str) -> None:
        data, at, parts = Path(path).read_bytes(), 0, []
        while at < len(data):
            (size,) = struct.unpack_from("<I", data, at)
            parts.append(data[at + 4 : at + 4 + size])
            at += 4 + size
        self.snapshot, updates = parts[0], parts[1:]
        self.count = len(updates)
        self.joined = ffi.from_buffer(b"".join(updates) + PADDING)
        self.offsets = ffi.new("uint32_t[]", self.count + 1)
        for number, frame in enumerate(updates):
            self.offsets[number + 1] = self.offsets[number] + len(frame)
        self.ns = ffi.new("uint32_t[]", self.count)


class Engine:
    """A feed without its loop: one book, one connection that is up."""

    def __init__(self, request: dict[str, Any], checked: bool, directory: Path) -> None:
        venue = venue_of(request["venue"])
        if not checked:
            venue = replace(venue, checksum=None, checksum_state="none")
        settings = FeedSettings(request["venue"], shm_dir=directory, run_dir=directory)
        self.rest = bool(venue.snapshots)
        self.native = NativeFeed(venue, settings, 1, 1)
        decimals = request["price_decimals"], request["quantity_decimals"]
        self.book = self.native.add_book(Instrument(request["symbol"], "BTC", "USDT", *decimals))
        self.engine = self.native.engine
        self.path = settings.segment_path
        lib.bw_engine_bind(self.engine, self.book, CONNECTION)

    def begin(self, snapshot: bytes) -> None:
        """The connection anew, and the book from the snapshot."""
        now = time.time_ns()
        lib.bw_engine_connection_down(self.engine, CONNECTION, lib.BW_REASON_DISCONNECTED, now)
        lib.bw_engine_connection_up(self.engine, CONNECTION, now)
        if self.rest:
            lib.bw_engine_load_snapshot(self.engine, self.book, snapshot + PADDING, len(snapshot), now)
        else:
            lib.bw_engine_frame(self.engine, CONNECTION, snapshot + PADDING, len(snapshot), now, now)

    def run(self, frames: Frames, each: Any) -> int:
        """CPU ns of one pass. Raises RuntimeError if an update was not taken."""
        started = time.process_time_ns()
        taken = lib.bw_engine_frames(
            self.engine, CONNECTION, frames.joined, frames.offsets, frames.count, time.time_ns(), 1000, each
        )
        spent = time.process_time_ns() - started
        if taken != frames.count:
            raise RuntimeError(f"{taken} of {frames.count} updates were taken")
        return spent

    def levels(self) -> dict[str, list[tuple[float, float]]]:
        with Segment.open(self.path) as segment:
            book = segment.book(0)
            return {
                name: [(float(price), float(quantity)) for price, quantity in book.decimals(side)]
                for name, side in (("bid", "bids"), ("ask", "asks"))
            }


def measure(request: dict[str, Any], checked: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="bookwire-bench-") as directory:
        frames = Frames(request["path"])
        engine = Engine(request, checked, Path(directory))
        try:
            totals = []
            for number in range(PASSES + 2):
                engine.begin(frames.snapshot)
                spent = engine.run(frames, frames.ns if number == PASSES else ffi.NULL)
                if 1 <= number != PASSES:  # the first pass warms up, one carries the stamps
                    totals.append(spent)
            each = sorted(frames.ns)
            return {
                "cpu_ns": sorted(totals)[len(totals) // 2],
                "p50_ns": each[len(each) // 2],
                "p99_ns": each[len(each) * 99 // 100],
                "book": engine.levels(),
            }
        finally:
            engine.native.close()


def main() -> None:
    checked = sys.argv[1] == "checked"
    for line in sys.stdin:
        sys.stdout.write(json.dumps(measure(json.loads(line), checked)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
