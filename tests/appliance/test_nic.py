"""Interfaces taken and given back: in a namespace of the test's own, over a real veth, as root."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from appliance import nic, nic_record
from handlers.errors import SetupError
from hw.addresses import Addresses, Route

numbers = itertools.count()
KILLED_AT = """
import os, signal, sys
from appliance import cli, nic
take, at = nic._set, int(sys.argv[1])
def until(interface, step, value):
    global at
    take(interface, step, value)
    at -= 1
    if at == 0:
        os.kill(os.getpid(), signal.SIGKILL)
nic._set = until
sys.exit(cli.main(sys.argv[2:]))
"""


@dataclass
class Lab:
    """A namespace with one veth, ``bw0``, that has addresses and a route."""

    namespace: str
    state_dir: Path

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace, *map(str, command)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def nic(self, *arguments: object, killed_at: int = 0) -> subprocess.CompletedProcess[str]:
        start = ("-c", KILLED_AT, killed_at) if killed_at else ("-m", "appliance.cli")
        return self.run(sys.executable, *start, "nic", *arguments, "--state-dir", self.state_dir)

    def picture(self) -> dict[str, object]:
        """Everything that ``apply`` may touch."""
        addresses = json.loads(self.run("ip", "-j", "addr", "show", "bw0").stdout)[0]
        routes = self.run("ip", "route", "show", "dev", "bw0").stdout
        features = self.run("ethtool", "-k", "bw0").stdout.splitlines()
        switches = ("tx-checksumming", "\ttx-tcp-segmentation", "generic-segmentation", "generic-receive")
        return {
            "addresses": {row["local"] for row in addresses["addr_info"] if row["scope"] == "global"},
            "routes": {line.partition(" proto ")[0].strip() for line in routes.splitlines()},
            "features": [line for line in features if line.startswith(switches)],
            "ipv6": self.run("cat", "/proc/sys/net/ipv6/conf/bw0/disable_ipv6").stdout,
        }

    def wait(self, picture: dict[str, object], patience_s: float = 20) -> None:
        """Until all is as in the picture."""
        end = time.monotonic() + patience_s
        while self.picture() != picture or list(self.state_dir.glob("*.json")):
            assert time.monotonic() < end, self.picture()
            time.sleep(0.1)  # another process works


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("namespaces need root")
    for tool in ("ip", "ethtool"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on this system")
    made = Lab(f"bwnic-{os.getpid()}-{next(numbers)}", tmp_path / "nic")
    subprocess.run(["ip", "netns", "add", made.namespace], check=True)
    try:
        for command in (
            "ip link add bw0 type veth peer name bw1",
            "ip link set bw0 up",
            "ip link set bw1 up",
            "ip addr add 10.77.0.2/24 dev bw0",
            "ip -6 addr add fd77::2/64 dev bw0 nodad",
            "ip route add 10.78.0.0/16 via 10.77.0.1",
        ):
            done = made.run(*command.split())
            assert done.returncode == 0, done.stderr
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", made.namespace], check=False)


def test_a_plan_changes_nothing_and_says_all(lab: Lab) -> None:
    before = lab.picture()
    done = lab.nic("plan", "bw0")
    assert done.returncode == 0, done.stderr
    for words in (
        "switch tx checksums off",
        "take 10.77.0.2/24",
        "take fd77::2/64",
        "10.78.0.0/16 by 10.77.0.1",
    ):
        assert words in done.stdout
    assert lab.picture() == before


def test_confirmed_it_stays_and_rolled_back_it_is_as_it_was(lab: Lab) -> None:
    before = lab.picture()
    done = lab.nic("apply", "bw0", "--confirm-within", 30)
    assert done.returncode == 0, done.stderr
    taken = lab.picture()
    assert taken["addresses"] == set()
    assert all(line.split()[1] == "off" for line in taken["features"])
    assert lab.nic("confirm", "bw0").returncode == 0
    assert "confirmed" in lab.nic("status").stdout
    assert lab.nic("apply", "bw0").returncode == 69  # it was taken already
    assert lab.nic("rollback", "bw0").returncode == 0
    assert lab.picture() == before
    assert lab.nic("rollback", "bw0").returncode == 69


def test_without_a_confirmation_it_rolls_back_by_itself(lab: Lab) -> None:
    before = lab.picture()
    assert lab.nic("apply", "bw0", "--confirm-within", 1).returncode == 0
    lab.wait(before)


@pytest.mark.parametrize("step", range(1, 7))
def test_killed_after_any_step_it_rolls_back_by_itself(lab: Lab, step: int) -> None:
    before = lab.picture()
    done = lab.nic("apply", "bw0", "--confirm-within", 1, killed_at=step)
    assert done.returncode == -9
    lab.wait(before)


def test_a_restart_applies_what_was_confirmed_and_forgets_the_rest(lab: Lab) -> None:
    before = lab.picture()
    assert lab.nic("apply", "bw0", "--confirm-within", 60).returncode == 0
    assert lab.nic("confirm", "bw0").returncode == 0
    taken = lab.picture()
    for record in nic_record.records(
        lab.state_dir
    ):  # as the machine comes up: all is as the system configures it
        for step in reversed(record.steps):
            back = f"nic._set('bw0', nic_record.Step(**{vars(step)!r}), {step.before!r})"
            undo = f"from appliance import nic, nic_record; {back}"
            assert lab.run(sys.executable, "-c", undo).returncode == 0
    assert lab.picture()["addresses"] == before["addresses"]
    assert lab.nic("boot").returncode == 0
    assert lab.picture() == taken


def test_the_default_route_is_refused_unless_told_twice(lab: Lab) -> None:
    assert lab.run("ip", "route", "add", "default", "via", "10.77.0.1").returncode == 0
    before = lab.picture()
    for said in ((), ("--carries-my-connection",), ("--i-have-a-console",)):
        done = lab.nic("apply", "bw0", *said)
        assert done.returncode == 69
        assert "carries the default route" in done.stderr
    assert lab.picture() == before
    told = ("--carries-my-connection", "--i-have-a-console", "--confirm-within", 1)
    assert lab.nic("apply", "bw0", *told).returncode == 0
    lab.wait(before)


def test_an_interface_that_is_not_there_and_a_driver_it_cannot_have(lab: Lab) -> None:
    done = lab.nic("plan", "nosuch")
    assert (done.returncode, "no network interface nosuch" in done.stderr) == (69, True)
    done = lab.nic("plan", "bw0", "--driver", "vfio-pci")
    assert (done.returncode, "no PCI device" in done.stderr) == (78, True)


def test_an_ssh_session_is_a_danger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Addresses(
        "x", "aa", 1500, (ip_interface("10.0.0.5/24"),), (Route(ip_network("10.0.0.0/24"), None),), ()
    )
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    table = tmp_path / "proc/net/tcp"
    table.parent.mkdir(parents=True)
    header = "  sl  local_address rem_address   st\n"
    table.write_text(f"{header}   0: 0500000A:0016 0100000A:D431 01 0\n")
    assert nic.dangers(known, tmp_path) == ["an SSH session comes by it"]
    table.write_text(
        f"{header}   0: 0500000A:0050 0100000A:D431 01 0\n   1: 0600000A:0016 0100000A:D431 01 0\n"
    )
    assert nic.dangers(known, tmp_path) == []
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 5000 10.0.0.5 22")
    assert nic.dangers(known, tmp_path) == ["an SSH session comes by it"]


def test_a_pci_device_goes_to_a_driver_and_back(tmp_path: Path) -> None:
    """The kernel's side is a tree here: what is written is looked at, and a refusal is named."""
    device = tmp_path / "sys/bus/pci/devices/0000:03:00.0"
    device.mkdir(parents=True)
    for path in ("driver_override", "../../drivers_probe"):
        (device / path).resolve().touch()
    old = tmp_path / "sys/bus/pci/drivers/ice"
    old.mkdir(parents=True)
    (device / "driver").symlink_to(old)
    with pytest.raises(OSError, match="went to ice; is vfio-pci loaded"):
        nic.bind("0000:03:00.0", "vfio-pci", tmp_path)
    assert (device / "driver_override").read_text() == "vfio-pci"
    assert (old / "unbind").read_text() == "0000:03:00.0"
    assert (tmp_path / "sys/bus/pci/drivers_probe").read_text() == "0000:03:00.0"
    nic.bind("0000:03:00.0", "ice", tmp_path)  # it is there: nothing to do
    with pytest.raises(SetupError, match="is no user-space driver"):
        nic._driver_step(_nic("0000:03:00.0"), "e1000")


def _nic(pci: str) -> nic.Nic:
    return nic.Nic(
        "eth0",
        pci,
        0x8086,
        0x159B,
        "ice",
        0,
        None,
        1500,
        True,
        1000,
        1,
        1,
        None,
        (0, 0),
        True,
        None,
        frozenset(),
        None,
    )
