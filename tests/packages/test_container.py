"""The Containerfile and compose.yaml, which need no engine for this: linted, large enough for the books."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from appliance import preflight
from appliance.config import Config

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "compose.yaml").read_text()


def test_the_linter_has_nothing_to_say() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [linter, "--no-color", ROOT / "Containerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_shared_memory_holds_the_books_of_all_exchanges() -> None:
    size = re.search(r"^    shm_size: (\d+)gb\b", COMPOSE, re.MULTILINE)
    assert size
    told = re.search(r"--shm-size=(\d+)g\b", (ROOT / "Containerfile").read_text())
    assert told
    assert size[1] == told[1]
    needed = preflight.space_needed(Config())
    assert needed < int(size[1]) << 30


def test_the_container_may_do_no_more_than_a_service() -> None:
    for line in ("read_only: true", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]'):
        assert f"\n    {line}\n" in COMPOSE
    assert re.search(r"^USER \d+$", (ROOT / "Containerfile").read_text(), re.MULTILINE), "not root"
