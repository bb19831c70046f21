"""A Debian 12 file tree, made by debootstrap, and boxes over it: an overlay each, booted by systemd-nspawn.

Wants root. What a box changes is in ``changes / "upper"``; its network is a loopback of its own, its mounts
are in a namespace that ends with it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREE = ROOT / "build" / "tree"
# All that the roles install: a box without a network has it already.
PACKAGES = (
    "systemd,systemd-sysv,udev,python3,python3-apt,python3-venv,python3-pip,python3-packaging,"
    "ca-certificates,procps,chrony,nftables,libssl3,zlib1g"
)
BOOT_S = 180
STOP_S = 30
PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def packages(pattern: str) -> list[Path]:
    """What `make wheel` and `make deb` made, the newest last; not those with DPDK, which want its library."""
    found = [path for path in (ROOT / "dist").glob(pattern) if "dpdk" not in path.name]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def tree() -> Path:
    """A Debian 12 without anything of ours, kept between runs; its package lists are of the last hour."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("wants root and debootstrap (Debian: debootstrap)")
    root = TREE / "root"
    stamp = TREE / hashlib.sha256(PACKAGES.encode()).hexdigest()[:16]
    if not stamp.exists():
        shutil.rmtree(TREE, ignore_errors=True)
        TREE.parent.mkdir(exist_ok=True)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"debootstrap: {done.stdout[-200:]}")
        (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        refusal = root / "usr" / "sbin" / "policy-rc.d"  # what apt installs starts nothing
        refusal.write_text("#!/bin/sh\nexit 101\n")
        refusal.chmod(0o755)
        stamp.touch()
    os.utime(root / "var" / "lib" / "apt" / "lists")  # a box without a network cannot fetch younger ones
    return root


# Written by Debian's own tools, whatever they install and remove.
THEIRS = re.compile(
    "etc/([.]pwd[.]lock|machine-id|resolv[.]conf|hostname|[.]updated|ld[.]so[.]cache|(passwd|group|g?shadow|sub[ug]id)-)$"
    "|etc/systemd/system/.*dbus|var/(cache|log|tmp|[.]updated)|var/lib/(apt|dpkg|systemd|chrony|private)/|run/|tmp/"
    "|root/[.](cache|ansible)/|dev/|proc/|sys/"
)


def difference(upper: Path, lower: Path) -> set[str]:
    """Files of an overlay that are not as they were beneath it: new, changed or (-) gone. Not THEIRS."""
    found = set()
    for path in upper.rglob("*"):
        name = str(path.relative_to(upper))
        if (path.is_dir() and not path.is_symlink()) or THEIRS.match(name):
            continue
        was = lower / name
        if path.is_char_device() and path.lstat().st_rdev == 0:
            found.add(f"-{name}")
        elif path.is_symlink() or was.is_symlink():
            if not (path.is_symlink() and was.is_symlink() and os.readlink(path) == os.readlink(was)):
                found.add(name)
        elif not was.is_file() or was.read_bytes() != path.read_bytes():
            found.add(name)
    return found


@dataclass
class Box:
    """A booted box."""

    leader: int  # its first process, as this machine counts
    changes: Path

    def command(self, *words: str) -> list[str]:
        """The command line that runs ``words`` inside."""
        inside = ["nsenter", f"--target={self.leader}", *("--mount", "--uts", "--ipc", "--net", "--pid")]
        return [*inside, "env", "-i", "HOME=/var/tmp", "LC_ALL=C.UTF-8", f"PATH={PATHS}", *words]

    def run(self, *words: str, check: bool = True) -> str:
        """Its output."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def path(self, inside: str) -> Path:
        """A file of it, as seen from here."""
        return Path(f"/proc/{self.leader}/root") / inside.lstrip("/")


def _leader(process: subprocess.Popen[bytes]) -> int:
    """The descendant that is process 1 of a namespace, 0 while there is none."""
    waiting = [process.pid]
    while waiting:
        pid = waiting.pop()
        try:
            numbers = Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].split("\n")[0].split()
            waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
        if len(numbers) > 1 and numbers[-1] == "1" and Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
            return pid
    return 0


@contextmanager
def booted(changes: Path, *, above: Sequence[Path] = ()) -> Iterator[Box]:
    """A box that runs until the block ends. ``above``: trees laid over Debian's, the uppermost first."""
    if shutil.which("systemd-nspawn") is None:
        pytest.skip("no systemd-nspawn (Debian: systemd-container)")
    lower = ":".join(map(str, [*above, tree()]))
    boot = Path(__file__).parent / "boot"
    with (
        (changes / "console").open("wb") as console,
        subprocess.Popen(
            [str(boot), lower, str(changes)], stdin=subprocess.DEVNULL, stdout=console, stderr=console
        ) as process,
    ):
        try:
            yield _ready(process, changes)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _remove_groups(process.pid)


def _remove_groups(pid: int) -> None:
    """The control groups that ``boot`` made, empty now."""
    for group in Path("/sys/fs/cgroup").glob(f"**/bookwire-box-{pid}"):
        for below, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):  # a process that is being killed still: left to the kernel's end
                os.rmdir(below)


def _ready(process: subprocess.Popen[bytes], changes: Path) -> Box:
    until = time.monotonic() + BOOT_S
    while time.monotonic() < until and process.poll() is None:
        leader = _leader(process)
        if leader:
            box = Box(leader, changes)
            if box.run("systemctl", "is-system-running", "--wait", check=False).strip() in (
                "running",
                "degraded",
            ):
                return box
        time.sleep(0.2)
    pytest.skip(f"systemd does not boot here: {(changes / 'console').read_text(errors='replace')[-300:]}")
