"""Subscriptions: limits kept, answers of every kind compared with requests, nothing given up silently."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from handlers.errors import SetupError
from handlers.facts import Answer, Rate, Venue
from handlers.registry import VENUES
from handlers.subscriptions import OVERDUE_S, State, Subscriptions, shard

BYBIT, OKX, COINBASE, BINANCE = (VENUES[name] for name in ("bybit", "okx", "coinbase", "binance"))


def symbols(count: int) -> list[str]:
    return [f"S{number}USDT" for number in range(count)]


def everything(subscriptions: Subscriptions, now: float = 0.0) -> list[str]:
    """All frames that go out when each second is waited for."""
    frames = []
    for second in range(200):
        while (text := subscriptions.take(now + second)) is not None:
            frames.append(text)
    return frames


def states(subscriptions: Subscriptions) -> list[str]:
    return [row.state.value for row in subscriptions.rows.values()]


@pytest.mark.parametrize("venue", VENUES.values(), ids=VENUES)
def test_requests_keep_to_the_venues_size_and_rate(venue: Venue) -> None:
    count = venue.limits.subscriptions_per_connection
    subscriptions = Subscriptions.of(venue, symbols(count))
    sent = 0
    while subscriptions.take(0.0) is not None:
        sent += 1
    assert sent <= venue.limits.requests.count
    everything(subscriptions, 1.0)
    assert subscriptions.requested == count
    assert states(subscriptions) == ["requested"] * count


def test_bybit_takes_ten_a_request_and_answers_requests() -> None:
    subscriptions = Subscriptions.of(BYBIT, symbols(12))
    first = orjson.loads(subscriptions.take(0.0) or "")
    assert len(first["args"]) == 10
    subscriptions.take(0.0)
    said = BYBIT.answer(
        {"success": True, "ret_msg": "subscribe", "req_id": first["req_id"], "op": "subscribe"}
    )
    assert subscriptions.answer(said, 0.1) == []
    assert states(subscriptions) == ["standing"] * 10 + ["requested"] * 2
    assert subscriptions.acknowledged == 10


def test_okx_answers_symbols() -> None:
    subscriptions = Subscriptions.of(OKX, ["BTC-USDT", "ETH-USDT"])
    subscriptions.take(0.0)
    subscriptions.answer(
        OKX.answer({"event": "subscribe", "arg": {"channel": "books", "instId": "ETH-USDT"}}), 0.1
    )
    assert states(subscriptions) == ["requested", "standing"]


def test_coinbase_lists_what_stands() -> None:
    subscriptions = Subscriptions.of(COINBASE, ["BTC-USD", "ETH-USD"])
    subscriptions.take(0.0)
    events = [{"subscriptions": {"level2": ["BTC-USD"], "heartbeats": ["x"]}}]
    subscriptions.answer(COINBASE.answer({"channel": "subscriptions", "events": events}), 0.1)
    assert states(subscriptions) == ["standing", "requested"]


def test_a_joint_refusal_is_asked_again_one_by_one_and_only_the_bad_one_is_refused() -> None:
    subscriptions = Subscriptions.of(BYBIT, ["GOOD", "BAD"])
    subscriptions.take(0.0)
    subscriptions.answer(Answer("refused", request="1", reason="Invalid topic"), 0.1)
    single = [orjson.loads(text)["args"] for text in everything(subscriptions, 1.0)]
    assert single == [["orderbook.200.GOOD"], ["orderbook.200.BAD"]]
    subscriptions.answer(Answer("taken", request="2"), 2.0)
    assert subscriptions.answer(Answer("refused", request="3", reason="Invalid topic"), 2.0) == ["BAD"]
    assert states(subscriptions) == ["standing", "refused"]


def test_an_error_without_an_id_belongs_to_the_oldest_request_that_waits() -> None:
    subscriptions = Subscriptions.of(
        replace(BINANCE, limits=replace(BINANCE.limits, subscriptions_per_request=1)), "AB"
    )
    subscriptions.take(0.0)
    subscriptions.take(0.0)
    said = BINANCE.answer({"code": 2, "msg": "Invalid request"})
    assert subscriptions.answer(said, 0.1) == ["A"]
    assert states(subscriptions) == ["refused", "requested"]


def test_a_fresh_start_waits_for_the_unsubscription() -> None:
    subscriptions = Subscriptions.of(OKX, ["BTC-USDT"])
    subscriptions.take(0.0)
    subscriptions.seen("BTC-USDT")
    subscriptions.resubscribe("BTC-USDT")
    assert orjson.loads(subscriptions.take(1.0) or "")["op"] == "unsubscribe"
    assert subscriptions.take(1.0) is None
    subscriptions.answer(OKX.answer({"event": "unsubscribe", "arg": {"instId": "BTC-USDT"}}), 1.1)
    assert orjson.loads(subscriptions.take(1.2) or "")["op"] == "subscribe"


def test_binance_answers_tell_by_request_what_was_done() -> None:
    subscriptions = Subscriptions.of(BINANCE, ["BTCUSDT"])
    subscriptions.take(0.0)
    subscriptions.answer(BINANCE.answer({"result": None, "id": 1}), 0.1)
    subscriptions.resubscribe("BTCUSDT")
    subscriptions.take(1.0)
    subscriptions.answer(BINANCE.answer({"result": None, "id": 2}), 1.1)
    assert states(subscriptions) == ["wanted"]


def test_unanswered_requests_are_made_again_and_counted() -> None:
    subscriptions = Subscriptions.of(BINANCE, ["BTCUSDT"])
    exhausted = False
    for attempt in range(3):
        start = attempt * 20.0
        assert subscriptions.take(start) is not None
        assert subscriptions.overdue(start + OVERDUE_S - 1) == ([], False)
        late, exhausted = subscriptions.overdue(start + OVERDUE_S + 1)
        assert late == ["BTCUSDT"]
    assert exhausted


def test_operations_are_budgeted() -> None:
    venue = replace(OKX, limits=replace(OKX.limits, subscriptions_per_request=1, operations=Rate(2, 3600.0)))
    subscriptions = Subscriptions.of(venue, symbols(3))
    assert len(everything(subscriptions)) == 2
    assert subscriptions.take(3601.0 + 200) is not None


def test_room_bounds_what_is_asked() -> None:
    subscriptions = Subscriptions.of(BINANCE, symbols(50))
    assert len(orjson.loads(subscriptions.take(0.0, 7) or "")["params"]) == 7
    assert subscriptions.take(0.0, 0) is None


def test_shards_deal_out_the_first_and_keep_to_all_limits() -> None:
    shards = shard(OKX, symbols(70), 63)
    assert [len(row) for row in shards] == [24, 23, 23]
    assert [row[0] for row in shards] == ["S0USDT", "S1USDT", "S2USDT"]
    narrow = replace(BYBIT, limits=replace(BYBIT.limits, request_chars=100, argument_chars=17))
    assert all(sum(len(name) + 17 for name in row) <= 100 for row in shard(narrow, symbols(30), 63))


def test_too_many_symbols_for_the_connections_is_a_clear_error() -> None:
    with pytest.raises(SetupError, match="need 3 connections of 2") as caught:
        shard(OKX, symbols(70), 2)
    assert "60 symbols" in caught.value.do


def test_the_venues_own_number_of_connections_counts_too() -> None:
    venue = replace(OKX, limits=replace(OKX.limits, connections=2))
    assert len(shard(venue, symbols(60), 63)) == 2
    with pytest.raises(SetupError, match="need 3 connections of 2"):
        shard(venue, symbols(61), 63)


def test_what_was_given_up_stands_when_its_data_comes_all_the_same() -> None:
    subscriptions = Subscriptions.of(BINANCE, ["BTCUSDT"])
    subscriptions.take(0.0)
    subscriptions.give_up("BTCUSDT")
    assert subscriptions.overdue(100.0) == ([], False)
    subscriptions.seen("BTCUSDT")
    assert states(subscriptions) == ["standing"]


def test_states_are_counted() -> None:
    subscriptions = Subscriptions.of(BINANCE, symbols(3))
    assert subscriptions.count(State.WANTED) == 3


def test_the_oldest_unanswered_request_has_an_age() -> None:
    subscriptions = Subscriptions.of(BINANCE, ["BTCUSDT"])
    assert subscriptions.unanswered_s(5.0) == 0
    subscriptions.take(1.0)
    assert subscriptions.unanswered_s(5.0) == 4.0
    subscriptions.answer(Answer("taken", request="1"), 6.0)
    assert subscriptions.unanswered_s(7.0) == 0


def test_what_a_listing_answer_leaves_out_was_refused_without_a_word() -> None:
    subscriptions = Subscriptions.of(BINANCE, ["GOOD", "BAD"])
    subscriptions.take(0.0)
    assert subscriptions.answer(Answer("listed", symbols=("GOOD",), request="1"), 0.1) == ["BAD"]
    assert states(subscriptions) == ["standing", "refused"]
    assert subscriptions.answer(Answer("listed", request="7"), 0.2) == []


def test_an_answer_to_a_request_nobody_made_is_not_taken_for_another() -> None:
    subscriptions = Subscriptions.of(BINANCE, ["BTCUSDT"])
    subscriptions.take(0.0)
    assert subscriptions.answer(Answer("refused", request="snapshot-1"), 0.1) == []
    assert states(subscriptions) == ["requested"]


def test_where_nothing_is_acknowledged_the_first_data_proves_it_and_a_fresh_start_does_not_wait() -> None:
    subscriptions = Subscriptions.of(replace(OKX, acknowledges=False), ["BTC-USDT"])
    subscriptions.take(0.0)
    assert subscriptions.overdue(OVERDUE_S + 1) == ([], False)
    subscriptions.seen("BTC-USDT")
    assert states(subscriptions) == ["standing"]
    subscriptions.resubscribe("BTC-USDT")
    sent = [orjson.loads(text)["op"] for text in everything(subscriptions, 20.0)]
    assert sent == ["unsubscribe", "subscribe"]
    late, _ = subscriptions.overdue(500.0)
    assert late == ["BTC-USDT"]


def test_a_request_that_replaces_what_stood_names_all_that_stands() -> None:
    venue = replace(OKX, whole_set=True, resubscribe="again", unsubscribe=None)
    venue = replace(venue, limits=replace(venue.limits, subscriptions_per_request=2))
    subscriptions = Subscriptions.of(venue, "ABC")

    def named() -> list[str]:
        return [one["instId"] for one in orjson.loads(subscriptions.take(0.0) or "")["args"]]

    assert named() == ["A", "B"]
    assert named() == ["A", "B", "C"]
    for symbol in "ABC":
        subscriptions.seen(symbol)
    subscriptions.resubscribe("B")
    assert named() == ["A", "B", "C"]


def test_an_answer_that_names_only_the_symbol_ends_the_wait_for_leaving_too() -> None:
    subscriptions = Subscriptions.of(OKX, ["BTC-USDT"])
    subscriptions.take(0.0)
    subscriptions.answer(Answer("taken", ("BTC-USDT",)), 0.1)
    subscriptions.resubscribe("BTC-USDT")
    assert orjson.loads(subscriptions.take(1.0) or "")["op"] == "unsubscribe"
    subscriptions.answer(Answer("taken", ("BTC-USDT",)), 1.1)
    assert states(subscriptions) == ["wanted"]
    assert orjson.loads(subscriptions.take(1.2) or "")["op"] == "subscribe"


def test_a_symbol_that_leaves_is_unsubscribed_and_forgotten() -> None:
    subscriptions = Subscriptions.of(OKX, ["BTC-USDT", "ETH-USDT"])
    subscriptions.take(0.0)
    subscriptions.seen("BTC-USDT")
    subscriptions.seen("ETH-USDT")
    subscriptions.leave("ETH-USDT")
    sent = orjson.loads(subscriptions.take(20.0) or "")
    assert sent["op"] == "unsubscribe"
    assert [argument["instId"] for argument in sent["args"]] == ["ETH-USDT"]
    assert list(subscriptions.rows) == ["BTC-USDT"]
    answer = {"event": "unsubscribe", "arg": {"channel": "books", "instId": "ETH-USDT"}}
    assert subscriptions.answer(OKX.answer(answer), 20.1) == []
    assert states(subscriptions) == ["standing"]
    assert subscriptions.take(40.0) is None


def test_a_symbol_that_comes_back_before_it_left_is_subscribed_afresh() -> None:
    subscriptions = Subscriptions.of(OKX, ["BTC-USDT"])
    subscriptions.take(0.0)
    subscriptions.seen("BTC-USDT")
    subscriptions.leave("BTC-USDT")
    subscriptions.add("BTC-USDT")
    assert orjson.loads(subscriptions.take(20.0) or "")["op"] == "unsubscribe"
    answer = {"event": "unsubscribe", "arg": {"channel": "books", "instId": "BTC-USDT"}}
    subscriptions.answer(OKX.answer(answer), 20.1)
    assert orjson.loads(subscriptions.take(40.0) or "")["op"] == "subscribe"


@pytest.mark.parametrize("venue", VENUES.values(), ids=VENUES)
def test_a_symbol_can_come_and_go_everywhere(venue: Venue) -> None:
    names = symbols(3)
    subscriptions = Subscriptions.of(venue, names[:2])
    everything(subscriptions, 0.0)
    for name in names[:2]:
        subscriptions.seen(name)
    subscriptions.leave(names[0])
    subscriptions.add(names[2])
    frames = everything(subscriptions, 1000.0)
    assert list(subscriptions.rows) == names[1:]
    assert states(subscriptions) == ["standing", "requested"]
    assert any(names[2].lower() in frame.lower() for frame in frames)
    assert subscriptions.requested == 3
