"""Who goes first on a core that several want: the stream, and how work beside it stands back.

Low priority alone does not do it. Whoever of low priority has the core when the stream's thread wakes may
keep it until the scheduler's next tick (4 ms at 250 Hz): the thread that woke has to be owed time first, and
what is in the kernel is not interrupted. So such work also leaves half the cores alone, and the stream asks
for a share that is seldom used up, and for a short slice (waking.h).
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hw.cpu import CPU
from hw.tree import Tree

NICE = 19
FIRST = -10  # of the stream, as its threads have it (BW_FIRST_NICE of waking.h), where it may be
AUTOGROUP_TRIES, AUTOGROUP_PAUSE_S = 20, 0.1  # without rights the kernel takes one in 0.1 s of all processes


def cores_beside(allowed: Iterable[int], tree: Tree) -> set[int]:
    """CPUs for work beside the stream, of those it may use: the lower half of the cores, at least one.

    The lowest are those on which placement pins nobody (``appliance.placement``).
    """
    left, cores = set(allowed), []
    while left:
        first = min(left)
        siblings = tree.cpus(f"{CPU}/cpu{first}/topology/thread_siblings_list") or frozenset()
        cores.append((siblings & left) | {first})
        left -= cores[-1]
    return set().union(*cores[: max(1, len(cores) // 2)])


def go_first() -> None:
    """The session that this process leads before others; needs a right (root has it)."""
    if os.getsid(0) != os.getpid():
        return
    autogroup = _autogroup("self")
    with suppress(OSError):
        if int(autogroup.read_text().split()[-1]) > FIRST:  # "/autogroup-7 nice 0"
            autogroup.write_text(str(FIRST))


class Aside:
    """The calling thread on the cores of such work while it hands that on.

    What it uses is not counted against its session then where the stream's thread runs: the kernel counts by
    session and core.
    """

    def __init__(self) -> None:
        self._allowed: set[int] | None = None

    def begin(self) -> None:
        if self._allowed is None:
            self._allowed = os.sched_getaffinity(0)
            _confine(0, self._allowed)

    def end(self) -> None:
        if self._allowed is not None:
            with suppress(OSError):
                os.sched_setaffinity(0, self._allowed)
        self._allowed = None

    def put_back(self, pid: int) -> None:
        """``stand_back`` of a child, which has inherited the thread's cores."""
        stand_back(pid, self._allowed)


def stand_back(pid: int = 0, allowed: set[int] | None = None) -> None:
    """Makes a process, this one or a child just started as leader of a session, one that stands back.

    The kernel shares a CPU out between sessions first (sched_autogroup_enabled): in the session of the
    process that serves the stream, whatever this one uses would count as used by that one, nice or not.
    What a sandbox forbids or a kernel does not have is left out. A child calls ``share_less`` besides.
    """
    if pid == 0:
        with suppress(OSError):  # a session's leader already
            os.setsid()
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICE)
    _confine(pid, allowed)
    if pid == 0:
        share_less()
    else:
        with suppress(OSError):
            _autogroup(pid).write_text(str(NICE))


def _confine(pid: int, allowed: set[int] | None) -> None:
    with suppress(OSError):
        os.sched_setaffinity(pid, cores_beside(allowed or os.sched_getaffinity(pid), Tree()))


def share_less() -> None:
    """The same priority for the session this process leads; waits where the kernel wants it to."""
    if os.getsid(0) != os.getpid():
        return  # a person's, who called it in a terminal
    for _ in range(AUTOGROUP_TRIES):
        try:
            _autogroup("self").write_text(str(NICE))
        except BlockingIOError:  # another process had its turn
            select.select([], [], [], AUTOGROUP_PAUSE_S)
        except OSError:
            return
        else:
            return


def _autogroup(pid: int | str) -> Path:
    return Path(f"/proc/{pid}/autogroup")
