"""Bybit v5 public spot: topics orderbook.1/50/200/1000, u counting up by one per topic.

Protocol: bybit-exchange/docs, v5 ws/connect, websocket/public/orderbook, market/orderbook, market/instrument.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change, Window
from appliance.simulator.connection import Connection, Topic
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook, json_reply
from appliance.simulator.faults import Marks
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import shortest
from appliance.simulator.texts import pairs, parsed, spoilt

_DEPTHS = (1, 50, 200, 1000)
_REST_DEPTH_MAX = 1000
_ARGUMENTS_MAX = 10
_ARGUMENT_CHARACTERS_MAX = 21_000
_REPEAT_SECONDS = 3
_IDLE_SECONDS = 600


@dataclass(slots=True)
class _Ids:
    """`update[depth]` is u of that topic, `seq` the matching engine's; windows exist while someone looks."""

    seq: int
    update: dict[int, int]
    windows: dict[int, Window] = field(default_factory=dict)
    top_sent_at: float = 0.0


class Bybit(Exchange):
    """A topic of depth N always shows N levels: what leaves is deleted, what returns is sent again."""

    id: ClassVar[str] = "bybit"
    websocket_path: ClassVar[str] = "/v5/public/spot"

    @classmethod
    def adapt(cls, instrument: Instrument) -> Instrument:
        return replace(instrument, quantity_decimals=6) if instrument.base == "BTC" else instrument

    def native(self, instrument: Instrument) -> str:
        return instrument.base + instrument.quote

    def prepare(self, book: SimulatedBook) -> None:
        first = 2_000_000 + self.random.randrange(10**6)
        book.state = _Ids(47_000_000_000 + self.random.randrange(10**9), dict.fromkeys(_DEPTHS, first))

    def accepts(self, path: str) -> bool:
        return path == self.websocket_path

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        connection.state.update(conn_id=str(uuid.UUID(int=self.random.getrandbits(128))), characters=0)

    def on_text(self, connection: Connection, text: str) -> None:
        request = parsed(text)
        operation = request.get("op") if isinstance(request, dict) else None
        if not isinstance(request, dict) or operation not in ("ping", "subscribe", "unsubscribe"):
            self._answer(connection, request, success=False, message="Invalid request")
        elif operation == "ping":
            self._answer(connection, request, success=True, message="pong")
        else:
            self._change(connection, request, operation)

    def _answer(self, connection: Connection, request: Any, *, success: bool, message: str) -> None:
        answer: dict[str, Any] = {
            "success": success,
            "ret_msg": message,
            "conn_id": connection.state["conn_id"],
        }
        if isinstance(request, dict):
            if "req_id" in request:
                answer["req_id"] = request["req_id"]
            answer["op"] = request.get("op", "")
        self.say(connection, orjson.dumps(answer))

    def _change(self, connection: Connection, request: dict[str, Any], operation: str) -> None:
        names = request.get("args")
        if not isinstance(names, list) or not names:
            self._answer(connection, request, success=False, message="Params Error")
            return
        if self.limits and len(names) > _ARGUMENTS_MAX:
            self._answer(connection, request, success=False, message="args size >10")
            return
        characters = connection.state["characters"] + len(orjson.dumps(names))
        if self.limits and operation == "subscribe" and characters > _ARGUMENT_CHARACTERS_MAX:
            self._answer(connection, request, success=False, message="args characters >21000")
            return
        topics = [self._topic(str(name)) for name in names]
        for name, topic in zip(names, topics, strict=True):
            if topic is None or (operation == "subscribe" and self.refused(topic.symbol)):
                self._answer(connection, request, success=False, message=f"Invalid topic: {name}")
                return
        connection.state["characters"] = characters
        self._answer(connection, request, success=True, message=operation)
        for topic in topics:
            if topic is not None and operation == "unsubscribe":
                self.unsubscribe(connection, topic)
            elif topic is not None and topic not in connection.topics:
                self.subscribe(connection, topic)

    def _topic(self, name: str) -> Topic | None:
        parts = name.split(".")
        if len(parts) != 3 or parts[0] != "orderbook" or parts[2] not in self.by_name:
            return None
        if not parts[1].isdecimal() or int(parts[1]) not in _DEPTHS:
            return None
        return Topic("orderbook", self.by_name[parts[2]].symbol, int(parts[1]))

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        book = self.books[topic.symbol]
        ids: _Ids = book.state
        if topic.depth not in ids.windows:
            ids.windows[topic.depth] = Window(book.flow.book, topic.depth, tell_leaving=True)
        return self._message(book, topic.depth, "snapshot", self._top(book, topic.depth))

    def _top(self, book: SimulatedBook, depth: int) -> list[Change]:
        return [
            Change(number, *row, 0)
            for number in (BID, ASK)
            for row in book.flow.book.sides[number].top(depth)
        ]

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        ids: _Ids = book.state
        ids.seq += 1 + self.random.randrange(40)
        batch: Batch = []
        for depth in _DEPTHS:
            topic = Topic("orderbook", book.symbol, depth)
            if topic not in self.topics:
                ids.windows.pop(depth, None)
                ids.update[depth] += 1
                continue
            if depth not in ids.windows:
                # subscribed while silent: the snapshot comes later
                ids.windows[depth] = Window(book.flow.book, depth, tell_leaving=True)
                continue
            shown = ids.windows[depth].shift(changes)
            if not shown:
                continue
            ids.update[depth] += 1
            if depth == 1:
                batch.append((topic, self._message(book, 1, "snapshot", self._top(book, 1))))
                continue
            extra = [self.crossing(book)] if marks.crossed else []
            batch.append((topic, self._message(book, depth, "delta", shown + extra, marks)))
        return batch

    def _message(
        self, book: SimulatedBook, depth: int, kind: str, changes: list[Change], marks: Marks | None = None
    ) -> bytes:
        ids: _Ids = book.state
        bids, asks = (pairs(book.instrument, side) for side in self.split(changes))
        if marks is not None and marks.malformed:
            bids = spoilt(bids)
        now = self.clock.now_ms()
        return (
            f'{{"topic":"orderbook.{depth}.{book.name}","ts":{now},"type":"{kind}",'
            f'"data":{{"s":"{book.name}","b":[{bids}],"a":[{asks}],'
            f'"u":{ids.update[depth]},"seq":{ids.seq}}},"cts":{now - 3}}}'
        ).encode()

    def second(self, connections: Iterable[Connection], now: float) -> None:
        for book in self.books.values():
            topic, ids = Topic("orderbook", book.symbol, 1), book.state
            if topic in self.topics and now - ids.top_sent_at >= _REPEAT_SECONDS:
                ids.top_sent_at = now
                self._send_all(topic, self._message(book, 1, "snapshot", self._top(book, 1)))
        for connection in connections:
            if self.limits and now - connection.last_received > _IDLE_SECONDS:
                connection.close(1000, "idle")

    def restart(self, book: SimulatedBook) -> None:
        """After a service restart every topic begins again with a snapshot whose u is 1."""
        ids: _Ids = book.state
        ids.update = dict.fromkeys(_DEPTHS, 1)
        for depth in _DEPTHS:
            topic = Topic("orderbook", book.symbol, depth)
            if topic in self.topics:
                self._send_all(topic, self._message(book, depth, "snapshot", self._top(book, depth)))

    def _send_all(self, topic: Topic, payload: bytes) -> None:
        for connection, raw in self.frames([(topic, payload)]):
            connection.send(raw)

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        ids: _Ids = book.state
        return {"u": {str(depth): update for depth, update in ids.update.items()}, "seq": ids.seq}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "/v5/market/orderbook": self._orderbook,
            "/v5/market/instruments-info": self._instruments,
            "/v5/market/time": lambda query: self._ok({"timeNano": str(self.clock.now_ns())}),
        }

    def _ok(self, result: Any, code: int = 0, message: str = "OK") -> Reply:
        now = self.clock.now_ms()
        return json_reply(
            {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now}
        )

    def rest_error(self, status: int) -> bytes:
        messages = {
            403: (10006, "Too many visits!"),
            429: (10006, "Too many visits!"),
            451: (10024, "Restricted"),
        }
        code, message = messages.get(status, (10016, "Server error"))
        now = self.clock.now_ms()
        return orjson.dumps({"retCode": code, "retMsg": message, "result": {}, "retExtInfo": {}, "time": now})

    def _orderbook(self, query: Query) -> Reply:
        book, limit = self.by_name.get(query.get("symbol", "")), query.get("limit", "1")
        if query.get("category") != "spot" or book is None:
            return self._ok({}, 10001, "params error: symbol invalid")
        if not limit.isdecimal() or not 1 <= int(limit) <= _REST_DEPTH_MAX:
            return self._ok({}, 10001, "params error: limit invalid")
        ids: _Ids = book.state
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        bids, asks = (
            [[shortest(row[0], price), shortest(row[1], quantity)] for row in side.top(int(limit))]
            for side in book.flow.book.sides
        )
        now = self.clock.now_ms()
        numbers = {"ts": now, "u": ids.update[1000], "seq": ids.seq, "cts": now - 3}
        return self._ok({"s": book.name, "b": bids, "a": asks, **numbers})

    def _instruments(self, query: Query) -> Reply:
        if query.get("category") != "spot":
            return self._ok({"category": query.get("category", ""), "list": [], "nextPageCursor": ""})
        rows = [self._row(book.instrument, book.name, "Trading") for book in self.books.values()]
        coming = Instrument("COMING", self.default_quote, 4, 1, 10_000)
        rows.append(self._row(coming, self.native(coming), "PreLaunch"))
        wanted = query.get("symbol")
        return self._ok({"category": "spot", "list": [r for r in rows if wanted in (None, r["symbol"])]})

    def _row(self, instrument: Instrument, name: str, status: str) -> dict[str, Any]:
        return {
            "symbol": name,
            "baseCoin": instrument.base,
            "quoteCoin": instrument.quote,
            "innovation": "0",
            "status": status,
            "marginTrading": "none",
            "stTag": "0",
            "symbolType": "",
            "lotSizeFilter": {
                "basePrecision": instrument.step_text,
                "quotePrecision": "0.0000001",
                "minOrderQty": instrument.step_text,
                "maxOrderQty": "1000000",
                "minOrderAmt": "5",
                "maxOrderAmt": "8000000",
            },
            "priceFilter": {"tickSize": instrument.tick_text},
            "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        }
