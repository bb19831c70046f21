"""Everything that goes wrong, on each of the five: never LIVE while wrong, right again in time.

The faults are played on some exchanges while the others run on untouched, and those must notice
nothing: every sequence whole, no book replaced, no pause beyond noise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from box import EXCHANGES, Box, running
from play import Player, until, watched

from appliance.observe import Observer

SYMBOL = "BTC-USDT"
GROUPS = (("binance", "kraken"), ("coinbase", "okx", "bybit"))
STEP_S = 0.04
STEADY_STEPS = 4  # right so many times running
HABIT_UPDATES = 110

# What the README promises, seconds from the fault to LIVE and right again.
UPDATE_S = 5.0
CONNECTION_S = 15.0
SILENCE_S = 20.0
HALF_OPEN_S = 40.0


@dataclass(frozen=True)
class Case:
    """A fault: what is asked of the simulator, where it must show, and how soon all is right again."""

    name: str
    within_s: float
    requests: tuple[dict[str, Any], ...]
    replaces: tuple[str, ...] = EXCHANGES  # exchanges whose book must be taken out and replaced
    only: tuple[str, ...] = EXCHANGES  # exchanges that have such a thing
    per_exchange: dict[str, dict[str, Any]] = field(default_factory=dict)
    fresh: bool = False  # a box of its own: each repair in a row of the same thing waits longer


SEQUENCED = ("binance", "coinbase", "okx", "bybit")  # an update that is missing shows at the next one
CASES = (
    Case("drop", UPDATE_S, ({"fault": "drop", "symbol": SYMBOL},), replaces=SEQUENCED, fresh=True),
    Case("duplicate", UPDATE_S, ({"fault": "duplicate", "symbol": SYMBOL},), replaces=()),
    Case("reorder", UPDATE_S, ({"fault": "reorder", "symbol": SYMBOL},), replaces=(), fresh=True),
    Case(
        "wrong checksum",
        UPDATE_S,
        ({"fault": "wrong_checksum", "symbol": SYMBOL},),
        replaces=("kraken",),
        only=("kraken", "okx"),
        fresh=True,
    ),
    Case(
        "zero checksum",
        UPDATE_S,
        ({"fault": "zero_checksum", "symbol": SYMBOL},),
        replaces=(),
        only=("kraken", "okx"),
    ),
    Case("garbage", CONNECTION_S, ({"fault": "garbage"},), replaces=()),
    Case("binary garbage", CONNECTION_S, ({"fault": "garbage", "kind": "binary"},), replaces=()),
    Case("malformed update", UPDATE_S, ({"fault": "malformed", "symbol": SYMBOL},), replaces=(), fresh=True),
    Case(
        "oversized frame",
        CONNECTION_S,
        ({"fault": "oversized", "bytes": (8 << 20) + 64},),
        per_exchange={"coinbase": {"bytes": (64 << 20) + 64}},
        fresh=True,
    ),
    Case("close", CONNECTION_S, ({"fault": "close"},), fresh=True),
    Case("reset", CONNECTION_S, ({"fault": "reset"},), fresh=True),
    Case(
        "429",
        CONNECTION_S,
        ({"fault": "rest_status", "status": 429, "retry_after": 1, "count": 1}, {"fault": "reset"}),
        fresh=True,
    ),
    Case(
        "refused connections",
        CONNECTION_S,
        ({"fault": "refuse_connections", "count": 2}, {"fault": "close"}),
        fresh=True,
    ),
    Case("silence", SILENCE_S, ({"fault": "silence", "symbol": SYMBOL, "until": "resubscribe"},), fresh=True),
    Case("half-open socket", HALF_OPEN_S, ({"fault": "half_open"},), fresh=True),
)


def started() -> AbstractContextManager[Box]:
    return running("--symbols", f"{SYMBOL},ETH-USDT", config="[simulate]\nlevels = 60\n")


@pytest.fixture(scope="module")
def shared_box() -> Iterator[Box]:
    with started() as box:
        yield box


@pytest.fixture
def box(request: pytest.FixtureRequest, case: Case) -> Iterator[Box]:
    if not case.fresh:
        yield request.getfixturevalue("shared_box")
        return
    with started() as box:
        yield box


@asynccontextmanager
async def players(box: Box, exchanges: Sequence[str], observer: Observer) -> AsyncIterator[list[Player]]:
    """Each with its flow paused; resumed afterwards."""
    connector = aiohttp.TCPConnector(ssl=box.tls())
    async with aiohttp.ClientSession(connector=connector) as session:
        made = [
            Player(
                name,
                SYMBOL,
                box.simulator(name)["control_url"],
                session,
                observer,
                depth=10 if name == "kraken" else 0,
            )
            for name in exchanges
        ]
        await asyncio.gather(*(accustomed(player) for player in made))
        for player in made:
            await player.pause()
        try:
            await asyncio.gather(*(settled(player, "before the fault", CONNECTION_S) for player in made))
            yield made
        finally:
            for player in made:
                await player.post("fault", fault="clear")
                await player.resume()


async def accustomed(player: Player) -> None:
    """Until the book has shown its habit: from then on silence is judged by that, not by the exchange's."""

    def shown() -> bool:
        book = player.book()
        return book is not None and int(book.header["updates"]) > HABIT_UPDATES

    await until(shown, 30, f"{player.exchange}: {HABIT_UPDATES} updates")


async def settled(player: Player, when: str, seconds: float, epoch: int | None = None) -> float:
    """Steps until our book is LIVE, right, and (with ``epoch``) replaced. How long it took, in seconds."""
    begun_s = time.monotonic()
    steady = 0
    while steady < STEADY_STEPS:
        await player.step()
        await asyncio.sleep(STEP_S)
        right = player.is_right()
        book = player.book()
        replaced = epoch is None or (book is not None and book.epoch > epoch)
        steady = steady + 1 if right and replaced else 0
        waited_s = time.monotonic() - begun_s
        state = f"{book.state.name} {book.reason.name}" if book else "no process"
        assert waited_s < seconds, (
            f"{player.exchange} {when}: {state}, replaced {replaced}, after {seconds:.0f} s"
        )
    return time.monotonic() - begun_s


async def suffer(player: Player, case: Case) -> float:
    """Plays the fault; returns after how many seconds the book was LIVE and right again."""
    book = player.book()
    assert book is not None
    for request in case.requests:
        extra = case.per_exchange.get(player.exchange, {}) if "bytes" in request else {}
        await player.post("fault", **{**request, **extra})
    epoch = book.epoch if player.exchange in case.replaces else None
    took_s = await settled(player, f"after {case.name}", case.within_s, epoch)
    name = case.requests[0]["fault"]
    if name != "rest_status" or player.exchange == "binance":  # the others ask nothing of REST to repair
        assert await player.fired(name) > 0, f"{player.exchange}: the simulator never played {name}"
    return took_s


@pytest.mark.timeout(240)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_a_fault_takes_the_book_out_until_it_is_right_again(box: Box, case: Case) -> None:
    took: dict[str, float] = {}
    with box.observer() as observer:
        for group in GROUPS:
            struck = [name for name in group if name in case.only]
            if not struck:
                continue
            others = [name for name in EXCHANGES if name not in struck]
            async with players(box, struck, observer) as made, watched(observer, others):
                times = await asyncio.gather(*(suffer(player, case) for player in made))
                took.update(zip(struck, times, strict=True))
    print(f"{case.name}: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items()))
