"""What must hold before anything starts; each failure says what, where, what to do.

Finding these here, in one process, spares the user many processes that fall one after the other.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from appliance.commands.feed import settings
from appliance.config import Config
from handlers.errors import SetupError, UnavailableError
from handlers.native_feed import bytes_needed
from handlers.planning import SPARE_BOOKS
from handlers.registry import venue

LOCK_NAME = "up.lock"


def check(config: Config) -> None:
    """Raises UnavailableError (69), PermissionError (77) or SetupError (78) for what cannot work."""
    for directory, key in ((config.box.shm_dir, "shm_dir"), (config.box.run_dir, "run_dir")):
        make_directory(directory, key)
    for name in config.exchanges.enabled:
        readable(config.of(name).ca_file, f"exchange.{name}.ca_file")
    readable(config.gateway.tls_certificate, "gateway.tls_certificate")
    readable(config.gateway.tls_key, "gateway.tls_key")
    readable(config.gateway.token_file, "gateway.token_file")
    if config.gateway.port and (config.gateway.host, config.gateway.port) == (
        config.http.host,
        config.http.port,
    ):
        raise SetupError(
            "gateway and http have the same port", where="gateway.port, http.port", do="change one"
        )
    for table, host, port in (
        ("gateway", config.gateway.host, config.gateway.port),
        ("http", config.http.host, config.http.port),
    ):
        free_port(host, port, f"{table}.port")
    check_space(config.box.shm_dir, space_needed(config))


def space_needed(config: Config) -> int:
    """Bytes of shared memory of all exchanges; a pattern counts as one book, so it may become more."""
    return sum(
        bytes_needed(venue(name), settings(config, name), max(1, len(config.of(name).symbols)) + SPARE_BOOKS)
        for name in config.exchanges.enabled
    )


def make_directory(path: Path, key: str) -> None:
    """The directory, made if need be, private to this user when it is new."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise SetupError(f"{path} is not a directory", where=f"box.{key}", do="name another") from error
    except PermissionError as error:
        raise PermissionError(errno.EACCES, f"cannot create (box.{key})", str(path)) from error
    except OSError as error:
        raise UnavailableError(
            f"cannot create {path}: {error.strerror}", where=f"box.{key}", do="name another"
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"not writable (box.{key})", str(path))


def readable(path: Path | None, key: str) -> None:
    """A file that is named must be there and readable."""
    if path is None:
        return
    if not path.is_file():
        raise UnavailableError(
            f"no file {path}", where=key, do="give the path of a PEM file, or leave the key out"
        )
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, f"not readable ({key})", str(path))


def free_port(host: str, port: int, key: str) -> None:
    """The port can be listened on now (0: any)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except PermissionError as error:
            raise PermissionError(errno.EACCES, f"may not listen on {host}:{port} ({key})") from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                holder = port_holder(port)
                raise UnavailableError(
                    f"port {port} is in use" + (f" by {holder}" if holder else ""),
                    where=f"{key}, {host}",
                    do="stop that process, or give another port",
                ) from error
            raise SetupError(
                f"cannot listen on {host}:{port}: {error.strerror}",
                where=key,
                do="give an address of this machine",
            ) from error


def port_holder(port: int) -> str | None:
    """``name (pid N)`` of a process that listens on the port, where this user may see it."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for process in Path("/proc").glob("[0-9]*"):
        if sockets & set(_open_files(process)):
            with suppress(OSError):  # it may have ended meanwhile
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def _open_files(process: Path) -> Iterator[str]:
    """What its descriptors point to; none of another user's process."""
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                yield os.readlink(descriptor)


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                yield fields[9]


def check_space(directory: Path, bytes_needed: int) -> None:
    """Enough free bytes where segments go; a container's default of 64 MB usually is not."""
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if free < bytes_needed:
        raise UnavailableError(
            f"{bytes_needed >> 20} MiB of shared memory are needed and {free >> 20} MiB are free",
            where=str(directory),
            do="enlarge it (containers: --shm-size=2g), take fewer symbols, or name another box.shm_dir",
        )


@contextmanager
def only_one(run_dir: Path) -> Iterator[None]:
    """Holds run_dir for this process: two supervisors on one directory would undo each other."""
    path = run_dir / LOCK_NAME
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.exists() or path.stat().st_ino != os.fstat(lock.fileno()).st_ino:
                raise BlockingIOError  # the last holder took the file with it while we waited
        except BlockingIOError as error:
            lock.seek(0)
            raise UnavailableError(
                f"bookwire already runs here (pid {lock.read().strip() or 'unknown'})",
                where=str(run_dir),
                do="stop it, or give another --run-dir, --shm-dir and ports",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
