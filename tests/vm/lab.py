"""Around the machine: simulated exchanges on this host's loopback, an inventory, and playbooks over SSH."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from machine import IMAGE, ISOLATED, QUIET, ROOT, DataNic, Vm
from ports import free_ports

EXCHANGES = ("binance", "coinbase", "okx", "bybit", "kraken")
SYMBOL = "BTC-USDT"
MANAGEMENT_HOST = "10.0.2.2"  # this host's loopback, by way of the management network
CA = "/usr/local/share/bookwire-simulators.pem"
MEMORY_MIB = 128  # a feed; half of the default, as an interpreted machine is slow to make hugepages
HUGEPAGES = 360
SERVICES = ("bookwire-feed@", "bookwire-gateway", "bookwire-http")
PATIENCE = "[Service]\nTimeoutStartSec=900\nWatchdogSec=120"  # every instruction may be interpreted
PACKAGES = ("librte-bus-pci23", "librte-bus-vdev23", "librte-mempool-ring23", "librte-net-virtio23")


@dataclass(frozen=True)
class Play:
    """What became of a playbook: the recap's counts, the tasks that changed something, seconds."""

    counts: dict[str, int]
    changed: list[str]
    seconds: float
    output: str


class Simulators:
    """Five exchanges in one process, with certificates for the addresses that the machine knows them by.

    In a directory where they were before they have the same certificates and ports.
    """

    def __init__(self, directory: Path) -> None:
        ports = directory / "ports"
        if not ports.exists():
            directory.mkdir(parents=True, exist_ok=True)
            ports.write_text(",".join(map(str, free_ports(len(EXCHANGES)))))
        hosts = [MANAGEMENT_HOST, *(DataNic(at).host for at in range(len(EXCHANGES)))]
        command = [sys.executable, "-m", "appliance.cli", "simulate", "--symbols", SYMBOL]
        command += ["--rate", "2", "--levels", "50"]
        command += ["--state-dir", str(directory), "--ports", ports.read_text()]
        command += [part for name in EXCHANGES for part in ("--exchange", name)]
        command += [part for host in hosts for part in ("--name", host)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self.ca = Path(told["ca_file"]).read_text()
        self.rows: dict[str, dict[str, str]] = told["exchanges"]

    def settings(self) -> dict[str, dict[str, Any]]:
        """Tables of the configuration: the feed past the kernel, REST by way of it."""
        return {f"exchange.{name}": self._table(name, DataNic(at)) for at, name in enumerate(EXCHANGES)}

    def _table(self, name: str, nic: DataNic) -> dict[str, Any]:
        return {
            "websocket_url": _at(self.rows[name]["websocket_url"], nic.host),
            "rest_url": _at(self.rows[name]["rest_url"], MANAGEMENT_HOST),
            "ca_file": CA,
            "path": "dpdk",
            "device": f"pci:{nic.pci}",
            "addresses": [nic.address],
            "memory_mib": MEMORY_MIB,
        }

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()


def _at(url: str, host: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{host}:{parts.port}"))


def facts(simulators: Simulators) -> dict[str, Any]:
    """The inventory's variables: five feeds with a NIC each, the gateway reached from outside."""
    packages = sorted((ROOT / "dist").glob("bookwire_*+dpdk*.deb"), key=lambda path: path.stat().st_mtime)
    assert packages, "no package with DPDK: make deb-dpdk"
    return {
        "bookwire_deb": str(packages[-1]),  # no pip: an interpreted machine takes half an hour to compile
        "bookwire_exchanges": list(EXCHANGES),
        "bookwire_symbols": [SYMBOL],
        "bookwire_settings": simulators.settings(),
        "cpu_isolated": ISOLATED,
        "hugepages_count": HUGEPAGES,
        "kernel_reboot_timeout": 1200,
        "nic_devices": [DataNic(at).pci for at in range(len(EXCHANGES))],
        "nic_packages": list(PACKAGES),
        "services_gateway_listen": "0.0.0.0:8081",
    }


def prepare(vm: Vm, simulators: Simulators) -> None:
    """What is of this test and not of a box: whom to trust, and patience with a machine that is so slow."""
    vm.give(CA, simulators.ca)
    for name in SERVICES:
        vm.give(f"/etc/systemd/system/{name}.service.d/90-patience.conf", PATIENCE)


def play(vm: Vm, playbook: str, variables: dict[str, Any], *options: str) -> Play:
    """Runs a playbook against the machine; its log has the time of each task. Fails with its output."""
    inventory = vm.directory / "hosts.json"
    host = {
        "ansible_host": "127.0.0.1",
        "ansible_port": vm.ssh_port,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(IMAGE / "key"),
        "ansible_ssh_common_args": " ".join(QUIET),
        "ansible_python_interpreter": "/usr/bin/python3",
        **variables,
    }
    inventory.write_text(json.dumps({"bookwire": {"hosts": {"box": host}}}))
    programs = ROOT / ".ansible" / "bin"
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_TIMEOUT": "120",
    }
    began = time.monotonic()
    output = vm.directory / f"{Path(playbook).stem}.{int(began)}.out"
    environment["ANSIBLE_LOG_PATH"] = str(output.with_suffix(".log"))
    with output.open("w") as out:
        done = subprocess.run(
            ["ansible-playbook", "-i", str(inventory), playbook, *options],
            cwd=ROOT / "ansible",
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    said = output.read_text()
    assert done.returncode == 0, said[-6000:]
    recap = re.search(r"^box +: (.*)$", said, re.MULTILINE)
    assert recap, said[-3000:]
    changed = re.findall(
        r"(?:TASK|RUNNING HANDLER) \[([^\]]*)\][^\n]*\n(?:(?:ok|skipping)[^\n]*\n)*changed", said
    )
    counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", recap[1])}
    return Play(counts, changed, time.monotonic() - began, said)
