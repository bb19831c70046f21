"""Gate spot v4: `spot.obu` (whole book first, on the same socket) and `spot.order_book_update` with REST.

Protocol: Gate spot WebSocket v4 documentation, gateio/gatews, recorded frames of 2021 to 2026.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import Change
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
from appliance.simulator.texts import pairs, parsed, spoilt

_OBU, _UPDATE = "spot.obu", "spot.order_book_update"
_OBU_DEPTHS = ("50", "400")
_SPEEDS = {"100ms": 100, "20ms": 20}  # speed -> levels
_CLOCK_SECONDS = 60
_IDLE_SECONDS = 30
_REST_PER_TEN_SECONDS = 200
_REST_DEPTH_MAX = 1000
_FRESH_DEPTH_MAX = 100  # deeper snapshots come out of a cache
_CACHE_SECONDS = 30.0


@dataclass(slots=True)
class _Ids:
    """The newest update id of a pair."""

    last: int


class Gateio(Exchange):
    """Ids are consecutive per pair; a message covers U..u, perhaps without any level."""

    id: ClassVar[str] = "gateio"
    websocket_path: ClassVar[str] = "/ws/v4/"
    ping_seconds: ClassVar[float | None] = 20.0

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        super().__init__(flows, seed, limits=limits)
        self._requests: dict[str, Budget] = {}
        self._cache: dict[tuple[str, int], tuple[float, bytes]] = {}

    def native(self, instrument: Instrument) -> str:
        return f"{instrument.base}_{instrument.quote}"

    def prepare(self, book: SimulatedBook) -> None:
        book.state = _Ids(25_847_000_000 + self.random.randrange(10**8))

    def accepts(self, path: str) -> bool:
        return path == self.websocket_path

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        connection.state["conn_id"] = f"{self.random.getrandbits(64):016x}"

    def on_text(self, connection: Connection, text: str) -> None:
        request = parsed(text)
        if not isinstance(request, dict):
            self._answer(connection, {}, "", (1, "invalid request body"))
            return
        channel, event, sent = request.get("channel"), request.get("event"), request.get("time")
        if self.limits and not self._is_now(sent):
            self._answer(connection, request, event, (2, "request time is too far from the server's"))
        elif channel == "spot.ping":
            now = self.clock.now_ms() // 1000
            self.say(
                connection, f'{{"time":{now},"channel":"spot.pong","event":"","error":null,"result":null}}'
            )
        elif event not in ("subscribe", "unsubscribe"):
            self._answer(connection, request, event, (2, f"unknown event {event}"))
        elif channel == _OBU:
            self._on_obu(connection, request, event)
        elif channel == _UPDATE:
            self._on_update(connection, request, event)
        else:
            self._answer(connection, request, event, (2, f"unknown channel {channel}"))

    def _is_now(self, sent: Any) -> bool:
        """The request's clock; milliseconds are taken as well."""
        if not isinstance(sent, (int, float)):
            return False
        seconds = sent / 1000 if sent > 10**11 else sent
        return abs(seconds - self.clock.now_ms() / 1000) <= _CLOCK_SECONDS

    def _on_obu(self, connection: Connection, request: dict[str, Any], event: str) -> None:
        names = [str(name) for name in request.get("payload") or ()]
        topics = {name: self._obu_topic(name) for name in names}
        for name, topic in topics.items():
            if topic is not None and event == "subscribe":
                if topic in connection.topics:
                    self._answer(connection, request, event, (2, f"Alert sub {name}"))
                    return
                if self.refused(topic.symbol):
                    self._answer(connection, request, event, (3, "internal server error"))
                    return
        early = self.random.random() < 0.5  # the whole book may come before the acknowledgement
        if not early:
            self._answer(connection, request, event)
        for topic in topics.values():
            # an unknown pair or level is acknowledged and silent
            if topic is not None and event == "subscribe":
                self.subscribe(connection, topic)
            elif topic is not None:
                self.unsubscribe(connection, topic)
        if early:
            self._answer(connection, request, event)

    def _obu_topic(self, name: str) -> Topic | None:
        parts = name.split(".")
        book = self.by_name.get(parts[1]) if len(parts) == 3 and parts[0] == "ob" else None
        if book is None or parts[2] not in _OBU_DEPTHS:
            return None
        return Topic(_OBU, book.symbol, int(parts[2]))

    def _on_update(self, connection: Connection, request: dict[str, Any], event: str) -> None:
        """One pair a request: the payload is a pair and a speed."""
        payload = request.get("payload")
        pair, speed = payload if isinstance(payload, list) and len(payload) == 2 else ("", "")
        book = self.by_name.get(str(pair))
        if book is None or (event == "subscribe" and self.refused(book.symbol)):
            self._answer(connection, request, event, (2, f"unknown currency pair {pair}"))
            return
        if speed not in _SPEEDS:
            self._answer(connection, request, event, (2, f"invalid interval {speed}"))
            return
        topic = Topic(_UPDATE, book.symbol, _SPEEDS[speed])
        self._answer(connection, request, event)
        if event == "unsubscribe":
            self.unsubscribe(connection, topic)
        elif topic not in connection.topics:
            self.subscribe(connection, topic)

    def _answer(
        self,
        connection: Connection,
        request: dict[str, Any],
        event: Any,
        error: tuple[int, str] | None = None,
    ) -> None:
        now, trace = self.clock.now_ms(), f"{self.random.getrandbits(128):032x}"
        answer: dict[str, Any] = {"time": now // 1000, "time_ms": now}
        if "id" in request:
            answer["id"] = request["id"]
        answer.update(conn_id=connection.state["conn_id"], trace_id=trace)
        answer.update(channel=request.get("channel", ""), event=event, payload=request.get("payload"))
        if error is not None:
            answer["error"] = {"code": error[0], "message": error[1]}
        answer["result"] = {"status": "success" if error is None else "fail"}
        if error is None:
            answer["requestId"] = trace
        self.say(connection, orjson.dumps(answer))

    # --- messages

    def tells_leaving(self, topic: Topic) -> bool:
        return topic.channel == _OBU

    def snapshot(self, topic: Topic) -> bytes | None:
        book = self.books[topic.symbol]
        view = self.view(book, topic, book.state.last)
        if topic.channel == _OBU:
            return self._obu(book, topic, self.top(book, topic.depth), (None, view.last), Marks())
        # all of the window under the id it has by now
        return self._update(book, topic, self.top(book, topic.depth), (view.last, view.last), Marks())

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        ids: _Ids = book.state
        ids.last += len(changes)
        batch: Batch = []
        for topic, view, shown in self.shifted(book, changes, ids.last):
            if not shown and topic.channel == _UPDATE:
                continue
            span, view.last = (view.last + 1, ids.last), ids.last
            if marks.crossed:
                shown.append(self.crossing(book))
            if topic.channel == _OBU:
                batch.append((topic, self._obu(book, topic, shown, span, marks)))
            else:
                batch.append((topic, self._update(book, topic, shown, span, marks)))
        return batch

    def _sides(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> tuple[str, str]:
        bids, asks = (pairs(book.instrument, side) for side in self.split(changes))
        if marks.malformed:
            bids = spoilt(bids)
        return bids, asks

    def _obu(
        self,
        book: SimulatedBook,
        topic: Topic,
        changes: list[Change],
        span: tuple[int | None, int],
        marks: Marks,
    ) -> bytes:
        """A whole book when `span` has no beginning; a side without changes has no key."""
        now = self.clock.now_ms()
        bids, asks = self._sides(book, changes, marks)
        full = '"full":true,' if span[0] is None else ""
        first = "" if span[0] is None else f',"U":{span[0]}'
        sides = (f',"b":[{bids}]' if bids else "") + (f',"a":[{asks}]' if asks else "")
        return (
            f'{{"channel":"{_OBU}","result":{{"t":{now - 2},{full}"s":"ob.{book.name}.{topic.depth}",'
            f'"u":{span[1]}{first}{sides}}},"time_ms":{now},"event":"update"}}'
        ).encode()

    def _update(
        self,
        book: SimulatedBook,
        topic: Topic,
        changes: list[Change],
        span: tuple[int, int],
        marks: Marks,
        *,
        whole: bool = False,
    ) -> bytes:
        now = self.clock.now_ms()
        bids, asks = self._sides(book, changes, marks)
        full = f'"full":true,"l":"{topic.depth}",' if whole else ""
        return (
            f'{{"time":{now // 1000},"time_ms":{now},"channel":"{_UPDATE}","event":"update","result":{{'
            f'"t":{now - 2},{full}"e":"depthUpdate","E":{now // 1000},"s":"{book.name}","U":{span[0]},'
            f'"u":{span[1]},"b":[{bids}],"a":[{asks}]}}}}'
        ).encode()

    def second(self, connections: Iterable[Connection], now: float) -> None:
        for connection in connections:
            heard = max(connection.last_received, connection.opened)
            if self.limits and not connection.topics and now - heard > _IDLE_SECONDS:
                connection.abort()  # without a close frame

    def restart(self, book: SimulatedBook) -> None:
        """Whole books that nobody asked for."""
        last = book.state.last
        for topic, view in book.views.items():
            view.last = last
            changes = self.top(book, topic.depth)
            if topic.channel == _OBU:
                self.publish(topic, self._obu(book, topic, changes, (None, last), Marks()))
            else:
                self.publish(topic, self._update(book, topic, changes, (last, last), Marks(), whole=True))

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"u": book.state.last}

    # --- REST

    def routes(self) -> dict[str, Route]:
        pairs = "/api/v4/spot/currency_pairs"
        return {
            "/api/v4/spot/order_book": self._order_book,
            pairs: lambda query: self._within(pairs, self._pairs()),
            "/api/v4/spot/currencies": lambda query: self._within("currencies", b"[]"),
            "/api/v4/margin/currency_pairs": lambda query: self._within("margin", b"[]"),
        }

    def _within(self, endpoint: str, body: bytes) -> Reply:
        """Answer within the endpoint's requests of the last ten seconds, or refuse."""
        budget = self._requests.setdefault(endpoint, Budget(_REST_PER_TEN_SECONDS, 10))
        if self.limits and not budget.take():
            return Reply(self.rest_error(429), 429)
        left = budget.most - budget.used(time.monotonic())
        headers = {
            "X-Gate-RateLimit-Limit": str(budget.most),
            "X-Gate-RateLimit-Requests-Remain": str(left),
        }
        return Reply(body, 200, headers)

    def rest_error(self, status: int) -> bytes:
        label, message = {
            404: ("NOT_FOUND", "Not Found"),
            429: ("TOO_MANY_REQUESTS", "Request Rate limit Exceeded"),
        }.get(status, ("SERVER_ERROR", "Server error"))
        return orjson.dumps({"label": label, "message": message})

    def _order_book(self, query: Query) -> Reply:
        book, limit = self.by_name.get(query.get("currency_pair", "")), query.get("limit", "10")
        if book is None:
            body = {
                "label": "INVALID_CURRENCY_PAIR",
                "message": f"Invalid currency pair {query.get('currency_pair')}",
            }
            return json_reply(body, 400)
        if not limit.isdecimal() or not 1 <= int(limit) <= _REST_DEPTH_MAX:
            return json_reply({"label": "INVALID_PARAM_VALUE", "message": "Invalid limit"}, 400)
        depth, now = int(limit), time.monotonic()
        made, body_bytes = self._cache.get((book.name, depth), (0.0, b""))
        if depth <= _FRESH_DEPTH_MAX or not body_bytes or now - made > _CACHE_SECONDS:
            body_bytes = self._whole(book, depth)
            self._cache[book.name, depth] = (now, body_bytes)
        if query.get("with_id") != "true":
            body_bytes = b"{" + body_bytes[body_bytes.index(b'"current"') :]
        return self._within("order_book", body_bytes)

    def _whole(self, book: SimulatedBook, depth: int) -> bytes:
        now = self.clock.now_ms()
        bids, asks = (pairs(book.instrument, side) for side in self.split(self.top(book, depth)))
        return (
            f'{{"id":{book.state.last},"current":{now},"update":{now - 4},"asks":[{asks}],"bids":[{bids}]}}'
        ).encode()

    def _pairs(self) -> bytes:
        rows = [self._row(book.instrument, book.name, "tradable") for book in self.books.values()]
        halted = Instrument("HALTED", self.default_quote, 4, 1, 10_000)
        rows.append(self._row(halted, self.native(halted), "untradable"))
        return orjson.dumps(rows)

    def _row(self, instrument: Instrument, name: str, status: str) -> dict[str, Any]:
        return {
            "id": name,
            "base": instrument.base,
            "base_name": instrument.base,
            "quote": instrument.quote,
            "quote_name": instrument.quote,
            "fee": "0.2",
            "min_base_amount": instrument.step_text,
            "min_quote_amount": "3",
            "max_quote_amount": "5000000",
            "amount_precision": instrument.quantity_decimals,
            "precision": instrument.price_decimals,
            "trade_status": status,
            "sell_start": 1516378650,
            "buy_start": 1516378650,
            "delisting_time": 0,
            "type": "normal",
            "trade_url": f"https://www.gate.com/trade/{name}",
            "st_tag": False,
        }
