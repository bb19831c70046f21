"""A box with a booted systemd, provisioned, used, upgraded and given back, in the order of this file.

Roles that set the kernel and its devices are left out: those of a container are this machine's. Of each
unit's stop, start, crash and upgrade the test tells what a subscriber saw (``-s`` shows the table that
docs/operations.md has).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from debian import Box, booted, difference, tree
from playbooks import ROOT, environment, program, recap, what_to_install

pytestmark = [pytest.mark.long, pytest.mark.root, pytest.mark.timeout(1200)]
SKIPPED = "kernel,hugepages,cpu,nic"
PLAYED = "/var/lib/exchanges"
PATIENCE_S = 60.0
UNITS = {
    "feed": "bookwire-feed@okx.service",
    "gateway": "bookwire-gateway.service",
    "http": "bookwire-http.service",
    "recorder": "bookwire-record.service",
    "target": "bookwire.target",
}


@dataclass
class Provisioned:
    """A booted box and what was found in it before anything came."""

    box: Box
    before: set[str]
    facts: dict[str, Any]

    def play(self, playbook: str, *options: str) -> dict[str, int]:
        hosts = self.box.changes / "hosts"
        python = "ansible_python_interpreter=/usr/bin/python3"
        hosts.write_text(f"[bookwire]\nbox ansible_connection=box ansible_host={self.box.leader} {python}\n")
        command = [program("ansible-playbook"), "-i", str(hosts), playbook, *options]
        mine = {
            "ANSIBLE_CONNECTION_PLUGINS": str(ROOT / "tests/ansible/connection"),
            "ANSIBLE_LOCAL_TEMP": str(self.box.changes / "local"),
            "ANSIBLE_REMOTE_TEMP": "/var/tmp/ansible",
        }
        return recap(command, self.facts, env={**environment(), **mine}, cwd=ROOT / "ansible")

    def difference(self) -> set[str]:
        return difference(self.box.changes / "upper", tree())


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioned]:
    changes = tmp_path_factory.mktemp("box")
    facts = {**what_to_install(), "clock_service": "none", "uninstall_recordings": True}
    with booted(changes) as box:
        yield Provisioned(box, difference(changes / "upper", tree()), facts)
    shutil.rmtree(changes, ignore_errors=True)


def play_an_exchange(box: Box) -> dict[str, Any]:
    """Starts OKX's simulator inside; the settings that lead to it."""
    simulate = (
        f"/opt/bookwire/venv/bin/bookwire simulate --exchange okx --symbols BTC-USDT --state-dir {PLAYED}"
    )
    box.run("mkdir", "-p", PLAYED)
    box.run(
        *("systemd-run", "--unit=exchanges", f"--property=StandardOutput=truncate:{PLAYED}/told"),
        *f"{simulate} --rate 50".split(),
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


def test_a_bare_box_is_provisioned_and_its_services_run(provisioned: Provisioned) -> None:
    box = provisioned.box
    assert provisioned.play("site.yml", "--check", "--skip-tags", SKIPPED)["failed"] == 0
    assert provisioned.difference() == provisioned.before
    provisioned.play("site.yml", "--tags", "users,bookwire")
    provisioned.facts |= {"bookwire_settings": play_an_exchange(box), "bookwire_symbols": ["BTC-USDT"]}
    assert provisioned.play("site.yml", "--skip-tags", SKIPPED)["changed"] > 0
    assert box.run("systemctl", "is-active", *UNITS.values()).split() == ["active"] * len(UNITS)
    assert "bookwire" in box.run("nft", "list", "ruleset")
    assert provisioned.play("site.yml", "--skip-tags", SKIPPED)["changed"] == 0
    assert box.run("systemctl", "list-units", "--failed", "--no-legend", "bookwire*") == ""


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


def stop_and_start(box: Box, unit: str) -> None:
    box.run("systemctl", "stop", unit)
    time.sleep(1.0)  # what is measured: a second without it
    box.run("systemctl", "start", unit)


def restart(box: Box, unit: str) -> None:
    box.run("systemctl", "restart", unit)


def crash(box: Box, unit: str) -> None:
    box.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", unit)


def upgrade(box: Box, unit: str) -> None:
    wheel = next(box.path("/var/tmp").glob("bookwire-9-*.whl")).name
    pip = ["/opt/bookwire/venv/bin/pip", "install", "--no-index", "--no-deps", "--force-reinstall", "--quiet"]
    box.run(*pip, f"/var/tmp/{wheel}")
    box.run("systemctl", "restart", unit)


ACTIONS = {"stop 1 s, start": stop_and_start, "restart": restart, "kill -9": crash, "upgrade": upgrade}
CASES = [(unit, how) for unit in UNITS for how in ACTIONS if (unit, how) != ("target", "kill -9")]


@dataclass
class Seen:
    """What one subscriber saw of one action."""

    longest_s: float  # between two updates of the live book
    not_live_s: (
        float  # from being told that the book is not live (or the end of the connection) to the next update
    )
    closed: int


def judged(events: list[dict[str, Any]], since: float) -> Seen:
    longest = not_live = 0.0
    closed = 0
    last_at, lost_at, connected = since, None, False
    for event in events:
        connected = connected or event["kind"] == "open"
        if event["kind"] == "closed":
            closed += connected and event["at"] > since  # others are attempts that found nobody
            connected = False
        if event["kind"] in ("closed", "empty"):
            lost_at = lost_at or event["at"]
        elif event["kind"] == "book":
            if event["at"] > since:
                longest = max(longest, event["at"] - last_at)
                not_live = max(not_live, event["at"] - lost_at if lost_at else 0.0)
            last_at, lost_at = event["at"], None
    return Seen(longest, not_live, closed)


@pytest.mark.parametrize(("unit", "how"), CASES)
def test_what_a_subscriber_sees(provisioned: Provisioned, unit: str, how: str) -> None:
    box = provisioned.box
    if how == "upgrade" and not list(box.path("/var/tmp").glob("bookwire-9-*.whl")):
        shutil.copy(newer(Path(provisioned.facts["bookwire_wheel"]), box.changes), box.path("/var/tmp"))
    with subscriber(box) as events:
        wait_for_books(events, 0.0)
        since = time.monotonic()
        ACTIONS[how](box, UNITS[unit])
        until = time.monotonic() + PATIENCE_S
        while "inactive" in box.run("systemctl", "is-active", UNITS[unit], check=False):
            assert time.monotonic() < until
        wait_for_books(events, time.monotonic() + 5.0)
        seen = judged(events(), since)
    told = "told: not live" if unit == "feed" else f"{seen.closed} closed"
    print(f"| {unit} | {how} | {told} | {seen.not_live_s:.1f} s | {seen.longest_s:.1f} s |")
    if unit in ("http", "recorder"):
        assert (seen.closed, seen.not_live_s) == (0, 0.0)
    if unit == "feed":
        assert seen.closed == 0
    if unit == "gateway":
        assert seen.closed == 1  # the socket stands: who comes meanwhile waits


def test_the_gateways_socket_stands_while_it_is_away(provisioned: Provisioned) -> None:
    box = provisioned.box
    box.run("systemctl", "stop", UNITS["gateway"])
    with subscriber(box) as events:  # it connects, and that starts the gateway
        first = wait_for_books(events, 0.0)
        kinds = [event["kind"] for event in events() if event["at"] <= first]
    assert "closed" not in kinds
    box.run("systemctl", "is-active", UNITS["gateway"])


def test_symbols_come_and_go_by_a_reload(provisioned: Provisioned) -> None:
    box = provisioned.box
    before = box.run("systemctl", "show", "--property=MainPID", UNITS["feed"])
    box.run("systemctl", "reload", UNITS["feed"], UNITS["gateway"])
    with subscriber(box) as events:
        wait_for_books(events, 0.0)
    assert box.run("systemctl", "show", "--property=MainPID", UNITS["feed"]) == before


def test_uninstall_leaves_what_was_before(provisioned: Provisioned) -> None:
    box = provisioned.box
    box.run("systemctl", "stop", "exchanges")
    box.run("sh", "-c", f"rm -rf {PLAYED} /var/tmp/*.whl")
    assert provisioned.play("uninstall.yml")["failed"] == 0
    assert provisioned.difference() == provisioned.before
    assert box.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "bookwire*") == ""
    assert "bookwire" not in box.run("nft", "list", "ruleset")
    for path in ("/dev/shm/bookwire", "/run/bookwire", "/opt/bookwire", "/etc/bookwire"):
        assert not box.path(path).exists()
    assert "bookwire" not in box.run("getent", "passwd") + box.run("getent", "group")
    assert provisioned.play("uninstall.yml")["changed"] == 0
