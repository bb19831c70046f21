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

OURS, VERIFYING_PEER = "Bookwire", "orjson + sortedcontainers"
UNCHECKED = ", checksum off"
PLAIN = "doubles"
YARDSTICKS = (PLAIN, "integers")  # modes of the C++ program that keep a book


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

    def __init__(self, mode: str, program: Path, cpu: int, checked: bool = True) -> None:
        super().__init__(
            yardstick_name(mode) + ("" if checked else UNCHECKED), [str(program)], cpu, passes=31
        )
        self.mode, self.checked = mode, checked

    def line(self, dataset: Dataset) -> str:
        return f"{self.mode} {int(self.checked)} {dataset.venue} {self.passes} {dataset.path}"

    def run(self, dataset: Dataset) -> Result:
        if self.mode in YARDSTICKS:
            return super().run(dataset)
        answer = self.ask(dataset)
        return Result(answer["cpu_ns"], answer["p50_ns"], answer["p99_ns"], {})


def yardstick_name(mode: str) -> str:
    return f"C++ simdjson, {mode}"


def yardsticks(program: Path, cpu: int) -> list[Contestant]:
    """The C++ program in each of its modes."""
    books = [Yardstick(mode, program, cpu, checked) for mode in YARDSTICKS for checked in (True, False)]
    return [*books, Yardstick("texts", program, cpu)]


def bookwire(cpu: int) -> list[Contestant]:
    """Ours: as it is, and with the checksum left out (of interest where the venue sends one)."""
    worker = str(HERE / "workers" / "bookwire.py")
    return [
        Contestant(OURS, [sys.executable, worker, "checked"], cpu),
        Contestant(OURS + UNCHECKED, [sys.executable, worker, "unchecked"], cpu),
    ]


def peers(cpu: int) -> list[Contestant]:
    """The five peers of the comparison, as far as they can be had on this machine.

    Only our own lines of orjson and sortedcontainers verify checksums: ccxt leaves Kraken's alone
    unless told, the others know none. So they come twice, like Bookwire.
    """
    python = str(PEERS / "bin" / "python")
    found = [
        Contestant(name, [python, str(HERE / "workers" / file), *arguments], cpu)
        for name, file, *arguments in (
            ("ccxt.pro", "ccxt_pro.py"),
            ("cryptofeed", "crypto_feed.py"),
            ("nautilus_trader", "nautilus.py"),
            (VERIFYING_PEER, "sorted_containers.py", "checked"),
            (VERIFYING_PEER + UNCHECKED, "sorted_containers.py", "unchecked"),
        )
    ]
    if shutil.which("node"):
        found.append(Contestant("tardis-dev", ["node", str(HERE / "workers" / "tardis.mjs")], cpu))
    return found
