"""Two boxes follow one exchange and record it; their recorders and feeds are killed at different times, and
once at the same time. A third box, which nothing happens to, says what the truth is: every book of the merged
recording is the third's at that update, and only what both lost is missing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from play import until
from scribe import Seen, read

from handlers.recording.audit import audit
from handlers.recording.journal import files_of
from handlers.recording.merge import Merged, merge
from handlers.shm import Segment
from handlers.shm_layout import BookState

SYMBOLS = ["BTC-USDT", "ETH-USDT"]
RING_BYTES = 1 << 19  # the least there may be
STEP = 400  # updates of each book at once
RECORD = """
import signal, sys; sys.path.insert(0, {root!r})
from pathlib import Path
from handlers.recording.recorder import Recorder, RecordSettings
recorder = Recorder(RecordSettings(Path({shm!r}), Path({run!r}), Path({out!r}), ({exchange!r},)))
signal.signal(signal.SIGTERM, lambda *_: recorder.stop.set())
recorder.run()
"""


@dataclass
class Recorded:
    """A box: its feed, its recorder, its recording."""

    stack: Any
    market: Any  # the stack of the simulator
    exchange: str
    directory: Path

    async def feed(self) -> None:
        """Starts the feed; returns when its books are LIVE."""
        path = self.stack.shm_dir / f"{self.exchange}.shm"
        old = path.stat().st_ino if path.exists() else None
        await self.stack.feed(self.exchange, ring_bytes=RING_BYTES)
        await until(lambda: path.exists() and path.stat().st_ino != old, 60, "a new segment")
        (await self.stack.segment(self.exchange, 60)).close()

    async def dies(self) -> None:
        """The whole box: feed and recorder."""
        await self.stack.kill("record")
        await self.stack.kill(f"feed-{self.exchange}")

    async def comes_back(self) -> None:
        await self.feed()
        await self.record()

    async def record(self) -> None:
        """Starts the recorder; returns when it writes."""
        files = len(files_of(self.directory))
        root = str(Path(__file__).resolve().parents[2])
        code = RECORD.format(root=root, shm=str(self.stack.shm_dir), run=str(self.stack.run_dir),
                             out=str(self.directory), exchange=self.exchange)  # fmt: skip
        await self.stack.start("record", "-c", code)
        await until(lambda: len(files_of(self.directory)) > files, 60, "the recorder writes")

    def head(self) -> int:
        """Bytes that the ring has had."""
        with Segment.open(self.stack.shm_dir / f"{self.exchange}.shm") as segment:
            return int(segment.header["ring_head"])

    async def gone_round(self, since: int) -> None:
        """The ring has lost what stood in it."""
        while self.head() <= since + RING_BYTES:
            await self.market.control(self.exchange, "/step", {"n": STEP})

    async def moves(self) -> None:
        """Books change some more."""
        since = self.head()
        await until(lambda: self.head() > since + (4 << 10), 120, "books move")


def boxes_of(stack: Any, exchange: str, base: Path) -> list[Recorded]:
    """Boxes A, B, and the one that says what is true."""
    boxes = []
    for name in "abc":
        where = base / name
        (where / "shm").mkdir(parents=True)
        (where / "run").mkdir()
        own = type(stack)(where / "shm", where / "run", where)
        own.where, own.ca_file, own.symbols = stack.where, stack.ca_file, stack.symbols
        boxes.append(Recorded(own, stack, exchange, where / "record"))
    return boxes


async def ended(boxes: Sequence[Recorded]) -> None:
    await asyncio.gather(*(each.stack.stop() for each in boxes))


async def boxes_die(boxes: Sequence[Recorded]) -> None:
    """One after the other, then both at once."""
    a, b, third = boxes
    for victims in ((a,), (b,), (a, b)):
        await third.moves()
        await asyncio.gather(*(each.dies() for each in victims))
        await third.moves()
        await asyncio.gather(*(each.comes_back() for each in victims))
    await third.moves()


async def recorders_and_feeds_die(boxes: Sequence[Recorded]) -> None:
    """A recorder that is away until the ring has gone round, a feed under a recorder that stays."""
    a, b, third = boxes
    for victims in ((a,), (b,), (a, b)):
        await third.moves()
        heads = [each.head() for each in victims]
        await asyncio.gather(*(each.stack.kill("record") for each in victims))
        for each, head in zip(victims, heads, strict=True):
            await each.gone_round(head)
            await each.record()
    for victim in (b, a):
        await third.moves()
        await victim.stack.kill(f"feed-{victim.exchange}")
        await third.moves()
        await victim.feed()
    await third.moves()


async def standing(box: Recorded) -> None:
    """Nothing moves any more."""
    last = -1

    def still() -> bool:
        nonlocal last
        before, last = last, box.head()
        return before == last

    await until(still, 60, "the books stand still")


def content(seen: Seen) -> bytes | None:
    """Of a book that is known and LIVE: what tells it from the others."""
    if seen.state is not BookState.LIVE or seen.sides is None:
        return None
    return orjson.dumps([sorted(side.items()) for side in seen.sides])


class Truth:
    """The states of a book in the third recording, in order."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        self._places: dict[bytes, list[int]] = {}
        contents = [content(one) for one in seen]
        for at, one in enumerate(contents):
            if one is not None:
                self._places.setdefault(one, []).append(at)
        self.whole = None not in contents  # else some states are known to nobody
        self.compared = 0

    def covered(self, seen: Sequence[Seen]) -> set[int]:
        """States that a recording leads through without a hole, each of which must be one of these, and
        later than the one before."""
        found: set[int] = set()
        begin, last, floor = None, 0, 0
        for one in seen:
            if one.sequence != last + 1 or one.state is not BookState.LIVE:
                begin = None
            last, this = one.sequence, content(one)
            if this is None:
                continue
            at = next((at for at in self._places.get(this, ()) if at >= floor), None)
            assert at is not None or not self.whole, f"no such book, or not then: {one}"
            if at is None:
                continue
            self.compared += 1
            found |= set(range(begin + 1, at + 1)) if begin is not None else set()
            begin = floor = at
        return found


def check(boxes: Sequence[Recorded], out: Path, merged: Merged) -> str:
    """Every state of the merge is one of the truth, and what is missing is what both lost."""
    report = audit(out)
    assert report.clean, report.findings
    assert report.gaps == merged.gaps
    assert merged.differing == 0
    manifest = orjson.loads((out / "merge.json").read_bytes())
    lines = []
    for symbol in SYMBOLS:
        a, b, third, seen = (
            list(read(directory, merged.exchange, symbol))
            for directory in (*(box.directory for box in boxes), out)
        )
        truth = Truth([one for one in third if one.state is BookState.LIVE])
        mine, theirs = truth.covered(a), truth.covered(b)
        truth.compared = 0
        covered = truth.covered(seen)
        assert truth.compared > 20
        # what replaces the book with each message is known at its copies only
        assert len((mine | theirs) - covered) <= (0 if truth.whole else 4 * merged.seams)
        if truth.whole:
            assert len(covered - (mine | theirs)) <= merged.seams  # what leads from the one to the other
        everything = set(range(min(mine | theirs), max(mine | theirs) + 1))
        assert everything > covered, "both had lost something"
        assert covered - mine, "something of B's was needed"
        gaps = manifest["exchanges"][merged.exchange]["books"][symbol]["gaps"]
        jumps = [(one.sequence + 1, other.sequence - 1) for one, other in itertools.pairwise(seen)
                 if other.sequence != one.sequence + 1]  # fmt: skip
        assert jumps == [(gap["from_sequence"], gap["to_sequence"]) for gap in gaps]
        assert jumps
        lines.append(f"{symbol}: {truth.compared} books of {len(seen)} compared; A has {len(mine)}, "
                     f"B {len(theirs)}, both {len(mine | theirs)}, the merge {len(covered)} of "
                     f"{len(everything)} updates; {len(jumps)} gaps")  # fmt: skip
    return "; ".join(lines)


async def run(stack: Any, tmp_path: Path, exchange: str, happens: Any) -> None:
    await stack.simulate(exchange, SYMBOLS, "--levels", "40", "--rate", "150", "--paused")
    boxes = boxes_of(stack, exchange, tmp_path)
    try:
        await asyncio.gather(*(each.comes_back() for each in boxes))
        await stack.control(exchange, "/resume", {})
        await happens(boxes)
        await stack.control(exchange, "/pause", {})
        await asyncio.gather(*(standing(each) for each in boxes))
    finally:
        await ended(boxes)
    out = tmp_path / "merged"
    (merged,) = merge([box.directory for box in boxes[:2]], out)
    print(check(boxes, out, merged), merged)


@pytest.mark.long
async def test_two_boxes_that_die_at_different_times_make_one_recording(stack: Any, tmp_path: Path) -> None:
    await run(stack, tmp_path, "binance", boxes_die)


@pytest.mark.long
@pytest.mark.parametrize("exchange", ["kraken", "coinbase", "okx", "upbit", "lbank"])
async def test_whatever_an_exchange_numbers(exchange: str, stack: Any, tmp_path: Path) -> None:
    await run(stack, tmp_path, exchange, boxes_die)


@pytest.mark.long
async def test_recorders_that_were_away_for_too_long_and_feeds_that_fell(stack: Any, tmp_path: Path) -> None:
    await run(stack, tmp_path, "binance", recorders_and_feeds_die)
