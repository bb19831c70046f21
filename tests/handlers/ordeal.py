"""What every sink goes through: updates are published and recorded while it and its server are killed."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from servers import Server, until

from handlers._ffi import lib
from handlers.logs import Log
from handlers.recording.recorder import RecordSettings, Track


class Sent(NamedTuple):
    """An update as it was published, in decimals."""

    symbol: str
    sequence: int
    type: str
    bids: tuple[tuple[Decimal, Decimal, int], ...]
    asks: tuple[tuple[Decimal, Decimal, int], ...]


SYMBOLS = ("BTC-USDT", "ETH-USDT")


@dataclass
class Box:
    """A feed's writer and a recorder, driven step by step, and what was sent. ``base``: data and run_dir."""

    writer: Any
    shm_dir: Path
    base: Path
    file_bytes: int = 200_000  # so that files are ended on the way
    sent: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._dice = random.Random(7)
        self._sequence = [0, 0]
        self._levels: list[dict[tuple[int, int], int]] = [{}, {}]
        self.told = RecordSettings(
            self.shm_dir, self.base, self.base / "data" / "record", ("binance",), file_bytes=self.file_bytes
        )
        self.track = Track(self.told, "binance", Log("record"))
        self._now_s = 1.0
        (self.base / "bookwire.toml").write_text(
            f'[box]\nshm_dir = "{self.shm_dir}"\nrun_dir = "{self.base}"\ndata_dir = "{self.base}/data"\n'
            '[exchanges]\nenabled = ["binance"]\n[sinks]\nname = "box"\n'
        )

    @property
    def writer_path(self) -> Path:
        return self.shm_dir / "binance.shm"

    def publish(self, count: int) -> None:
        """So many updates of both books, recorded."""
        for _ in range(count):
            book = self._dice.randrange(2)
            kind = lib.BW_RECORD_RESET if self._dice.random() < 0.01 else lib.BW_RECORD_DELTA
            changes = []
            for side in sorted(self._dice.choices((0, 1), k=self._dice.randrange(1, 6))):
                price = self._dice.randrange(100, 150) + 100 * side
                changes.append((side, price, self._dice.randrange(0, 9), self._dice.randrange(0, 3)))
            self.writer.publish(book, changes, kind)
            self._sequence[book] += 1
            self._note(book, changes, kind)
            if self._dice.random() < 0.05:
                self.record()
        self.record()

    def _note(self, book: int, changes: list[tuple[int, int, int, int]], kind: int) -> None:
        sides = [
            tuple(
                (Decimal(price).scaleb(-2), Decimal(quantity).scaleb(-4), orders)
                for side, price, quantity, orders in changes
                if side == wanted
            )
            for wanted in (0, 1)
        ]
        for side, price, quantity, _ in changes:
            self._levels[book][side, price] = quantity
        name = "reset" if kind == lib.BW_RECORD_RESET else "update"
        self.sent.append(Sent(SYMBOLS[book], self._sequence[book], name, sides[0], sides[1]))

    def best(self, book: int) -> tuple[Decimal | None, Decimal | None]:
        """Best bid and ask now."""
        bids = [price for (side, price), quantity in self._levels[book].items() if side == 0 and quantity]
        asks = [price for (side, price), quantity in self._levels[book].items() if side == 1 and quantity]
        return (
            Decimal(max(bids)).scaleb(-2) if bids else None,
            Decimal(min(asks)).scaleb(-2) if asks else None,
        )

    def record(self) -> None:
        self._now_s += 1
        self.track.poll(self._now_s)

    def crash(self) -> None:
        """The recorder falls, in the middle of a block for all it knows, and another takes over."""
        newest = max((self.told.dir / "journal" / "binance").glob("*.bwj"))
        with newest.open("ab") as file:
            file.write(b"BWJ1 torn")
        self.track = Track(self.told, "binance", Log("record"))
        self.record()


class SinkProcess:
    """``bookwire sink KIND`` as a process."""

    def __init__(self, box: Box, kind: str, url: str, *more: str) -> None:
        self.command = [
            sys.executable, "-P", "-m", "appliance.cli", "sink", kind, "--to", url,
            "--config", str(box.base / "bookwire.toml"), *more,
        ]  # fmt: skip
        self.process = subprocess.Popen(self.command)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process = subprocess.Popen(self.command)

    def close(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def ordeal(box: Box, server: Server, sink: SinkProcess, arrived: Callable[[], int], rounds: int = 3) -> None:
    """Kills the sink, the server and the recorder while updates come; ends when all have arrived.

    ``arrived`` counts what the server holds; it may fail while that is down."""
    box.publish(500)
    until(lambda: arrived() > 0, "the first rows")
    for turn in range(rounds):
        box.publish(2000)
        sink.kill()
        box.publish(500)
        before = arrived()
        server.kill()
        box.publish(1000)
        box.crash()
        box.publish(500)
        server.start()
        until(lambda before=before: arrived() > before, f"rows after the server's restart {turn}")  # type: ignore[misc]
    until(lambda: arrived() >= len(box.sent), "everything that was sent")


def samples(language: str) -> list[str]:
    """Blocks of docs/sinks.md in a language."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "sinks.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
