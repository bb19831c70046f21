"""A copy of the clients with nothing built in it, each prepared once, and one live box for all of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from box import Box, running
from house import REPOSITORY, tracked
from shipped import CARRIED, Clone


@pytest.fixture(scope="session")
def tree() -> Path:
    """What a fresh clone has of the clients. Always at the same place: cargo compiles again what moved."""
    root = REPOSITORY / "build" / "clone"
    shutil.rmtree(root, ignore_errors=True)
    for path in tracked():
        if path.parts[0] == "clients":
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / path, root / path)
    return root


@pytest.fixture(scope="session")
def clone(tree: Path) -> Callable[[str], Clone]:
    """A prepared client by language, prepared once."""
    ready: dict[str, Clone | BaseException] = {}

    def get(language: str) -> Clone:
        if language not in ready:
            try:
                found = Clone(language, tree)
                found.prepare()
                ready[language] = found
            except (pytest.skip.Exception, AssertionError) as problem:
                ready[language] = problem
        known = ready[language]
        if isinstance(known, BaseException):
            raise known
        return known

    return get


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """One live box for all tests of a module."""
    config = (
        "[simulate]\nlevels = 300\nrate = 60.0\n[arb]\nmin_net_bp = 0.0\nmin_notional = 0.0\n[arb.fees]\n"
    )
    config += "".join(f"{exchange} = 0.0\n" for exchange in CARRIED)  # so that books of one world cross
    arguments = ("--exchanges", ",".join(CARRIED), "--symbols", "BTC-USDT,ETH-USDT")
    with running(*arguments, config=config) as started:
        yield started
