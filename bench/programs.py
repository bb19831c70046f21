"""Compiles and starts the programs of the benchmarks, each on the core it belongs to."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = ROOT / ".peers"
BUILD = ROOT / "build" / "bench"
PRIORITY = -18


def settle(cpu: int) -> None:
    """Of the calling process: its core and, where it may, a priority that keeps strangers off it.

    The kernel shares a core between sessions before it looks at the priorities of their processes, so
    a session of its own gets one as well.
    """
    os.sched_setaffinity(0, {cpu})
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
        Path("/proc/self/autogroup").write_text(str(PRIORITY))


def start(command: list[str], cpu: int, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """A process pinned to ``cpu`` that is talked to in lines."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        start_new_session=True,
        preexec_fn=lambda: settle(cpu),
    )


def build(source: str, *more: str, flags: tuple[str, ...] = (), compiler: str = "cc") -> Path | None:
    """Compiles ``bench/native/<source>`` and ``more`` files; None where a compiler or header is missing."""
    BUILD.mkdir(parents=True, exist_ok=True)
    program = BUILD / Path(source).stem
    command = [compiler, "-O3", "-march=native", "-Wall", "-Wextra", "-o", str(program)]
    command += [str(HERE / "native" / source), *more, *flags]
    if shutil.which(compiler) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"bench: {source} does not compile:\n{done.stderr}", file=sys.stderr)
        return None
    return program


def prepare_peers() -> None:
    """Makes ``.peers`` from the lock with its hashes, and ``bench/node_modules``; nothing if they stand."""
    lock = (HERE / "peers.lock").read_bytes()
    stamp = PEERS / ".lock"
    if not stamp.exists() or stamp.read_bytes() != lock:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PEERS)], check=True)
        pip = str(PEERS / "bin" / "pip")
        subprocess.run([pip, "install", "-q", "--require-hashes", "-r", str(HERE / "peers.lock")], check=True)
        stamp.write_bytes(lock)
    if shutil.which("npm") and not (HERE / "node_modules" / "tardis-dev").is_dir():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--silent"], cwd=HERE, check=True)
