"""Node with `ws` beside the tests' own clients; whoever needs it skips where it cannot be had."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOM = Path(__file__).parent


@cache
def node() -> str:
    """The program, after the packages of package-lock.json are there."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("no node on this machine")
    if not (ROOM / "node_modules" / "ws").is_dir():
        command = ["npm", "ci", "--ignore-scripts", "--silent"]
        if shutil.which("npm") is None or subprocess.run(command, cwd=ROOM, check=False).returncode:
            pytest.skip("the npm package `ws` could not be installed")
    return found
