"""What tests of the roles share: Ansible's programs, and what is installed by them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from debian import packages

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / ".ansible" / "bin"


def program(name: str) -> str:
    """Its path; the test is skipped without."""
    path = PROGRAMS / name
    if not path.exists():
        pytest.skip(f"no {name}: make ansible installs it")
    return str(path)


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"}


def what_to_install() -> dict[str, Any]:
    """Variables of the roles: the newest wheel of ``dist/``, and the libraries it needs as files."""
    program("ansible-playbook")
    wheels = packages("bookwire-*-cp311-*.whl")
    if not wheels:
        pytest.skip("no wheel for Debian 12's Python in dist/: make wheel")
    libraries = ROOT / "build" / "libraries"
    lock = str(ROOT / "requirements.lock")
    pip = [str(ROOT / ".venv/bin/pip"), "download", "-q", "--require-hashes", "--only-binary", ":all:"]
    subprocess.run([*pip, "-r", lock, "-d", str(libraries)], check=True)
    return {
        "bookwire_wheel": str(wheels[-1]),
        "bookwire_lock": lock,
        "bookwire_libraries": str(libraries),
        "bookwire_exchanges": ["okx"],
        "firewall_allowed": ["192.0.2.0/24"],
        "monitoring_rules_dir": "/srv",
        "monitoring_dashboards_dir": "/srv/dashboards",
    }


def recap(
    command: Sequence[str], facts: dict[str, Any], hosts: Iterable[str], **options: Any
) -> dict[str, dict[str, int]]:
    """Runs a playbook with these variables; what its recap counts for each host. It has to end well."""
    done = subprocess.run(
        [*command, "-e", json.dumps(facts)], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    changed = re.findall(r"TASK \[(.*)\].*\n(?:\[.*\n)*changed", done.stdout)
    found = {}
    for host in hosts:
        counts = re.search(rf"^{host} +: (.*)$", done.stdout, re.MULTILINE)
        assert counts, done.stdout[-3000:]
        print(*command[1:], host, counts[1], sep="\n  ")
        found[host] = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", counts[1])}
    print("changed:", *changed, sep="\n  ")
    return found
