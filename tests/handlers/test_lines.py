"""A line: what it sends and when, what it makes of answers and closes, and that it never gives up."""

from __future__ import annotations

import io
from dataclasses import replace

import orjson
import pytest

from handlers.facts import WEBSOCKET_PING, Answer, Venue
from handlers.lines import CLOSE_NORMAL, NEAR_END_S, WELCOME_S, Line, Phase
from handlers.logs import Log
from handlers.registry import VENUES


class Commands:
    """Stands for the native loop: remembers what was asked."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.dropped: list[int] = []
        self.pings = 0

    def send(self, connection: int, text: str) -> None:
        self.sent.append(text)

    def ping(self, connection: int) -> None:
        self.pings += 1

    def drop(self, connection: int, code: int = 0) -> None:
        self.dropped.append(code)


def line_of(name: str, *symbols: str, venue: Venue | None = None) -> tuple[Line, Commands]:
    commands = Commands()
    books = {symbol: book for book, symbol in enumerate(symbols)}
    return Line(venue or VENUES[name], 0, books, commands, Log("test", stream=io.StringIO())), commands


def opened(name: str, *symbols: str, venue: Venue | None = None) -> tuple[Line, Commands]:
    line, commands = line_of(name, *symbols, venue=venue)
    line.dialled()
    line.connected(0.0)
    return line, commands


def test_coinbase_asks_for_heartbeats_first() -> None:
    line, commands = opened("coinbase", "BTC-USD")
    line.tick(0.0, 100)
    channels = [orjson.loads(text)["channel"] for text in commands.sent]
    assert channels == ["heartbeats", "level2"]


@pytest.mark.parametrize(("name", "text"), [("okx", "ping"), ("bybit", '{"op":"ping"}')])
def test_pings_go_out_at_their_interval(name: str, text: str) -> None:
    line, commands = opened(name, "A")
    for second in range(61):
        line.tick(float(second), 100)
        line.subscriptions.seen("A")
    assert commands.sent.count(text) == 3


def test_nothing_is_sent_on_a_line_that_is_not_open() -> None:
    line, commands = line_of("okx", "A")
    assert line.tick(100.0, 100) == 0
    assert commands.sent == []


def test_answers_settle_a_line() -> None:
    line, _ = opened("kraken", "BTC/USD", "NO/PE")
    line.tick(0.0, 100)
    taken = {"method": "subscribe", "req_id": 1, "result": {"symbol": "BTC/USD"}, "success": True}
    refused = {
        "error": "Currency pair not supported",
        "method": "subscribe",
        "success": False,
        "symbol": "NO/PE",
    }
    assert line.control(orjson.dumps(taken), 0.1) == []
    assert not line.ready
    assert line.control(orjson.dumps(refused), 0.1) == [("NO/PE", "Currency pair not supported")]
    assert line.ready


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'"x"', b'{"event":7}', b"\xff"])
@pytest.mark.parametrize("name", VENUES)
def test_no_answer_can_break_a_line(name: str, text: bytes) -> None:
    line, _ = opened(name, "A")
    line.tick(0.0, 100)
    assert line.control(text, 0.1) in ([], [("A", "")])


def test_a_closed_line_comes_back_after_a_growing_delay_and_asks_for_everything_again() -> None:
    line, commands = opened("bybit", "A")
    line.backoff._chance = lambda: 1.0
    line.tick(0.0, 100)
    for attempt in range(4):
        assert line.closed("eof", 10.0) == "eof"
        assert line.phase is Phase.WAITING
        assert line.dial_at == 10.0 + 2**attempt
        line.dialled()
    line.connected(20.0)
    line.tick(20.0, 100)
    assert [orjson.loads(text)["op"] for text in commands.sent] == ["subscribe", "subscribe"]


def test_a_stable_connection_resets_the_delay() -> None:
    line, _ = opened("bybit", "A")
    line.backoff._chance = lambda: 1.0
    line.backoff.failures = 5
    line.closed("eof", 31.0)
    assert line.dial_at == 32.0


def test_the_venues_waiting_time_is_kept() -> None:
    line, _ = line_of("bybit", "A")
    line.dialled()
    line.closed("upgrade", 5.0, retry_s=600.0)
    assert line.dial_at >= 605.0


def test_our_own_reason_counts_for_a_connection_we_closed() -> None:
    line, commands = opened("bybit", "A")
    line.reconnect("silent connection", at_once=True)
    line.reconnect("again")
    assert commands.dropped == [0]
    assert line.closed("asked", 1.0) == "silent connection"


def test_subscriptions_nobody_answers_end_the_connection() -> None:
    line, commands = opened("bybit", "A")
    for second in range(60):
        line.tick(float(second), 100)
    assert commands.dropped
    assert line.phase is Phase.CLOSING


def test_a_line_knows_its_end_by_rule_and_by_word() -> None:
    line, _ = opened("binance", "BTCUSDT")
    lifetime = VENUES["binance"].limits.lifetime_s or 0
    assert not line.ending(lifetime - NEAR_END_S)
    assert line.ending(lifetime - NEAR_END_S + 1)
    other, _ = opened("okx", "BTC-USDT")
    assert not other.ending(1e6)
    other.control(b'{"event":"notice","code":"64008","msg":"closing"}', 1.0)
    assert other.ending(1.0)


def test_room_bounds_all_requests_of_a_tick() -> None:
    venue = replace(VENUES["binance"], limits=replace(VENUES["binance"].limits, subscriptions_per_request=2))
    line, commands = opened("binance", *"ABCDEF", venue=venue)
    assert line.tick(0.0, 3) == 3
    assert [len(orjson.loads(text)["params"]) for text in commands.sent] == [2, 1]


def test_the_addresss_limit_holds_back_requests_but_not_what_keeps_the_connection() -> None:
    commands, allowed = Commands(), [True, False, False, True]
    log = Log("test", stream=io.StringIO())
    line = Line(VENUES["coinbase"], 0, {"BTC-USD": 0}, commands, log, lambda: allowed.pop(0))
    line.dialled()
    line.connected(0.0)
    counts = []
    for turn in range(3):
        line.tick(turn / 10, 100)
        counts.append(len(commands.sent))
    assert counts == [1, 1, 2]


def test_nothing_is_subscribed_before_the_welcome_and_its_interval_counts() -> None:
    def answer(message: dict[str, object]) -> Answer:
        return Answer("welcome", every_s=5.0) if "welcome" in message else Answer("other")

    beat = replace(VENUES["bybit"].heartbeat, text=lambda number: f'{{"id":"p{number}","type":"ping"}}')
    venue = replace(VENUES["bybit"], welcome=True, answer=answer, heartbeat=beat, on_connect=("hello",))
    line, commands = opened("bybit", "A", venue=venue)
    line.tick(0.0, 100)
    assert commands.sent == ["hello"]
    line.control(b'{"welcome":1}', 0.1)
    for second in range(1, 12):
        line.tick(float(second), 100)
        line.subscriptions.seen("A")
    assert orjson.loads(commands.sent[1])["op"] == "subscribe"
    assert commands.sent[2:] == ['{"id":"p1","type":"ping"}', '{"id":"p2","type":"ping"}']


def test_a_venue_that_welcomes_nobody_is_left() -> None:
    line, commands = opened("bybit", "A", venue=replace(VENUES["bybit"], welcome=True))
    line.tick(WELCOME_S + 0.1, 100)
    assert commands.sent == []
    assert commands.dropped == [CLOSE_NORMAL]


def test_a_connection_settles_before_it_is_used() -> None:
    line, commands = opened("coinbase", "BTC-USD", venue=replace(VENUES["coinbase"], settle_s=1.0))
    line.tick(0.9, 100)
    assert commands.sent == []
    line.tick(1.0, 100)
    assert len(commands.sent) == 2


def test_what_the_server_asks_is_answered_at_once() -> None:
    venue = replace(VENUES["bybit"], answer=lambda message: Answer("reply", text=f"pong {message['ping']}"))
    line, commands = opened("bybit", "A", venue=venue)
    assert line.control(b'{"ping":7}', 0.1) == []
    assert commands.sent == ["pong 7"]
    line.reconnect("over")
    line.control(b'{"ping":8}', 0.2)
    assert commands.sent == ["pong 7"]


def test_a_ping_may_be_a_frame_of_the_protocol() -> None:
    beat = replace(VENUES["okx"].heartbeat, text=WEBSOCKET_PING)
    line, commands = opened("okx", "A", venue=replace(VENUES["okx"], heartbeat=beat))
    for second in range(61):
        line.tick(float(second), 100)
        line.subscriptions.seen("A")
    assert commands.pings == 3
    assert WEBSOCKET_PING not in commands.sent


def test_a_fresh_start_may_need_another_connection() -> None:
    line, commands = opened("okx", "A", venue=replace(VENUES["okx"], resubscribe="reconnect"))
    line.tick(0.0, 100)
    line.subscriptions.seen("A")
    line.resubscribe("A")
    assert commands.dropped == [CLOSE_NORMAL]


def test_snapshots_are_asked_for_on_the_connection() -> None:
    venue = replace(VENUES["okx"], snapshot_request=lambda symbol, number: f"snapshot {symbol} {number}")
    line, commands = opened("okx", "A", "B", venue=venue)
    line.tick(0.0, 100)
    line.snapshots.want("B", 0.0)
    line.tick(0.1, 100)
    assert commands.sent[1:] == ["snapshot B 1"]
    line.connected(1.0)
    assert line.snapshots.waiting == 0
