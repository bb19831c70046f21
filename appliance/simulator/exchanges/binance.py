"""Binance Spot: diff-depth streams over /ws and /stream, snapshots over REST.

Protocol: binance-spot-api-docs, web-socket-streams.md and rest-api.md.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change
from appliance.simulator.connection import Connection, Topic
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook, json_reply
from appliance.simulator.faults import Marks
from appliance.simulator.flow import Flow
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import fixed
from appliance.simulator.texts import spoilt

_DECIMALS = 8  # every number is padded to 8 decimals
_MESSAGES_PER_SECOND = 5
_STREAMS_MAX = 1024
_WEIGHT_PER_MINUTE = 6000
_DEPTH_MAX = 5000
_FAST, _SLOW = "100ms", "1000ms"
_STREAM = re.compile(r"([a-z0-9]+)@depth(?:@(100ms|1000ms))?")


@dataclass(slots=True)
class _Ids:
    """`last` is the id of the newest change; `gathered` what @depth will send, from id `gathered_from` on."""

    last: int
    gathered_from: int = 0
    gathered: dict[tuple[int, int], Change] = field(default_factory=dict)


class Binance(Exchange):
    """Update ids are consecutive per symbol; one event covers U..u; @depth gathers a second of them."""

    id: ClassVar[str] = "binance"
    websocket_path: ClassVar[str] = "/stream"
    ping_seconds: ClassVar[float | None] = 20.0
    pong_seconds: ClassVar[float] = 60.0

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        super().__init__(flows, seed, limits=limits)
        self._weight: list[tuple[float, int]] = []

    def native(self, instrument: Instrument) -> str:
        return instrument.base + instrument.quote

    def prepare(self, book: SimulatedBook) -> None:
        book.state = _Ids(1_000_000 + self.random.randrange(9_000_000))

    def accepts(self, path: str) -> bool:
        return path in ("/ws", "/stream") or path.startswith("/ws/")

    # --- streams

    def on_open(self, connection: Connection, query: Query) -> None:
        connection.state["combined"] = connection.path == "/stream"
        connection.state["streams"] = {}
        names = query.get("streams", "") if connection.path == "/stream" else connection.path[4:]
        for name in filter(None, names.split("/")):
            self._open(connection, name)

    def _topic(self, connection: Connection, name: str) -> Topic | None:
        """A stream the simulator knows; unknown names are acknowledged and stay silent, as at Binance."""
        match = _STREAM.fullmatch(name)
        book = self.by_name.get(match[1].upper()) if match else None
        if match is None or book is None:
            return None
        return Topic(match[2] or _SLOW, book.symbol, variant=name, wrapped=connection.state["combined"])

    def _open(self, connection: Connection, name: str) -> None:
        topic = self._topic(connection, name)
        if topic is not None and self.refused(topic.symbol):
            topic = None
        connection.state["streams"][name] = topic
        if topic is not None:
            self.subscribe(connection, topic)

    def on_text(self, connection: Connection, text: str) -> None:
        if self.limits and len(connection.received_at) > _MESSAGES_PER_SECOND:
            connection.close(1008, "Too many requests")
            return
        try:
            request = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            self.say(connection, orjson.dumps({"code": 3, "msg": f"Invalid JSON: {error}"}))
            return
        method = request.get("method") if isinstance(request, dict) else None
        names = request.get("params", []) if isinstance(request, dict) else None
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS"):
            self.say(
                connection,
                b'{"code":2,"msg":"Invalid request: unknown variant, expected one of `SUBSCRIBE`, '
                b'`UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`"}',
            )
            return
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.say(connection, b'{"code":1,"msg":"Invalid value type: expected array of strings"}')
            return
        self._command(connection, method, names, request.get("id"))

    def _command(self, connection: Connection, method: str, names: list[str], request_id: Any) -> None:
        streams = connection.state["streams"]
        if method == "LIST_SUBSCRIPTIONS":
            self.say(connection, orjson.dumps({"result": list(streams), "id": request_id}))
            return
        if method == "SUBSCRIBE" and len(streams.keys() | set(names)) > _STREAMS_MAX:
            self.say(connection, b'{"code":2,"msg":"Invalid request: too many streams"}')
            return
        for name in names:
            if method == "SUBSCRIBE" and name not in streams:
                self._open(connection, name)
            elif method == "UNSUBSCRIBE":
                topic = streams.pop(name, None)
                if topic is not None:
                    self.unsubscribe(connection, topic)
        self.say(connection, orjson.dumps({"result": None, "id": request_id}))

    def notice(self, connection: Connection) -> None:
        event = f'{{"e":"serverShutdown","E":{self.clock.now_ms()}}}'
        if connection.state["combined"]:
            event = f'{{"stream":"!serverShutdown","data":{event}}}'
        self.say(connection, event)

    # --- messages

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        ids: _Ids = book.state
        first, ids.last = ids.last + 1, ids.last + len(changes)
        topics = [topic for topic in self.topics if topic.symbol == book.symbol]
        if any(topic.channel == _SLOW for topic in topics):
            ids.gathered_from = ids.gathered_from if ids.gathered else first
            ids.gathered.update(((each.side, each.price), each) for each in changes)
        shown = [*changes, self.crossing(book)] if marks.crossed else changes
        return self._events(book, topics, _FAST, (first, ids.last), shown, malformed=marks.malformed)

    def _events(
        self,
        book: SimulatedBook,
        topics: list[Topic],
        speed: str,
        ids: tuple[int, int],
        changes: list[Change],
        *,
        malformed: bool = False,
    ) -> Batch:
        topics = [topic for topic in topics if topic.channel == speed]
        if not topics:
            return []
        bids, asks = (self._levels(book, each) for each in self.split(changes))
        if malformed:
            bids = spoilt(bids, '["not-a-price","1.00000000"]')
        event = (
            f'{{"e":"depthUpdate","E":{self.clock.now_ms()},"s":"{book.name}","U":{ids[0]},"u":{ids[1]},'
            f'"b":[{bids}],"a":[{asks}]}}'
        )
        return [
            (topic, (f'{{"stream":"{topic.variant}","data":{event}}}' if topic.wrapped else event).encode())
            for topic in topics
        ]

    def _levels(self, book: SimulatedBook, changes: list[Change]) -> str:
        pad_price = _DECIMALS - book.instrument.price_decimals
        pad_quantity = _DECIMALS - book.instrument.quantity_decimals
        return ",".join(
            f'["{fixed(each.price * 10**pad_price, _DECIMALS)}",'
            f'"{fixed(each.quantity * 10**pad_quantity, _DECIMALS)}"]'
            for each in changes
        )

    def second(self, connections: Iterable[Connection], now: float) -> None:
        """@depth sends what it gathered in the last second."""
        for book in self.books.values():
            ids: _Ids = book.state
            if ids.gathered:
                topics = [topic for topic in self.topics if topic.symbol == book.symbol]
                changes, ids.gathered = list(ids.gathered.values()), {}
                batch = self._events(book, topics, _SLOW, (ids.gathered_from, ids.last), changes)
                for connection, raw in self.frames(batch):
                    connection.send(raw)

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"lastUpdateId": book.state.last}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "/api/v3/depth": self._depth,
            "/api/v3/exchangeInfo": self._exchange_info,
            "/api/v3/ping": lambda query: self._weighed(1, {}),
            "/api/v3/time": lambda query: self._weighed(1, {"serverTime": self.clock.now_ms()}),
        }

    def _weighed(self, weight: int, body: Any, status: int = 200) -> Reply:
        """Answer within the request weight of the last minute, or refuse with 429."""
        now = time.monotonic()
        self._weight = [each for each in self._weight if each[0] > now - 60]
        used = sum(each[1] for each in self._weight)
        if self.limits and used + weight > _WEIGHT_PER_MINUTE:
            wait = max(1, int(60 - (now - self._weight[0][0])) + 1)
            headers = {"Retry-After": str(wait), "X-MBX-USED-WEIGHT-1M": str(used)}
            return Reply(self.rest_error(429), 429, headers)
        self._weight.append((now, weight))
        return json_reply(body, status, {"X-MBX-USED-WEIGHT-1M": str(used + weight)})

    def rest_error(self, status: int) -> bytes:
        messages = {
            429: (-1003, "Too much request weight used; current limit is 6000 request weight per 1 MINUTE."),
            418: (
                -1003,
                f"Way too much request weight used; IP banned until {self.clock.now_ms() + 120_000}.",
            ),
            451: (
                0,
                "Service unavailable from a restricted location according to 'b. Eligibility' in the terms.",
            ),
        }
        code, message = messages.get(
            status, (-1000, "An unknown error occurred while processing the request.")
        )
        return orjson.dumps({"code": code, "msg": message})

    def _depth(self, query: Query) -> Reply:
        book = self.by_name.get(query.get("symbol", ""))
        if book is None:
            return self._weighed(5, {"code": -1121, "msg": "Invalid symbol."}, 400)
        try:
            limit = min(_DEPTH_MAX, int(query.get("limit", "100")))
        except ValueError:
            return self._weighed(
                5, {"code": -1100, "msg": "Illegal characters found in parameter 'limit'."}, 400
            )
        weight = 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250
        sides = [
            [Change(number, *row, 0) for row in book.flow.book.sides[number].top(limit)]
            for number in (BID, ASK)
        ]
        bids, asks = (self._levels(book, side) for side in sides)
        reply = self._weighed(weight, None)
        if reply.status != 200:
            return reply
        body = f'{{"lastUpdateId":{book.state.last},"bids":[{bids}],"asks":[{asks}]}}'
        return Reply(body.encode(), 200, reply.headers)

    def _exchange_info(self, query: Query) -> Reply:
        rows = [self._row(book.instrument, book.name, "TRADING") for book in self.books.values()]
        halted = Instrument("HALTED", self.default_quote, 4, 1, 10_000)
        rows.append(self._row(halted, self.native(halted), "BREAK"))
        limits = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000},
        ]
        return self._weighed(
            20,
            {
                "timezone": "UTC",
                "serverTime": self.clock.now_ms(),
                "rateLimits": limits,
                "exchangeFilters": [],
                "symbols": rows,
            },
        )

    def _row(self, instrument: Instrument, name: str, status: str) -> dict[str, Any]:
        tick = fixed(instrument.tick * 10 ** (_DECIMALS - instrument.price_decimals), _DECIMALS)
        step = fixed(10 ** (_DECIMALS - instrument.quantity_decimals), _DECIMALS)
        most = "9000000.00000000"
        return {
            "symbol": name,
            "status": status,
            "baseAsset": instrument.base,
            "baseAssetPrecision": 8,
            "quoteAsset": instrument.quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8,
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
            "icebergAllowed": True,
            "ocoAllowed": True,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": [
                {"filterType": "LOT_SIZE", "minQty": step, "maxQty": most, "stepSize": step},
                {
                    "filterType": "PRICE_FILTER",
                    "minPrice": tick,
                    "maxPrice": "10000000.00000000",
                    "tickSize": tick,
                },
                {
                    "filterType": "NOTIONAL",
                    "minNotional": "5.00000000",
                    "applyMinToMarket": True,
                    "maxNotional": most,
                    "applyMaxToMarket": False,
                    "avgPriceMins": 5,
                },
            ],
            "permissions": [],
            "permissionSets": [["SPOT"]],
            "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
            "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
        }
