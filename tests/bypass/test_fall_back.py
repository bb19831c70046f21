"""An operator's interface, named in the configuration, and each way it can fail: sockets, loudly, or exit 69.

A whole exchange's process against a simulator whose REST is reached by loopback; only what lies behind the
interface is broken. Told must be what is wrong, for that interface, and what to do. Needs root.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance import config_read
from appliance.commands import feed
from handlers.datapath import Datapath
from handlers.logs import Log

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 120.0
PROOF = (
    "import sys; from handlers import datapath; datapath.PROOF_S = {}; from appliance.cli import main; "
    "sys.exit(main())"
)
PROOF_S = 2.0  # instead of 15: nothing comes anyway
pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """``rest_url``, ``ca_file`` of a simulated exchange."""
    place = tmp_path_factory.mktemp("simulator")
    command = [sys.executable, "-m", "appliance.simulator", "--state-dir", str(place), "--exchange", "okx"]
    command += ["--symbols", "BTC-USDT", "--levels", "50"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield told["exchanges"]["okx"] | {"ca_file": told["ca_file"]}
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


@dataclass
class Case:
    """``host``: the exchange's address, told: what must be said, what to do about it."""

    device: str
    interface: str | None
    addresses: tuple[str, ...]
    host: str
    said: str
    do: str
    more: str = "hugepages = false"


def no_hugepages(lab: Any) -> Case:
    """More than any machine has reserved: where there are some it must fail too."""
    wire = lab.wire()
    more = "memory_mib = 4000000"
    return Case(
        f"af_packet:{wire.interface}", None, wire.ours[:1], wire.venue_four, "EAL: ", "hugepages", more
    )


def no_driver(lab: Any) -> Case:
    wire = lab.wire()
    device = "pci:ffff:ff:1f.7"
    return Case(device, None, wire.ours[:1], wire.venue_four, "EAL knows no such device", "vfio-pci")


def no_link(lab: Any) -> Case:
    wire = lab.wire()
    lab.run("ip", "-n", lab.namespace, "link", "set", f"bv{wire.number}", "down")
    return Case(
        f"af_packet:{wire.interface}",
        wire.interface,
        wire.ours[:1],
        wire.venue_four,
        "no link (link down",
        f"plug the cable of {wire.interface} in",
    )


def no_answer(lab: Any) -> Case:
    wire = lab.wire()
    wire.give_addresses()  # as an interface of the kernel's has them
    return Case(
        f"af_xdp:{wire.interface}",
        wire.interface,
        (),
        wire.four(9),
        "nobody answers who has the next hop's address (ARP, neighbour discovery) (link up",
        f"addresses, gateway and VLAN of {wire.interface}",
    )


def no_packets(lab: Any) -> Case:
    """Its address is answered for, by a router (proxy ARP) that loses what comes for it."""
    wire = lab.wire()
    theirs, inside = f"bv{wire.number}", ("ip", "netns", "exec", lab.namespace)
    settings = (f"conf.{theirs}.forwarding=1", f"neigh.{theirs}.proxy_delay=0")
    lab.run(*inside, "sysctl", "-qw", *(f"net.ipv4.{setting}" for setting in settings))
    lab.run("ip", "-n", lab.namespace, "route", "add", f"{wire.four(9)}/32", "dev", "lo")
    lab.run("ip", "-n", lab.namespace, "neigh", "add", "proxy", wire.four(9), "dev", theirs)
    return Case(
        f"af_packet:{wire.interface}",
        wire.interface,
        wire.ours[:1],
        wire.four(9),
        "no packet of TCP came (link up; frames",
        f"the gateway of {wire.interface} and the firewall",
    )


CASES = (no_hugepages, no_driver, no_link, no_answer, no_packets)


def start(case: Case, name: str, path: str, rest: dict[str, str], place: Path) -> subprocess.Popen[str]:
    directory = place / f"{name}-{path}"
    directory.mkdir()
    lines = [
        f'symbols = ["BTC-USDT"]\npath = "{path}"\ndevice = "{case.device}"\n{case.more}',
        f'rest_url = "{rest["rest_url"]}"\nca_file = "{rest["ca_file"]}"',
        f'websocket_url = "wss://{case.host}:4443/ws/v5/public"',
    ]
    if case.interface:
        lines.append(f'interface = "{case.interface}"')
    if case.addresses:
        lines.append(f"addresses = {list(case.addresses)}".replace("'", '"'))
    (directory / "box.toml").write_text("[exchange.okx]\n" + "\n".join(lines) + "\n")
    command = [sys.executable, "-c", PROOF.format(PROOF_S), "feed", "okx"]
    places = ("--config", "box.toml", "--shm-dir", "shm", "--run-dir", "run")
    return subprocess.Popen(
        [*command, *places], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=directory
    )


@pytest.mark.parametrize("path", ["auto", pytest.param("dpdk", marks=pytest.mark.long)])
def test_what_fails_is_told_with_what_to_do(
    lab: Any, rest: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    cases = {make.__name__: make(lab) for make in CASES}
    processes = {name: start(case, name, path, rest, tmp_path) for name, case in cases.items()}
    for name, process in processes.items():
        case = cases[name]
        _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == (71 if path == "auto" else 69), (name, said)
        assert case.said in said, name
        assert case.do in said, name
    if path == "dpdk":
        return
    for name, case in cases.items():  # what the supervisor starts next takes sockets, and says why
        monkeypatch.chdir(tmp_path / f"{name}-{path}")
        config = config_read.load(Path("box.toml"), flags={"box": {"run_dir": "run", "shm_dir": "shm"}})
        stream = io.StringIO()
        way = Datapath(feed.settings(config, "okx"), Log("feed", stream=stream, as_json=False))
        assert way.kind == "sockets"
        assert stream.getvalue().startswith("datapath_fell_back ")
        assert case.said in stream.getvalue()
