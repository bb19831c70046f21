"""Child processes: started so that they cannot outlive us, and started again when they fall.

A child gets SIGTERM from the kernel when this process dies, however it dies. Children have sessions of
their own, so that Ctrl-C reaches only the supervisor, which then stops them in its own order.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from handlers.logs import Log

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)

# Starting again cannot mend these: usage (2, 64), permission (77), configuration (78).
HOPELESS = frozenset({2, 64, 77, 78})
STOP_PATIENCE_S = 8.0
LAST_WORDS_S = 1.0
LINE_BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class Backoff:
    """Pauses before a restart: capped exponential with full jitter; a long good run forgets the past."""

    first_s: float = 0.25
    cap_s: float = 30.0
    healthy_s: float = 20.0

    def pause_s(self, failures: int, dice: random.Random) -> float:
        """Seconds to wait before the restart that follows ``failures`` falls in a row (from 1)."""
        if failures <= 1:
            return 0.0
        return dice.uniform(0.0, min(self.cap_s, self.first_s * 2.0 ** min(failures - 1, 32)))


def _die_with_parent(parent: int) -> Callable[[], None]:
    """For the child, between fork and exec: SIGTERM at the parent's death, also if it is dead already."""

    def prepare() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


class Child:
    """One process under supervision.

    ``command`` makes the argument list at each start (it may depend on what the last run said).
    ``said`` gets the first line of its stdout, if the process is one that speaks, ``heard`` each line of its
    stderr, which else is ours. ``given_up`` tells of an
    exit code that is not among HOPELESS whether starting again would not mend it.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[], Sequence[str]],
        *,
        log: Log,
        environment: Mapping[str, str] | None = None,
        said: Callable[[bytes], None] | None = None,
        heard: Callable[[bytes], None] | None = None,
        cpu: int | None = None,
        log_file: Path | None = None,
        backoff: Backoff | None = None,
        given_up: Callable[[int], bool] | None = None,
    ) -> None:
        self.name = name
        self.restarts = 0
        self.started_s = 0.0  # monotonic
        self.exit_code: int | None = None  # of the last run that ended
        self.hopeless: asyncio.Event = asyncio.Event()
        self._command = command
        self._log = log
        self._environment = environment
        self._said = said
        self._heard = heard
        self._cpu = cpu
        self._log_file = log_file
        self._backoff = backoff or Backoff()
        self._given_up = given_up or (lambda code: False)
        self._dice = random.Random()
        self._process: asyncio.subprocess.Process | None = None
        self._stop = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Of the running process, None between two."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    async def run(self) -> None:
        """Keeps the process running until stop() or until starting it again is hopeless."""
        failures = 0
        while not self._stop.is_set():
            code = await self._once()
            if self._stop.is_set():
                return
            lived_s = time.monotonic() - self.started_s
            failures = 1 if lived_s > self._backoff.healthy_s else failures + 1
            if code in HOPELESS or self._given_up(code):
                self._log("process_given_up", process=self.name, exit_code=code)
                self.hopeless.set()
                return
            pause_s = self._backoff.pause_s(failures, self._dice)
            self.restarts += 1
            self._log(
                "process_ended",
                process=self.name,
                lived_s=f"{lived_s:.1f}",
                **_how(code),
                again_in_s=f"{pause_s:.2f}",
            )
            try:
                await asyncio.wait_for(self._stop.wait(), pause_s)
            except TimeoutError:
                continue

    async def _once(self) -> int:
        """One life of the process; its exit code (negative: the signal)."""
        self.started_s = time.monotonic()
        stderr = self._log_file.open("ab") if self._log_file else None
        hears = asyncio.subprocess.PIPE if self._heard else None
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if self._said else asyncio.subprocess.DEVNULL,
                stderr=stderr or hears,
                env=self._environment,
                start_new_session=True,
                limit=LINE_BYTES_MAX,
                preexec_fn=_die_with_parent(os.getpid()),
            )
        finally:
            if stderr:
                stderr.close()
        if self._cpu is not None:
            os.sched_setaffinity(self._process.pid, {self._cpu})
        if self._stop.is_set():  # asked to stop while it was being started
            self._signal(signal.SIGTERM)
        hearing = asyncio.create_task(self._hear(self._process.stderr))
        if self._said and self._process.stdout:
            line = await self._process.stdout.readline()
            if line:
                self._said(line)
            while await self._process.stdout.read(65536):
                pass  # nothing more is expected; a full pipe would stop it
        self.exit_code = await self._process.wait()
        await asyncio.wait({hearing}, timeout=LAST_WORDS_S)  # a child of its own may hold the pipe
        hearing.cancel()
        return self.exit_code

    async def _hear(self, stream: asyncio.StreamReader | None) -> None:
        """Hands on its log lines until it ends."""
        while self._heard and stream and (line := await stream.readline()):
            self._heard(line)

    def hang_up(self) -> None:
        """SIGHUP: it shall read its configuration anew."""
        self._signal(signal.SIGHUP)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not heed it in STOP_PATIENCE_S."""
        self._stop.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_PATIENCE_S)
        except TimeoutError:
            self._log("process_killed", process=self.name, ignored_sigterm_s=STOP_PATIENCE_S)
            self._signal(signal.SIGKILL)
            await process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            self._process.send_signal(number)


def _how(code: int) -> dict[str, object]:
    return {"signal": signal.Signals(-code).name} if code < 0 else {"exit_code": code}
