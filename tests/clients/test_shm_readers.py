"""The Rust and Node readers of shared memory under a writer that never rests: no copy is ever torn.

The writer publishes through the feed's own C calls and remembers every state by its sequence, so each book a
reader prints is compared with what stood at that sequence; the Python reader is held to the same.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gateway_support import LIVE, RESYNC, PublishedBook, RandomFlow, Writer
from shipped import Clone

from handlers._ffi import lib
from handlers.shm import BusyError, Segment

SECONDS = 3.0
WIDTH = 700  # levels away from the middle: several pieces a side, so copies are finished from the ring
State = tuple[tuple[tuple[int, int, int], ...], tuple[tuple[int, int, int], ...]]


def now(book: PublishedBook) -> State:
    """The book as it was published last, best first."""
    rows = [[(price, quantity, orders) for price, (quantity, orders) in side.items()] for side in book.sides]
    return tuple(sorted(rows[0], reverse=True)), tuple(sorted(rows[1]))


def from_python(segment: Segment) -> tuple[int, State]:
    book = segment.book("BTC-USDT")
    sides = [
        tuple((int(row["price"]), int(row["quantity"]), int(row["orders"])) for row in levels)
        for levels in (book.bids, book.asks)
    ]
    return book.sequence, (sides[0], sides[1])


@pytest.fixture
def writer(shm_dir: Path) -> Iterator[Writer]:
    made = Writer("binance", 0, shm_dir, levels=3000, ring_bytes=1 << 20)
    yield made
    made.close()


async def reader(clone: Clone, path: Path, seconds: float) -> asyncio.subprocess.Process:
    if clone.language == "node":
        command = ["node", "examples/read_shm.js"]
    else:
        command = [*clone.example("check")[:-2], "read_shm", "--"]
    return await asyncio.create_subprocess_exec(
        *command, str(path), "BTC-USDT", str(seconds), cwd=clone.directory, env=clone.environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=64 << 20,
    )  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", ["node", "rust"])
async def test_no_copy_is_torn_under_a_writer_that_never_rests(
    writer: Writer, shm_dir: Path, clone: Callable[[str], Clone], language: str
) -> None:
    ready = clone(language)
    flow = RandomFlow(5, 6_400_000, WIDTH * 4)
    writer.add("ETH-USDT")  # another book in the ring
    other, book = writer.books[0], writer.add("BTC-USDT")
    flow.fill(writer, other)
    flow.width = WIDTH
    truth: dict[int, State] = {}
    flow.fill(writer, book)
    truth[book.sequence] = now(book)
    by_python: list[tuple[int, State]] = []
    with Segment.open(shm_dir / "binance.shm") as segment:
        process = await reader(ready, shm_dir / "binance.shm", SECONDS)
        reading = asyncio.create_task(process.communicate())
        while not reading.done():
            for step in range(20):
                if flow.random.random() < 0.002:
                    flow.fill(writer, book)
                elif flow.random.random() < 0.01:
                    writer.state(book, RESYNC)
                    truth[book.sequence] = now(book)
                    writer.state(book, LIVE)
                else:
                    flow.step(writer, book if step % 4 else other)
                truth[book.sequence] = now(book)
            try:
                by_python.append(from_python(segment))
            except BusyError:
                continue
            await asyncio.sleep(0)
    out, err = reading.result()
    assert process.returncode == 0, err.decode()[-2000:]
    lines = [json.loads(line) for line in out.splitlines()]
    seen = [
        (line["sequence"], tuple(tuple(map(tuple, line[side])) for side in ("bids", "asks")))
        for line in lines
    ]
    assert [sequence for sequence, state in seen if state != truth[sequence]] == []
    assert [sequence for sequence, state in by_python if state != truth[sequence]] == []
    copies, kept = ({line["sequence"] for line in lines if line["how"] == how} for how in ("copy", "ring"))
    print(f"{language}: {len(copies)} copies, {len(kept)} kept by the ring, of {len(truth)} states")
    assert min(len(copies), len(kept), len(by_python)) >= 20


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", ["node", "rust"])
async def test_a_write_that_never_ends_holds_up_no_reader(
    writer: Writer, shm_dir: Path, clone: Callable[[str], Clone], language: str
) -> None:
    ready = clone(language)
    book = writer.add("BTC-USDT")
    writer.reset(book, [(100, 1, 1)], [(101, 1, 1)])
    lib.bw_book_begin(lib.bw_shm_writer_book(writer.handle, book.index))  # and no end
    begun_s = time.monotonic()
    process = await reader(ready, shm_dir / "binance.shm", 0.5)
    ending = asyncio.create_task(process.communicate())
    while not ending.done():  # its loop turns all the while
        writer.beat()
        await asyncio.wait([ending], timeout=0.1)
    out, err = ending.result()
    assert (process.returncode, out) == (0, b""), err.decode()
    assert time.monotonic() - begun_s < 60


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", ["node", "rust"])
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda raw: b"NONSENSE" + raw[8:], "not a Bookwire segment"),
        (lambda raw: raw[:8] + b"\x63" + raw[9:], "another version"),
        (lambda raw: raw[:-4096], "not as long as it says"),
        (lambda raw: raw[:100], "too short"),
    ],
)
async def test_what_is_no_segment_is_refused(
    writer: Writer, shm_dir: Path, clone: Callable[[str], Clone], language: str,
    damage: Callable[[bytes], bytes], told: str,
) -> None:  # fmt: skip
    ready = clone(language)
    writer.add("BTC-USDT")
    path = shm_dir / "damaged.shm"
    path.write_bytes(damage((shm_dir / "binance.shm").read_bytes()))
    process = await reader(ready, path, 1)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode != 0
    assert told in err.decode(), err.decode()
    assert out == b""
