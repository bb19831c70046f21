"""What every test may ask for: the real captures, and directories of its own; what `make test` leaves out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
# Made for every exchange or room: `make test` takes one in so many of them, always the same, and
# `make test-long` the others.
ONE_IN = {
    "tests/bypass/test_impairments.py::test_bytes_are_exact": 2,
    "tests/end_to_end/test_ccxt.py": 2,
    "tests/end_to_end/test_faults.py": 4,
    "tests/end_to_end/test_kill.py": 4,
    "tests/handlers/test_feed.py::test_books_go_live": 4,
    "tests/handlers/test_feed.py::test_a_fault_is_noticed": 4,
    "tests/simulator/test_books.py": 3,
    "tests/simulator/test_ccxt.py": 5,
    "tests/simulator/test_faults.py": 5,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By name, so that each fault has other exchanges."""
    for item in items:
        one_in = next((many for what, many in ONE_IN.items() if item.nodeid.startswith(what)), 1)
        if "[" in item.name and zlib.crc32(item.name.encode()) % one_in:
            item.add_marker(pytest.mark.long)


def _captures_dir() -> Path:
    shared = os.environ.get("BOOKWIRE_SHARED")
    return (Path(shared) if shared else REPOSITORY.parent / "shared") / "captures"


@pytest.fixture(scope="session")
def captures() -> Path:
    """Real order-book messages of the venues. They live beside the project, not in it."""
    path = _captures_dir()
    if not path.is_dir():
        pytest.skip(f"no real captures at {path} (BOOKWIRE_SHARED names the directory that holds them)")
    return path


@pytest.fixture
def shm_dir() -> Iterator[Path]:
    """A directory in shared memory for one test's segments, gone afterwards."""
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix=f"bookwire-test-{os.getpid()}-", dir=base))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A run_dir with a path short enough for Unix sockets (107 bytes), gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="bookwire-run-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def allocations(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, int]]:
    """Runs a script under the counting allocator and returns what it prints; threads of one name count."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the counting allocator with")
    source = REPOSITORY / "dpdk_bindings" / "native" / "tests" / "count_alloc.c"
    library = tmp_path_factory.mktemp("counter") / "count_alloc.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source], check=True)

    def run(script: Path, thread: str, *arguments: object) -> dict[str, int]:
        environment = os.environ | {"LD_PRELOAD": str(library), "COUNT_ALLOC_THREAD": thread}
        command = [sys.executable, str(script), *map(str, arguments)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=100, cwd=REPOSITORY
        )
        assert done.returncode == 0, done.stderr
        counts: dict[str, int] = json.loads(done.stdout)
        return counts

    return run
