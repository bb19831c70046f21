"""Work beside the stream gives way: priority, cores, and the session's share of the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from handlers.background import FIRST, NICE, Aside, cores_beside, stand_back
from hw.tree import Tree

GROUP = Path("/proc/self/autogroup")
CAP_SYS_NICE = 23
CAPABILITIES = int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16)
MAY_RAISE = bool(CAPABILITIES >> CAP_SYS_NICE & 1) and GROUP.exists()
SLEEP = "import sys; sys.stdin.read()"
SAY = """if True:
    import os
    from pathlib import Path
    group = Path("/proc/self/autogroup")
    session = group.exists() and group.read_text().split()[-1]
    print(os.getpriority(os.PRIO_PROCESS, 0), len(os.sched_getaffinity(0)), session)
"""


@contextmanager
def child(code: str) -> Iterator[subprocess.Popen[str]]:
    """Leader of a session of its own."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True, start_new_session=True
    )
    with process:
        yield process
        process.communicate("")


def machine(root: Path, siblings: list[str]) -> Tree:
    for number, text in enumerate(siblings):
        where = root / f"sys/devices/system/cpu/cpu{number}/topology"
        where.mkdir(parents=True)
        (where / "thread_siblings_list").write_text(text)
    return Tree(root)


@pytest.mark.parametrize(
    ("siblings", "allowed", "beside"),
    [
        (["0"], {0}, {0}),
        (["0", "1"], {0, 1}, {0}),
        (["0", "1", "2"], {0, 1, 2}, {0}),
        (["0,2", "1,3", "0,2", "1,3"], {0, 1, 2, 3}, {0, 2}),
        (["0-1", "0-1", "2-3", "2-3"], {0, 1, 2, 3}, {0, 1}),
        (["0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"], {1, 2, 3, 5, 6, 7}, {1, 5}),
        ([], {0, 1, 2, 3}, {0, 1}),  # nothing is known of who shares a core
    ],
)
def test_the_lower_half_of_the_cores_with_their_siblings(
    tmp_path: Path, siblings: list[str], allowed: set[int], beside: set[int]
) -> None:
    assert cores_beside(allowed, machine(tmp_path, siblings)) == beside


def test_a_child_is_put_back_from_outside() -> None:
    mine = os.sched_getaffinity(0)
    with child(SLEEP) as process:
        stand_back(process.pid)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == NICE
        assert os.sched_getaffinity(process.pid) == cores_beside(mine, Tree())
    assert os.getpriority(os.PRIO_PROCESS, 0) < NICE
    assert os.sched_getaffinity(0) == mine


def test_who_works_for_it_stays_aside_for_as_long_and_its_children_are_put_back_once() -> None:
    mine, aside = os.sched_getaffinity(0), Aside()
    beside = cores_beside(mine, Tree())
    aside.begin()
    aside.begin()
    try:
        assert os.sched_getaffinity(0) == beside
        with child(SLEEP) as process:
            aside.put_back(process.pid)
            assert os.sched_getaffinity(process.pid) == beside
    finally:
        aside.end()
    assert os.sched_getaffinity(0) == mine


def test_a_process_stands_back_by_itself_with_its_session() -> None:
    with child(f"from handlers.background import stand_back; stand_back()\n{SAY}") as process:
        assert process.stdout
        nice, cores, session = process.stdout.readline().split()
    assert (int(nice), int(cores)) == (NICE, len(cores_beside(os.sched_getaffinity(0), Tree())))
    assert session in (str(NICE), "False")


@pytest.mark.skipif(not MAY_RAISE, reason="takes CAP_SYS_NICE and sessions that share")
@pytest.mark.parametrize(("given", "then"), [("0", FIRST), ("-18", -18)])
def test_the_streams_session_goes_first(given: str, then: int) -> None:
    code = f"from pathlib import Path; Path('/proc/self/autogroup').write_text('{given}')\n"
    with child(f"{code}from handlers.background import go_first; go_first()\n{SAY}") as process:
        assert process.stdout
        assert int(process.stdout.readline().split()[-1]) == then


def test_a_persons_session_is_left_alone() -> None:
    """Called in a terminal, by a command that is not its session's leader."""
    inner = f"from handlers.background import go_first, share_less; share_less(); go_first()\n{SAY}"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    with child(outer) as process:
        assert process.stdout
        assert process.stdout.readline().split()[-1] in ("0", "False")
