"""Work beside the stream, in processes of its own: how such a process stands back."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")


def stand_back(nice: int) -> None:
    """Makes this process one of low priority, in a session of its own.

    The kernel shares a CPU out between sessions first (sched_autogroup_enabled): in the session of the
    process that serves the stream, whatever this one uses would count as used by that one, nice or not.
    """
    with suppress(OSError):  # a session's leader already
        os.setsid()
    with suppress(OSError):  # a sandbox may forbid it, a kernel may not have it
        os.nice(nice)
    with suppress(OSError):
        AUTOGROUP.write_text(str(nice))
