"""``bookwire up`` on a terminal: the table moves, and log lines of every process stand above it, whole."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import termios
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from box import Box
from play import until

STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLUMNS = 240


class Terminal:
    """What a process wrote to a terminal of its own."""

    def __init__(self) -> None:
        self.main, self.far = pty.openpty()
        fcntl.ioctl(self.far, termios.TIOCSWINSZ, struct.pack("HHHH", 60, COLUMNS, 0, 0))
        self.text = ""
        os.set_blocking(self.main, False)

    def read(self) -> str:
        with suppress(BlockingIOError, OSError):
            while data := os.read(self.main, 65536):
                self.text += data.decode(errors="replace")
        return self.text

    def lines(self) -> list[str]:
        """Rows as they were drawn, without styles."""
        return [
            STYLE.sub("", row).rpartition("\r")[2] for row in self.read().replace("\r\n", "\n").split("\n")
        ]


@pytest.mark.timeout(120)
async def test_log_lines_of_the_processes_do_not_tear_the_table(tmp_path: Path) -> None:
    box = Box("--exchanges", "kraken", config="[record]\nenabled = false\n")
    command = [word for word in box.command if word != "--json"]
    terminal = Terminal()
    process = await asyncio.create_subprocess_exec(
        *command, stdin=terminal.far, stdout=terminal.far, stderr=terminal.far,
        env={**os.environ, "TERM": "xterm-256color", "BOOKWIRE_BOX_DATA_DIR": str(tmp_path)},
    )  # fmt: skip
    try:
        await until(lambda: "books live on 1 exchanges" in terminal.read(), 60, "the table")
        feed = box.pid("feed kraken")
        assert feed
        psutil.Process(feed).kill()
        await until(lambda: "state=up" in terminal.read(), 60, "the gateway says that the exchange is back")
        process.send_signal(signal.SIGINT)
        await until(lambda: bool(terminal.read()) and process.returncode is not None, 30, "the end")
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        for descriptor in (terminal.main, terminal.far):
            os.close(descriptor)
        box.stop()
    told = [row for row in terminal.lines() if "source=" in row]
    assert any("source=gateway" in row for row in told)
    assert any("source=up" in row for row in told)
    assert all(re.match(r"[a-z_]+ time=\S+ source=\S+", row) for row in told), told
