"""The wheel and the Debian package as somebody gets them: installed in a bare Debian 12, used, removed.

``make deb`` makes both; what is in ``dist/`` is tried here, without a package index.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from debian import ROOT, Box, booted, difference, packages, tree

pytestmark = [pytest.mark.long, pytest.mark.root, pytest.mark.timeout(600)]
LIBRARIES = ROOT / "build" / "libraries"
UP = ("up", "--simulate", "--exchanges", "kraken", "--seconds", "1", "--json")


def newest(pattern: str) -> Path:
    found = packages(pattern)
    if not found:
        pytest.skip(f"no {pattern} in dist/: make deb")
    return found[-1]


def test_the_wheel_says_for_which_c_library_it_is() -> None:
    assert re.search(r"-manylinux_2_\d+_(x86_64|aarch64)\.whl$", newest("bookwire-*.whl").name)


def test_lintian_finds_no_error() -> None:
    if shutil.which("lintian") is None:
        pytest.skip("no lintian")
    package = str(newest("bookwire_*.deb"))
    done = subprocess.run(
        ["lintian", "--fail-on", "error", "--suppress-tags", "bad-distribution-in-changes-file", package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, "\n".join(line for line in done.stdout.splitlines() if line.startswith("E:"))


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with booted(tmp_path) as box:
        yield box
    shutil.rmtree(tmp_path, ignore_errors=True)


def ready(said: str) -> dict[str, object]:
    """The ready line among what ``up --json`` said."""
    return next(row for line in said.splitlines() if (row := json.loads(line))["event"] == "ready")


def test_a_fresh_environment_with_the_wheel_serves_books(box: Box) -> None:
    wheel = newest("bookwire-*-cp311-*.whl")
    pip = [str(ROOT / ".venv/bin/pip"), "download", "-q", "--require-hashes", "--only-binary", ":all:"]
    subprocess.run([*pip, "-r", str(ROOT / "requirements.lock"), "-d", str(LIBRARIES)], check=True)
    shutil.copytree(LIBRARIES, box.path("/var/tmp/libraries"))
    shutil.copy(wheel, box.path("/var/tmp"))
    box.run("python3", "-m", "venv", "/var/tmp/venv")
    box.run(
        "/var/tmp/venv/bin/pip",
        "install",
        "--no-index",
        "--find-links",
        "/var/tmp/libraries",
        f"/var/tmp/{wheel.name}",
    )
    assert ready(box.run("/var/tmp/venv/bin/bookwire", *UP))["books"] == 4


def test_the_package_starts_nothing_serves_and_leaves_nothing(box: Box) -> None:
    package = newest("bookwire_*.deb")
    before = difference(box.changes / "upper", tree())
    shutil.copy(package, box.path("/var/tmp/bookwire.deb"))
    box.run("dpkg", "--install", "/var/tmp/bookwire.deb")
    box.path("/var/tmp/bookwire.deb").unlink()
    units = "systemctl", "list-units", "--all", "--plain", "--no-legend", "bookwire*"
    assert box.run(*units) == ""
    enabled = "systemctl", "list-unit-files", "--state=enabled", "--no-legend", "bookwire*"
    assert box.run(*enabled, check=False) == ""
    assert ready(box.run("bookwire", *UP))["books"] == 4

    box.run("systemctl", "enable", "bookwire.target")
    box.run("systemctl", "start", "bookwire.target", "bookwire-gateway.service", "bookwire-http.service")
    assert "bookwire-gateway.service" in box.run(*units)
    assert (
        box.run("systemctl", "is-active", "bookwire-gateway.socket", "bookwire-http.service")
        == "active\nactive\n"
    )
    box.run("dpkg", "--purge", "bookwire")
    assert box.run(*units) == ""
    assert difference(box.changes / "upper", tree()) == before
    assert "bookwire" not in box.run("getent", "passwd")
    assert not box.path("/opt/bookwire").exists()


def test_the_package_refuses_an_environment_that_is_not_its_own(box: Box) -> None:
    box.path("/opt/bookwire/venv").mkdir(parents=True)
    box.path("/opt/bookwire/venv/pyvenv.cfg").write_text("")
    shutil.copy(newest("bookwire_*.deb"), box.path("/var/tmp/bookwire.deb"))
    done = subprocess.run(
        box.command("dpkg", "--install", "/var/tmp/bookwire.deb"), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "take it away first" in done.stderr
