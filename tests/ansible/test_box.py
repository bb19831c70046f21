"""A box with a booted systemd, provisioned, used, upgraded and given back, in the order of this file.

Roles that set the kernel and its devices are left out: those of a container are this machine's. Of each
unit's stop, start, crash and upgrade the test tells what a subscriber saw (``-s`` shows the table that
docs/operations.md has).
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from boxes import (
    PATIENCE_S,
    PLAYED,
    SKIPPED,
    Provisioned,
    metrics,
    newer,
    play_an_exchange,
    subscriber,
    wait_for_books,
)
from debian import Box, booted, difference, tree
from playbooks import what_to_install

pytestmark = [pytest.mark.long, pytest.mark.root, pytest.mark.timeout(2400)]
UNITS = {
    "feed": "bookwire-feed@okx.service",
    "gateway": "bookwire-gateway.service",
    "http": "bookwire-http.service",
    "recorder": "bookwire-record.service",
    "target": "bookwire.target",
}


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioned]:
    changes = tmp_path_factory.mktemp("box")
    facts = {**what_to_install(), "clock_service": "none", "uninstall_recordings": True}
    with booted(changes) as box:
        yield Provisioned(box, difference(changes / "upper", tree()), facts)
    shutil.rmtree(changes, ignore_errors=True)


def test_a_bare_box_is_provisioned_and_its_services_run(provisioned: Provisioned) -> None:
    box = provisioned.box
    assert provisioned.play("site.yml", "--check", "--skip-tags", SKIPPED)["failed"] == 0
    assert provisioned.difference() == provisioned.before
    provisioned.play("site.yml", "--tags", "users,bookwire")
    provisioned.facts |= {"bookwire_settings": play_an_exchange(box), "bookwire_symbols": ["BTC-USDT"]}
    assert provisioned.play("site.yml", "--skip-tags", SKIPPED)["changed"] > 0
    assert box.run("systemctl", "is-active", *UNITS.values()).split() == ["active"] * len(UNITS)
    assert "bookwire" in box.run("nft", "list", "ruleset")
    up = re.findall('^bookwire_feed_up{exchange="(.*)"} (.)$', metrics(box), re.MULTILINE)
    assert up == [("okx", "1")]
    assert provisioned.play("site.yml", "--skip-tags", SKIPPED)["changed"] == 0
    assert box.run("systemctl", "list-units", "--failed", "--no-legend", "bookwire*") == ""


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
