"""A 22nd exchange comes by two files in a directory of one's own: no C, no other edit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from box import running, symbols_argument
from play import Player, until

from handlers.registry import NUMBER_MAX

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "exchange"
VARIABLE = "BOOKWIRE_ADD_EXCHANGES"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The two files of docs/add-an-exchange.md, somewhere else."""
    place = tmp_path / "mine"
    shutil.copytree(EXAMPLE, place)
    assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*.py")) == [
        "simulator/mars.py",
        "venues/mars.py",
    ]
    return place


def bookwire(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "appliance.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={VARIABLE: str(directory)},
    )


async def test_a_22nd_exchange_goes_live_beside_the_others(directory: Path) -> None:
    arguments = ("--exchanges", "okx,mars", *symbols_argument(["BTC-USDT", "ETH-USDT"]))
    with running(*arguments, environment={VARIABLE: str(directory)}) as box, box.observer() as observer:
        assert box.ready["exchanges"] == ["okx", "mars"]
        assert (box.ready["books_live"], box.ready["books"]) == (4, 4)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=box.tls())) as session:
            player = Player("mars", "BTC-USDT", box.simulator("mars")["control_url"], session, observer)
            await player.pause()
            await until(player.is_right, 5, "mars equals its own book")
            await player.fault("drop", symbol="BTC-USDT")
            await player.step()
            await player.step()
            await until(player.is_right, 5, "mars is right again after a lost update")
            async with session.get(f"{box.http_url}/v1/book/fullbook:BTC-USDT?depth=2") as answer:
                rows = (await answer.json())["data"]["bids"]
            assert {row[3] for row in rows} <= {"okx", "mars"}
            async with session.get(f"{box.http_url}/v1/exchanges") as answer:
                told = {row["id"]: row for row in (await answer.json())["data"]}
            row = told["mars"]
            assert (row["name"], row["status"], row["symbols"]) == ("Mars", "live", 2)


def test_the_commands_know_it(directory: Path) -> None:
    assert "21  mars       Mars        USDT  active" in bookwire("exchanges", directory=directory).stdout
    planned = bookwire("plan", "--exchanges", "mars", "--books", "150", "--json", directory=directory)
    assert json.loads(planned.stdout)["connections"] == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("number=21", "number=0"), "exchange number 0 is binance's"),
        (("number=21", f"number={NUMBER_MAX + 1}"), f"exchange number {NUMBER_MAX + 1}"),
        (('id="mars"', 'id="okx"'), "two exchanges have one id"),
    ],
)
def test_one_that_clashes_is_told_with_its_file(directory: Path, change: tuple[str, str], said: str) -> None:
    path = directory / "venues" / "mars.py"
    path.write_text(path.read_text().replace(*change))
    done = bookwire("exchanges", directory=directory)
    assert done.returncode == 78
    assert said in done.stderr
    assert str(path) in done.stderr
