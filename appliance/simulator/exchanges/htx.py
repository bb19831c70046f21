"""HTX spot: `mbp` increments on /feed with the snapshot asked for on the same socket, `depth.step0` on /ws.

Protocol: HTX API documentation (market by price, v1) and recorded messages. Every frame of the server is one
gzip member; numbers are JSON numbers as Java prints a double. Options: `snapshot_lag`, how many updates pass
while an answer is under way; `empty_increments`, as before 2020-11-17.
"""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change
from appliance.simulator.connection import Connection, Topic, binary_frame
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook
from appliance.simulator.faults import Marks
from appliance.simulator.flow import Flow
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import java_double
from appliance.simulator.texts import parsed, spoilt
from appliance.simulator.views import Views

_FEED, _MARKET = "/feed", "/ws"
_LEVELS = (5, 20, 150, 400)
_STEP_DEPTH = 150
_FULL_DEPTH = 5000
_PING_SECONDS = 5.0
_PINGS_UNANSWERED_MAX = 2
_REQUESTS_PER_SECOND = 10
_TOPIC = re.compile(r"market\.([a-z0-9]+)\.(?:mbp\.(\d+)|depth\.(step0))")


class _State:
    """`seq` is the number of the newest change; pushes of a level name the one before by `prevSeqNum`."""

    def __init__(self, book: SimulatedBook, seq: int) -> None:
        self.views = Views(book.flow.book)
        self.seq = seq
        self.shown = 0  # the number of the last depth.step0


@dataclass(slots=True)
class _Answer:
    """A snapshot under way: `payload` is its content, unless a silence keeps the exchange from making it."""

    connection: Connection
    topic: Topic
    head: dict[str, Any]
    payload: bytes | None
    due: int


class Htx(Exchange):
    """Who asks for a snapshot must have subscribed before: pushes are chained to its `seqNum`."""

    id: ClassVar[str] = "htx"
    websocket_path: ClassVar[str] = _FEED
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "snapshot_lag": ("0", "3"),
        "empty_increments": ("no", "yes"),
    }

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        self._answers: list[_Answer] = []
        super().__init__(flows, seed, limits=limits)

    def native(self, instrument: Instrument) -> str:
        return (instrument.base + instrument.quote).lower()

    def prepare(self, book: SimulatedBook) -> None:
        book.state = _State(book, 109_000_000_000 + self.random.randrange(10**9))

    def accepts(self, path: str) -> bool:
        return path in (_FEED, _MARKET)

    def data_frame(self, payload: bytes) -> bytes:
        return binary_frame(gzip.compress(payload, 1, mtime=0))

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        connection.state.update(pinged_at=connection.opened, unanswered=[], requests=[])

    def on_text(self, connection: Connection, text: str) -> None:
        request = parsed(text)
        if not isinstance(request, dict):
            self._error(connection, {}, "invalid json")
        elif "pong" in request:
            if request["pong"] in connection.state["unanswered"]:
                connection.state["unanswered"].clear()
        elif "req" in request:
            self._request(connection, request)
        elif "sub" in request or "unsub" in request:
            self._subscription(connection, request, "sub" if "sub" in request else "unsub")
        else:
            self._error(connection, request, "invalid command")

    def _head(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"id": request["id"]} if "id" in request else {}

    def _error(self, connection: Connection, request: dict[str, Any], message: str) -> None:
        answer = {"status": "error", "ts": self.clock.now_ms(), **self._head(request)}
        self.say(connection, orjson.dumps({**answer, "err-code": "bad-request", "err-msg": message}))

    def _topic(self, connection: Connection, name: Any) -> Topic | None:
        """The topic of a name, if this path serves it."""
        match = _TOPIC.fullmatch(name) if isinstance(name, str) else None
        book = self.by_name.get(match[1]) if match else None
        if match is None or book is None or (connection.path == _FEED) != (match[2] is not None):
            return None
        if match[2] is None:
            return Topic("step0", book.symbol)
        return Topic("mbp", book.symbol, int(match[2])) if int(match[2]) in _LEVELS else None

    def _subscription(self, connection: Connection, request: dict[str, Any], verb: str) -> None:
        wanted = request[verb]
        names = wanted if isinstance(wanted, list) else [wanted]
        topics = [self._topic(connection, name) for name in names]
        for name, topic in zip(names, topics, strict=True):
            if topic is None or (verb == "sub" and self.refused(topic.symbol)):
                self._error(connection, request, f"invalid topic {name}")
                return
            if verb == "unsub" and topic not in connection.topics:
                self._error(connection, request, f"unsub with not subbed topic {name}")
                return
        answer = {**self._head(request), "status": "ok", f"{verb}bed": wanted, "ts": self.clock.now_ms()}
        self.say(connection, orjson.dumps(answer))
        for topic in filter(None, topics):
            if verb == "unsub":
                self.unsubscribe(connection, topic)
            elif topic not in connection.topics:
                if topic.depth:
                    state: _State = self.books[topic.symbol].state
                    state.views.open(topic, topic.depth, state.seq)
                self.subscribe(connection, topic, snapshot=topic.channel == "step0")

    def _request(self, connection: Connection, request: dict[str, Any]) -> None:
        topic = self._topic(connection, request["req"])
        if topic is None:
            self._error(connection, request, f"invalid topic {request['req']}")
            return
        now, requests = time.monotonic(), connection.state["requests"]
        requests[:] = [each for each in requests if each > now - 1.0]
        requests.append(now)
        if self.limits and len(requests) > _REQUESTS_PER_SECOND:
            self._error(connection, request, "429 too many request")
            return
        book = self.books[topic.symbol]
        head = {**self._head(request), "status": "ok", "ts": self.clock.now_ms(), "rep": request["req"]}
        payload = None if self.silent(topic.symbol) else self._data(topic)
        due = book.updates + int(self.chosen["snapshot_lag"])
        self._answers.append(_Answer(connection, topic, head, payload, due))
        self._deliver()

    def _deliver(self) -> None:
        """Send the answers whose time has come."""
        waiting, self._answers = self._answers, []
        for answer in waiting:
            if self.silent(answer.topic.symbol) or self.books[answer.topic.symbol].updates < answer.due:
                self._answers.append(answer)
                continue
            head = orjson.dumps(answer.head)[:-1]
            self.say(
                answer.connection, head + b',"data":' + (answer.payload or self._data(answer.topic)) + b"}"
            )

    def unmute(self, symbol: str | None) -> None:
        super().unmute(symbol)
        self._deliver()

    def forget(self, connection: Connection) -> None:
        super().forget(connection)
        self._answers = [each for each in self._answers if each.connection is not connection]

    def second(self, connections: Iterable[Connection], now: float) -> None:
        self._deliver()
        for connection in connections:
            state = connection.state
            if now - state["pinged_at"] < _PING_SECONDS:
                continue
            if self.limits and len(state["unanswered"]) >= _PINGS_UNANSWERED_MAX:
                connection.close(1003, "ping check expired")
                continue
            state["pinged_at"] = now
            state["unanswered"].append(self.clock.now_ms())
            self.say(connection, f'{{"ping":{state["unanswered"][-1]}}}')
        for book in self.books.values():
            topic = Topic("step0", book.symbol)
            if topic in self.topics and book.state.shown != book.state.seq:
                for connection, raw in self.frames([(topic, self.snapshot(topic) or b"")]):
                    connection.send(raw)

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        """The whole of depth.step0; `mbp` has to be asked for."""
        if topic.channel != "step0":
            return None
        book, now = self.books[topic.symbol], self.clock.now_ms()
        book.state.shown = book.state.seq
        return (
            f'{{"ch":"market.{book.name}.depth.step0","ts":{now},"tick":{{{self._top(book, _STEP_DEPTH)},'
            f'"version":{book.state.seq},"ts":{now - 2}}}}}'
        ).encode()

    def _data(self, topic: Topic) -> bytes:
        """The content of a snapshot answer. Its number is the one that the level's readers were left at."""
        book = self.books[topic.symbol]
        state: _State = book.state
        if topic.channel == "step0":
            return f'{{{self._top(book, _STEP_DEPTH)},"version":{state.seq}}}'.encode()
        view = state.views.find(topic)
        number = view.last if view else state.seq
        return f'{{{self._top(book, topic.depth)},"seqNum":{number}}}'.encode()

    def _top(self, book: SimulatedBook, depth: int) -> str:
        bids, asks = (
            self._levels(book, [Change(number, *row, 0) for row in book.flow.book.sides[number].top(depth)])
            for number in (BID, ASK)
        )
        return f'"bids":[{bids}],"asks":[{asks}]'

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        state: _State = book.state
        state.seq += 1 + self.random.randrange(60)
        batch: Batch = []
        for topic, view, shown in state.views.shift(changes, self.topics):
            if not shown and (topic.depth < 150 or self.chosen["empty_increments"] == "no"):
                continue
            previous, view.last = view.last, state.seq
            if marks.crossed:
                shown = [*shown, self.crossing(book)]
            batch.append((topic, self._increment(book, topic, shown, previous, marks)))
        if self._answers:
            self._deliver()
        return batch

    def _increment(
        self, book: SimulatedBook, topic: Topic, changes: list[Change], previous: int, marks: Marks
    ) -> bytes:
        bids, asks = (self._levels(book, side) for side in self.split(changes))
        if marks.malformed:
            bids = spoilt(bids, '["not-a-price",1.0]')
        if topic.depth >= 150:
            sides = f',"asks":[{asks}],"bids":[{bids}]'
        else:
            sides = (f',"bids":[{bids}]' if bids else "") + (f',"asks":[{asks}]' if asks else "")
        return (
            f'{{"ch":"market.{book.name}.mbp.{topic.depth}","ts":{self.clock.now_ms()},'
            f'"tick":{{"seqNum":{book.state.seq},"prevSeqNum":{previous}{sides}}}}}'
        ).encode()

    def _levels(self, book: SimulatedBook, changes: list[Change]) -> str:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        return ",".join(
            f"[{java_double(each.price, price)},{java_double(each.quantity, quantity)}]"
            for each in sorted(changes, key=lambda each: each.price if each.side == ASK else -each.price)
        )

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"seqNum": book.state.seq}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "/market/depth": self._depth,
            "/market/fullMbp": lambda query: self._rest_book(query, _FULL_DEPTH, ""),
            "/v1/common/symbols": lambda query: self._ok(self._symbols()),
            "/v1/settings/common/market-symbols": lambda query: self._ok(self._market_symbols()),
            "/v2/settings/common/symbols": lambda query: self._ok(self._settings_symbols()),
            "/v2/reference/currencies": lambda query: Reply(b'{"code":200,"data":[]}'),
            "/v1/common/timestamp": lambda query: self._ok(self.clock.now_ms()),
        }

    def _ok(self, data: Any) -> Reply:
        return Reply(orjson.dumps({"status": "ok", "data": data, "ts": self.clock.now_ms(), "full": 1}))

    def rest_error(self, status: int) -> bytes:
        code = {404: "invalid-path", 429: "too-many-request"}.get(status, "system-error")
        message = "429 too many request" if status == 429 else code
        return orjson.dumps(
            {"status": "error", "err-code": code, "err-msg": message, "ts": self.clock.now_ms()}
        )

    def _depth(self, query: Query) -> Reply:
        depth = query.get("depth", str(_STEP_DEPTH))
        if depth not in ("5", "10", "20", str(_STEP_DEPTH)) or query.get("type") != "step0":
            return self._rest_refusal("invalid-parameter", "invalid type or depth")
        return self._rest_book(query, int(depth), f'"ch":"market.{query.get("symbol")}.depth.step0",')

    def _rest_refusal(self, code: str, message: str) -> Reply:
        refusal = {"ts": self.clock.now_ms(), "status": "error", "err-code": code, "err-msg": message}
        return Reply(orjson.dumps(refusal))

    def _rest_book(self, query: Query, depth: int, head: str) -> Reply:
        book = self.by_name.get(query.get("symbol", ""))
        if book is None:
            return self._rest_refusal("invalid-parameter", "invalid symbol")
        now = self.clock.now_ms()
        body = (
            f'{{{head}"status":"ok","ts":{now},"tick":{{"ts":{now},"version":{book.state.seq},'
            f"{self._top(book, depth)}}}}}"
        )
        return Reply(body.encode())

    def _listed(self) -> list[tuple[Instrument, str]]:
        halted = Instrument("HALTED", self.default_quote, 4, 1, 10_000)
        return [*((book.instrument, "online") for book in self.books.values()), (halted, "suspend")]

    def _symbols(self) -> list[dict[str, Any]]:
        return [
            {
                "base-currency": each.base.lower(),
                "quote-currency": each.quote.lower(),
                "price-precision": each.price_decimals,
                "amount-precision": each.quantity_decimals,
                "symbol-partition": "main",
                "symbol": self.native(each),
                "state": state,
                "value-precision": 8,
                "min-order-amt": float(each.step_text),
                "max-order-amt": 1000,
                "min-order-value": 5,
                "limit-order-min-order-amt": float(each.step_text),
                "limit-order-max-order-amt": 1000,
                "api-trading": "enabled" if state == "online" else "disabled",
                "tags": "",
            }
            for each, state in self._listed()
        ]

    def _market_symbols(self) -> list[dict[str, Any]]:
        return [
            {
                "symbol": self.native(each),
                "bc": each.base.lower(),
                "qc": each.quote.lower(),
                "state": state,
                "sp": "main",
                "at": "enabled" if state == "online" else "disabled",
                "pp": each.price_decimals,
                "ap": each.quantity_decimals,
                "vp": 8,
                "minoa": float(each.step_text),
                "maxoa": 1000,
                "minov": 5,
            }
            for each, state in self._listed()
        ]

    def _settings_symbols(self) -> list[dict[str, Any]]:
        return [
            {
                "sc": self.native(each),
                "dn": f"{each.base}/{each.quote}",
                "bc": each.base.lower(),
                "bcdn": each.base,
                "qc": each.quote.lower(),
                "qcdn": each.quote,
                "state": state,
                "te": state == "online",
                "tpp": each.price_decimals,
                "tap": each.quantity_decimals,
                "sp": "main",
            }
            for each, state in self._listed()
        ]
