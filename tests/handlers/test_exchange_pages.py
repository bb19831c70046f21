"""docs/exchanges says what the facts say, and of evidence what the tests here play."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import pytest
import test_capture_samples
import test_captures
import test_captures_session
import test_more_captures
import test_more_samples
import test_samples_session

from appliance.pages import EVIDENCE, pages
from handlers.registry import VENUES

DIRECTORY = Path(__file__).resolve().parents[2] / "docs" / "exchanges"
TOLD = tomllib.loads((DIRECTORY / EVIDENCE).read_text())


def test_the_committed_pages_are_those_the_facts_make() -> None:
    made = pages(DIRECTORY)
    assert {path.name for path in DIRECTORY.iterdir()} == {*made, EVIDENCE}
    assert [name for name, text in made.items() if (DIRECTORY / name).read_text() != text] == [], (
        "run `make docs`"
    )


@pytest.mark.parametrize("name", VENUES)
def test_recordings_and_checksums_are_those_that_are_played(name: str) -> None:
    rooms = (test_captures, test_captures_session, test_more_captures)
    played = [one for room in rooms for one in room.RECORDINGS if one.venue.id == name]
    told = TOLD[name]
    assert [told.get(key, 0) for key in ("files", "messages", "checksums")] == [
        len(played),
        sum(one.updates for one in played),
        sum(one.checksums for one in played),
    ]


def test_samples_are_those_that_are_decoded() -> None:
    counts: Counter[str] = Counter()
    files = (
        *test_capture_samples.FILES.items(),
        *((one.name, one.books) for one in test_more_samples.FILES),
        *((name, books) for name, (books, _) in test_samples_session.FILES.items()),
    )
    for file, books in files:
        counts[next(part for part in file.split("/") if part in VENUES)] += books
    assert {name: row.get("samples", 0) for name, row in TOLD.items()} == {
        name: counts[name] for name in VENUES
    }


# Of no recording and no sample above, and why.
LEFT_OUT = {
    "htx/cryptofeed-spot-depthstep0-2021": "whole pushes only: a test of test_captures_session",
    "mexc/daxalgo-v3pb-spot-frames-2026": "a neighbouring stream: a test of test_more_samples",
    "mexc/osslabz-v3pb-spot-kline-2026": "candles",
    "mexc/tradingengine-v3pb-spot-bookticker-2026": "best prices",
    "bitfinex/tardisnode-v2-derivatives-samples": "its one book update is of a channel that nothing binds",
    "lbank/arbobservatory-perp-topic25-frames-2026": "perpetuals, whose protocol is another",
}


def test_every_capture_is_played_or_left_out_for_a_reason(captures: Path) -> None:
    rooms = (test_captures, test_captures_session, test_more_captures)
    played = {
        *(one.file for room in rooms for one in room.RECORDINGS),
        *test_capture_samples.FILES,
        *(one.name for one in test_more_samples.FILES),
        *test_samples_session.FILES,
    }
    there = {
        str(path.relative_to(captures)).partition(".jsonl")[0]
        for path in captures.rglob("*.jsonl*")
        if "_older" not in path.parts
    }
    assert there - {name.partition(".jsonl")[0] for name in played} == set(LEFT_OUT)
