"""The gateway's doorbell: attached when it appears in ``run_dir``, and again when it is another one."""

from __future__ import annotations

from pathlib import Path

from handlers.native_feed import NativeFeed


class Doorbell:
    def __init__(self, run_dir: Path, native: NativeFeed) -> None:
        self._bell, self._fifo = (run_dir / f"gateway.{end}" for end in ("bell", "fifo"))
        self._native = native
        self._number = 0  # inode of the bell that is attached

    def look(self) -> None:
        try:
            number = self._bell.stat().st_ino
            self._fifo.stat()
        except FileNotFoundError:
            return
        if self._number != number:
            self._number = number
            self._native.add_bell(str(self._bell).encode(), str(self._fifo).encode())
