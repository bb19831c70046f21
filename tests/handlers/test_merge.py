"""Merging recordings: every book of the new one is the exchange's at that update, and a gap remains only where
both had one. Journals are written by hand here; tests/end_to_end/test_merge.py has real recorders.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scribe import BEGIN_NS, STEP_NS, SYMBOL, Scribe, Seen, Truth, read

from handlers.errors import UnavailableError, UsageError
from handlers.recording.audit import audit
from handlers.recording.journal import BlockType, JournalFile, JournalWriter, files_of
from handlers.recording.merge import Merged, merge
from handlers.shm_layout import BookState

UPDATES = 60
# what a recording does next: (what, a number)
EVENTS = st.tuples(
    st.sampled_from(("update",) * 6 + ("lose", "resync", "late copy", "process", "file", "joined", "silent")),
    st.integers(1, 6),
)
SCRIPT = st.lists(EVENTS, min_size=5, max_size=40)
Script = list[tuple[str, int]]


def play(scribe: Scribe, script: Script, begin: int = 0) -> Scribe:
    """Records the truth as the script says, to its end."""
    scribe.open(begin, process=True)
    for what, number in script:
        left = UPDATES - scribe.at
        if left <= 8:
            break
        if what == "update":
            for _ in range(number):
                scribe.update()
        elif what == "joined":
            scribe.update(number)
        elif what == "lose":
            scribe.lose(number)
        elif what == "resync":
            scribe.resync(number)
        elif what == "late copy":
            scribe.resync(number, between=2)
        elif what == "silent":
            scribe.silent()
        else:
            scribe.open(scribe.at + (number if what == "process" else 0), process=what == "process")
    while scribe.at < UPDATES:
        scribe.update()
    scribe.close()
    return scribe


def states(directory: Path, exchange: str = "binance") -> list[Seen]:
    return list(read(directory, exchange))


def transitions(seen: list[Seen]) -> set[int]:
    """Updates of the exchange that the recording leads through."""
    found: set[int] = set()
    for one, other in itertools.pairwise(seen):
        live = one.state is BookState.LIVE and other.state is BookState.LIVE
        if live and other.sequence == one.sequence + 1:
            found |= set(range(number_of(one) + 1, number_of(other) + 1))
    return found


def number_of(seen: Seen) -> int:
    """The update that a state is after, by the exchange's stamp."""
    return (seen.exchange_ns - BEGIN_NS) // STEP_NS


def check(truth: Truth, out: Path, merged: Merged) -> list[Seen]:
    """What holds of every merged recording; its states."""
    report = audit(out)
    assert report.clean, report.findings
    assert report.gaps == merged.gaps
    seen = states(out, merged.exchange)
    for one in seen:
        if one.state is BookState.LIVE and one.sides is not None:
            assert one.sides == truth.states[number_of(one)], one
    for one, other in itertools.pairwise(seen):
        assert other.sequence > one.sequence
        assert other.epoch >= one.epoch
        if one.state is BookState.LIVE and other.sequence == one.sequence + 1:
            assert number_of(other) >= number_of(one)
    jumps = sum(other.sequence != one.sequence + 1 for one, other in itertools.pairwise(seen))
    assert jumps == merged.gaps, "each gap is told, and nothing else is missing"
    return seen


@settings(max_examples=60, deadline=None)
@given(first=SCRIPT, second=SCRIPT, seed=st.integers(0, 1 << 16), begin=st.integers(0, 10),
       ahead=st.integers(-3, 3), batches=st.tuples(st.integers(1, 9), st.integers(1, 9)),
       numbered=st.sampled_from([("binance", "shared"), ("kraken", "none"), ("coinbase", "own"),
                                 ("elsewhere", "own")]))  # fmt: skip
def test_what_either_recorded_is_in_the_merge_and_every_book_is_right(
    first: Script, second: Script, seed: int, begin: int, ahead: int, batches: tuple[int, int],
    numbered: Any, tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    base, truth, (exchange, ids) = tmp_path_factory.mktemp("merge"), Truth(UPDATES, seed), numbered
    one = play(Scribe(base / "a", truth, exchange, first=40, batch=batches[0], ids=ids), first)
    other = Scribe(base / "b", truth, exchange, clock_ns=ahead * STEP_NS, batch=batches[1], ids=ids)
    play(other, second, begin)
    (merged,) = merge([base / "a", base / "b"], base / "out", file_bytes=6000)
    seen = check(truth, base / "out", merged)
    assert transitions(seen) >= one.transitions | other.transitions
    assert merged.differing == 0
    again = merge([base / "out", base / "a"], base / "again")[0]
    assert again.gaps <= merged.gaps, "a merge can be merged"
    check(truth, base / "again", again)
