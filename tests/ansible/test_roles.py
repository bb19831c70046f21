"""Ansible's roles: linted, understood, and run for real in a Debian 12 file tree.

What the roles change in the tree is seen through an overlay: nothing after check mode, nothing new after a
second run, and what ``uninstall`` leaves behind, file by file. Services, GRUB and the kernel are left to the
virtual machine's test: a file tree has none that run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from debian import difference, tree
from playbooks import ROOT, environment, program, recap, what_to_install

ANSIBLE = ROOT / "ansible"
PLAYBOOKS = sorted(path.name for path in ANSIBLE.glob("*.yml") if path.name != "galaxy.yml")


@pytest.mark.timeout(600)  # a minute alone, several on a busy machine
def test_lint_has_nothing_to_say_at_its_strictest_profile() -> None:
    done = subprocess.run(
        [program("ansible-lint"), "--offline", "--profile", "production", "--nocolor"],
        cwd=ANSIBLE,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("playbook", PLAYBOOKS)
@pytest.mark.parametrize("inventory", ["one", "twenty"])
def test_a_playbook_is_understood(playbook: str, inventory: str) -> None:
    done = subprocess.run(
        [program("ansible-playbook"), "-i", f"inventories/{inventory}", "--syntax-check", playbook],
        cwd=ANSIBLE,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


Play = Callable[..., dict[str, int]]


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("changes")
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def play(changes: Path) -> Play:
    """Runs a playbook against the tree; what its recap counts."""
    facts = {**what_to_install(), "clock_servers": ["192.0.2.1"], "cpu_isolated": "1"}
    beneath = tree()

    def run(playbook: str, *options: str) -> dict[str, int]:
        through = str(ROOT / "tests/ansible/run_in_tree")
        command = [through, str(beneath), str(changes), playbook, *options]
        return recap(command, facts, ["box"], env=environment())["box"]

    return run


@pytest.mark.long
@pytest.mark.root
@pytest.mark.timeout(2400)
def test_a_tree_is_provisioned_and_given_back(play: Play, changes: Path) -> None:
    upper = changes / "upper"
    before = difference(upper, tree())
    assert play("site.yml", "--check")["failed"] == 0
    assert difference(upper, tree()) == before

    assert play("site.yml")["changed"] > 0
    assert (upper / "etc/systemd/system/bookwire-gateway.service").is_file()
    assert (upper / "etc/systemd/system/bookwire-nic.service").is_file()
    assert (upper / "etc/bookwire-firewall.nft").is_file()
    assert os.readlink(upper / "usr/bin/bookwire") == "/opt/bookwire/venv/bin/bookwire"

    assert play("site.yml")["changed"] == 0

    assert play("uninstall.yml")["failed"] == 0
    assert difference(upper, tree()) == before
    assert play("uninstall.yml")["changed"] == 0
