"""Which core does what, and what a process has used."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cores:
    """``server``: what is measured runs here, alone where the machine allows it; ``client``: the rest."""

    server: int
    client: int

    @classmethod
    def choose(cls) -> Cores:
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[-1], allowed[0])

    @staticmethod
    def rest(seconds: float) -> None:
        """Lets a measurement run; there is nothing to await but the time itself."""
        time.sleep(seconds)


def waited_ns(pid: int, thread: str) -> int:
    """How long the process's thread of that name stood ready while its core ran somebody else, ns."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == thread:
            return int((task / "schedstat").read_text().split()[1])
    raise RuntimeError(f"process {pid} has no thread {thread}")


def cpu_ns(pid: int) -> int:
    """CPU of all threads of a process so far, ns, as the scheduler counts it."""
    spent = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        spent += int((task / "schedstat").read_text().split()[0])
    return spent
