"""Children: started again when they fall, given up where that is hopeless, never outliving their parent."""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from appliance.processes import Backoff, Child
from handlers.logs import Log

QUICK = Backoff(first_s=0.01, cap_s=0.05)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def until(happened: object, seconds: float = 10.0) -> None:
    """Waits until the callable is true; looks every 10 ms."""
    async with asyncio.timeout(seconds):
        while not happened():  # type: ignore[operator]
            await asyncio.sleep(0.01)


def child(command: list[str], **more: object) -> Child:
    return Child("test", lambda: command, log=Log("test", stream=io.StringIO()), backoff=QUICK, **more)  # type: ignore[arg-type]


async def test_a_killed_child_is_started_again_and_stop_ends_it() -> None:
    kept = child(python("import signal; signal.pause()"))
    running = asyncio.create_task(kept.run())
    await until(lambda: kept.pid)
    first = kept.pid
    assert first
    os.kill(first, signal.SIGKILL)
    await until(lambda: kept.pid not in (None, first))
    assert kept.restarts == 1
    second = kept.pid
    await kept.stop()
    await running
    assert second
    assert not psutil.pid_exists(second)


@pytest.mark.parametrize("code", [2, 64, 77, 78])
async def test_a_child_that_cannot_work_as_configured_is_given_up(code: int) -> None:
    kept = child(python(f"raise SystemExit({code})"))
    await asyncio.wait_for(kept.run(), 10)
    assert kept.hopeless.is_set()
    assert (kept.exit_code, kept.restarts) == (code, 0)


async def test_a_child_that_keeps_falling_is_tried_again_with_pauses() -> None:
    kept = child(python("raise SystemExit(69)"))
    running = asyncio.create_task(kept.run())
    await until(lambda: kept.restarts >= 3)
    assert not kept.hopeless.is_set()
    await kept.stop()
    await running


async def test_a_child_deaf_to_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.processes.STOP_PATIENCE_S", 0.2)
    said: list[bytes] = []
    deaf = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x', flush=True); signal.pause()"
    )
    kept = child(python(deaf), said=said.append)
    running = asyncio.create_task(kept.run())
    await until(lambda: said)
    pid = kept.pid
    await kept.stop()
    await running
    assert pid
    assert not psutil.pid_exists(pid)
    assert kept.exit_code == -signal.SIGKILL


def test_pauses_grow_to_the_cap_and_the_first_restart_is_at_once() -> None:
    backoff, dice = Backoff(first_s=1.0, cap_s=8.0), random.Random(1)
    assert backoff.pause_s(1, dice) == 0.0
    longest = [max(backoff.pause_s(failures, dice) for _ in range(500)) for failures in range(2, 9)]
    for limit, seen in zip([2, 4, 8, 8, 8, 8, 8], longest, strict=True):
        assert 0.9 * limit < seen <= limit


PARENT = """
import asyncio, sys
from appliance.processes import Child
from handlers.logs import Log
async def main():
    code = "import signal; print('up', flush=True); signal.pause()"
    told = lambda line: print(kept.pid, flush=True)
    kept = Child("x", lambda: [sys.executable, "-c", code], log=Log("x"), said=told)
    await kept.run()
asyncio.run(main())
"""


def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(python(PARENT), stdout=subprocess.PIPE, cwd=tmp_path)
    assert parent.stdout
    kept = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    kept.wait(timeout=5)
    parent.stdout.close()


def test_a_feed_loads_no_netlink_where_it_goes_by_sockets() -> None:
    """pyroute2 takes 10 MB of each of many processes."""
    code = "import sys, appliance.commands.feed; sys.exit('pyroute2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
