"""A process under a service manager: what it tells, and the socket that it is handed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import websockets

from appliance.processes import HOPELESS
from handlers.service import Service, handed_listener

UNITS = Path(__file__).parents[2] / "appliance" / "units"
SERVICES = sorted(UNITS.glob("*.service"))
LASTING = [path for path in SERVICES if "Type=oneshot" not in path.read_text()]
EXPOSURE_MAX = 2.5
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""  # what systemd does between fork and exec


class Manager:
    """The manager's end: a datagram socket whose messages are read one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(30)

    def until(self, wanted: str) -> list[str]:
        """Lines up to the one that begins so."""
        lines: list[str] = []
        while not any(line.startswith(wanted) for line in lines):
            lines += self.socket.recv(4096).decode().split("\n")
        return lines


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.socket.close()


@pytest.fixture
def start(tmp_path: Path, manager: Manager) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a command as systemd would, the listener as descriptor 3."""
    with ExitStack() as started:

        def begin(listener: socket.socket, *command: str) -> subprocess.Popen[bytes]:
            handed = listener.fileno()
            process = subprocess.Popen(
                [
                    *(sys.executable, "-c", HAND_OVER, str(handed), "-m", "appliance.cli", *command),
                    *("--shm-dir", str(tmp_path / "shm"), "--run-dir", str(tmp_path / "run")),
                ],
                pass_fds=(handed,),
                env={**os.environ, "NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "15000000"},
            )
            started.callback(process.wait)
            started.callback(process.kill)
            return process

        yield begin


def test_nothing_is_said_without_a_manager() -> None:
    service = Service({})
    service.tell("READY=1")
    service.status("quiet")
    assert handed_listener({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) is None


def test_a_status_is_said_once(manager: Manager) -> None:
    service = Service({"NOTIFY_SOCKET": str(manager.path)})
    for text in ("5 of 5 books live", "5 of 5 books live", "4 of 5 books live"):
        service.status(text)
    service.tell("STOPPING=1")
    assert manager.until("STOPPING") == ["STATUS=5 of 5 books live", "STATUS=4 of 5 books live", "STOPPING=1"]


async def test_the_watchdog_is_fed_by_progress_only(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlers.service.SECOND_S", 0.001)
    turns = iter([1, 2, 2, 2, 3])
    told: list[str] = []
    service = Service({"NOTIFY_SOCKET": str(manager.path)})
    with pytest.raises(RuntimeError):  # the sequence ends, and with it the attendance
        await service.attend(lambda: next(turns), lambda: f"turn {len(told)}")
    service.tell("END=1")
    assert manager.until("END").count("WATCHDOG=1") == 3


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


async def test_a_gateway_is_replaced_behind_its_socket(
    manager: Manager, start: Callable[..., subprocess.Popen[bytes]], listener: socket.socket
) -> None:
    url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
    first = start(listener, "gateway")
    await asyncio.to_thread(manager.until, "READY=1")
    assert "WATCHDOG=1" in await asyncio.to_thread(manager.until, "STATUS=0 clients, 0 exchanges")
    async with websockets.connect(url, open_timeout=60) as client:
        await client.send('{"op":"ping"}')
        assert await client.recv() == '{"type":"pong"}'
        first.send_signal(signal.SIGTERM)
        await asyncio.to_thread(manager.until, "STOPPING=1")
        assert '"reconnect"' in str(await client.recv())
    assert await asyncio.to_thread(first.wait) == 0
    waiting = asyncio.create_task(websockets.connect(url, open_timeout=60).__aenter__())  # nobody serves now
    start(listener, "gateway")
    async with await asyncio.wait_for(waiting, 30) as client:
        await client.send('{"op":"ping"}')
        assert await client.recv() == '{"type":"pong"}'


def test_http_tells_too(
    manager: Manager, start: Callable[..., subprocess.Popen[bytes]], listener: socket.socket
) -> None:
    process = start(listener, "http")
    assert "READY=1" in manager.until("STATUS=serving")
    process.send_signal(signal.SIGTERM)
    manager.until("STOPPING=1")
    assert process.wait(20) == 0


def test_the_recorder_tells_too(manager: Manager, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "appliance.cli", "record", "--exchanges", "okx")
    process = subprocess.Popen(
        [*command, "--shm-dir", str(tmp_path / "shm"), "--run-dir", str(tmp_path / "run")],
        env={
            **os.environ, "NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "15000000",
            "XDG_STATE_HOME": str(tmp_path), "BOOKWIRE_BOX_DATA_DIR": str(tmp_path / "data"),
        },
    )  # fmt: skip
    try:
        assert not any(line.startswith(("STATUS", "WATCHDOG")) for line in manager.until("READY=1"))
        assert "WATCHDOG=1" in manager.until("STATUS=0 updates of 0 exchanges")
        process.send_signal(signal.SIGTERM)
        manager.until("STOPPING=1")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """OKX played with one book, and a configuration that leads there."""
    command = (sys.executable, "-m", "appliance.simulator", "--exchange", "okx", "--symbols", "BTC-USDT")
    process = subprocess.Popen(
        [*command, "--levels", "50", "--state-dir", str(tmp_path / "simulator")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    ready = json.loads(process.stdout.readline())
    place = ready["exchanges"]["okx"]
    (tmp_path / "bookwire.toml").write_text(
        f"""[exchange.okx]
symbols = ["BTC-USDT"]
websocket_url = "{place["websocket_url"]}"
rest_url = "{place["rest_url"]}"
ca_file = "{ready["ca_file"]}"
"""
    )
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_feed_lives_by_its_loop_and_not_by_its_exchange(
    manager: Manager, tmp_path: Path, exchange: subprocess.Popen[str]
) -> None:
    feed = subprocess.Popen(
        [
            *(
                sys.executable,
                "-m",
                "appliance.cli",
                "feed",
                "okx",
                "--config",
                str(tmp_path / "bookwire.toml"),
            ),
            *("--shm-dir", str(tmp_path / "shm"), "--run-dir", str(tmp_path / "run")),
        ],
        env={**os.environ, "NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "15000000"},
    )
    try:
        assert not any(line.startswith(("STATUS", "WATCHDOG")) for line in manager.until("READY=1"))
        manager.until("STATUS=1 of 1 books live, oldest data 0.")
        exchange.send_signal(signal.SIGSTOP)
        silent = manager.until("STATUS=1 of 1 books live, oldest data 3.")
        assert silent.count("WATCHDOG=1") >= 3
        feed.send_signal(signal.SIGTERM)
        manager.until("STOPPING=1")
        assert feed.wait(20) == 0
    finally:
        feed.kill()
        feed.wait()


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.name)
def test_a_unit_is_closed_tight(unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here (Debian: systemd)")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_MAX


def open_points(unit: Path) -> set[str]:
    """What systemd-analyze finds open about a unit."""
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--json=short", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return {row["name"] for row in json.loads(done.stdout) if float(row["exposure"] or 0) > 0}


def test_a_feed_with_a_nic_is_open_by_no_more_than_its_devices(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here (Debian: systemd)")
    unit = tmp_path / "bookwire-feed@okx.service"
    shutil.copy(UNITS / "bookwire-feed@.service", unit)
    closed = open_points(unit)
    (tmp_path / f"{unit.name}.d").mkdir()
    shutil.copy(UNITS / "bookwire-feed-vfio.conf", tmp_path / f"{unit.name}.d" / "50-vfio.conf")
    assert open_points(unit) - closed == {"PrivateDevices="}  # exposure 1.5 of 10


def test_units_are_understood() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here (Debian: systemd)")
    kinds = (".target", ".socket", ".service")
    names = sorted(path.name for path in UNITS.iterdir() if path.suffix in kinds)
    instance = {"bookwire-feed@.service": "okx", "bookwire-sink@.service": "postgres"}
    names = [name.replace("@", f"@{instance.get(name, '')}") for name in names]
    done = subprocess.run(
        ["systemd-analyze", "verify", *(f"./{name}" for name in names)],
        cwd=UNITS,
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "/usr/bin/bookwire is not executable" not in line]
    assert said == []


@pytest.mark.parametrize("unit", LASTING, ids=lambda path: path.name)
def test_what_no_restart_mends_is_not_restarted(unit: Path) -> None:
    text = unit.read_text()
    codes = re.search(r"^RestartPreventExitStatus=(.*)$", text, re.MULTILINE)
    assert codes
    assert {int(code) for code in codes[1].split()} == set(HOPELESS)
    assert "WatchdogSec=" in text
    assert "Type=notify" in text
