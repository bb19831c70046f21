"""Gemini spot, both generations: depth streams with update ids at /, and v2 market data at /v2/marketdata.

Protocol: developer.gemini.com (WebSocket streams and messages; archived v2 market data), recordings of 2026.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change
from appliance.simulator.budget import Budget
from appliance.simulator.connection import Connection, Topic
from appliance.simulator.exchange import (
    Batch,
    Exchange,
    Query,
    Reply,
    Route,
    SimulatedBook,
    json_reply,
)
from appliance.simulator.faults import Marks
from appliance.simulator.flow import Flow
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import fixed, shortest, step_text
from appliance.simulator.texts import parsed, spoilt

_V2_PATHS = ("/v2/marketdata", "/v2/marketdata/")
_FAST, _SLOW, _L2 = "depth@100ms", "depth", "l2"
_STREAM = re.compile(r"([a-z0-9]+)@(depth(?:@100ms)?)")
_PADDING = 2  # decimals beyond those of the tick and the step
_HEARTBEAT_SECONDS = 5
_WEIGHT_PER_TEN_SECONDS = 7000
_CONNECTIONS_PER_FIVE_MINUTES = 300
_REST_PER_MINUTE = 120
_REST_DEPTH = 50
_TRADES = 50


@dataclass(slots=True)
class _Ids:
    """`last` ends the newest update, `seen` is the newest u a snapshot named; `told` is u of the slow
    stream's last message, `gathered` what its next one will hold."""

    last: int
    seen: int
    told: int
    gathered: dict[tuple[int, int], Change] = field(default_factory=dict)


class Gemini(Exchange):
    """Ids rise by gaps and overlap: U of a message is u of the one before. V2 numbers nothing."""

    id: ClassVar[str] = "gemini"
    default_quote: ClassVar[str] = "USD"
    websocket_path: ClassVar[str] = "/?snapshot=-1"
    ping_seconds: ClassVar[float | None] = 20.0

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        super().__init__(flows, seed, limits=limits)
        self._connects = Budget(_CONNECTIONS_PER_FIVE_MINUTES, 300)
        self._requests = Budget(_REST_PER_MINUTE, 60)
        self._beaten_at = time.monotonic()
        self._traded: dict[str, int] = {}

    @classmethod
    def adapt(cls, instrument: Instrument) -> Instrument:
        return replace(instrument, quantity_decimals=8 if instrument.base == "BTC" else 6)

    def native(self, instrument: Instrument) -> str:
        return (instrument.base + instrument.quote).lower()

    def prepare(self, book: SimulatedBook) -> None:
        first = 1_764_528_499_000_000 + self.random.randrange(10**9)
        book.state = _Ids(first, first, first)

    def accepts(self, path: str) -> bool:
        return path == "/" or path in _V2_PATHS

    # --- conversation

    def admit(self, headers: Mapping[str, str]) -> Reply | None:
        if self.limits and not self._connects.take():
            return Reply(self.rest_error(429), 429)
        return None

    def on_open(self, connection: Connection, query: Query) -> None:
        connection.state.update(
            v2=connection.path in _V2_PATHS,
            full=query.get("snapshot") == "-1",
            weight=Budget(_WEIGHT_PER_TEN_SECONDS, 10),
        )
        if connection.state["v2"]:
            # heartbeats are messages there, nobody pings and nobody has to answer
            connection.state.update(pinged=float("inf"), ponged=float("inf"))

    def on_text(self, connection: Connection, text: str) -> None:
        request = parsed(text)
        if not isinstance(request, dict):
            request = {}
        if connection.state["v2"]:
            self._on_v2(connection, request)
        else:
            self._on_new(connection, request)

    def _on_v2(self, connection: Connection, request: dict[str, Any]) -> None:
        kind, subscriptions = request.get("type"), request.get("subscriptions")
        if kind not in ("subscribe", "unsubscribe") or not isinstance(subscriptions, list):
            self.say(connection, b'{"reason":"InvalidJson","result":"error"}')
            return
        names = [
            str(symbol)
            for each in subscriptions
            if isinstance(each, dict) and each.get("name") == "l2"
            for symbol in each.get("symbols", ())
        ]
        # names are in upper case here, others do not exist
        books = [
            self.by_name[name.lower()] for name in names if name.isupper() and name.lower() in self.by_name
        ]
        if kind == "subscribe":
            books = [book for book in books if not self.refused(book.symbol)]
        if not books:
            self.say(connection, b'{"reason":"NoValidTradingPairs","result":"error"}')
            return
        for book in books:
            topic = Topic(_L2, book.symbol)
            if kind == "subscribe":
                self.subscribe(connection, topic)
            else:
                self.unsubscribe(connection, topic)

    def _on_new(self, connection: Connection, request: dict[str, Any]) -> None:
        request_id, method = request.get("id"), request.get("method")
        names = request.get("params", [])
        weight: Budget = connection.state["weight"]
        if self.limits and not weight.take():
            self._refuse(connection, request_id, 429, -1003, "Too many requests.")
        elif method == "ping":
            self._agree(connection, request_id)
        elif method == "time":
            self._agree(connection, request_id, {"serverTime": self.clock.now_ms()})
        elif method not in ("subscribe", "unsubscribe") or not isinstance(names, list):
            self._refuse(connection, request_id, 400, -1020, f"Unsupported method: {method}")
        else:
            self._command(connection, request_id, method, [str(name) for name in names])

    def _command(self, connection: Connection, request_id: Any, method: str, names: list[str]) -> None:
        matches = {name: _STREAM.fullmatch(name) for name in names}
        topics = {}
        for name, match in matches.items():
            book = self.by_name.get(match[1]) if match else None
            if match is None or book is None or (method == "subscribe" and self.refused(book.symbol)):
                # one bad stream spoils the request
                self._refuse(connection, request_id, 400, -1013, f"Invalid stream name: {name}")
                return
            topics[name] = Topic(match[2], book.symbol)
        for topic in topics.values():
            if method == "unsubscribe":
                self.unsubscribe(connection, topic)
            elif topic not in connection.topics:
                self.subscribe(connection, topic, snapshot=connection.state["full"])
        self._agree(connection, request_id)  # after the snapshots

    def _agree(self, connection: Connection, request_id: Any, result: Any = None) -> None:
        more = {} if result is None else {"result": result}
        self.say(connection, orjson.dumps({"id": request_id, "status": 200, **more}))

    def _refuse(self, connection: Connection, request_id: Any, status: int, code: int, message: str) -> None:
        error = {"code": code, "msg": message}
        self.say(connection, orjson.dumps({"id": request_id, "status": status, "error": error}))

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        book = self.books[topic.symbol]
        if topic.channel == _L2:
            return self._l2(book, self.top(book), first=True)
        ids: _Ids = book.state
        # ids of orders that changed no level: the next message then begins below this one's u
        ids.seen = max(ids.seen, ids.last + self.random.randrange(3))
        return self._event(book, (ids.seen, ids.seen), self.top(book))

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        ids: _Ids = book.state
        previous, ids.last = ids.last, max(ids.last, ids.seen) + 1 + self.random.randrange(400)
        readers = {channel: Topic(channel, book.symbol) for channel in (_FAST, _SLOW, _L2)}
        if readers[_SLOW] in self.topics:
            ids.gathered.update(((each.side, each.price), each) for each in changes)
        else:
            ids.told = ids.last
        shown = [*changes, self.crossing(book)] if marks.crossed else changes
        batch: Batch = []
        if readers[_FAST] in self.topics:
            event = self._event(book, (previous, ids.last), shown, malformed=marks.malformed)
            batch.append((readers[_FAST], event))
        if readers[_L2] in self.topics:
            self._traded[book.symbol] = 1
            batch.append((readers[_L2], self._l2(book, shown, malformed=marks.malformed)))
        return batch

    def _event(
        self, book: SimulatedBook, span: tuple[int, int], changes: list[Change], *, malformed: bool = False
    ) -> bytes:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        scale = 10**_PADDING
        bids, asks = (
            ",".join(
                f'["{fixed(each.price * scale, price + _PADDING)}",'
                f'"{fixed(each.quantity * scale, quantity + _PADDING)}"]'
                for each in side
            )
            for side in self.split(changes)
        )
        if malformed:
            bids = spoilt(bids, '["not-a-price","1.00000000"]')
        return (
            f'{{"e":"depthUpdate","E":{self.clock.now_ns()},"s":"{book.name}","U":{span[0]},"u":{span[1]},'
            f'"b":[{bids}],"a":[{asks}]}}'
        ).encode()

    def _decimal(self, units: int, decimals: int) -> str:
        """V2's form: the shortest with at least one decimal."""
        text = shortest(units, decimals)
        return text if "." in text else f"{text}.0"

    def _l2(
        self, book: SimulatedBook, changes: list[Change], *, first: bool = False, malformed: bool = False
    ) -> bytes:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        rows = [
            f'["{"buy" if each.side == BID else "sell"}","{self._decimal(each.price, price)}",'
            f'"{self._decimal(each.quantity, quantity)}"]'
            for each in changes
        ]
        if malformed:
            rows.append('["buy","not-a-price","1.0"]')
        name = book.name.upper()
        ahead = '"auction_events":[],' if first else ""
        trades = ",".join(self._trade(book, age) for age in range(_TRADES)) if first else ""
        behind = f'"trades":[{trades}],' if first else ""
        return (
            f'{{{ahead}"changes":[{",".join(rows)}],"symbol":"{name}",{behind}"type":"l2_updates"}}'
        ).encode()

    def _trade(self, book: SimulatedBook, age: int = 0) -> str:
        """A trade at the best price, `age` trades ago."""
        side = self.random.randrange(2)
        price = book.flow.book.sides[side].best()
        amount = 1 + self.random.randrange(10**book.instrument.quantity_decimals)
        number = book.state.last - 1000 * age
        return (
            f'{{"event_id":{number},"price":"{self._decimal(price, book.instrument.price_decimals)}",'
            f'"quantity":"{self._decimal(amount, book.instrument.quantity_decimals)}",'
            f'"side":"{"sell" if side == BID else "buy"}","symbol":"{book.name.upper()}",'
            f'"tid":{number + 1},"timestamp":{self.clock.now_ms() - 700 * age},"type":"trade"}}'
        )

    def second(self, connections: Iterable[Connection], now: float) -> None:
        """Slow streams, trades and heartbeats of v2."""
        for book in self.books.values():
            ids: _Ids = book.state
            if ids.gathered:
                span, ids.told = (ids.told, ids.last), ids.last
                changes, ids.gathered = list(ids.gathered.values()), {}
                self.publish(Topic(_SLOW, book.symbol), self._event(book, span, changes))
            if self._traded.pop(book.symbol, 0):
                self.publish(Topic(_L2, book.symbol), self._trade(book).encode())
        if now - self._beaten_at >= _HEARTBEAT_SECONDS:
            self._beaten_at = now
            beat = f'{{"timestamp":{self.clock.now_ms()},"type":"heartbeat"}}'
            for connection in connections:
                if connection.state["v2"]:
                    self.say(connection, beat)

    def restart(self, book: SimulatedBook) -> None:
        """A v2 snapshot that nobody asked for."""
        self.publish(Topic(_L2, book.symbol), self._l2(book, self.top(book), first=True))

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"u": book.state.last}

    # --- REST

    def routes(self) -> dict[str, Route]:
        rows = {book.name: self._row(book.instrument, "open") for book in self.books.values()}
        halted = Instrument("HALTED", self.default_quote, 4, 1, 10_000)
        rows[self.native(halted)] = self._row(halted, "closed")
        swap = Instrument("BTC", "GUSD", 1, 4, 10_000)
        rows["btcgusdperp"] = self._row(swap, "open", "swap")
        names = orjson.dumps([*rows])
        all_rows = f"[{','.join(rows.values())}]".encode()
        found: dict[str, Route] = {
            "/v1/symbols": lambda query: self._within(names),
            "/v1/symbols/details/all": lambda query: self._within(all_rows),
        }
        for name, row in rows.items():
            found[f"/v1/symbols/details/{name}"] = lambda query, row=row: self._within(row.encode())  # type: ignore[misc]
        for book in self.books.values():
            found[f"/v1/book/{book.name}"] = lambda query, book=book: self._book(book, query)  # type: ignore[misc]
        return found

    def _within(self, body: bytes) -> Reply:
        if self.limits and not self._requests.take():
            return Reply(self.rest_error(429), 429, {"Retry-After": "60"})
        return Reply(body)

    def rest_error(self, status: int) -> bytes:
        reasons = {
            404: ("EndpointNotFound", "API entry point not found"),
            429: ("RateLimited", "Requests were made too frequently"),
        }
        reason, message = reasons.get(status, ("System", "We are experiencing technical issues"))
        return orjson.dumps({"result": "error", "reason": reason, "message": message})

    def _book(self, book: SimulatedBook, query: Query) -> Reply:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        stamp = str(self.clock.now_ms() // 1000)
        sides = {}
        for number, name in ((BID, "bids"), (ASK, "asks")):
            text = query.get(f"limit_{name}", str(_REST_DEPTH))
            if not text.isdecimal():
                body = {"result": "error", "reason": "InvalidJson", "message": f"Invalid limit_{name}"}
                return json_reply(body, 400)
            sides[name] = [
                {
                    "price": shortest(row[0], price),
                    "amount": shortest(row[1], quantity),
                    "timestamp": stamp,
                }
                for row in book.flow.book.sides[number].top(int(text) or None)
            ]
        return self._within(orjson.dumps(sides))

    def _row(self, instrument: Instrument, status: str, product: str = "spot") -> str:
        """Details of a symbol. `quote_increment` is the price tick, `tick_size` the quantity step."""
        decimals = instrument.quantity_decimals
        step = f"1E-{decimals}" if decimals > 6 else step_text(decimals)
        name = instrument.base + instrument.quote + ("PERP" if product == "swap" else "")
        return (
            f'{{"symbol":"{name}","base_currency":"{instrument.base}","quote_currency":"{instrument.quote}",'
            f'"tick_size":{step},"quote_increment":{instrument.tick_text},"min_order_size":"0.00001","status":"{status}",'
            f'"wrap_enabled":false,"product_type":"{product}"}}'
        )
