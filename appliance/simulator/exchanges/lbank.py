"""LBank spot WebSocket: channel `depth`, each push a whole book of 10, 50 or 100 levels, no sequence at all.

Protocol: lbank-official-api-docs (WebSocket API, Market REST API) and the answers quoted in ccxt. The channel
`incrdepth` is in the vendor's connector, its messages in no document: it stays silent here, like a pair that
does not exist.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change
from appliance.simulator.connection import Connection, Topic
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook, json_reply
from appliance.simulator.faults import Marks
from appliance.simulator.flow import Flow
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import shortest
from appliance.simulator.texts import parsed

_DEPTHS = (10, 50, 100)
_PING_SECONDS = 30
_PONG_SECONDS = 60
_REST_DEPTH_MAX = 60
_REST_PER_TEN_SECONDS = 200
_BEIJING_NS = 8 * 3600 * 10**9


class Lbank(Exchange):
    """Times are Beijing's, without saying so. Ping frames are not answered: JSON pings are."""

    id: ClassVar[str] = "lbank"
    websocket_path: ClassVar[str] = "/ws/V2/"
    answers_pings: ClassVar[bool] = False

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        super().__init__(flows, seed, limits=limits)
        self._requests: list[float] = []

    @classmethod
    def adapt(cls, instrument: Instrument) -> Instrument:
        return replace(instrument, quantity_decimals=4) if instrument.base == "BTC" else instrument

    def native(self, instrument: Instrument) -> str:
        return f"{instrument.base}_{instrument.quote}".lower()

    def prepare(self, book: SimulatedBook) -> None:
        """Nothing is counted."""

    def accepts(self, path: str) -> bool:
        return path.rstrip("/") == "/ws/V2"

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        connection.state.update(asked={}, asked_at=connection.opened)

    def on_text(self, connection: Connection, text: str) -> None:
        request = parsed(text)
        if not isinstance(request, dict):
            self._error(connection, "Invalid message")
            return
        match request.get("action"):
            case "ping":
                answer = {"action": "pong", "pong": request.get("ping")}
                self.say(connection, orjson.dumps(answer))
            case "pong":
                if request.get("pong") in connection.state["asked"]:
                    connection.state["asked"].clear()
            case "subscribe" | "unsubscribe" | "request" as action:
                self._change(connection, action, request)
            case _:
                self._error(connection, "Missing parameter ['action']")

    def _error(self, connection: Connection, message: str) -> None:
        answer = {"SERVER": "V2", "message": message, "status": "error", "TS": self._time()}
        self.say(connection, orjson.dumps(answer))

    def _change(self, connection: Connection, action: str, request: dict[str, Any]) -> None:
        named_by = "request" if action == "request" else "subscribe"
        missing = [key for key in (named_by, "pair") if key not in request]
        if request.get(named_by) == "depth" and "depth" not in request:
            missing.append("depth")
        if missing:
            self._error(connection, f"Missing parameter ['{missing[0]}']")
            return
        book, depth = self.by_name.get(str(request["pair"])), str(request.get("depth"))
        if request[named_by] != "depth" or book is None or depth not in map(str, _DEPTHS):
            return
        topic = Topic("depth", book.symbol, int(depth))
        if action == "request":
            self.say(connection, self._flat(topic))
        elif action == "unsubscribe":
            self.unsubscribe(connection, topic)
        elif self.refused(book.symbol):
            self._error(connection, "Subscription refused")
        else:
            self.subscribe(connection, topic)

    def second(self, connections: Iterable[Connection], now: float) -> None:
        for connection in connections:
            asked = connection.state["asked"]
            if self.limits and asked and now - min(asked.values()) > _PONG_SECONDS:
                connection.close(1000, "no pong")
            elif now - connection.state["asked_at"] >= _PING_SECONDS:
                number = str(uuid.UUID(int=self.random.getrandbits(128)))
                asked[number] = connection.state["asked_at"] = now
                self.say(connection, orjson.dumps({"action": "ping", "ping": number}))

    # --- messages

    def _time(self) -> str:
        now = self.clock.now_ns() + _BEIJING_NS
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
        return f"{seconds}.{now // 10**6 % 1000:03d}"

    def snapshot(self, topic: Topic) -> bytes | None:
        return self._push(topic, Marks())

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        topics = [Topic("depth", book.symbol, depth) for depth in _DEPTHS]
        return [(topic, self._push(topic, marks)) for topic in topics if topic in self.topics]

    def _sides(self, topic: Topic, marks: Marks) -> str:
        book = self.books[topic.symbol]
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        rows: list[list[str]] = []
        for number in (ASK, BID):
            top = book.flow.book.sides[number].top(topic.depth)
            rows.append([f"[{shortest(row[0], price)},{shortest(row[1], quantity)}]" for row in top])
        if marks.crossed:
            extra = self.crossing(book)
            rows[1].insert(0, f"[{shortest(extra.price, price)},{shortest(extra.quantity, quantity)}]")
        if marks.malformed:
            rows[1].insert(0, '["not-a-price",1]')
        return f'"asks":[{",".join(rows[0])}],"bids":[{",".join(rows[1])}]'

    def _push(self, topic: Topic, marks: Marks) -> bytes:
        name = self.books[topic.symbol].name
        return (
            f'{{"depth":{{{self._sides(topic, marks)}}},"count":{topic.depth},"type":"depth","pair":"{name}",'
            f'"SERVER":"V2","TS":"{self._time()}"}}'
        ).encode()

    def _flat(self, topic: Topic) -> bytes:
        """The answer to a request: the sides stand one level higher than in a push."""
        name = self.books[topic.symbol].name
        return (
            f'{{"SERVER":"V2",{self._sides(topic, Marks())},"count":{topic.depth},"type":"depth",'
            f'"pair":"{name}","TS":"{self._time()}"}}'
        ).encode()

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "/v2/depth.do": self._limited(self._depth),
            "/v2/accuracy.do": self._limited(self._accuracy),
            "/v2/currencyPairs.do": self._limited(lambda query: self._ok([*self.by_name])),
            "/v2/timestamp.do": self._limited(lambda query: self._ok(self.clock.now_ms())),
            # asked for by clients that also know the coins and the contracts
            "/v2/withdrawConfigs.do": self._limited(lambda query: self._ok([])),
            "/cfd/openApi/v1/pub/instrument": lambda query: json_reply(
                {"data": [], "error_code": 0, "msg": "Success", "result": "true", "success": True}
            ),
        }

    def _limited(self, route: Route) -> Route:
        def limited(query: Query) -> Reply:
            now = time.monotonic()
            self._requests = [each for each in self._requests if each > now - 10] + [now]
            if self.limits and len(self._requests) > _REST_PER_TEN_SECONDS:
                return self._failed(10004)
            return route(query)

        return limited

    def _ok(self, data: Any) -> Reply:
        return json_reply({"result": "true", "data": data, "error_code": 0, "ts": self.clock.now_ms()})

    def _failed(self, code: int) -> Reply:
        return json_reply({"result": "false", "error_code": code, "ts": self.clock.now_ms()})

    def rest_error(self, status: int) -> bytes:
        code = 10004 if status == 429 else 10000
        return orjson.dumps({"result": "false", "error_code": code, "ts": self.clock.now_ms()})

    def _depth(self, query: Query) -> Reply:
        book, size = self.by_name.get(query.get("symbol", "")), query.get("size", "60")
        if book is None:
            return self._failed(10008)
        if not size.isdecimal() or int(size) < 1:
            return self._failed(10003)
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        asks, bids = (
            [
                [shortest(row[0], price), shortest(row[1], quantity)]
                for row in side.top(min(int(size), _REST_DEPTH_MAX))
            ]
            for side in reversed(book.flow.book.sides)
        )
        return self._ok({"asks": asks, "bids": bids, "timestamp": self.clock.now_ms()})

    def _accuracy(self, query: Query) -> Reply:
        wanted = query.get("symbol")
        return self._ok(
            [
                {
                    "symbol": book.name,
                    "quantityAccuracy": str(book.instrument.quantity_decimals),
                    "minTranQua": book.instrument.step_text,
                    "priceAccuracy": str(book.instrument.price_decimals),
                }
                for book in self.books.values()
                if wanted in (None, book.name)
            ]
        )
