"""What every test may ask for: the real captures, and directories of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


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
