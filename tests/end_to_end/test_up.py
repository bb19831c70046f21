"""``bookwire up``: ready when it says so, and nothing left when it is over."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from box import ROOMS, Box, running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ready_means_every_book_is_live_and_after_a_signal_nothing_is_left(number: signal.Signals) -> None:
    five = ",".join(ROOMS[0])
    box = Box("--exchanges", five, "--symbols", "BTC-USDT,ETH-USDT", config="[simulate]\nlevels = 200\n")
    try:
        box.start()
        assert box.ready["books_live"] == box.ready["books"] == 10
        assert tuple(box.ready["exchanges"]) == ROOMS[0]
        with box.observer() as observer:
            assert all(exchange.all_live for exchange in observer.look())
        family = box.family()
        assert len(family[0].children()) == 1 + 5 + 3  # the simulator, feeds, gateway, http, the recorder
        process = box.process
        assert process
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        assert [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []
        assert not box.shm_dir.exists()
        assert {path.name for path in box.run_dir.iterdir()} == {
            "test.toml",
            "simulator",
            "data",
        }  # a recording stays
    finally:
        box.stop()


def test_a_killed_supervisor_takes_everything_with_it() -> None:
    with running(
        "--symbols", "BTC-USDT", "--exchanges", "okx,kraken", config="[simulate]\nlevels = 50\n"
    ) as box:
        family = box.family()
        os.kill(family[0].pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(family[1:], timeout=15)
        assert alive == []
        assert list(box.shm_dir.glob("*.shm")) == []


def test_it_stops_by_itself_after_the_seconds_asked_for() -> None:
    with running("--symbols", "BTC-USDT", "--exchanges", "okx", "--seconds", "0.5") as box:
        assert box.process
        assert box.process.wait(timeout=15) == 0


def test_progress_and_the_ready_line_for_people(tmp_path: Path) -> None:
    box = Box("--symbols", "BTC-USDT", "--exchanges", "okx,kraken", "--seconds", "2")
    command = [part for part in box.command if part != "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    box.stop()
    assert done.returncode == 0, done.stderr
    ready, *table = done.stdout.splitlines()
    assert ready.startswith("ready: 2 of 2 books live on 2 exchanges in ")
    assert f"ws://127.0.0.1:{box.port}/" in ready
    assert any("BTC-USDT" in line and "live" in line for line in table), done.stdout
    assert "okx: 1 of 1 books live (" in done.stderr
    assert "kraken: 1 of 1 books live (" in done.stderr
    *progress, stopped = done.stderr.splitlines()
    assert stopped.startswith("stopped after ")
    assert all(" books live" in line for line in progress), done.stderr  # nothing else on a good run


def test_every_step_is_told_where_it_is_asked_for() -> None:
    with running("--symbols", "BTC-USDT", "--exchanges", "kraken", "-v") as box:
        assert box.stop(signal.SIGINT) == 0
        events = [line.split()[0] for line in box.messages]
        assert {"started", "connected", "verifier", "exchange", "listening"} <= set(events)
        assert not {"disconnected", "closed", "book_not_live"} & set(events)  # feeds end before exchanges do
        assert any(line.startswith("verifier ") and " state=ok" in line for line in box.messages)


@pytest.fixture
def box() -> Box:
    return Box("--symbols", "BTC-USDT", "--exchanges", "okx")


def refused(box: Box, *more: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run([*box.command, *more], capture_output=True, text=True, timeout=60, check=False)
    finally:
        box.stop()


def test_a_port_in_use_is_told_before_anything_starts(box: Box) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        done = refused(box, "--port", str(port))
    assert (done.returncode, done.stdout) == (69, "")
    assert f"port {port} is in use by" in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr


def test_too_little_shared_memory_is_told_before_anything_starts(box: Box) -> None:
    box.config_path.write_text(f"[exchange.okx]\nring_bytes = {1 << 45}\n")
    done = refused(box)
    assert (done.returncode, done.stdout) == (69, "")
    assert "MiB of shared memory are needed" in done.stderr
    assert "--shm-size" in done.stderr


def test_a_missing_ca_is_told_before_anything_starts(box: Box) -> None:
    box.config_path.write_text('[exchange.okx]\nca_file = "absent.pem"\n')
    done = refused(box)
    assert (done.returncode, done.stdout) == (69, "")
    assert "no file absent.pem" in done.stderr


def test_a_symbol_nobody_lists_ends_the_run_with_its_name() -> None:
    box = Box("--exchanges", "okx", config='[exchange.okx]\nsymbols = ["NOPE-USDT"]\n')
    done = refused(box)
    assert done.returncode == 64, done.stderr
    assert done.stdout == ""
    assert "NOPE-USDT" in done.stderr


def test_a_second_run_on_the_same_directories_is_told() -> None:
    with running("--symbols", "BTC-USDT", "--exchanges", "okx") as first:
        second = Box("--symbols", "BTC-USDT", "--exchanges", "okx")
        done = refused(second, "--run-dir", str(first.run_dir))
        assert done.returncode == 69
        assert f"already runs here (pid {first.process.pid if first.process else 0})" in done.stderr


def bookwire(box: Box, *arguments: str) -> subprocess.CompletedProcess[str]:
    places = (
        "--shm-dir",
        str(box.shm_dir),
        "--run-dir",
        str(box.run_dir),
        "--config",
        str(box.run_dir / "up.toml"),
    )
    return subprocess.run(
        [sys.executable, "-m", "appliance.cli", *arguments, *places],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_commands_that_look_at_a_running_box() -> None:
    with running("--symbols", "BTC-USDT,ETH-USDT", "--exchanges", "binance,kraken") as box:
        status = json.loads(bookwire(box, "status", "--json").stdout)
        assert [(row["exchange"], row["live"], row["books"]) for row in status["exchanges"]] == [
            ("binance", 2, 2),
            ("kraken", 2, 2),
        ]
        assert "binance" in bookwire(box, "status").stdout
        told = json.loads(bookwire(box, "status", "--latency", "--json").stdout)["latency"]
        assert [row["exchange"] for row in told] == ["binance", "kraken"]
        for row in told:
            assert row["stages"]["tcp"] is None  # the kernel's
            assert {name for name, seen in row["stages"].items() if seen} == {
                "tls", "websocket", "decode", "book", "ring",
            }  # fmt: skip
            measured = row["stages"]["ring"]["count"]
            assert row["measured_one_in"] > 1
            assert 0 < measured < row["receive_to_publish"]["count"]  # not each
        assert "websocket" in bookwire(box, "status", "--latency").stdout
        symbols = [json.loads(line) for line in bookwire(box, "symbols", "--json").stdout.splitlines()]
        assert [row["symbol"] for row in symbols] == ["BTC-USDT", "ETH-USDT"]
        tops = [json.loads(line) for line in bookwire(box, "top", "--json").stdout.splitlines()]
        assert all(float(row["bid"][0]) < float(row["ask"][0]) for row in tops)
        assert "BTC-USDT" in bookwire(box, "top", "BTC-USDT").stdout
        book = json.loads(bookwire(box, "book", "kraken:ETH-USDT", "--depth", "3", "--json").stdout)
        assert len(book["bids"]) == len(book["asks"]) == 3
        merged = json.loads(bookwire(box, "book", "consbook:BTC-USDT", "--depth", "3", "--json").stdout)
        assert merged["channel"] == "consbook:BTC-USDT"
        assert len(merged["data"]["bids"]) == 3
        tail = [
            json.loads(line)
            for line in bookwire(box, "tail", "binance", "--count", "5", "--json").stdout.splitlines()
        ]
        assert len(tail) == 5
        assert {row["type"] for row in tail} <= {"delta", "reset", "state"}
        wrong = bookwire(box, "book", "kraken:ETH-USDX")
        assert wrong.returncode == 64
        assert 'did you mean "ETH-USDT"?' in wrong.stderr
