"""What is found before anything starts: ports, directories, files, space, a second run."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import preflight
from handlers.errors import SetupError, UnavailableError


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield listener.getsockname()[1]


def test_a_port_in_use_names_its_holder(taken_port: int) -> None:
    with pytest.raises(UnavailableError) as caught:
        preflight.free_port("127.0.0.1", taken_port, "gateway.port")
    assert caught.value.exit_code == 69
    assert f"port {taken_port} is in use by " in caught.value.what
    assert f"(pid {os.getpid()})" in caught.value.what
    assert caught.value.where == "gateway.port, 127.0.0.1"


def test_a_free_port_and_any_port_pass(taken_port: int) -> None:
    preflight.free_port("127.0.0.1", 0, "gateway.port")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        free = listener.getsockname()[1]
    preflight.free_port("127.0.0.1", free, "gateway.port")


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(SetupError, match=r"cannot listen on 192\.0\.2\.1:0"):
        preflight.free_port("192.0.2.1", 0, "http.port")


def test_nobody_holds_a_port_nobody_listens_on(taken_port: int) -> None:
    assert preflight.port_holder(taken_port) is not None
    assert preflight.port_holder(1) is None


def test_directories_are_made_private(tmp_path: Path) -> None:
    made = tmp_path / "a/b"
    preflight.make_directory(made, "run_dir")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_file_in_the_place_of_a_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="is not a directory"):
        preflight.make_directory(tmp_path / "file", "shm_dir")


def test_a_missing_ca_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"no file .*ca\.pem; at exchange\.okx\.ca_file"):
        preflight.readable(tmp_path / "ca.pem", "exchange.okx.ca_file")
    preflight.readable(None, "exchange.okx.ca_file")


def test_too_little_shared_memory_says_how_much_is_missing(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    free = status.f_bavail * status.f_frsize
    preflight.check_space(tmp_path, 1)
    with pytest.raises(UnavailableError, match=r"MiB of shared memory are needed and \d+ MiB") as caught:
        preflight.check_space(tmp_path, free + (1 << 30))
    assert "--shm-size" in caught.value.do


def test_a_second_run_on_the_same_directory_is_told_the_first_ones_pid(tmp_path: Path) -> None:
    with preflight.only_one(tmp_path):
        second = preflight.only_one(tmp_path)
        with pytest.raises(UnavailableError, match=f"already runs here .pid {os.getpid()}."), second:
            pytest.fail("two at once")
    assert list(tmp_path.iterdir()) == []
    with preflight.only_one(tmp_path):
        pass
