"""Deribit JSON-RPC over WebSocket and HTTP: `book.*.100ms` with a chain of change ids, `book.*.none.N.100ms`.

Protocol: docs.deribit.com (book subscriptions, get_order_book, get_instruments, rate limits, connection
management), frames and probes of September 2026. Spot, linear and inverse perpetuals alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change
from appliance.simulator.connection import Connection, Topic
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook
from appliance.simulator.faults import Marks
from appliance.simulator.flow import Flow
from appliance.simulator.instruments import Instrument
from appliance.simulator.texts import parsed

_INTERVALS = ("100ms", "agg2")
_GROUPED_DEPTHS = (1, 10, 20)
_REST_DEPTHS = (1, 5, 10, 20, 50, 100, 1000, 10000)
_HEARTBEAT_MIN = 10
_ANSWER_SECONDS = 10
_UNUSED_SECONDS = 60
_CREDITS_PER_SECOND = 10_000
# credits a call costs and the pool they are taken from
_SUBSCRIBE_COST, _INSTRUMENTS_COST, _COST = (3_000, 30_000), (10_000, 500_000), (500, 50_000)
_CONTRACT_SIZES = {"BTC": 10}
_ERRORS = {
    "invalid": (-32602, "Invalid params"),
    "unknown": (-32601, "Method not found"),
    "many": (10028, "too_many_requests"),
    "raw": (13778, "raw_subscriptions_not_available_for_unauthorized"),
    "instrument": (13020, "not_found"),
}


def number(units: int, decimals: int) -> str:
    """A float as Deribit prints it since 2026: the shorter of 1054.0 and 2.2e3, never without a point."""
    digits, place = str(units), len(str(units)) - decimals
    digits = digits.rstrip("0")
    count = len(digits)
    if not digits:
        return "0.0"
    if 0 <= place < count:
        return f"{digits[:place] or '0'}.{digits[place:]}"
    exponent = str(place - 1)
    cost = len(exponent) + 1 + (2 if count == 1 else 1)
    if place < 0 and 2 - place <= cost:
        return f"0.{'0' * -place}{digits}"
    if place > 0 and place - count + 2 <= cost:
        return f"{digits}{'0' * (place - count)}.0"
    return f"{digits[0]}.{digits[1:] or '0'}e{exponent}"


@dataclass(slots=True)
class _Chain:
    """The id of the book's state, and when it last changed, ms."""

    change_id: int
    changed: int


class _CallError(Exception):
    """A call that is answered with an error."""

    def __init__(self, name: str, data: Any = None) -> None:
        super().__init__(name)
        self.code, self.text = _ERRORS[name]
        self.data = data


class Deribit(Exchange):
    """Bad channels are left out of the answer, a channel held already brings no new snapshot."""

    id: ClassVar[str] = "deribit"
    default_quote: ClassVar[str] = "USDC"
    websocket_path: ClassVar[str] = "/ws/api/v2"
    kinds: ClassVar[frozenset[str]] = frozenset({"spot", "linear", "inverse"})
    connections_max: ClassVar[int | None] = 32

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        self._change_id = 193_809_000_000  # one count over all instruments
        super().__init__(flows, seed, limits=limits)
        self._calls: dict[str, Callable[[dict[str, Any]], Any]] = {
            "public/get_instruments": self._instruments,
            "public/get_order_book": self._order_book,
            "public/get_currencies": self._currencies,
            "public/get_time": lambda parameters: self.clock.now_ms(),
            "public/test": lambda parameters: {"version": "1.2.26"},
            "public/status": lambda parameters: {"locked": "false", "locked_indices": []},
        }

    @classmethod
    def adapt(cls, instrument: Instrument) -> Instrument:
        if instrument.kind == "inverse":
            lot = _CONTRACT_SIZES.get(instrument.base, 1)
            if instrument.base == "BTC" and instrument.price_decimals == 2:
                start = instrument.start // 10
                return replace(instrument, price_decimals=1, tick=5, start=start, lot=lot)
            return replace(instrument, tick=5 if instrument.price_decimals == 2 else 1, lot=lot)
        return replace(instrument, quantity_decimals=4) if instrument.base == "BTC" else instrument

    def native(self, instrument: Instrument) -> str:
        if instrument.kind == "inverse":
            return f"{instrument.base}-PERPETUAL"
        pair = f"{instrument.base}_{instrument.quote}"
        return pair if instrument.kind == "spot" else f"{pair}-PERPETUAL"

    def prepare(self, book: SimulatedBook) -> None:
        book.state = _Chain(self._next(), self.clock.now_ms())

    def _next(self) -> int:
        self._change_id += 1 + self.random.randrange(400)
        return self._change_id

    def accepts(self, path: str) -> bool:
        return path == self.websocket_path

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        now = connection.opened
        connection.state.update(pools={}, every=None, beat=now, asked=None, used=now)

    def on_text(self, connection: Connection, text: str) -> None:
        began = self.clock.now_ns() // 1000
        request = parsed(text)
        if not isinstance(request, dict):
            error = {"code": 11050, "data": "invalid json", "message": "bad_request"}
            self.say(connection, self._response({"error": error}, began))
            return
        identifier = {"id": request["id"]} if "id" in request else {}
        method, parameters = str(request.get("method")), request.get("params") or {}
        topics: list[Topic] = []
        try:
            if not isinstance(parameters, dict):
                raise _CallError("invalid", {"reason": "must be an object", "param": "params"})
            self._pay(connection, method)
            result, topics = self._call(connection, method, parameters)
            answer = {"result": result}
        except _CallError as failure:
            error = {"code": failure.code, "message": failure.text}
            if failure.data is not None:
                error["data"] = failure.data
            answer = {"error": error}
        self.say(connection, self._response({**identifier, **answer}, began))
        if "error" in answer and answer["error"]["code"] == _ERRORS["many"][0]:
            connection.close(1008, _ERRORS["many"][1])
        for topic in topics:
            self.subscribe(connection, topic)

    def _response(self, answer: dict[str, Any], began: int) -> bytes:
        ended = self.clock.now_ns() // 1000
        times = {"usIn": began, "usOut": ended, "usDiff": ended - began, "testnet": False}
        return orjson.dumps({"jsonrpc": "2.0", **answer, **times})

    def _pay(self, connection: Connection, method: str) -> None:
        """Take the credits of a call. Raises _CallError when the pool is empty."""
        costs = {"public/subscribe": _SUBSCRIBE_COST, "public/get_instruments": _INSTRUMENTS_COST}
        cost, pool = costs.get(method, _COST)
        now, pools = time.monotonic(), connection.state["pools"]
        left, since = pools.get((cost, pool), (pool, now))
        left = min(pool, left + (now - since) * _CREDITS_PER_SECOND) - cost
        pools[cost, pool] = (left, now)
        if self.limits and left < 0:
            raise _CallError("many")

    def _call(
        self, connection: Connection, method: str, parameters: dict[str, Any]
    ) -> tuple[Any, list[Topic]]:
        """The result of a call, and the topics that it newly subscribes. Raises _CallError."""
        state = connection.state
        match method:
            case "public/subscribe":
                return self._subscribe(connection, self._channels(parameters))
            case "public/unsubscribe":
                topics = {name: self._topic(name) for name in self._channels(parameters)}
                held = [
                    name for name, topic in topics.items() if topic and self.unsubscribe(connection, topic)
                ]
                return held, []
            case "public/unsubscribe_all":
                for topic in list(connection.topics):
                    self.unsubscribe(connection, topic)
                return "ok", []
            case "public/set_heartbeat":
                every = parameters.get("interval")
                if not isinstance(every, int) or every < _HEARTBEAT_MIN:
                    raise _CallError("invalid", {"reason": "must be at least 10", "param": "interval"})
                state.update(every=every, beat=connection.last_received, asked=None)
                return "ok", []
            case "public/disable_heartbeat":
                state.update(every=None, asked=None)
                return "ok", []
            case "public/test":
                state["asked"] = None
        if method not in self._calls:
            raise _CallError("unknown")
        return self._calls[method](parameters), []

    def _channels(self, parameters: dict[str, Any]) -> list[str]:
        channels = parameters.get("channels")
        if not isinstance(channels, list):
            raise _CallError("invalid", {"reason": "must be a list", "param": "channels"})
        return [str(each) for each in channels]

    def _subscribe(self, connection: Connection, names: list[str]) -> tuple[list[str], list[Topic]]:
        if any(name.endswith(".raw") for name in names):
            raise _CallError("raw")
        topics = {name: self._topic(name) for name in names}
        accepted = {
            name: topic
            for name, topic in topics.items()
            if topic is not None and not self.refused(topic.symbol)
        }
        # the answer is in no particular order
        return sorted(accepted, reverse=True), [
            topic for topic in accepted.values() if topic not in connection.topics
        ]

    def _topic(self, name: str) -> Topic | None:
        kind, *parts = name.split(".")
        book = self.by_name.get(parts[0]) if kind == "book" and parts else None
        if book is None or parts[-1] not in _INTERVALS:
            return None
        if len(parts) == 2:
            return Topic("book", book.symbol, 0, parts[1])
        if len(parts) != 4 or parts[1] != "none" or parts[2] not in map(str, _GROUPED_DEPTHS):
            return None
        return Topic("book", book.symbol, int(parts[2]), parts[3])

    def second(self, connections: Iterable[Connection], now: float) -> None:
        for connection in connections:
            state = connection.state
            if connection.topics or state["every"]:
                state["used"] = now
            state["used"] = max(state["used"], connection.last_received)
            if self.limits and now - state["used"] > _UNUSED_SECONDS:
                connection.abort()
            elif self.limits and state["asked"] is not None and now - state["asked"] > _ANSWER_SECONDS:
                connection.close(4000, "heartbeat close")
            elif state["every"] and now - state["beat"] >= state["every"]:
                quiet = connection.last_received <= state["beat"]
                state["beat"] = now
                if quiet and state["asked"] is None:
                    state["asked"] = now
                kind = "test_request" if quiet else "heartbeat"
                self.say(connection, f'{{"params":{{"type":"{kind}"}},"method":"heartbeat","jsonrpc":"2.0"}}')

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        book = self.books[topic.symbol]
        if topic.depth:
            return self._grouped(book, topic)
        sides = book.flow.book.sides
        rows = [Change(each, *row, 0) for each in (BID, ASK) for row in sides[each].top()]
        return self._message(book, topic, "snapshot", rows, None, Marks())

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        chain: _Chain = book.state
        previous, chain.change_id, chain.changed = chain.change_id, self._next(), self.clock.now_ms()
        shown = [*changes, self.crossing(book)] if marks.crossed else changes
        batch: Batch = []
        for interval in _INTERVALS:
            topic = Topic("book", book.symbol, 0, interval)
            if topic in self.topics:
                batch.append((topic, self._message(book, topic, "change", shown, previous, marks)))
            for depth in _GROUPED_DEPTHS:
                topic = Topic("book", book.symbol, depth, interval)
                if topic in self.topics:
                    batch.append((topic, self._grouped(book, topic)))
        return batch

    def _amount(self, instrument: Instrument, units: int) -> str:
        """Dollars of inverse contracts have no point."""
        if instrument.kind == "inverse":
            return str(units)
        return number(units, instrument.quantity_decimals)

    def _message(
        self,
        book: SimulatedBook,
        topic: Topic,
        kind: str,
        changes: list[Change],
        previous: int | None,
        marks: Marks,
    ) -> bytes:
        chain, instrument = book.state, book.instrument
        rows: tuple[list[str], list[str]] = ([], [])
        for each in changes:
            action = "delete" if each.quantity == 0 else "change" if each.before else "new"
            price, amount = number(each.price, instrument.price_decimals), each.quantity
            rows[each.side].append(f'["{action}",{price},{self._amount(instrument, amount)}]')
        if marks.malformed:
            rows[BID].insert(0, '["new","not-a-price",1.0]')
        before = "" if previous is None else f',"prev_change_id":{previous}'
        return (
            f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"book.{book.name}.{topic.variant}",'
            f'"data":{{"timestamp":{chain.changed},"type":"{kind}","change_id":{chain.change_id},'
            f'"instrument_name":"{book.name}","bids":[{",".join(rows[BID])}],"asks":[{",".join(rows[ASK])}]'
            f"{before}}}}}}}"
        ).encode()

    def _rows(self, book: SimulatedBook, depth: int) -> str:
        instrument = book.instrument
        bids, asks = (
            ",".join(
                f"[{number(row[0], instrument.price_decimals)},{self._amount(instrument, row[1])}]"
                for row in side.top(depth)
            )
            for side in book.flow.book.sides
        )
        return f'"bids":[{bids}],"asks":[{asks}]'

    def _grouped(self, book: SimulatedBook, topic: Topic) -> bytes:
        chain = book.state
        channel = f"book.{book.name}.none.{topic.depth}.{topic.variant}"
        return (
            f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":{{'
            f'"timestamp":{chain.changed},"change_id":{chain.change_id},"instrument_name":"{book.name}",'
            f"{self._rows(book, topic.depth)}}}}}}}"
        ).encode()

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"change_id": book.state.change_id}

    # --- calls that HTTP knows too

    def routes(self) -> dict[str, Route]:
        return {f"/api/v2/{method}": self._route(method) for method in self._calls}

    def _route(self, method: str) -> Route:
        def route(query: Query) -> Reply:
            began = self.clock.now_ns() // 1000
            try:
                result = self._calls[method](dict(query))
            except _CallError as failure:
                error = {"code": failure.code, "message": failure.text, "data": failure.data}
                return Reply(self._response({"error": error}, began), 400)
            return Reply(self._response({"result": result}, began))

        return route

    def rest_error(self, status: int) -> bytes:
        code, message = _ERRORS["many"] if status == 429 else _ERRORS["unknown"]
        return self._response({"error": {"code": code, "message": message}}, self.clock.now_ns() // 1000)

    def _order_book(self, parameters: dict[str, Any]) -> Any:
        book = self.by_name.get(str(parameters.get("instrument_name")))
        depth = str(parameters.get("depth", 5))
        if book is None:
            raise _CallError("instrument", {"reason": "instrument not found", "param": "instrument_name"})
        if depth not in map(str, _REST_DEPTHS):
            raise _CallError("invalid", {"reason": "invalid depth", "param": "depth"})
        head = {
            "timestamp": book.state.changed,
            "state": "open",
            "instrument_name": book.name,
            "change_id": book.state.change_id,
        }
        return orjson.Fragment(orjson.dumps(head)[:-1] + f",{self._rows(book, int(depth))}}}".encode())

    def _currencies(self, parameters: dict[str, Any]) -> Any:
        names = [
            name for book in self.books.values() for name in (book.instrument.base, book.instrument.quote)
        ]
        return [
            {
                "currency": name,
                "currency_long": name,
                "coin_type": name,
                "min_confirmations": 1,
                "withdrawal_fee": 0.0001,
                "fee_precision": 4,
                "withdrawal_priorities": [],
            }
            for name in dict.fromkeys(names)
        ]

    def _instruments(self, parameters: dict[str, Any]) -> Any:
        rows = [self._row(book.instrument, book.name) for book in self.books.values()]
        locked = Instrument("LOCKED", self.default_quote, 4, 1, 10_000)
        rows.append({**self._row(locked, self.native(locked)), "state": "locked"})
        option = self._row(Instrument("BTC", "USD", 4, 1, 500), "BTC-25DEC26-100000-C")
        terms = {"strike": 100000.0, "option_type": "call", "expiration_timestamp": 1798185600000}
        coin = {"settlement_period": "month", "settlement_currency": "BTC", "quote_currency": "BTC"}
        rows.append({**option, "kind": "option", **coin, **terms})
        kind, currency = parameters.get("kind"), parameters.get("currency", "any")
        return [
            row
            for row in rows
            if kind in (None, row["kind"])
            and (currency == "any" or currency in (row["base_currency"], row["settlement_currency"]))
        ]

    def _row(self, instrument: Instrument, name: str) -> dict[str, Any]:
        spot, inverse = instrument.kind == "spot", instrument.kind == "inverse"
        tick = instrument.tick / 10**instrument.price_decimals
        step = instrument.lot / 10**instrument.quantity_decimals
        return {
            "price_index": f"{instrument.base}_{instrument.quote}".lower(),
            "kind": "spot" if spot else "future",
            "instrument_name": name,
            "maker_commission": 0.0,
            "taker_commission": 0.0005,
            "instrument_type": "reversed" if inverse else "linear",
            "expiration_timestamp": 32503708800000,
            "creation_timestamp": 1534242287000,
            "is_active": True,
            "tick_size": tick,
            "contract_size": step if instrument.kind != "spot" else 1.0,
            "min_trade_amount": step,
            "tick_size_steps": [],
            **({} if spot else {"settlement_period": "perpetual", "max_leverage": 50}),
            "settlement_currency": instrument.base if inverse else instrument.quote,
            "base_currency": instrument.base,
            "counter_currency": instrument.quote,
            "quote_currency": instrument.quote,
            "state": "open",
        }
