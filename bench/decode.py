"""Frame bytes -> updated book: Bookwire against five peers and the C++ yardstick, same frames, one core.

Every round asks every contestant for every dataset; a ratio is the median over the rounds of ratios
taken within one round, so that a busy neighbour hits both sides of it. A contestant whose final book
is not the book of the frames ends the run: a fast wrong book is not a result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import contestants, frames
from bench.contestants import Contestant, Result, Unfit, Yardstick
from bench.frames import Dataset
from bench.programs import BUILD, build
from bench.report import Report, Row, at_least, at_most, paired

PEER_TIMES = 15.0
YARDSTICK_TIMES = {"generated": 1.5, "real": 2.5}
CHECKSUM_TIMES = 2.0
CHECKSUMS = ("kraken",)  # venues that send one today
LIMIT_US = {"generated": 0.6, "real": 2.0}
OURS, OURS_UNCHECKED, YARDSTICK = "Bookwire", "Bookwire, checksum off", "C++ simdjson, book"


@dataclass
class Results:
    """CPU ns a message per round, and the last stamps, by (dataset, contestant)."""

    cpu: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    last: dict[tuple[str, str], Result] = field(default_factory=dict)
    unfit: dict[tuple[str, str], str] = field(default_factory=dict)

    def ask(self, contestant: Contestant, dataset: Dataset) -> None:
        key = dataset.name, contestant.name
        try:
            result = contestant.run(dataset)
        except Unfit as reason:
            self.unfit[key] = str(reason)
            return
        self.cpu.setdefault(key, []).append(result.cpu_ns / dataset.messages)
        self.last[key] = result


def datasets(captures: Path | None, directory: Path) -> list[Dataset]:
    directory.mkdir(parents=True, exist_ok=True)
    found = [frames.generated(venue, directory) for venue in frames.VENUES]
    return found + ([frames.real(captures, directory)] if captures else [])


def measure(sets: list[Dataset], everyone: list[Contestant], rounds: int) -> Results:
    results = Results()
    for _ in range(rounds):
        for dataset in sets:
            for contestant in everyone:
                if contestant.name != OURS_UNCHECKED or dataset.venue in CHECKSUMS:
                    results.ask(contestant, dataset)
    return results


def describe(results: Results, dataset: Dataset, names: list[str]) -> list[Row]:
    """One line a contestant: CPU a message and a level, and the stamps of single messages."""
    rows = []
    for name in names:
        key = dataset.name, name
        if key in results.unfit:
            rows.append(Row(f"{dataset.name}: {name}", "n/a", note=results.unfit[key]))
            continue
        if key not in results.cpu:
            continue
        cpu, last = median(results.cpu[key]), results.last[key]
        per_level = cpu * dataset.messages / dataset.levels
        rows.append(
            Row(
                f"{dataset.name}: {name}",
                f"{cpu / 1000:,.2f} us",
                note=f"{per_level:,.0f} ns a level; p50 {last.p50_ns / 1000:,.2f}, "
                f"p99 {last.p99_ns / 1000:,.2f} us",
            )
        )
    return rows


def judge(results: Results, dataset: Dataset, peer_names: list[str]) -> list[Row]:
    """Ratios of one dataset against its targets."""
    kind = "real" if dataset.name.endswith("-real") else "generated"
    ours = results.cpu[dataset.name, OURS]
    fit = {
        name: results.cpu[dataset.name, name] for name in peer_names if (dataset.name, name) in results.cpu
    }
    fastest = min(fit, key=lambda name: median(fit[name]))
    rows = [
        at_most(
            f"{dataset.name}: CPU a message",
            median(ours) / 1000,
            LIMIT_US[kind],
            "us",
            f"{dataset.levels / dataset.messages:.1f} levels a message on average",
        ),
        at_least(
            f"{dataset.name}: times the fastest peer", paired(ours, fit[fastest]), PEER_TIMES, "x", fastest
        ),
    ]
    if (dataset.name, YARDSTICK) in results.cpu:
        times = paired(ours, results.cpu[dataset.name, YARDSTICK])
        rows.append(at_least(f"{dataset.name}: times the C++ yardstick", times, YARDSTICK_TIMES[kind], "x"))
    if (dataset.name, OURS_UNCHECKED) in results.cpu:
        times = paired(results.cpu[dataset.name, OURS_UNCHECKED], ours)
        rows.append(
            at_most(
                f"{dataset.name}: checksum on every update, of its cost without", times, CHECKSUM_TIMES, "x"
            )
        )
    return rows


def run(report: Report, captures: Path | None, cpu: int, rounds: int) -> None:
    """Adds the section; raises RuntimeError if any contestant's book is wrong."""
    sets = datasets(captures, BUILD)
    peers = contestants.peers(cpu)
    ours = contestants.bookwire(cpu)
    program = build("yardstick.cpp", flags=("-std=c++17", "-lsimdjson"), compiler="c++")
    yardsticks: list[Contestant] = (
        [Yardstick(mode, program, cpu) for mode in ("book", "texts")] if program else []
    )
    everyone = [*ours, *yardsticks, *peers]
    try:
        results = measure(sets, everyone, rounds)
    finally:
        for contestant in everyone:
            contestant.stop()
    section = "frame bytes -> updated book (CPU a message, one core)"
    for dataset in sets:
        report.add(section, *describe(results, dataset, [contestant.name for contestant in everyone]))
    for dataset in sets:
        report.add(section, *judge(results, dataset, [peer.name for peer in peers]))
    if not captures:
        report.add(
            section,
            Row("binance-real", "not measured", note="no captures (BOOKWIRE_SHARED names their place)"),
        )
    if not yardsticks:
        report.add(
            section, Row("C++ yardstick", "not measured", note="no C++ compiler or no libsimdjson-dev")
        )
