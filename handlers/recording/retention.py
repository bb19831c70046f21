"""Keeps a recording within its disk budget and its age: the oldest goes first, each removal is logged.

The journal and what was made from it count alike. The files being written are never touched; if they alone
are above the budget that is said, since removing cannot mend it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handlers.logs import Log
from handlers.recording.journal import SUFFIX


@dataclass
class Retention:
    """``enforce`` is cheap enough to be called once a second."""

    directory: Path
    budget_bytes: int
    keep_hours: float
    log: Log
    bytes: int = 0
    removed: int = 0

    def enforce(self, in_use: Sequence[Path]) -> None:
        """Removes what is too old, then the oldest until the rest fits."""
        held = set(in_use)
        files = sorted(self._files())
        self.bytes = sum(size for _, size, _ in files)
        oldest_ns = time.time_ns() - int(self.keep_hours * 3600e9)
        for changed_ns, size, path in files:
            if path in held or (changed_ns >= oldest_ns and self.bytes <= self.budget_bytes):
                continue
            why = "too old" if changed_ns < oldest_ns else "above the budget"
            path.unlink(missing_ok=True)
            path.with_suffix(".gaps.json").unlink(missing_ok=True)
            self.bytes -= size
            self.removed += 1
            self.log("recording_removed", file=path.name, bytes=size, why=why)
        if self.bytes > self.budget_bytes:
            self.log("recording_above_budget", bytes=self.bytes, budget_bytes=self.budget_bytes)

    def _files(self) -> list[tuple[int, int, Path]]:
        """(changed ns, bytes, path) of all files that may go."""
        found = []
        for suffix in (SUFFIX, ".parquet"):
            for path in self.directory.rglob(f"*{suffix}"):
                try:
                    told = path.stat()
                except FileNotFoundError:
                    continue
                found.append((told.st_mtime_ns, told.st_size, path))
        return found
