"""`bookwire bench paths --exchange`: an operator's interface is measured, given back, and its verdict used.

The other end of its wire is in a namespace, where `bookwire bench traffic` runs as on another machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from privileged import need

from appliance import cli, config_read
from appliance.commands import feed
from handlers.datapath import Datapath
from handlers.logs import Log

PATIENCE_S = 170
OURS, THEIRS = "10.76.0.2/24", "10.76.0.1"
OFFLOADS = ("tx", "off", "tso", "off", "gso", "off", "gro", "off")
GIVEN = ("--seconds", "0.4", "--rounds", "1", "--json", "--force")
pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]


@dataclass
class Lab:
    """``box`` has ``eth1`` and no other network, ``far`` the other end of its wire."""

    box: str
    far: str
    directory: Path

    def command(self, namespace: str, *command: object) -> list[str]:
        return ["ip", "netns", "exec", namespace, *map(str, command)]

    def run(self, namespace: str, *command: object) -> str:
        done = subprocess.run(
            self.command(namespace, *command), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def bench(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        places = ("--config", self.config, "--shm-dir", self.directory, "--run-dir", self.directory / "run")
        command = (sys.executable, "-m", "appliance.cli", "bench", "paths", "--exchange", "okx", *arguments)
        return subprocess.run(
            self.command(self.box, *command, *places, "--state-dir", self.directory / "nic"),
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
            env={**os.environ, "BOOKWIRE_BOX_DATA_DIR": str(self.directory / "data")},
        )  # fmt: skip

    @property
    def config(self) -> Path:
        return self.directory / "box.toml"

    def picture(self) -> tuple[str, str]:
        """What a measurement may touch."""
        features = self.run(self.box, "ethtool", "-k", "eth1").splitlines()
        return (
            self.run(self.box, "ip", "-j", "addr", "show", "scope", "global", "dev", "eth1"),
            "\n".join(line for line in features if "checksumming" in line or "segmentation" in line),
        )


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    need("ip", "ethtool")
    made = Lab(f"bwbox-{os.getpid()}", f"bwfar-{os.getpid()}", tmp_path)
    try:
        for namespace in (made.box, made.far):
            subprocess.run(["ip", "netns", "add", namespace], check=True)
            made.run(namespace, "ip", "link", "set", "lo", "up")
        peer = ("type", "veth", "peer", "name", "eth1", "netns", made.far)
        made.run(made.box, "ip", "link", "add", "eth1", *peer)
        for namespace in (made.box, made.far):
            made.run(namespace, "ip", "link", "set", "eth1", "up")
        made.run(made.far, "ip", "addr", "add", f"{THEIRS}/24", "dev", "eth1")
        made.run(made.far, "ethtool", "-K", "eth1", *OFFLOADS)
        yield made
    finally:
        for namespace in (made.box, made.far):
            subprocess.run(["ip", "netns", "del", namespace], check=False)


@pytest.fixture
def far_end(lab: Lab) -> Iterator[tuple[object, ...]]:
    """Options that name what runs at the other end of the wire."""
    place = ("--listen", f"{THEIRS}:0", "--directory", lab.directory / "far", "--rate", "2000")
    command = lab.command(lab.far, sys.executable, "-m", "appliance.cli", "bench", "traffic", *place)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield "--far-end", f"{THEIRS}:{told['port']}", "--ca-file", told["ca_file"]
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


@pytest.mark.parametrize("driver", ["af_packet", pytest.param("af_xdp", marks=pytest.mark.long)])
def test_it_is_measured_given_back_and_auto_goes_by_it(
    lab: Lab, far_end: tuple[object, ...], driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = f'[exchange.okx]\ndevice = "{driver}:eth1"\ninterface = "eth1"\nhugepages = false\n'
    if driver == "af_packet":  # the kernel has its address
        lab.run(lab.box, "ip", "addr", "add", OURS, "dev", "eth1")
    else:  # only the configuration names one
        table += f'addresses = ["{OURS}"]\n'
    lab.config.write_text(table)
    before = lab.picture()
    done = lab.bench(*GIVEN, *far_end)
    assert done.returncode == 0, done.stderr
    assert lab.picture() == before
    assert not list((lab.directory / "nic").glob("*.json"))
    ways = {row["way"]: row for row in json.loads(done.stdout)["ways"]}
    assert set(ways) == {"sockets_epoll", "sockets_busy", driver}
    assert [row["reason"] for row in ways.values()] == [""] * 3
    assert all(row["measured"]["messages"] > 100 for row in ways.values())
    monkeypatch.setenv("BOOKWIRE_BOX_DATA_DIR", str(lab.directory / "data"))
    flags = {"box": {"run_dir": str(lab.directory / "run"), "shm_dir": str(lab.directory)}}
    settings = feed.settings(config_read.load(lab.config, flags=flags), "okx")
    assert str(settings.measured).startswith(f"measured on eth1 on {time.strftime('%Y')}")
    assert f"{driver} p50 {ways[driver]['measured']['p50_us']:.1f} us" in str(settings.measured)
    if settings.sockets_measured_better:
        assert Datapath(settings, Log("test")).kind == "sockets"
    else:
        assert ways[driver]["measured"]["p50_us"] <= 1.05 * ways["sockets_epoll"]["measured"]["p50_us"]


def test_what_cannot_be_measured_is_said_and_nothing_is_touched(lab: Lab, tmp_path: Path) -> None:
    lab.config.write_text(f'[exchange.okx]\ndevice = "af_xdp:eth1"\naddresses = ["{OURS}"]\n')
    before = lab.picture()
    done = lab.bench("--far-end", "127.0.0.1:1", "--ca-file", tmp_path / "none.pem")
    assert (done.returncode, "reaches 127.0.0.1 by lo, not by eth1" in done.stderr) == (69, True)
    assert lab.picture() == before


def test_what_makes_no_sense_is_refused_before_anything_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--config", str(tmp_path / "box.toml"), "--run-dir", str(tmp_path))
    (tmp_path / "box.toml").write_text('[exchange.okx]\nsymbols = ["BTC"]\n')
    far = ("--far-end", f"{THEIRS}:1", "--ca-file", "none.pem")
    for code, given, said in (
        (64, (), "--far-end"),
        (64, ("--far-end", THEIRS, "--ca-file", "none.pem"), "as 10.0.0.1:9443"),
        (78, far, "has no device"),
    ):
        if code != 64 and os.geteuid() != 0:
            continue
        assert cli.main(["bench", "paths", "--exchange", "okx", *given, *place]) == code
        assert said in capsys.readouterr().err
    assert cli.main(["bench", "traffic"]) == 64
