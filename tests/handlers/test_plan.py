"""Compiling facts: what the tables say, and which facts are refused with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from handlers.facts import Levels, Message, OneLevel, Venue
from handlers.plan import Plan, PlanError, compile_tables
from handlers.registry import VENUES


def with_messages(*messages: Message) -> Venue:
    return replace(VENUES["bybit"], messages=messages)


@pytest.mark.parametrize("venue", VENUES.values(), ids=VENUES)
def test_every_venue_compiles(venue: Venue) -> None:
    Plan(venue).close()


def test_paths_become_a_trie_with_shared_parents() -> None:
    tables = compile_tables(VENUES["okx"])
    keys = {(key.node, key.text): key for key in tables.keys.values()}
    data, arg = keys[0, "data"], keys[0, "arg"]
    assert (data.action, arg.action) == ("items", "object")
    assert keys[data.target, "seqId"].action == "slot"
    assert {keys[data.target, side].action for side in ("asks", "bids")} == {"levels"}
    assert tables.slots["arg.channel"].startswith("tag")
    assert tables.slots["data[].seqId"] == "last"
    assert tables.nodes == 3


def test_conditions_name_the_slot_their_path_fills() -> None:
    tables = compile_tables(VENUES["bybit"])
    delta, conditions, single = tables.messages[0]
    assert delta.kind == "delta"
    assert dict(conditions) == {tables.slots["type"]: "delta", "last": ""}
    assert single == -1


def test_a_message_that_is_one_level_has_slots_for_its_fields() -> None:
    level = OneLevel("price", "qty", "side", bid="buy", ask="sell")
    tables = compile_tables(with_messages(Message("delta", {"feed": "book"}, "product_id", level=level)))
    assert tables.messages[0][2] == 0
    assert {tables.slots[path] for path in ("price", "qty", "side")} == {"price", "quantity", "side"}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([Message("delta", symbol="a.b"), Message("delta", symbol="a[].b")], "used as object and items"),
        ([Message("delta", symbol="a", levels=[Levels("a", "bids")])], "used as slot and levels"),
        ([Message("delta", symbol="a", last="a")], "cannot be both symbol and last"),
        ([Message("delta", symbol="a[]")], "cannot be an array"),
        ([Message("delta", symbol="a..b")], "1 to 31 printable"),
        ([Message("delta", symbol="x" * 32)], "1 to 31 printable"),
        ([Message("delta", {"t": ""})], "empty literal"),
        ([Message("delta", {"t": "x" * 40})], "1 to 31 printable"),
        ([Message("delta", {"x": None}, last="x"), Message("delta", last="y")], "ambiguous"),
        ([Message("delta", symbol="a[].b", last="c[].d")], "one array of items"),
        ([Message("delta", levels=[Levels("a", "bids", "price", 1)])], "mixed"),
        ([Message("delta", levels=[Levels("a", 0, 1, 2)])], "texts of bid and ask"),
        ([Message("delta", levels=[Levels("a", "bids", -1, 2)])], "negative"),
        ([Message("delta", {str(number): "x"}) for number in range(9)], "more than 7 paths"),
        ([Message("delta", {str(number): "x" for number in range(5)})], "more than 4 conditions"),
        ([Message("delta", {"t": str(number)}) for number in range(17)], "17 messages, at most 16"),
    ],
)
def test_impossible_facts_are_refused_with_the_reason(messages: Sequence[Message], reason: str) -> None:
    with pytest.raises(PlanError, match=reason):
        compile_tables(with_messages(*messages))
