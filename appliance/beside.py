"""A child process kept running beside a command that has its own event loop, on a thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from appliance.processes import Child
from handlers.logs import Log


@contextmanager
def running(name: str, command: Sequence[str], log: Log) -> Iterator[Child]:
    """Started again when it falls, as under ``bookwire up``; stopped at the end."""
    started = threading.Event()
    held: list[tuple[asyncio.AbstractEventLoop, Child]] = []

    async def keep() -> None:
        held.append(
            (asyncio.get_running_loop(), Child(name, lambda: command, log=log, environment=os.environ))
        )
        started.set()
        await held[0][1].run()

    thread = threading.Thread(target=lambda: asyncio.run(keep()), name=name, daemon=True)
    thread.start()
    started.wait()
    loop, child = held[0]
    try:
        yield child
    finally:
        if thread.is_alive():
            asyncio.run_coroutine_threadsafe(child.stop(), loop)
        thread.join()
