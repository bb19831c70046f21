"""What the native loops allocate once they are warm, counted by an interposed allocator: the target is none.

The programs are those of the tests: a TLS stream into a feed's loop, and fifty subscribers of a gateway.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.programs import BUILD, ROOT
from bench.report import Report, Row

SECTION = "allocations after warm-up"
PATIENCE_S = 120
SOURCE = ROOT / "dpdk_bindings" / "native" / "tests" / "count_alloc.c"
KINDS = ("malloc", "calloc", "realloc", "memalign", "free", "mmap", "munmap")


def counter() -> Path | None:
    """The counting allocator, compiled; None without a compiler."""
    BUILD.mkdir(parents=True, exist_ok=True)
    library = BUILD / "count_alloc.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return library


def count(library: Path, script: Path, thread: str, cpu: int) -> dict[str, int]:
    """What the script counted on its thread of that name. Raises RuntimeError when it fails."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as shm, tempfile.TemporaryDirectory() as bells:
        directories = [shm, bells] if thread == "bw-gateway" else [shm]
        done = subprocess.run(
            [sys.executable, str(script), "epoll", *directories],
            env={**os.environ, "LD_PRELOAD": str(library), "COUNT_ALLOC_THREAD": thread},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
        )
    if done.returncode:
        raise RuntimeError(f"{script.name}: {done.stderr[-300:]}")
    seen: dict[str, int] = json.loads(done.stdout)
    return seen


def run(report: Report, cpu: int) -> None:
    library = counter()
    if library is None:
        report.add(SECTION, Row("allocations", "not measured", note="no C compiler"))
        return
    for what, room, thread in (
        ("feed, over TLS", "wire", "bw-feed"),
        ("gateway, 50 subscribers", "gateway", "bw-gateway"),
    ):
        seen = count(library, ROOT / "tests" / room / "allocations.py", thread, cpu)
        calls = sum(seen[kind] for kind in KINDS)
        note = f"{seen['updates']:,} updates; malloc, free, mmap and their kin on the loop's thread"
        report.add(SECTION, Row(what, f"{calls} calls", "0", calls == 0, note))
