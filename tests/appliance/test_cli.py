"""The command line from outside: exit codes, where output goes, what is said about slips."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cli import COMMANDS
from appliance.commands.status import breakers


def bookwire(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BOOKWIRE_")}
    return subprocess.run(
        [sys.executable, "-m", "appliance.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**clean, **environment},
    )


@pytest.fixture
def nowhere(tmp_path: Path) -> tuple[str, ...]:
    return ("--shm-dir", str(tmp_path / "shm"), "--run-dir", str(tmp_path / "run"))


def test_without_a_command_the_overview_is_a_usage_error_on_stderr() -> None:
    done = bookwire()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("examples:\n  bookwire up --simulate")


def test_help_is_data() -> None:
    done = bookwire("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_begins_with_examples(name: str) -> None:
    done = bookwire(name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"examples:\n\n  bookwire {name}") or done.stdout.startswith(
        f"examples:\n  bookwire {name}"
    )
    assert f"usage: bookwire {name}" in done.stdout


def test_version() -> None:
    assert bookwire("--version").stdout.startswith("bookwire 0.")


def test_slips_get_a_suggestion_and_exit_2() -> None:
    command = bookwire("stauts")
    assert (command.returncode, command.stdout) == (2, "")
    assert 'did you mean "status"?' in command.stderr
    option = bookwire("up", "--simulat")
    assert option.returncode == 2
    assert 'did you mean "--simulate"?' in option.stderr


def test_exchanges_for_people_and_machines() -> None:
    rows = json.loads(bookwire("exchanges", "--json").stdout)
    assert [row["id"] for row in rows[:5]] == ["binance", "coinbase", "okx", "bybit", "kraken"]
    assert len(rows) == 21
    listed = [line.split()[1] for line in bookwire("exchanges").stdout.splitlines()]
    assert listed == [row["id"] for row in rows]
    gone = {row["id"]: row["lifecycle"] for row in rows if row["lifecycle"]["state"] != "active"}
    assert set(gone) == {"bitmart", "coinex", "ascendex"}
    text = bookwire("exchanges").stdout
    assert all(f"{life['state']} {life['date']}: {life['source']}" in text for life in gone.values())


def test_check_config_prints_what_holds_or_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[gateway]\nport = 9000\n")
    done = bookwire("check-config", "--config", str(path), "--json", BOOKWIRE_HTTP_PORT="9001")
    told = json.loads(done.stdout)
    assert (told["gateway"]["port"], told["http"]["port"]) == (9000, 9001)
    path.write_text("[gateway]\nprot = 9000\n")
    done = bookwire("check-config", "--config", str(path))
    assert (done.returncode, done.stdout) == (78, "")
    assert f"{path}:2" in done.stderr
    path.write_text("[gateway]\nping_ms = 100\ntimeout_ms = 50\n")
    done = bookwire("check-config", "--config", str(path))
    assert done.returncode == 78
    assert "ping_ms must be below timeout_ms" in done.stderr


@pytest.mark.parametrize("name", ["top", "book", "tail", "status", "symbols"])
def test_where_nothing_runs_it_says_so(name: str, nowhere: tuple[str, ...]) -> None:
    channel = ("binance:BTC-USDT",) if name in ("book", "tail") else ()
    done = bookwire(name, *channel, *nowhere)
    assert (done.returncode, done.stdout) == (69, "")
    assert "bookwire up" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("up", "--exchanges", "binnance"), 64, 'did you mean "binance"?'),
        (("feed", "binnance"), 64, "unknown"),
        (("feed", "upbitt"), 64, "unknown"),
        (("simulate", "--exchange", "krakn"), 64, 'did you mean "kraken"?'),
        (("up", "--config", "absent.toml"), 78, "cannot read the configuration"),
        (("up", "--port", "99999"), 78, "gateway.port: expected `int` <= 65535"),
        (("up", "--port", "8085", "--http-port", "8085"), 78, "the same port"),
    ],
)
def test_bad_input_ends_before_anything_starts(
    arguments: tuple[str, ...], code: int, said: str, nowhere: tuple[str, ...]
) -> None:
    more = () if arguments[0] == "simulate" else nowhere
    done = bookwire(*arguments, *more)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr


def test_a_plan_counts_without_dialling_anybody(nowhere: tuple[str, ...]) -> None:
    done = bookwire("plan", "--exchanges", "binance", "--books", "1500", "--json", *nowhere)
    row = json.loads(done.stdout)
    assert (done.returncode, row["venue"], row["books"]) == (0, "binance", 1500)
    assert row["warm_up_s"] > 60
    assert row["shared_memory_bytes"] > 100 << 20


def test_a_pattern_is_planned_only_with_a_count(nowhere: tuple[str, ...]) -> None:
    done = bookwire("plan", "--exchanges", "okx", "--symbols", "*", *nowhere)
    assert done.returncode == 64
    assert "--list" in done.stderr


def test_an_open_breaker_can_be_read() -> None:
    closed, banned = {"open_until": 0.0, "reason": ""}, "HTTP 418: the address is banned"
    feed = {"rest": {"breaker": {"open_until": 1060.0, "reason": banned}}, "connects": {"breaker": closed}}
    assert breakers(feed, 1000.0) == [{"of": "rest", "seconds": 60.0, "reason": banned}]
    assert breakers(feed, 1061.0) == []
    assert breakers({}, 1000.0) == []
