"""The three shipped clients, set up and started as their READMEs say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LANGUAGES = ("python", "node", "rust")
CARRIED = ("binance", "coinbase", "okx", "bybit", "kraken")  # by the live box
NOT_TO_BE_HAD = re.compile(
    r"No matching distribution|Connection|ENOTFOUND|ECONNREFUSED|ETIMEDOUT|Could not resolve|download"
)
NEEDS = {"python": (), "node": ("node", "npm"), "rust": ("cargo",)}


def readme(language: str) -> list[str]:
    """The command lines of the README's first block."""
    text = (REPOSITORY / "clients" / language / "README.md").read_text()
    block = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert block
    return block[1].splitlines()


class Clone:
    """One client, ready to run. ``example(name)`` is the README's own line for it, without arguments."""

    def __init__(self, language: str, root: Path) -> None:
        self.language = language
        lines = readme(language)
        place = re.match(r"cd (\S+)", lines[0])
        self.directory = root / place[1] if place else root
        self._setup = [line for line in lines if "examples/" not in line and "--example" not in line]
        self.examples: dict[str, list[str]] = {}
        for line in lines:
            if found := re.search(r"(?:examples/|--example )(\w+)", line):
                self.examples[found[1]] = line.split(" 30")[0].split()
        self.environment = {
            **os.environ,
            "CARGO_TARGET_DIR": str(REPOSITORY / "build" / "cargo"),  # kept between runs
            "PYTHONUNBUFFERED": "1",
        }
        self._root = root

    def prepare(self) -> None:
        """The README's first lines; skips where a registry cannot be reached, fails for anything else."""
        missing = [name for name in NEEDS[self.language] if shutil.which(name) is None]
        if missing:
            pytest.skip(f"no {' and '.join(missing)} on this machine")
        setup = [*self._setup]
        if self.language == "rust":
            setup = [*setup, "cargo build --locked --examples"]
        done = subprocess.run(
            ["sh", "-ec", "\n".join(setup)], cwd=self._root, env=self.environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        if done.returncode and NOT_TO_BE_HAD.search(done.stderr):
            pytest.skip(f"its packages cannot be had here: {done.stderr.splitlines()[-1]}")
        assert done.returncode == 0, done.stderr[-4000:]

    def example(self, name: str, *arguments: object) -> list[str]:
        return [*self.examples[name], *map(str, arguments)]
