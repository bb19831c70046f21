"""BingX spot: `incrDepth` (snapshot, then increments) and whole `depth5` to `depth100`, all in gzip frames.

Protocol: BingX documentation v3, its clients and recorded messages. Options: `sides` of incrDepth are objects
of price to quantity, as its newest client reads them, or arrays of pairs, as the documentation says; `ids`
rise by one, as documented, or jump without loss, as was measured on the swap feed.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change
from appliance.simulator.connection import Connection, Topic, binary_frame
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook
from appliance.simulator.faults import Marks
from appliance.simulator.flow import Flow
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import fixed
from appliance.simulator.texts import parsed, spoilt
from appliance.simulator.views import View, Views

_INCREMENTS = "incrDepth"
_DEPTHS = {f"depth{depth}": depth for depth in (5, 10, 20, 50, 100)}
_WINDOW = 1000
_REST_DEPTH_MAX = 1000
_REST_PER_TEN_SECONDS = 500
_PING_SECONDS = 5.0
_PATIENCE_SECONDS = 30.0
_TOPICS_MAX = 200
_SUBSCRIPTIONS_PER_SECOND = 10


class _State:
    """`last` is the id of the newest change."""

    def __init__(self, book: SimulatedBook, last: int) -> None:
        self.views = Views(book.flow.book)
        self.last = last


class Bingx(Exchange):
    """A topic's depth 0 is the incremental book."""

    id: ClassVar[str] = "bingx"
    websocket_path: ClassVar[str] = "/market"
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "sides": ("objects", "arrays"),
        "ids": ("consecutive", "jumping"),
    }

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        super().__init__(flows, seed, limits=limits)
        self._requests: list[float] = []

    def native(self, instrument: Instrument) -> str:
        return instrument.symbol

    def prepare(self, book: SimulatedBook) -> None:
        book.state = _State(book, 13_565_000_000 + self.random.randrange(10**8))

    def accepts(self, path: str) -> bool:
        return path == self.websocket_path

    def data_frame(self, payload: bytes) -> bytes:
        return binary_frame(gzip.compress(payload, 1, mtime=0))

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        now = connection.opened
        connection.state.update(pinged_at=now, answered_at=now, pings=[], subscriptions=[])

    def on_text(self, connection: Connection, text: str) -> None:
        if text == "Pong":
            connection.state.update(answered_at=time.monotonic(), pings=[])
            return
        request = parsed(text)
        if not isinstance(request, dict):
            self._answer(connection, {}, 100400, "invalid json")
        elif "pong" in request:
            if (request["pong"], request.get("time")) in connection.state["pings"]:
                connection.state.update(answered_at=time.monotonic(), pings=[])
        elif isinstance(request.get("dataType"), str):
            self._subscription(connection, request)
        elif "dataType" not in request:
            self._answer(connection, request, 100400, "dataType missing")
        # a list of topics is met with silence

    def _answer(self, connection: Connection, request: dict[str, Any], code: int, message: str) -> None:
        answer = {"code": code, "id": str(request.get("id", "")), "msg": message}
        self.say(connection, orjson.dumps({**answer, "timestamp": self.clock.now_ms()}))

    def _subscription(self, connection: Connection, request: dict[str, Any]) -> None:
        name, _, channel = request["dataType"].partition("@")
        verb, book = request.get("reqType", "sub"), self.by_name.get(name)
        now, recent = time.monotonic(), connection.state["subscriptions"]
        recent[:] = [*(each for each in recent if each > now - 1.0), now]
        if verb not in ("sub", "unsub"):
            self._answer(connection, request, 100400, "reqType not support")
        elif self.limits and len(recent) > _SUBSCRIPTIONS_PER_SECOND:
            self._answer(connection, request, 100410, "rate limitation")
        elif book is None or channel not in (_INCREMENTS, *_DEPTHS):
            self._answer(connection, request, 80015, "dataType not support")
        elif verb == "sub" and self.refused(book.symbol):
            self._answer(connection, request, 100503, "server busy")
        elif verb == "sub" and self.limits and len(connection.topics) >= _TOPICS_MAX:
            self._answer(connection, request, 80403, "too many topics")
        else:
            topic = Topic(channel, book.symbol, _DEPTHS.get(channel, 0))
            self._answer(connection, request, 0, "SUCCESS")
            if verb == "unsub":
                self.unsubscribe(connection, topic)
            elif topic not in connection.topics:
                self._view(book, topic)
                self.subscribe(connection, topic)

    def second(self, connections: Iterable[Connection], now: float) -> None:
        for connection in connections:
            state = connection.state
            if self.limits and state["pings"] and now - state["answered_at"] > _PATIENCE_SECONDS:
                connection.abort()
            elif now - state["pinged_at"] >= _PING_SECONDS:
                state["pinged_at"] = now
                ping = f"{self.random.getrandbits(128):032x}", f"{self.clock.iso(3)[:-1]}+0000"
                state["pings"].append(ping)
                self.say(connection, f'{{"ping":"{ping[0]}","time":"{ping[1]}"}}')

    # --- messages

    def _view(self, book: SimulatedBook, topic: Topic) -> View:
        state: _State = book.state
        return state.views.open(topic, topic.depth or _WINDOW, state.last)

    def snapshot(self, topic: Topic) -> bytes | None:
        book = self.books[topic.symbol]
        view = self._view(book, topic)
        bids, asks = (
            [Change(number, *row, 0) for row in book.flow.book.sides[number].top(topic.depth or _WINDOW)]
            for number in (BID, ASK)
        )
        return self._message(book, topic, "all", bids, asks, view.last, Marks())

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        state: _State = book.state
        state.last += 1
        batch: Batch = []
        for topic, view, shown in state.views.shift(changes, self.topics):
            if not shown:
                continue
            if topic.depth:
                view.last = state.last
                batch.append((topic, self.snapshot(topic) or b""))
                continue
            if marks.crossed:
                shown = [*shown, self.crossing(book)]
            # ids are of this topic's messages, which need not show every change of the book
            view.last += 1 + (self.random.randrange(9) if self.chosen["ids"] == "jumping" else 0)
            bids, asks = self.split(shown)
            batch.append((topic, self._message(book, topic, "update", bids, asks, view.last, marks)))
        return batch

    def _message(
        self,
        book: SimulatedBook,
        topic: Topic,
        action: str,
        bids: list[Change],
        asks: list[Change],
        last: int,
        marks: Marks,
    ) -> bytes:
        """The host of spot data writes the keys of its objects in alphabetical order."""
        pairs = bool(topic.depth) or self.chosen["sides"] == "arrays"
        # whole books and increments have the asks worst first, the snapshot of increments best first
        asks = sorted(asks, key=lambda each: each.price, reverse=bool(topic.depth) or action == "update")
        bids = sorted(bids, key=lambda each: -each.price)
        bid_text, ask_text = (self._levels(book, side, pairs=pairs) for side in (bids, asks))
        if marks.malformed:
            wrong = '["not-a-price","1"]' if pairs else '"not-a-price":"1"'
            bid_text = spoilt(bid_text, wrong)
        opening, closing = "[]" if pairs else "{}"
        named = "" if topic.depth else f'"action":"{action}",'
        return (
            f'{{"code":0,"data":{{{named}"asks":{opening}{ask_text}{closing},'
            f'"bids":{opening}{bid_text}{closing},"lastUpdateId":{last}}},'
            f'"dataType":"{book.name}@{topic.channel}","success":true,"timestamp":{self.clock.now_ms()}}}'
        ).encode()

    def _levels(self, book: SimulatedBook, changes: list[Change], *, pairs: bool) -> str:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        form = '["{}","{}"]' if pairs else '"{}":"{}"'
        return ",".join(
            form.format(fixed(each.price, price), fixed(each.quantity, quantity)) for each in changes
        )

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        views: Views = book.state.views
        view = views.find(Topic(_INCREMENTS, book.symbol))
        return {"incrDepth": view.last if view else book.state.last, "rest": book.state.last}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "/openApi/spot/v1/common/symbols": lambda query: self._ok({"symbols": self._symbols(query)}),
            "/openApi/spot/v1/market/depth": self._depth,
            "/openApi/swap/v2/quote/contracts": lambda query: self._ok([]),
            "/openApi/cswap/v1/market/contracts": lambda query: self._ok([]),
            "/openApi/swap/v2/server/time": lambda query: self._ok({"serverTime": self.clock.now_ms()}),
        }

    def _ok(self, data: Any) -> Reply:
        now = time.monotonic()
        self._requests = [*(each for each in self._requests if each > now - 10), now]
        if self.limits and len(self._requests) > _REST_PER_TEN_SECONDS:
            return Reply(self.rest_error(429), 429)
        body = {"code": 0, "msg": "", "debugMsg": "", "timestamp": self.clock.now_ms(), "data": data}
        return Reply(orjson.dumps(body))

    def rest_error(self, status: int) -> bytes:
        code, message = {404: (100404, "api not exist"), 429: (100410, "rate limitation")}.get(
            status, (100503, "server busy")
        )
        return orjson.dumps({"code": code, "msg": message, "timestamp": self.clock.now_ms()})

    def _depth(self, query: Query) -> Reply:
        book, limit = self.by_name.get(query.get("symbol", "")), query.get("limit", "20")
        if book is None or not limit.isdecimal() or not 1 <= int(limit) <= _REST_DEPTH_MAX:
            refusal = {"code": 100400, "msg": "invalid symbol or limit", "timestamp": self.clock.now_ms()}
            return Reply(orjson.dumps(refusal))
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        bids, asks = (
            [[fixed(row[0], price), self._noisy(row[1], quantity)] for row in side.top(int(limit))]
            for side in book.flow.book.sides
        )
        ts = self.clock.now_ms()
        return self._ok({"bids": bids, "asks": asks[::-1], "ts": ts, "lastUpdateId": book.state.last})

    def _noisy(self, units: int, decimals: int) -> str:
        """Some quantities went through binary floats: 0.000061000000000000005."""
        text = fixed(units, decimals)
        return f"{text}{'0' * (20 - decimals)}5" if units % 16 == 5 and decimals else text

    def _symbols(self, query: Query) -> list[dict[str, Any]]:
        coming = Instrument("COMING", self.default_quote, 4, 1, 10_000)
        rows = [self._row(book.instrument, 1) for book in self.books.values()] + [self._row(coming, 5)]
        return [row for row in rows if query.get("symbol") in (None, "", row["symbol"])]

    def _row(self, instrument: Instrument, status: int) -> dict[str, Any]:
        step = float(instrument.step_text)
        return {
            "symbol": self.native(instrument),
            "minQty": step,
            "maxQty": 1_000_000,
            "minNotional": 2,
            "maxNotional": 150_000,
            "maxMarketNotional": 150_000,
            "status": status,
            "tickSize": float(instrument.tick_text),
            "stepSize": step,
            "apiStateSell": status == 1,
            "apiStateBuy": status == 1,
            "timeOnline": 0,
            "offTime": 0,
            "maintainTime": 0,
            "displayName": self.native(instrument),
        }
