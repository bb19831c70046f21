"""Compiling facts: what the tables say, and which facts are refused with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from handlers.facts import Form, Levels, Message, OneLevel, Same, Venue
from handlers.plan import Plan, PlanError, Test, compile_tables
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
    delta = tables.messages[0]
    assert delta.message.kind == "delta"
    assert delta.tests == [Test(tables.slots["type"], "delta"), Test("last")]
    assert (delta.single, delta.roles) == (-1, {})


def test_one_path_may_have_two_roles_and_one_role_two_paths() -> None:
    tables = compile_tables(
        with_messages(
            Message("delta", {"[1]": Form.ROW}, "[0]", last="[2]", levels=[Levels("[1]", "sign", 0, 2)]),
            Message("checksum", {"[1]": "cs"}, "[0]", last="[3]", checksum="[2]"),
            Message("control", {"event": "subscribed", "a.u": Same("a.U")}, "symbol", binds="chanId"),
        )
    )
    delta, checksum, control = tables.messages
    assert tables.slots["[0]"] == "symbol"
    assert tables.slots["[2]"].startswith("tag")
    assert delta.roles == {"last": tables.slots["[2]"]}
    assert checksum.roles == {"checksum": tables.slots["[2]"]}
    assert tables.slots["[3]"] == "last"
    assert control.roles == {"symbol": tables.slots["symbol"], "binds": tables.slots["chanId"]}
    assert control.tests[1] == Test(tables.slots["a.u"], same=tables.slots["a.U"])
    payload = tables.keys[0, "[1]"]
    assert (payload.action, payload.position, payload.also) == ("levels", 1, tables.slots["[1]"])
    assert delta.tests == [Test(tables.slots["[1]"], form=Form.ROW)]


def test_positions_stand_at_the_root_and_behind_keys() -> None:
    tables = compile_tables(with_messages(Message("delta", {"a[2][0].b": None}, symbol="[1]", last="a.c")))
    keys = {(key.node, key.text): key for key in tables.keys.values()}
    second = keys[keys[0, "a"].target, "[2]"]
    assert (second.action, second.position) == ("object", 2)
    assert keys[keys[second.target, "[0]"].target, "b"].action == "slot"
    assert keys[keys[0, "a"].target, "c"].position is None


def test_fields_of_binary_frames_have_their_numbers() -> None:
    numbers = {"symbol": 3, "depths": 313, "depths.asks": 1, "depths.asks.price": 1, "depths.asks.qty": 2}
    levels = (Levels("depths.asks", "asks", "price", "qty"),)
    facts = with_messages(Message("delta", symbol="symbol", last="depths.to", levels=levels))
    facts = replace(facts, frames="protobuf", protobuf={**numbers, "depths.to": 5})
    keys = {(key.node, key.text): key for key in compile_tables(facts).keys.values()}
    depths = keys[0, "depths"]
    assert (keys[0, "symbol"].number, depths.number, keys[depths.target, "to"].number) == (3, 313, 5)
    Plan(facts).close()


def test_a_message_that_is_one_level_has_slots_for_its_fields() -> None:
    level = OneLevel("price", "qty", "side", bid="buy", ask="sell")
    tables = compile_tables(with_messages(Message("delta", {"feed": "book"}, "product_id", level=level)))
    assert tables.messages[0].single == 0
    assert {tables.slots[path] for path in ("price", "qty", "side")} == {"price", "quantity", "side"}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([Message("delta", symbol="a.b"), Message("delta", symbol="a[].b")], "used as object and items"),
        ([Message("delta", symbol="a", levels=[Levels("a", "bids")])], "used as slot and levels"),
        ([Message("delta", symbol="p", level=OneLevel("p", "q", "s", "b", "a"))], "both price and another"),
        ([Message("delta", symbol="a.b"), Message("delta", symbol="a")], "used as object and slot"),
        ([Message("delta", symbol="a[9]")], "positions go from 0 to 7"),
        ([Message("delta", symbol="a[]][")], "no key"),
        ([Message("delta", symbol="a[].b[].c")], "items inside items"),
        ([Message("delta", symbol="a", binds="b")], "only a control message"),
        ([Message("delta", levels=[Levels("a", "sign", orders_delete=True)])], "orders_delete needs orders"),
        ([Message("delta", levels=[Levels("a", "sign", forms=(Form.ROW,))])], "levels are ROWS"),
        (
            [Message("delta", levels=[Levels("a", "bids", "p", "q", forms=(Form.ROWS, Form.ROW))])],
            "by position",
        ),
        ([Message("delta", levels=[Levels("a", "sign", forms=(Form.ROWS, Form.OBJECT))])], "a known side"),
        ([Message("delta", symbol="a[]")], "cannot be an array"),
        ([Message("delta", symbol="a..b")], "1 to 31 printable"),
        ([Message("delta", symbol="x" * 32)], "1 to 31 printable"),
        ([Message("delta", {"t": ""})], "empty literal"),
        ([Message("delta", {"t": "x" * 40})], "1 to 31 printable"),
        ([Message("delta", symbol="a[].b", last="c[].d")], "one array of items"),
        ([Message("delta", levels=[Levels("a", "bids", "price", 1)])], "mixed"),
        ([Message("delta", levels=[Levels("a", 0, 1, 2)])], "texts of bid and ask"),
        ([Message("delta", levels=[Levels("a", "bids", -1, 2)])], "negative"),
        ([Message("delta", {str(number): "x"}) for number in range(16)], "more than 15 paths"),
        ([Message("delta", {str(number): "x" for number in range(5)})], "more than 4 conditions"),
        ([Message("delta", {"t": str(number)}) for number in range(25)], "25 messages, at most 24"),
    ],
)
def test_impossible_facts_are_refused_with_the_reason(messages: Sequence[Message], reason: str) -> None:
    with pytest.raises(PlanError, match=reason):
        compile_tables(with_messages(*messages))
