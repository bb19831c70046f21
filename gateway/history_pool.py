"""Processes that answer queries of history: beside the HTTP process, below everything that serves the stream.

A query is DuckDB, and then a page of Python objects: in the HTTP process it would hold up every other answer.
So many run at a time and so many wait; who comes after that is told when to come again.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from handlers.background import stand_back

PR_SET_PDEATHSIG = 1
RETRY_AFTER_S = 1

T = TypeVar("T")


class NoRoomError(Exception):
    """Too many wait already, or the process that worked on it fell."""


def _settle(parent: int) -> None:
    """In a new process: of low priority, and gone when the HTTP process is."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stand_back()


class HistoryPool:
    """``processes`` at work, started with the first query; ``waiting_max`` queries wait for them."""

    def __init__(self, processes: int, waiting_max: int) -> None:
        self._processes, self._waiting_max = processes, waiting_max
        self._pool: ProcessPoolExecutor | None = None
        self._room = asyncio.Semaphore(processes)
        self._asked = 0  # at work or waiting

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """``work(*arguments)`` over there. Raises NoRoomError, and what ``work`` raises."""
        if self._asked >= self._processes + self._waiting_max:
            raise NoRoomError(f"{self._asked} queries are under way")
        self._asked += 1
        try:
            async with self._room:
                pool = self._pool = self._pool or self._made()
                return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)
        except BrokenProcessPool as error:
            self._pool = None
            raise NoRoomError("the process that worked on it fell") from error
        finally:
            self._asked -= 1

    def _made(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._processes, multiprocessing.get_context("spawn"), _settle, (os.getpid(),)
        )

    def close(self) -> None:
        """Ends the processes, their queries unanswered."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None
