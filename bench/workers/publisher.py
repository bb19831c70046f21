"""An exchange's shared memory moved as fast as asked, without sockets: the engine, driven in bursts.

Argument: one JSON object (venue, symbol, price_decimals, quantity_decimals, path, shm_dir, run_dir,
rate). Every millisecond the frames that are due go through the engine. Prints "live", then runs until
stdin ends. For saturating the gateway: TLS and the exchange would cost more than what is measured.
"""

from __future__ import annotations

import json
import select
import sys
import time
from pathlib import Path
from typing import Any

from bookwire import CONNECTION, Engine, Frames

from handlers._ffi import ffi, lib

TURN_NS = 1_000_000


def main(order: dict[str, Any]) -> None:
    frames = Frames(order["path"])
    engine = Engine(order, True, Path(order["shm_dir"]))
    header = lib.bw_shm_writer_header(engine.native.writer)
    header.state = lib.BW_SEGMENT_RUNNING
    try:
        engine.begin(frames.snapshot)
        print("live", flush=True)
        at, due_ns = 0, time.monotonic_ns()
        while not select.select([sys.stdin], [], [], 0)[0]:
            now = time.monotonic_ns()
            header.heartbeat_ns = time.time_ns()
            wanted = min((now - due_ns) * order["rate"] // 1_000_000_000, frames.count - at)
            if wanted:
                due_ns += wanted * 1_000_000_000 // order["rate"]
                lib.bw_engine_frames(
                    engine.engine,
                    CONNECTION,
                    frames.joined,
                    frames.offsets + at,
                    wanted,
                    time.time_ns(),
                    0,
                    ffi.NULL,
                )
                lib.bw_shm_writer_ring_bells(engine.native.writer)
                at += wanted
            if at == frames.count:
                at = 0
                engine.begin(frames.snapshot)
            time.sleep(max(0, TURN_NS - (time.monotonic_ns() - now)) / 1e9)
    finally:
        engine.native.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
