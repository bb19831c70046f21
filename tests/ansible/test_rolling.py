"""``rolling-upgrade.yml`` over two boxes: each is replaced while the other serves.

docs/operations.md has for how long each was without a live book (``-s`` shows it).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from boxes import SKIPPED, metrics, newer, play, play_an_exchange, subscriber, wait_for_books
from debian import Box, booted
from playbooks import what_to_install

pytestmark = [pytest.mark.long, pytest.mark.root, pytest.mark.timeout(2400)]
NAMES = ("box1", "box2")


@pytest.fixture
def boxes(tmp_path: Path) -> Iterator[dict[str, Box]]:
    for name in NAMES:
        (tmp_path / name).mkdir()
    with ExitStack() as running:
        yield {name: running.enter_context(booted(tmp_path / name)) for name in NAMES}
    shutil.rmtree(tmp_path, ignore_errors=True)


def without(events: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """Spans in which the subscriber had no live book: (from, to)."""
    spans, since = [], None
    for event in events:
        if event["kind"] in ("closed", "empty"):
            since = since or event["at"]
        elif event["kind"] == "book" and since is not None:
            spans.append((since, event["at"]))
            since = None
    assert since is None, "the last word is a book"
    return spans


def test_one_box_serves_while_the_other_is_replaced(boxes: dict[str, Box], tmp_path: Path) -> None:
    facts = {**what_to_install(), "clock_service": "none"}
    play(boxes, facts, "site.yml", "--tags", "users,bookwire")
    settings = [play_an_exchange(box) for box in boxes.values()]
    assert settings[0] == settings[1]
    facts |= {"bookwire_settings": settings[0], "bookwire_symbols": ["BTC-USDT"]}
    play(boxes, facts, "site.yml", "--skip-tags", SKIPPED)
    facts["bookwire_wheel"] = str(newer(Path(facts["bookwire_wheel"]), tmp_path))
    with ExitStack() as subscribed:
        seen = [subscribed.enter_context(subscriber(box)) for box in boxes.values()]
        began = [wait_for_books(events, 0.0) for events in seen]
        play(boxes, facts, "rolling-upgrade.yml")
        for events in seen:
            wait_for_books(events, max(event["at"] for each in seen for event in each()))
        after = [[row for row in events() if row["at"] > at] for events, at in zip(seen, began, strict=True)]
    first, second = map(without, after)
    print(f"no live book, s: {[[round(to - at, 1) for at, to in spans] for spans in (first, second)]}")
    assert first
    assert second
    both = [(mine, other) for mine in first for other in second if mine[0] < other[1] and other[0] < mine[1]]
    assert not both, "one of the two had a live book at every moment"
    for box in boxes.values():
        assert re.search(r'^bookwire_build_info{version="9"} 1$', metrics(box), re.MULTILINE)
