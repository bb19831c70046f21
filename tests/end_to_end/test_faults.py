"""Everything that goes wrong, on each exchange: never LIVE while wrong, right again in time.

The faults are played on some exchanges of a room while the others run on untouched, and those must notice
nothing: every sequence whole, no book replaced, no pause beyond noise. What an exchange can suffer, and what
it shows of it, follows from its facts. Each fault runs in one room always, but for those that take long to
be noticed; the rest in the long tests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from box import EXCHANGES, ROOMS, Box, running
from play import Player, until, watched

from appliance.observe import Observer
from handlers.facts import Continuity, Sync
from handlers.registry import VENUES

SYMBOL = "BTC-USDT"
STEP_S = 0.04
STEADY_STEPS = 4  # right so many times running
HABIT_UPDATES = 110

# What the README promises, seconds from the fault to LIVE and right again.
UPDATE_S = 5.0
CONNECTION_S = 15.0
SILENCE_S = 20.0
HALF_OPEN_S = 40.0

AUDIT_S = 75.0  # the snapshot that audits a book comes every 60 s


def where(fact: Any) -> tuple[str, ...]:
    """Exchanges of which ``fact(venue)`` is true."""
    return tuple(name for name in EXCHANGES if fact(VENUES[name]))


# Only a checksum tells a loss: not what is deeper than it reaches, nor what the next update undoes.
SUM_ONLY = where(lambda venue: venue.continuity is Continuity.NONE and venue.checksum is not None)
PROVED = {name: told.levels for name in SUM_ONLY if (told := VENUES[name].checksum)}
VERIFIED = where(lambda venue: venue.checksum_state == "verified")
SUMMED = where(lambda venue: venue.checksum is not None)
# Every message is a whole book: the next one heals.
WHOLE = where(lambda venue: venue.sync is Sync.SNAPSHOTS_ONLY)
# No loss shows: what is lost comes right with the next audit, or (JUMPS) with the next change of the level.
AUDITED = where(lambda venue: venue.continuity is Continuity.RISES and venue.audit)
JUMPING = where(lambda venue: venue.continuity is Continuity.JUMPS)
SHOWING = tuple(name for name in EXCHANGES if name not in (*WHOLE, *AUDITED, *JUMPING, *SUM_ONLY))
REST = where(lambda venue: venue.sync is Sync.REST_SNAPSHOT)


@dataclass(frozen=True)
class Case:
    """A fault: what is asked of the simulator, where it must show, and how soon all is right again."""

    name: str
    within_s: float
    requests: tuple[dict[str, Any], ...]
    replaces: tuple[str, ...] = EXCHANGES  # exchanges whose book must be taken out and replaced
    only: tuple[str, ...] = EXCHANGES  # exchanges that have such a thing
    fresh: bool = False  # a box of its own: each repair in a row of the same thing waits longer
    loses: bool = False  # an update, which not every exchange shows
    room: int = 0  # always run here


CASES = (
    Case("drop", UPDATE_S, ({"fault": "drop", "symbol": SYMBOL},), SHOWING, fresh=True, loses=True, room=1),
    Case("duplicate", UPDATE_S, ({"fault": "duplicate", "symbol": SYMBOL},), (), room=2),
    Case("reorder", UPDATE_S, ({"fault": "reorder", "symbol": SYMBOL},), (), fresh=True, loses=True, room=3),
    Case(
        "wrong checksum",
        UPDATE_S,
        ({"fault": "wrong_checksum", "symbol": SYMBOL},),
        replaces=VERIFIED,
        only=SUMMED,
        fresh=True,
    ),
    Case(
        "zero checksum", UPDATE_S, ({"fault": "zero_checksum", "symbol": SYMBOL},), replaces=(), only=SUMMED
    ),
    Case("garbage", CONNECTION_S, ({"fault": "garbage"},), replaces=(), room=1),
    Case("binary garbage", CONNECTION_S, ({"fault": "garbage", "kind": "binary"},), replaces=(), room=3),
    Case(
        "malformed update",
        UPDATE_S,
        ({"fault": "malformed", "symbol": SYMBOL},),
        replaces=(),
        fresh=True,
        room=2,
    ),
    Case("oversized frame", CONNECTION_S, ({"fault": "oversized"},), fresh=True, room=3),
    Case("close", CONNECTION_S, ({"fault": "close"},), fresh=True, room=1),
    Case("reset", CONNECTION_S, ({"fault": "reset"},), fresh=True, room=2),
    Case(
        "429",
        CONNECTION_S,
        ({"fault": "rest_status", "status": 429, "retry_after": 1, "count": 1}, {"fault": "reset"}),
        only=REST,
        fresh=True,
    ),
    Case(
        "refused connections",
        CONNECTION_S,
        ({"fault": "refuse_connections", "count": 2}, {"fault": "close"}),
        fresh=True,
    ),
    Case(
        "silence",
        SILENCE_S,
        ({"fault": "silence", "symbol": SYMBOL, "until": "resubscribe"},),
        fresh=True,
        room=2,
    ),
    Case("half-open socket", HALF_OPEN_S, ({"fault": "half_open"},), fresh=True, room=1),
)


def quick(case: Case, room: int) -> bool:
    """Whether it runs always: in one room, and not what takes its time to be noticed."""
    return room == case.room and case.within_s < SILENCE_S


PLAYED = [
    pytest.param(
        case, room, id=f"{case.name}-{number}", marks=[] if quick(case, number) else pytest.mark.long
    )
    for case in CASES
    for number, room in enumerate(ROOMS)
    if set(case.only) & set(room)
]


def started(room: Sequence[str]) -> AbstractContextManager[Box]:
    config = "[simulate]\nlevels = 60\n"
    return running("--symbols", f"{SYMBOL},ETH-USDT", "--exchanges", ",".join(room), config=config)


@pytest.fixture(scope="module")
def boxes() -> Iterator[dict[Sequence[str], Box]]:
    """One of each room for the cases that leave no trace, started at first use."""
    with ExitStack() as stack:

        class Started(dict[Sequence[str], Box]):
            def __missing__(self, room: Sequence[str]) -> Box:
                self[room] = stack.enter_context(started(room))
                return self[room]

        yield Started()


@pytest.fixture
def box(boxes: dict[Sequence[str], Box], case: Case, room: Sequence[str]) -> Iterator[Box]:
    if not case.fresh:
        yield boxes[room]
        return
    with started(room) as box:
        yield box


@asynccontextmanager
async def players(
    box: Box, exchanges: Sequence[str], observer: Observer, blind: Sequence[str] = ()
) -> AsyncIterator[list[Player]]:
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
                depth=PROVED.get(name, VENUES[name].depth),
                blind=name in blind,
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
        size = VENUES[player.exchange].limits.message_bytes + 64
        await player.post("fault", **request, **({"bytes": size} if request["fault"] == "oversized" else {}))
    epoch = book.epoch if player.exchange in case.replaces else None
    within_s = AUDIT_S if player.blind else case.within_s
    took_s = await settled(player, f"after {case.name}", within_s, epoch)
    name = case.requests[0]["fault"]
    assert await player.fired(name) > 0, f"{player.exchange}: the simulator never played {name}"
    return took_s


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("case", "room"), PLAYED)
async def test_a_fault_takes_the_book_out_until_it_is_right_again(
    box: Box, case: Case, room: Sequence[str]
) -> None:
    took: dict[str, float] = {}
    played = [name for name in room if name in case.only and not (case.loses and name in JUMPING)]
    blind = AUDITED if case.loses else ()
    with box.observer() as observer:
        for struck in (played[::2], played[1::2]):
            if not struck:
                continue
            others = [name for name in room if name not in struck]
            async with players(box, struck, observer, blind) as made, watched(observer, others):
                times = await asyncio.gather(*(suffer(player, case) for player in made))
                took.update(zip(struck, times, strict=True))
    print(f"{case.name}: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items()))
