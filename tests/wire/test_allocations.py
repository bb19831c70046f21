"""After warm-up the loop's thread allocates nothing: counted by an interposed allocator, not assumed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COUNTER = ROOT / "dpdk_bindings" / "native" / "tests" / "count_alloc.c"


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the counting allocator with")
    library = tmp_path_factory.mktemp("counter") / "count_alloc.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, COUNTER], check=True)
    return library


def counts(counter: Path, poll: str, directory: Path, thread: str) -> dict[str, int]:
    environment = os.environ | {"LD_PRELOAD": str(counter), "COUNT_ALLOC_THREAD": thread}
    script = Path(__file__).with_name("allocations.py")
    command = [sys.executable, str(script), poll, str(directory)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    result: dict[str, int] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("poll", ["epoll", "busy"])
def test_ten_thousand_updates_over_tls_allocate_nothing(counter: Path, poll: str, shm_dir: Path) -> None:
    seen = counts(counter, poll, shm_dir, "bw-feed")
    assert seen.pop("updates") == 10000
    assert seen == dict.fromkeys(seen, 0)


def test_the_counter_counts(counter: Path, shm_dir: Path) -> None:
    seen = counts(counter, "epoll", shm_dir, "")
    assert seen["malloc"] > 10000  # the server in Python, in the same process
