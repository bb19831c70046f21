"""AscendEX spot WebSocket: channel `depth` counted by `seqnum`, snapshots by request on the same socket.

Protocol: ascendex-pro-api documentation, recordings of 2021 (v1) and 2022 (v2).
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change
from appliance.simulator.connection import Connection, Topic
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook, json_reply
from appliance.simulator.faults import Marks
from appliance.simulator.flow import Flow
from appliance.simulator.instruments import Instrument
from appliance.simulator.texts import pairs, parsed, spoilt

_PATH = re.compile(r"(/\d+)?/api/pro/v[12]/stream")
_SNAPSHOTS = {"depth-snapshot": 500, "depth-snapshot-top100": 100}
_SYMBOLS_MAX = 10
_PING_SECONDS = 15
_PONG_HOLDS_SECONDS = 30
_HEALTH = 3
_BAN_SECONDS = 900
_INVALID = (100005, "INVALID_WS_REQUEST_DATA")
# messages a minute of each sort: past the first they are ignored, past the second the address is banned
_PER_MINUTE = {"alive": (800, 1000), "sub": (150, 200), "snapshot": (400, 500), "req": (10_000, 10_000)}


@dataclass(slots=True)
class _Count:
    """The last seqnum, and the time of the last change, ms."""

    seqnum: int
    changed: int


class Ascendex(Exchange):
    """`request_seconds`: how long a requested snapshot takes."""

    id: ClassVar[str] = "ascendex"
    websocket_path: ClassVar[str] = "/1/api/pro/v1/stream"
    connections_max: ClassVar[int | None] = 20
    request_seconds: float = 0.5

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        super().__init__(flows, seed, limits=limits)
        self._banned_until = 0.0
        self._asked: deque[tuple[float, Connection, str, str]] = deque()

    def native(self, instrument: Instrument) -> str:
        return f"{instrument.base}/{instrument.quote}"

    def prepare(self, book: SimulatedBook) -> None:
        book.state = _Count(21_034_000_000 + self.random.randrange(10**9), self.clock.now_ms())

    def accepts(self, path: str) -> bool:
        return _PATH.fullmatch(path) is not None

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        now = connection.opened
        connection.state.update(health=_HEALTH, due=now + _PING_SECONDS, counts={}, ignored={})
        if self.limits and now < self._banned_until:
            self._disconnect(connection, "IP is banned")
        else:
            self.say(connection, '{"m":"connected","type":"unauth"}')

    def on_text(self, connection: Connection, text: str) -> None:
        request = parsed(text)
        operation = request.get("op") if isinstance(request, dict) else None
        sorts = {"ping": "alive", "pong": "alive", "auth": "alive", "sub": "sub", "unsub": "sub"}
        sort = sorts.get(str(operation), "req")
        if isinstance(request, dict) and request.get("action") in _SNAPSHOTS:
            sort = "snapshot"
        if self.limits and not self._within_limits(connection, sort):
            return
        connection.state["due"] = max(connection.state["due"], connection.last_received + _PING_SECONDS)
        match operation:
            case "ping":
                connection.state["due"] = connection.last_received + _PONG_HOLDS_SECONDS
                connection.state["health"] = _HEALTH
                now = self.clock.now_ms()
                self.say(connection, f'{{"m":"pong","code":0,"ts":{now},"hp":{_HEALTH}}}')
            case "pong":
                connection.state["health"] = _HEALTH
            case "sub" | "unsub":
                self._change(connection, str(operation), request)
            case "req":
                self._request(connection, request)
            case _:
                self._error(connection, request, "Invalid request")

    def _within_limits(self, connection: Connection, sort: str) -> bool:
        now, state = connection.last_received, connection.state
        times = state["counts"].setdefault(sort, deque())
        times.append(now)
        while times[0] <= now - 60:
            times.popleft()
        ignored_from, banned_from = _PER_MINUTE[sort]
        if len(times) > banned_from:
            self._banned_until = now + _BAN_SECONDS
            self._disconnect(connection, "Message threshold exceeded")
            return False
        if len(times) > ignored_from:
            state["ignored"][sort] = now + _BAN_SECONDS
        return bool(now >= state["ignored"].get(sort, 0.0))

    def _error(self, connection: Connection, request: Any, info: str) -> None:
        number = request.get("id") if isinstance(request, dict) else None
        known = {} if number is None else {"id": number}
        code, reason = _INVALID
        answer = {"m": "error", **known, "code": code, "reason": reason, "info": info}
        self.say(connection, orjson.dumps(answer))

    def _disconnect(self, connection: Connection, info: str) -> None:
        code, reason = _INVALID
        answer = {"m": "disconnected", "code": code, "reason": reason, "info": info}
        self.say(connection, orjson.dumps(answer))
        connection.close(1000, reason)

    def _change(self, connection: Connection, operation: str, request: dict[str, Any]) -> None:
        channel, _, listed = str(request.get("ch")).partition(":")
        names = listed.split(",") if listed else []
        if operation == "unsub" and channel == "depth" and names in ([], ["*"]):
            names = [self.books[topic.symbol].name for topic in connection.topics]
        books = [self.by_name.get(name) for name in names]
        if channel != "depth" or not 0 < len(names) <= _SYMBOLS_MAX:
            self._error(connection, request, f"Invalid channel {request.get('ch')}")
            return
        number = {"id": request["id"]} if "id" in request else {}
        for name, book in zip(names, books, strict=True):
            if book is None or (operation == "sub" and self.refused(book.symbol)):
                self._error(connection, request, f"Invalid symbol {name}")
                continue
            answer = {"m": operation, **number, "ch": f"depth:{name}", "code": 0}
            self.say(connection, orjson.dumps(answer))
            if operation == "sub":
                self.subscribe(connection, Topic("depth", book.symbol), snapshot=False)
            else:
                self.unsubscribe(connection, Topic("depth", book.symbol))

    def _request(self, connection: Connection, request: dict[str, Any]) -> None:
        action, arguments = str(request.get("action")), request.get("args")
        name = str(arguments.get("symbol")) if isinstance(arguments, dict) else ""
        if action not in _SNAPSHOTS or name not in self.by_name:
            self._error(connection, request, f"Invalid action {action} or symbol {name}")
            return
        self._asked.append((connection.last_received + self.request_seconds, connection, action, name))
        self._answer_requests(connection.last_received)
        self.later(self.request_seconds, lambda: self._answer_requests(time.monotonic()))

    def _answer_requests(self, now: float) -> None:
        """Snapshots that are due, unless their symbol is silent."""
        held = deque[tuple[float, Connection, str, str]]()
        for due, connection, action, name in self._asked:
            book = self.by_name[name]
            if connection.closing:
                continue
            if due > now or self.silent(book.symbol):
                held.append((due, connection, action, name))
            else:
                self.say(connection, self._book(book, action))
        self._asked = held

    def second(self, connections: Iterable[Connection], now: float) -> None:
        self._answer_requests(now)
        for connection in connections:
            state = connection.state
            if now < state["due"] or connection.closing:
                continue
            if state["health"] == 0 and self.limits:
                self._disconnect(
                    connection, "Session is disconnected due to missing pong message from the client"
                )
                continue
            state["due"] = now + _PING_SECONDS
            self.say(connection, f'{{"m":"ping","hp":{state["health"]}}}')
            # two pings without an answer are too many
            state["health"] = 1 if state["health"] == _HEALTH else 0

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        """None: it must be asked for."""
        return None

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        count: _Count = book.state
        count.seqnum += 1
        count.changed = self.clock.now_ms()
        topic = Topic("depth", book.symbol)
        if topic not in self.topics:
            return []
        shown = [*changes, self.crossing(book)] if marks.crossed else changes
        return [(topic, self._message(book, "depth", shown, malformed=marks.malformed))]

    def _book(self, book: SimulatedBook, action: str) -> bytes:
        sides = book.flow.book.sides
        top = [
            Change(number, *row, 0) for number in (ASK, BID) for row in sides[number].top(_SNAPSHOTS[action])
        ]
        return self._message(book, action, top)

    def _message(
        self, book: SimulatedBook, name: str, changes: list[Change], *, malformed: bool = False
    ) -> bytes:
        """The space after the symbol is the exchange's own."""
        count: _Count = book.state
        bids, asks = (pairs(book.instrument, side) for side in self.split(changes))
        if malformed:
            bids = spoilt(bids)
        return (
            f'{{"m":"{name}","symbol":"{book.name}", "data":{{"ts":{count.changed},"seqnum":{count.seqnum},'
            f'"asks":[{asks}],"bids":[{bids}]}}}}'
        ).encode()

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"seqnum": book.state.seqnum}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "/api/pro/v1/depth": self._depth,
            "/api/pro/v1/products": lambda query: self._ok(self._products()),
            "/api/pro/v1/cash/products": lambda query: self._ok(self._cash_products()),
            "/api/pro/v2/risk-limit-info": lambda query: self._ok(self._limits()),
            # asked for by clients that also know the coins and the contracts
            "/api/pro/v2/assets": lambda query: self._ok([]),
            "/api/pro/v2/futures/contract": lambda query: self._ok([]),
        }

    def _ok(self, data: Any) -> Reply:
        return json_reply({"code": 0, "data": data})

    def rest_error(self, status: int) -> bytes:
        code, message = (100001, "Too many requests") if status == 429 else (100002, "Not found")
        return orjson.dumps({"code": code, "reason": "INVALID_HTTP_INPUT", "message": message})

    def _limits(self) -> dict[str, Any]:
        names = {"alive": "ping/pong/auth", "sub": "sub/unsub", "snapshot": "depth_snapshot", "req": "req"}
        return {
            "ip": "127.0.0.1",
            "sessionsPerIpAccountGroup": self.connections_max,
            "messageThreshold": {
                names[sort]: {"level1": first, "level2": second}
                for sort, (first, second) in _PER_MINUTE.items()
            },
            "banned": time.monotonic() < self._banned_until,
        }

    def _depth(self, query: Query) -> Reply:
        book = self.by_name.get(query.get("symbol", ""))
        if book is None:
            return json_reply(
                {"code": 100002, "reason": "DATA_NOT_AVAILABLE", "message": "Invalid symbol"}, 400
            )
        return Reply(b'{"code":0,"data":' + self._book(book, "depth-snapshot") + b"}")

    def _rows(self) -> list[tuple[str, Instrument, str]]:
        rows = [(book.name, book.instrument, "Normal") for book in self.books.values()]
        halted = Instrument("HALTED", self.default_quote, 4, 2, 10_000)
        contract = Instrument("BTC", self.default_quote, 1, 4, 640_000)
        return [*rows, (self.native(halted), halted, "NoTrading"), ("BTC-PERP", contract, "Normal")]

    def _products(self) -> list[dict[str, Any]]:
        return [
            {
                "symbol": name,
                "baseAsset": "" if name.endswith("-PERP") else instrument.base,
                "quoteAsset": "" if name.endswith("-PERP") else instrument.quote,
                "status": status,
                "minNotional": "5",
                "maxNotional": "1000000",
                "marginTradable": False,
                "commissionType": "Quote",
                "commissionReserveRate": "0.001",
                "tickSize": instrument.tick_text,
                "lotSize": instrument.step_text,
            }
            for name, instrument, status in self._rows()
        ]

    def _cash_products(self) -> list[dict[str, Any]]:
        return [
            {
                "symbol": name,
                "displayName": name,
                "domain": "USDS",
                "tradingStartTime": 1569506400000,
                "collapseDecimals": "1,0.1,0.01",
                "minQty": "0.000000001",
                "maxQty": "1000000000",
                "minNotional": "5",
                "maxNotional": "1000000",
                "statusCode": status,
                "statusMessage": "",
                "tickSize": instrument.tick_text,
                "useTick": False,
                "lotSize": instrument.step_text,
                "useLot": False,
                "commissionType": "Quote",
                "commissionReserveRate": "0.001",
                "qtyScale": instrument.quantity_decimals,
                "priceScale": instrument.price_decimals,
                "notionalScale": 4,
            }
            for name, instrument, status in self._rows()
            if not name.endswith("-PERP")
        ]
