"""Ansible's roles: linted, understood, and run for real in a Debian 12 file tree.

What the roles change in the tree is seen through an overlay: nothing after check mode, nothing new after a
second run, and what ``uninstall`` leaves behind, file by file. Services, GRUB and the kernel are left to the
virtual machine's test: a file tree has none that run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ANSIBLE = ROOT / "ansible"
PROGRAMS = ROOT / ".ansible" / "bin"
PLAYBOOKS = sorted(path.name for path in ANSIBLE.glob("*.yml") if path.name != "galaxy.yml")
TREE = ROOT / "build" / "tree"
PACKAGES = "systemd,systemd-sysv,udev,python3,python3-apt,python3-venv,ca-certificates,procps,chrony,nftables"
# What uninstall leaves: Debian packages that it cannot know to be unused, and their own files.
OURS = re.compile("bookwire")


def program(name: str) -> str:
    path = PROGRAMS / name
    if not path.exists():
        pytest.skip(f"no {name}: make ansible installs it")
    return str(path)


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"}


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


@pytest.fixture(scope="module")
def tree() -> Path:
    """A Debian 12 without anything of ours, kept between runs."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("wants root and debootstrap (Debian: debootstrap)")
    if not (TREE / "made").exists():
        shutil.rmtree(TREE, ignore_errors=True)
        TREE.parent.mkdir(exist_ok=True)
        command = [
            "debootstrap",
            "--variant=minbase",
            f"--include={PACKAGES}",
            "bookworm",
            str(TREE / "root"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"debootstrap: {done.stdout[-200:]}")
        refusal = TREE / "root" / "usr" / "sbin" / "policy-rc.d"  # no daemon may start here
        refusal.write_text("#!/bin/sh\nexit 101\n")
        refusal.chmod(0o755)
        (TREE / "made").touch()
    return TREE / "root"


Play = Callable[..., dict[str, int]]


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("changes")
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def play(tree: Path, changes: Path) -> Play:
    """Runs a playbook against the tree; what its recap counts."""
    program("ansible-playbook")
    wheels = sorted((ROOT / "dist").glob("bookwire-*-cp311-*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        pytest.skip("no wheel for Debian 12's Python in dist/: make wheel")
    libraries = ROOT / "build" / "libraries"
    lock = str(ROOT / "requirements.lock")
    pip = [str(ROOT / ".venv/bin/pip"), "download", "-q", "--require-hashes", "--only-binary", ":all:"]
    subprocess.run([*pip, "-r", lock, "-d", str(libraries)], check=True)
    facts = {
        "bookwire_wheel": str(wheels[-1]),
        "bookwire_lock": lock,
        "bookwire_libraries": str(libraries),
        "bookwire_exchanges": ["okx"],
        "firewall_allowed": ["192.0.2.0/24"],
        "clock_servers": ["192.0.2.1"],
        "cpu_isolated": "1",
    }

    def run(playbook: str, *options: str) -> dict[str, int]:
        done = subprocess.run(
            [
                *(str(ROOT / "tests/ansible/run_in_tree"), str(tree), str(changes), playbook),
                *("-e", json.dumps(facts), *options),
            ],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
        recap = re.search(r"^box +: (.*)$", done.stdout, re.MULTILINE)
        assert recap, done.stdout[-3000:]
        changed = re.findall(r"TASK \[(.*)\].*\n(?:\[.*\n)*changed", done.stdout)
        print(playbook, *options, recap[1], "changed:", *changed, sep="\n  ")
        return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", recap[1])}

    return run


def changed_files(changes: Path) -> set[str]:
    """Files in the overlay's upper directory, without what apt and Ansible keep for themselves."""
    upper = changes / "upper"
    found = {
        str(path.relative_to(upper)) for path in upper.rglob("*") if not path.is_dir() or path.is_symlink()
    }
    return {name for name in found if not name.startswith(("root/.ansible/", "var/cache/apt/", "var/log/"))}


@pytest.mark.long
@pytest.mark.root
@pytest.mark.timeout(1200)
def test_a_tree_is_provisioned_and_given_back(play: Play, changes: Path) -> None:
    assert play("site.yml", "--check")["failed"] == 0
    assert {name for name in changed_files(changes) if not name.startswith("var/lib/apt/lists/")} == set()

    assert play("site.yml")["changed"] > 0
    upper = changes / "upper"
    assert (upper / "etc/systemd/system/bookwire-gateway.service").is_file()
    assert os.readlink(upper / "usr/bin/bookwire") == "/opt/bookwire/venv/bin/bookwire"

    assert play("site.yml")["changed"] == 0

    assert play("uninstall.yml")["failed"] == 0
    assert [name for name in sorted(changed_files(changes)) if OURS.search(name)] == []
    assert play("uninstall.yml")["changed"] == 0
