"""The floor of a tick's way: recv(), a hop between two cores, send(), and nothing in between.

The same exchange without TLS, the same rate, as many bytes as the gateway sends, receivers of the same
kind: what ``bench/native/relay_floor.c`` takes is the kernel's part of a tick's way on this machine.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cores import Cores
from bench.fanout import MEASURED_S, SETTLE_S
from bench.programs import start


@dataclass(frozen=True)
class Programs:
    exchange: Path
    relay: Path
    receivers: Path


@contextmanager
def process(command: list[str], cpu: int) -> Iterator[subprocess.Popen[str]]:
    """Killed when left."""
    started = start(command, cpu)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def said(process: subprocess.Popen[str]) -> str:
    """Its next line. Raises RuntimeError when it ended instead."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a part of the bare relay ended")
    return line.strip()


def tell(process: subprocess.Popen[str], what: str) -> None:
    assert process.stdin is not None
    process.stdin.write(what + "\n")
    process.stdin.flush()


def relayed(
    programs: Programs, cores: Cores, frames: Path, rate: int, message_bytes: int, look_us: int
) -> dict[str, float]:
    """Percentiles in ns from a read's return until the one subscriber's send() returned."""
    with ExitStack() as stack:
        exchange = stack.enter_context(
            process([str(programs.exchange), "-", "-", str(frames), str(rate)], cores.client)
        )
        order = [said(exchange), "1", str(message_bytes), str(cores.client), str(cores.server)]
        relay = stack.enter_context(process([str(programs.relay), *order], cores.client))
        port = said(relay)
        receivers = stack.enter_context(
            process([str(programs.receivers), port, "1", "0", "/", "{}", str(look_us)], cores.client)
        )
        said(receivers)
        cores.rest(SETTLE_S)
        tell(relay, "go")
        cores.rest(MEASURED_S)
        tell(relay, "stop")
        found: dict[str, float] = json.loads(said(relay))
    return found
