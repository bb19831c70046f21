"""docs/recording.md against the compiler."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from handlers._ffi import ffi

DOCS = Path(__file__).resolve().parents[2] / "docs" / "recording.md"
ROW = re.compile(r"^\| (\d+) \| (\d+) \| \S+ \| `(\w+)` \|")


def documented() -> dict[str, list[tuple[int, int, str]]]:
    structs: dict[str, list[tuple[int, int, str]]] = {}
    rows: list[tuple[int, int, str]] = []
    for line in DOCS.read_text().splitlines():
        if title := re.match(r"^`(bw_\w+)`, \d+ bytes:$", line):
            rows = structs.setdefault(title[1], [])
        elif row := ROW.match(line):
            rows.append((int(row[1]), int(row[2]), row[3]))
    return structs


@pytest.mark.parametrize("name", ["bw_journal_block", "bw_raw_header", "bw_raw_record"])
def test_tables_equal_the_compilers_offsets(name: str) -> None:
    fields = ffi.typeof(name).fields
    assert documented()[name] == [(place.offset, ffi.sizeof(place.type), field) for field, place in fields]
