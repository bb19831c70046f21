"""A verdict on how frames come in: what it is made of, for whom it counts, and what `auto` makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from privileged import need
from shapes import SHAPES
from trees import build

from appliance import paths
from appliance.commands import feed
from appliance.commands.plan import _ways
from appliance.config import Box, Config, Exchange, Exchanges
from appliance.paths import Measured
from handlers.datapath import Datapath
from handlers.logs import Log
from hw import machine as hw_machine
from hw.machine import Machine


def measured(p50_us: float, cycles: float = 10_000) -> Measured:
    return Measured(5000, p50_us, 3 * p50_us, cycles, 0.01)


MEASURED = {
    "sockets_epoll": measured(60, 100_000),
    "sockets_busy": measured(30, 20_000),
    "af_packet": measured(40),
    "af_xdp": measured(29),
}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return hw_machine.read(build(tmp_path / "box", SHAPES["one socket, no SMT, tuned, E810"]))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    own = Exchange(device="af_packet:eth1", poll="busy", addresses=("192.0.2.2/24",))
    return Config(
        box=Box(shm_dir=tmp_path, run_dir=tmp_path, data_dir=tmp_path / "data"),
        exchanges=Exchanges(enabled=("okx",)),
        exchange={"okx": own},
    )


def choice(config: Config, machine: Machine, device: str, poll: str = "busy") -> paths.Choice:
    return paths.choose(paths.read(config), device, poll, machine)


def test_without_a_verdict_nothing_changes(config: Config, machine: Machine) -> None:
    assert choice(config, machine, "af_xdp:eth1").sockets is None
    paths.write(config, machine, 1000, MEASURED)
    stored = config.box.data_dir / paths.NAME
    told = json.loads(stored.read_text())
    stored.write_text(json.dumps(told | {"version": paths.VERSION + 1}))
    assert paths.read(config) is None
    stored.write_text("{")
    assert paths.read(config) is None


def test_the_lower_median_wins_and_of_even_ones_the_fewer_cycles(config: Config, machine: Machine) -> None:
    paths.write(config, machine, 1000, MEASURED)
    assert choice(config, machine, "af_packet:eth1").sockets is True  # 40 us against 30
    assert choice(config, machine, "af_packet:eth1", "epoll").sockets is False  # against 60
    assert choice(config, machine, "af_xdp:eth1").sockets is False  # 29: even, but 10,000 cycles to 20,000
    paths.write(config, machine, 1000, MEASURED | {"af_xdp": measured(29, 30_000)})
    assert choice(config, machine, "af_xdp:eth1").sockets is True


def test_it_counts_only_for_what_and_where_it_was_measured(config: Config, machine: Machine) -> None:
    paths.write(config, machine, 1000, MEASURED)
    of_a_nic = choice(config, machine, "pci:0000:08:00.0")
    assert of_a_nic.sockets is None
    assert "pci is not among what was measured" in of_a_nic.why
    newer = replace(machine, kernel=replace(machine.kernel, release="6.99"))
    elsewhere = choice(config, newer, "af_packet:eth1")
    assert elsewhere.sockets is None
    assert "another box or kernel" in elsewhere.why


def test_plan_process_and_status_say_what_was_chosen_and_why(
    config: Config, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(feed, "read_machine", lambda: machine)
    assert [line.split(";")[0] for line in _ways(config, machine)] == [
        "okx: af_packet:eth1, sockets if it fails"
    ]
    paths.write(config, machine, 1000, MEASURED)
    line = next(_ways(config, machine))
    assert line.startswith("okx: sockets, not af_packet:eth1; measured on 20")
    settings = feed.settings(config, "okx")
    datapath = Datapath(settings, Log("test"))
    assert (datapath.kind, datapath.handle, datapath.reason) == ("sockets", None, None)
    assert datapath.status()["measured"] == settings.measured
    assert "sockets_busy p50 30.0 us" in str(settings.measured)
    assert "datapath_chosen" in capsys.readouterr().err
    forced = msgspec.structs.replace(config.exchange["okx"], path="dpdk")
    only = msgspec.structs.replace(config, exchange={"okx": forced})
    assert not feed.settings(only, "okx").sockets_measured_better  # asked for by name: never measured away
    assert list(_ways(only, machine)) == ["okx: af_packet:eth1 or not at all"]


@pytest.mark.root
def test_every_way_is_measured_on_this_box_and_nothing_is_left(tmp_path: Path) -> None:
    need()
    before = set(os.listdir("/sys/class/net"))
    given = ("--seconds", "0.4", "--rounds", "1", "--rate", "2000", "--json", "--force")
    place = ("--shm-dir", str(tmp_path), "--run-dir", str(tmp_path / "run"))
    done = subprocess.run(
        [sys.executable, "-m", "appliance.cli", "bench", "paths", *given, *place],
        capture_output=True, text=True, timeout=170, check=False,
        env={**os.environ, "BOOKWIRE_BOX_DATA_DIR": str(tmp_path / "data")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    ways = {row["way"]: row for row in told["ways"]}
    assert set(ways) == {"sockets_epoll", "sockets_busy", "af_packet", "af_xdp"}
    for row in ways.values():  # a round may fail on a machine that is busy, and then says why
        assert bool(row["measured"]) != bool(row["reason"]), row
        if row["measured"]:
            assert row["measured"]["messages"] > 100
            assert 0 < row["measured"]["p50_us"] <= row["measured"]["p99_us"]
            assert row["measured"]["cycles_per_packet"] > 500
    assert any(ways[way]["measured"] for way in ("sockets_epoll", "sockets_busy")), ways
    assert any(ways[way]["measured"] for way in ("af_packet", "af_xdp")), ways
    stored = json.loads(Path(told["kept"]).read_text())
    assert set(stored["paths"]) == {way for way, row in ways.items() if row["measured"]}
    assert set(os.listdir("/sys/class/net")) <= before
    assert not list((tmp_path / "run").iterdir())
