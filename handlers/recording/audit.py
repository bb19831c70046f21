"""Audits a recording: does each block prove itself, and does each book's sequence go on without a hole.

What is missing must be told: by a GAP block in the journal (an overrun, a recorder that began late), or by
a new generation (the exchange's process was replaced). Everything else is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson

from handlers import shm_layout as layout
from handlers._ffi import lib
from handlers.recording.journal import Block, BlockType, JournalFile, files_of


@dataclass(frozen=True)
class Finding:
    """``kind``: damage, missing, twice, torn."""

    kind: str
    file: str
    at: int
    what: str


@dataclass
class Report:
    """Sums over all files; ``clean``: nothing is damaged and nothing is missing untold."""

    files: int = 0
    blocks: int = 0
    bytes: int = 0
    updates: int = 0
    raw_records: int = 0
    books: int = 0
    gaps: int = 0
    torn: int = 0
    parquet: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return all(finding.kind == "torn" for finding in self.findings)


@dataclass
class _State:
    """Where a generation's rings and books are."""

    position: int | None = None
    raw_position: int | None = None
    sequence: dict[int, int] = field(default_factory=dict)
    told: bool = False  # a GAP came: the next record of any book may be later
    gapped: dict[int, bool] = field(default_factory=dict)


def audit(directory: Path) -> Report:
    """Reads every file of the recording."""
    report = Report()
    states: dict[tuple[str, int], _State] = {}
    books: set[tuple[str, int, int]] = set()
    for path in files_of(directory):
        name = f"{path.parent.name}/{path.name}"
        file = JournalFile(path)
        report.files += 1
        report.bytes += file.bytes
        number = 0
        for block in file:
            if block.number != number:
                report.findings.append(
                    Finding(
                        "damage", name, block.at, f"block {number} is missing before block {block.number}"
                    )
                )
            number = block.number + 1
            report.blocks += 1
            state = states.setdefault((path.parent.name, block.generation), _State())
            _block(report, state, name, block)
            if block.type is BlockType.RECORDS:
                books |= {(path.parent.name, block.generation, book) for book in state.sequence}
        for flaw in file.flaws:
            kind = "torn" if flaw.torn else "damage"
            report.torn += flaw.torn
            report.findings.append(Finding(kind, name, flaw.at, f"{flaw.what} ({flaw.bytes} bytes)"))
    report.books = len(books)
    _parquet(report, directory)
    return report


def _parquet(report: Report, directory: Path) -> None:
    """Each manifest names a file of so many bytes with this checksum."""
    for path in sorted((directory / "parquet").rglob("*.gaps.json")):
        told = orjson.loads(path.read_bytes())
        file = path.with_name(told["file"])
        name = str(file.relative_to(directory))
        report.parquet += 1
        if not file.exists():
            report.findings.append(Finding("missing", name, 0, f"{path.name} stands there without it"))
            continue
        data = file.read_bytes()
        if len(data) != told["bytes"] or lib.bw_crc32c(0, data, len(data)) != told["crc32c"]:
            report.findings.append(Finding("damage", name, 0, "not the bytes that its manifest tells of"))


def _block(report: Report, state: _State, name: str, block: Block) -> None:
    if block.type is BlockType.GAP:
        report.gaps += 1
        told = block.json()
        if told.get("raw"):
            state.raw_position = None
        elif "book" in told:  # a merge tells of each book by itself
            state.gapped[int(told["book"])] = True
        else:
            state.position = None
            state.gapped = dict.fromkeys(state.sequence, True)
    elif block.type is BlockType.RECORDS:
        state.position = _place(report, name, block, state.position)
        report.updates += _records(report, state, name, block)
    elif block.type is BlockType.RAW:
        state.raw_position = _place(report, name, block, state.raw_position)
        report.raw_records += block.items


def _place(report: Report, name: str, block: Block, before: int | None) -> int:
    """A span begins where the last ended, or behind a PAD, which is what a ring's end needs at most."""
    if before is not None and block.position < before:
        what = f"bytes {block.position} to {before} of the ring stand there twice"
        report.findings.append(Finding("twice", name, block.at, what))
    return block.position + len(block.payload)


def record_offsets(payload: memoryview) -> list[int]:
    """Where the records of a span begin. Raises ValueError where the span is none."""
    lengths = np.frombuffer(payload, "<u4")
    offsets, at, end = [], 0, len(payload)
    while at < end:
        length = int(lengths[at // 4])
        if length < 8 or length % 8 or length > end - at:
            raise ValueError(f"a record of {length} bytes at {at} of {end}")
        offsets.append(at)
        at += length
    return offsets


def _records(report: Report, state: _State, name: str, block: Block) -> int:
    try:
        offsets = record_offsets(block.payload)
    except ValueError as error:
        report.findings.append(Finding("damage", name, block.at, str(error)))
        return 0
    if len(offsets) != block.items:
        what = f"{len(offsets)} records, the header says {block.items}"
        report.findings.append(Finding("damage", name, block.at, what))
    raw = np.frombuffer(block.payload, np.uint8)
    index = np.asarray(offsets)[:, None] + np.arange(layout.RECORD.itemsize)
    heads = raw[index].view(layout.RECORD).reshape(-1)
    for book in np.unique(heads["book"]).tolist():
        sequences = heads["sequence"][heads["book"] == book].astype(np.int64)
        last = state.sequence.get(book)
        told = state.gapped.pop(book, False)
        if last is not None and not told and sequences[0] != last + 1:
            kind = "missing" if sequences[0] > last else "twice"
            what = f"book {book}: {sequences[0]} follows {last}"
            report.findings.append(Finding(kind, name, block.at, what))
        if (np.diff(sequences) != 1).any():
            report.findings.append(Finding("missing", name, block.at, f"book {book}: a hole inside the span"))
        state.sequence[book] = int(sequences[-1])
    return len(offsets)
