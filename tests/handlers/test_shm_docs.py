"""docs/shared-memory.md against the compiler, and its examples against a segment that is being written."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handlers import shm_layout
from handlers._ffi import ffi

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
TITLE = re.compile(r"^`(bw_\w+)`, (\d+) bytes:$")
ROW = re.compile(r"^\| (\d+) \| (\d+) \| (\S*) ?\| (?:`(\w+)` )?\| (.*) \|$")


def documented() -> dict[str, tuple[int, list[tuple[int, int, str, str | None]]]]:
    """Struct -> its size and (offset, bytes, type, field) of each row."""
    structs: dict[str, tuple[int, list[tuple[int, int, str, str | None]]]] = {}
    rows: list[tuple[int, int, str, str | None]] = []
    for line in (DOCS / "shared-memory.md").read_text().splitlines():
        if title := TITLE.match(line):
            rows = []
            structs[title[1]] = int(title[2]), rows
        elif row := ROW.match(line):
            rows.append((int(row[1]), int(row[2]), row[3], row[4]))
    return structs


STRUCTS = documented()


def test_every_struct_of_the_layout_is_documented() -> None:
    assert set(STRUCTS) == {
        "bw_shm_header", "bw_symbol", "bw_book", "bw_level", "bw_side", "bw_directory_entry", "bw_chunk",
        "bw_record", "bw_stats", "bw_timing",
    }  # fmt: skip


@pytest.mark.parametrize("name", STRUCTS)
def test_tables_equal_the_compilers_offsets(name: str) -> None:
    size, rows = STRUCTS[name]
    assert size == ffi.sizeof(name)
    compiled = {field: (place.offset, ffi.sizeof(place.type)) for field, place in ffi.typeof(name).fields}
    assert {field: (offset, count) for offset, count, _, field in rows if field} == compiled
    end = 0
    for offset, count, _, _ in rows:
        assert offset == end, "rows leave no byte out"
        end += count
    assert end == size


@pytest.mark.parametrize("name", STRUCTS)
def test_numpy_views_equal_the_compilers_offsets(name: str) -> None:
    twin = {"bw_shm_header": "HEADER"}.get(name, name.removeprefix("bw_").upper())
    dtype = getattr(shm_layout, twin)
    assert dtype.itemsize == ffi.sizeof(name)
    for field, place in ffi.typeof(name).fields:
        kind, offset = dtype.fields[field][:2]
        assert (offset, kind.itemsize) == (place.offset, ffi.sizeof(place.type))


def test_types_in_the_tables_are_those_of_the_views() -> None:
    numpy_types = {"i64": "<i8", "u64": "<u8", "u32": "<u4", "u8": "|u1", "char": "|S"}
    for name, (_, rows) in STRUCTS.items():
        twin = {"bw_shm_header": "HEADER"}.get(name, name.removeprefix("bw_").upper())
        for _, _, kind, field in rows:
            if field and not kind.startswith("bw_"):
                base = np.zeros((), getattr(shm_layout, twin))[field].dtype.str
                assert base.startswith(numpy_types[kind.split("[")[0]]), (name, field)


@pytest.fixture
def busy(writer: Any) -> Any:
    """A book with levels on both sides, and an update after that."""
    writer.publish(0, [(0, 6_000_001 - i, 100 + i, 0) for i in range(200)])
    writer.publish(0, [(1, 6_000_002 + i, 300 + i, 0) for i in range(200)])
    return writer


def run_while_written(busy: Any, command: list[str]) -> list[str]:
    """The command's lines; the book changes after its first line, so that it has something to follow."""
    busy.beat()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        first = run.stdout.readline()
        quantity = 1
        while run.poll() is None and quantity < 100_000:
            busy.publish(0, [(0, 6_000_001, quantity, 0), (1, 6_000_005, 0, 0)])
            quantity += 1
        lines = [first, *run.stdout.readlines()]
        assert run.wait(10) == 0, run.stderr.read()
    return [line.rstrip() for line in lines]


def test_the_c_example_copies_and_follows(busy: Any, path: Path, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    source = DOCS / "examples" / "read_book.c"
    command = " ".join(re.findall(r"^ \* +(cc .*|handlers/.*)$", source.read_text(), re.MULTILINE)).replace(
        "\\", ""
    )
    program = tmp_path / "read_book"
    arguments = [compiler, *command.split()[1:-1], str(program)]
    subprocess.run([*arguments, "-Wall", "-Wextra", "-Werror"], check=True, cwd=REPOSITORY)
    lines = run_while_written(busy, [str(program), str(path), "BTC-USDT", "5"])
    assert re.fullmatch(r"book BTC-USDT sequence \d+ state 1 levels 200 200 exponents 2 4", lines[0])
    assert lines[1] == "bid 6000001 100"
    assert lines[4] == "ask 6000002 300"
    followed = [int(line.split()[4]) for line in lines if line.startswith("record type 1 sequence")]
    assert len(followed) == 5
    assert followed == list(range(followed[0], followed[0] + 5))
    missing = subprocess.run([program, path, "DOGE-USDT"], capture_output=True, text=True, check=False)
    assert (missing.returncode, missing.stderr) == (64, f"{path}: no DOGE-USDT in it\n")


def test_the_python_example_copies_and_follows(busy: Any, path: Path) -> None:
    example = DOCS / "examples" / "read_book.py"
    lines = run_while_written(busy, [sys.executable, "-u", str(example), str(path), "BTC-USDT", "5"])
    assert lines[0].startswith("book BTC-USDT sequence")
    assert lines[1].startswith("best bid 60000.01 0.0")
    assert sum(line.startswith("record DELTA") for line in lines) == 5
    assert "  asks 6000005 0" in lines


def test_the_example_without_libraries_reads_tops(busy: Any, path: Path) -> None:
    example = DOCS / "examples" / "read_top.py"
    run = subprocess.run([sys.executable, example, path], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [
        "BTC-USDT state 1 bid 60000.01 0.01 ask 60000.02 0.03",
        "ETH-USDT state 0",
    ]
