"""Booted boxes that playbooks provision, the exchange that is played in each, and who subscribes there."""

from __future__ import annotations

import json
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debian import Box, difference, tree
from playbooks import ROOT, environment, program, recap

SKIPPED = "kernel,hugepages,cpu,nic"  # those of a container are this machine's
PLAYED = "/var/lib/exchanges"
PORT = 9443  # of the played exchange; a box's network is its own
PATIENCE_S = 180.0  # Python takes a minute to start on a machine with a load of 25


def play(
    boxes: dict[str, Box], facts: dict[str, Any], playbook: str, *options: str
) -> dict[str, dict[str, int]]:
    """Runs a playbook against these boxes, by name; what its recap counts for each."""
    place = next(iter(boxes.values())).changes
    python = "ansible_connection=box ansible_python_interpreter=/usr/bin/python3"
    rows = [f"{name} {python} ansible_host={box.leader}\n" for name, box in boxes.items()]
    hosts = place / "hosts"
    hosts.write_text("".join(["[bookwire]\n", *rows]))
    command = [program("ansible-playbook"), "-i", str(hosts), playbook, *options]
    mine = {
        "ANSIBLE_CONNECTION_PLUGINS": str(ROOT / "tests/ansible/connection"),
        "ANSIBLE_LOCAL_TEMP": str(place / "local"),
        "ANSIBLE_REMOTE_TEMP": "/var/tmp/ansible",
    }
    return recap(command, facts, boxes, env={**environment(), **mine}, cwd=ROOT / "ansible")


@dataclass
class Provisioned:
    """A booted box and what was found in it before anything came."""

    box: Box
    before: set[str]
    facts: dict[str, Any]

    def play(self, playbook: str, *options: str) -> dict[str, int]:
        return play({"box": self.box}, self.facts, playbook, *options)["box"]

    def difference(self) -> set[str]:
        return difference(self.box.changes / "upper", tree())


def play_an_exchange(box: Box) -> dict[str, Any]:
    """Starts OKX's simulator inside; the settings that lead to it."""
    simulate = (
        f"/opt/bookwire/venv/bin/bookwire simulate --exchange okx --symbols BTC-USDT --state-dir {PLAYED}"
    )
    box.run("mkdir", "-p", PLAYED)
    box.run(
        *("systemd-run", "--unit=exchanges", f"--property=StandardOutput=truncate:{PLAYED}/told"),
        *f"{simulate} --rate 50 --port {PORT}".split(),
    )
    told = box.path(f"{PLAYED}/told")
    until = time.monotonic() + PATIENCE_S
    while not (told.exists() and told.read_text().endswith("\n")):
        assert time.monotonic() < until, box.run("journalctl", "-u", "exchanges")
        time.sleep(0.1)
    box.run("chmod", "a+rx", PLAYED)
    said = json.loads(told.read_text().splitlines()[0])
    row = said["exchanges"]["okx"]
    known = {key: row[key] for key in ("websocket_url", "rest_url")}
    return {"exchange.okx": {**known, "ca_file": said["ca_file"], "source_address": "127.0.0.1"}}


@contextmanager
def subscriber(box: Box, channel: str = "okx:BTC-USDT") -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Runs one until the block ends; what it saw so far."""
    seen = box.changes / "seen.jsonl"
    command = ["nsenter", f"--target={box.leader}", "--net", str(ROOT / ".venv/bin/python")]
    with (
        seen.open("w") as out,
        subprocess.Popen(
            [*command, str(ROOT / "tests/ansible/subscriber.py"), channel, "8081"], stdout=out
        ) as process,
    ):
        try:
            yield lambda: [json.loads(line) for line in seen.read_text().split("\n")[:-1]]
        finally:
            process.terminate()


def metrics(box: Box) -> str:
    """What Prometheus would read there."""
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/metrics').read().decode())"
    return box.run("python3", "-c", ask)


def wait_for_books(events: Callable[[], list[dict[str, Any]]], after: float, count: int = 50) -> float:
    """Until so many updates came after that moment; when the first of them did."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        books = [event["at"] for event in events() if event["kind"] == "book" and event["at"] > after]
        if len(books) >= count:
            return float(books[0])
        time.sleep(0.1)
    raise AssertionError(f"no books again within {PATIENCE_S} s: {events()[-5:]}")


def newer(wheel: Path, where: Path) -> Path:
    """The same wheel as version 9."""
    version = wheel.name.split("-")[1]
    made = where / wheel.name.replace(f"-{version}-", "-9-")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(made, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            if item.filename.endswith(".dist-info/METADATA"):
                data = data.replace(f"\nVersion: {version}\n".encode(), b"\nVersion: 9\n")
            if item.filename.endswith(".dist-info/RECORD"):
                continue  # written below, without sums, as PEP 376 allows for itself
            new.writestr(item.filename.replace(f"-{version}.dist-info", "-9.dist-info"), data)
        names = [*new.namelist(), "bookwire-9.dist-info/RECORD"]
        new.writestr(names[-1], "".join(f"{name},,\n" for name in names))
    return made
