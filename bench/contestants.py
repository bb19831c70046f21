"""Starts the contestants, each in a process and an environment of its own, all on one core.

They stay up between rounds and sleep on their stdin while another one works.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.frames import Dataset
from bench.programs import HERE, PEERS, start


@dataclass(frozen=True)
class Result:
    """CPU ns of one pass over all updates; wall ns of single updates; the book at the end."""

    cpu_ns: float
    p50_ns: float
    p99_ns: float
    book: dict[str, list[list[float]]]


class Unfit(Exception):
    """This contestant cannot take this dataset; the message says why."""


class Contestant:
    """A process that answers one line for each line it is told."""

    def __init__(
        self,
        name: str,
        command: list[str],
        cpu: int,
        passes: int = 1,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.name, self.passes = name, passes
        self.process = start(command, cpu, environment)

    def line(self, dataset: Dataset) -> str:
        return json.dumps(
            {
                "venue": dataset.venue,
                "symbol": dataset.symbol,
                "path": str(dataset.path),
                "price_decimals": dataset.price_decimals,
                "passes": self.passes,
                "quantity_decimals": dataset.quantity_decimals,
            }
        )

    def ask(self, dataset: Dataset) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(self.line(dataset) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()} on {dataset.name}")
        found: dict[str, Any] = json.loads(answer)
        if "unfit" in found:
            raise Unfit(found["unfit"])
        return found

    def run(self, dataset: Dataset) -> Result:
        """Raises Unfit, and RuntimeError if the book it ends with is not the book of the frames."""
        answer = self.ask(dataset)
        result = Result(answer["cpu_ns"], answer["p50_ns"], answer["p99_ns"], answer["book"])
        for side, levels in dataset.book.items():
            wanted = [[float(price), float(quantity)] for price, quantity in levels]
            if result.book[side] != wanted:
                raise RuntimeError(
                    f"{self.name}: wrong {side}s after {dataset.name}, {len(wanted)} levels wanted"
                )
        return result

    def stop(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=10)


class Yardstick(Contestant):
    """The C++ program; ``mode`` "texts" keeps no book, so there is none to compare."""

    def __init__(self, mode: str, program: Path, cpu: int) -> None:
        super().__init__(f"C++ simdjson, {mode}", [str(program)], cpu, passes=31)
        self.mode = mode

    def line(self, dataset: Dataset) -> str:
        return f"{self.mode} {dataset.venue} {self.passes} {dataset.path}"

    def run(self, dataset: Dataset) -> Result:
        if self.mode == "book":
            return super().run(dataset)
        answer = self.ask(dataset)
        return Result(answer["cpu_ns"], answer["p50_ns"], answer["p99_ns"], {})


def bookwire(cpu: int) -> list[Contestant]:
    """Ours: as it is, and with the checksum left out (of interest where the venue sends one)."""
    worker = str(HERE / "workers" / "bookwire.py")
    return [
        Contestant("Bookwire", [sys.executable, worker, "checked"], cpu),
        Contestant("Bookwire, checksum off", [sys.executable, worker, "unchecked"], cpu),
    ]


def peers(cpu: int) -> list[Contestant]:
    """The five peers of the comparison, as far as they can be had on this machine."""
    python = str(PEERS / "bin" / "python")
    found = [
        Contestant(name, [python, str(HERE / "workers" / file)], cpu)
        for name, file in (
            ("ccxt.pro", "ccxt_pro.py"),
            ("cryptofeed", "crypto_feed.py"),
            ("nautilus_trader", "nautilus.py"),
            ("orjson + sortedcontainers", "sorted_containers.py"),
        )
    ]
    if shutil.which("node"):
        found.append(Contestant("tardis-dev", ["node", str(HERE / "workers" / "tardis.mjs")], cpu))
    return found
