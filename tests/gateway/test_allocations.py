"""Once its subscribers are there the gateway's thread allocates nothing, whatever they subscribed to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("allocations.py")


@pytest.mark.parametrize("poll", ["epoll", "busy"])
def test_two_thousand_updates_to_fifty_subscribers_allocate_nothing(
    allocations: Callable[..., dict[str, int]], poll: str, shm_dir: Path, run_dir: Path
) -> None:
    seen = allocations(SCRIPT, "bw-gateway", poll, shm_dir, run_dir)
    assert (seen.pop("subscribers"), seen.pop("updates")) == (50, 2000)
    assert seen.pop("joining") > 50  # a subscriber that comes is given room: the counter sees this thread
    assert seen == dict.fromkeys(seen, 0)
