"""The C core compiles for 64-bit ARM, warnings as errors.

Objects only: they are not linked and not run, and the modules that CFFI generates (they need ARM's Python)
are not among them. OpenSSL's declarations are this machine's: only their configuration header differs.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = [ROOT / room / "native" for room in ("dpdk_bindings", "handlers", "gateway")]
SOURCES = sorted(source for room in ROOMS for source in room.glob("*.c"))
COMPILER = "aarch64-linux-gnu-gcc"
FLAGS = [
    *("-std=gnu17", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Werror", "-D_GNU_SOURCE"),
    *(f"-I{room}" for room in ROOMS),
    *("-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"),
]


def test_sources_are_found() -> None:
    assert len(SOURCES) > 60


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.parent.name)
def test_a_room_compiles(room: Path, tmp_path: Path) -> None:
    if shutil.which(COMPILER) is None:
        pytest.skip(f"no {COMPILER} (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross)")
    sources = [str(source) for source in SOURCES if source.parent == room]
    done = subprocess.run(
        [COMPILER, *FLAGS, "-c", *sources], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[:4000]
    objects = sorted(tmp_path.glob("*.o"))
    assert len(objects) == len(sources)
    assert all(each.read_bytes()[18:20] == b"\xb7\x00" for each in objects)  # e_machine is EM_AARCH64
