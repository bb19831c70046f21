"""What a process tells its service manager, and the listening socket that one may hand it.

The protocols are systemd's, sd_notify(3) and sd_listen_fds(3); without their environment variables nothing
is said and nothing is taken. The watchdog is fed by the process's own progress and never by an exchange's
data, so that an exchange's outage restarts nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, MutableMapping

SECOND_S = 1.0
FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START


class Service:
    """One process's line to the service manager. Raises OSError where the manager's socket is not there."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.connect(f"\0{address[1:]}" if address[0] == "@" else address)
            self._socket.setblocking(False)
        self._status = ""

    def tell(self, *lines: str) -> None:
        """Assignments such as ``READY=1``; lost when the manager's queue is full, as the next tells all."""
        if self._socket is None:
            return
        try:
            self._socket.send("\n".join(lines).encode())
        except BlockingIOError:
            self._status = ""  # so that it is said again

    def status(self, text: str) -> None:
        """What ``systemctl status`` shows, said when it changed."""
        if text != self._status:
            self._status = text
            self.tell(f"STATUS={text}")

    async def attend(self, turns: Callable[[], int], status: Callable[[], str]) -> None:
        """Until cancelled, each second: the status, and a sign of life if ``turns()`` moved."""
        before = -1
        while True:
            now = turns()
            if now != before:
                self.tell("WATCHDOG=1")
            before = now
            self.status(status())
            await asyncio.sleep(SECOND_S)


def handed_listener(environment: MutableMapping[str, str] = os.environ) -> socket.socket | None:
    """The listening socket that the service manager opened for this process, None if it opened none.

    It stays open in the manager while this process is replaced: who connects meanwhile waits and is served.
    """
    mine = environment.get("LISTEN_PID") == str(os.getpid())
    count = int(environment.get("LISTEN_FDS", "0")) if mine else 0
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environment.pop(name, None)  # they are this process's, not its children's
    if not count:
        return None
    listener = socket.socket(fileno=FIRST_DESCRIPTOR)
    os.set_inheritable(FIRST_DESCRIPTOR, False)
    listener.setblocking(False)
    return listener
