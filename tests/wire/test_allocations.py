"""After warm-up the loop's thread allocates nothing: counted by an interposed allocator, not assumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("allocations.py")
Count = Callable[..., dict[str, int]]


@pytest.mark.parametrize("poll", ["epoll", "busy"])
def test_ten_thousand_updates_over_tls_allocate_nothing(allocations: Count, poll: str, shm_dir: Path) -> None:
    seen = allocations(SCRIPT, "bw-feed", poll, shm_dir)
    assert seen.pop("updates") == 10000
    assert seen == dict.fromkeys(seen, 0)


@pytest.mark.parametrize("frames", ["gzip", "deflate"])
def test_inflating_ten_thousand_frames_allocates_nothing(
    allocations: Count, frames: str, shm_dir: Path
) -> None:
    seen = allocations(SCRIPT, "bw-feed", "epoll", shm_dir, frames)
    assert seen.pop("updates") == 10000
    assert seen == dict.fromkeys(seen, 0)


def test_the_counter_counts(allocations: Count, shm_dir: Path) -> None:
    seen = allocations(SCRIPT, "", "epoll", shm_dir)
    assert seen["malloc"] > 10000  # the server in Python, in the same process
