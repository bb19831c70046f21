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
from bench.contestants import OURS, PLAIN, UNCHECKED, VERIFYING_PEER, YARDSTICKS, Contestant, Result, Unfit
from bench.frames import Dataset
from bench.programs import BUILD, build
from bench.report import Report, Row, at_least, at_most, paired

PEER_TIMES = 15.0
YARDSTICK_TIMES = {"generated": 1.5, "real": 2.5}
CHECKSUM_TIMES = 2.0
CHECKSUMS = ("kraken",)  # venues that send one today
LIMIT_US = {"generated": 0.6, "real": 2.0}


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
                if dataset.venue in CHECKSUMS or not contestant.name.endswith(UNCHECKED):
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


def against(results: Results, dataset: Dataset, ours: str, peers: list[str]) -> Row:
    """The ratio to the fastest of those peers that can take the dataset."""
    fit = {name: results.cpu[dataset.name, name] for name in peers if (dataset.name, name) in results.cpu}
    fastest = min(fit, key=lambda name: median(fit[name]))
    times = paired(results.cpu[dataset.name, ours], fit[fastest])
    label = f"{dataset.name}{ours.removeprefix(OURS)}: times the fastest peer"
    return at_least(label, times, PEER_TIMES, "x", fastest)


def judge(results: Results, dataset: Dataset, peer_names: list[str]) -> list[Row]:
    """Ratios of one dataset against its targets."""
    kind = "real" if dataset.name.endswith("-real") else "generated"
    ours = results.cpu[dataset.name, OURS]
    rows = [
        at_most(
            f"{dataset.name}: CPU a message",
            median(ours) / 1000,
            LIMIT_US[kind],
            "us",
            f"{dataset.levels / dataset.messages:.1f} levels a message on average",
        ),
    ]
    if dataset.venue in CHECKSUMS:  # like with like: a peer that verifies, and all without
        rows.append(against(results, dataset, OURS, [VERIFYING_PEER]))
        others = [name for name in peer_names if name != VERIFYING_PEER]
        rows.append(against(results, dataset, OURS + UNCHECKED, others))
    else:
        rows.append(against(results, dataset, OURS, peer_names))
    for mode in YARDSTICKS:
        yardstick = contestants.yardstick_name(mode)
        for what in ("", UNCHECKED) if dataset.venue in CHECKSUMS else ("",):
            if (dataset.name, yardstick + what) in results.cpu:
                times = paired(
                    results.cpu[dataset.name, OURS + what], results.cpu[dataset.name, yardstick + what]
                )
                label = f"{dataset.name}{what}: times the C++ of {mode}"
                if mode == PLAIN:
                    rows.append(at_least(label, times, YARDSTICK_TIMES[kind], "x"))
                else:
                    rows.append(
                        Row(label, f"{times:.2f} x", note="no target: reads numbers by a way of its own")
                    )
    if (dataset.name, OURS + UNCHECKED) in results.cpu:
        times = paired(results.cpu[dataset.name, OURS + UNCHECKED], ours)
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
    program = build("yardstick.cpp", flags=("-std=c++17", "-lsimdjson", "-lz"), compiler="c++")
    yardsticks = contestants.yardsticks(program, cpu) if program else []
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
