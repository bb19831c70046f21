"""MEXC spot v3: `aggre.depth` increments in protobuf frames, snapshots over REST; controls are JSON text.

Protocol: MEXC API documentation, the field numbers of its published .proto files, and recorded frames.
Option `snapshot`: a stale one is what the book was when it was last asked for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change
from appliance.simulator.connection import Connection, Topic, binary_frame, text_frame
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook
from appliance.simulator.faults import Marks
from appliance.simulator.flow import Flow
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import fixed, shortest
from appliance.simulator.texts import parsed
from appliance.simulator.views import Views

_AGGREGATED, _LIMITED, _BEST = "aggre.depth", "limit.depth", "aggre.bookTicker"
_STREAM = re.compile(
    r"spot@public\.(?:(aggre\.depth|aggre\.bookTicker)\.v3\.api\.pb@(10ms|100ms)@([A-Z0-9]+)"
    r"|(limit\.depth)\.v3\.api\.pb@([A-Z0-9]+)@(5|10|20))"
)
# the wrapper's field for the body of each stream
_BODY = {_LIMITED: 303, _AGGREGATED: 313, _BEST: 315}
_STREAMS_MAX = 30
_MESSAGES_PER_SECOND = 100
_UNSUBSCRIBED_SECONDS = 30
_SILENT_SECONDS = 60
_EMPTY_SECONDS = 5
_QUANTITY_DECIMALS = 8
_REST_DEPTH_MAX = 5000
_REST_PER_TEN_SECONDS = 500


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _integer(number: int, value: int) -> bytes:
    """A field of type int64 (not negative)."""
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    """A field that is a message, or text in UTF-8."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


@dataclass(slots=True)
class _State:
    """`last` is the newest version; a push covers all that came since the one before."""

    views: Views
    last: int
    told_at: float = 0.0


class Mexc(Exchange):
    """A topic's variant is the full name of its stream. Versions rise by one per change and are all shown."""

    id: ClassVar[str] = "mexc"
    websocket_path: ClassVar[str] = "/ws"
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"snapshot": ("fresh", "stale")}

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        super().__init__(flows, seed, limits=limits)
        self._requests: list[float] = []
        self._stale: dict[tuple[str, str], Any] = {}

    @classmethod
    def adapt(cls, instrument: Instrument) -> Instrument:
        return replace(instrument, quantity_decimals=_QUANTITY_DECIMALS)

    def native(self, instrument: Instrument) -> str:
        return instrument.base + instrument.quote

    def prepare(self, book: SimulatedBook) -> None:
        book.state = _State(Views(book.flow.book), 74_891_000_000 + self.random.randrange(10**8))

    def accepts(self, path: str) -> bool:
        return path == self.websocket_path

    def data_frame(self, payload: bytes) -> bytes:
        """Protobuf begins with the tag of field 1, controls are objects."""
        return text_frame(payload) if payload[:1] == b"{" else binary_frame(payload)

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        connection.state["empty_since"] = connection.opened

    def on_text(self, connection: Connection, text: str) -> None:
        if self.limits and len(connection.received_at) > _MESSAGES_PER_SECOND:
            connection.close(1008, "too many messages")
            return
        request = parsed(text)
        method = str(request.get("method", "")).upper() if isinstance(request, dict) else ""
        names = request.get("params") if isinstance(request, dict) else None
        if method == "PING":
            self._answer(connection, "PONG")
        elif method in ("SUBSCRIPTION", "UNSUBSCRIPTION") and isinstance(names, list):
            self._subscription(connection, method, [str(name) for name in names])
        else:
            self._answer(connection, "msg:format invalid")

    def _answer(self, connection: Connection, message: str) -> None:
        """The code says nothing: a refusal has to be read from the text."""
        self.say(connection, orjson.dumps({"id": 0, "code": 0, "msg": message}))

    def _subscription(self, connection: Connection, method: str, names: list[str]) -> None:
        if method == "UNSUBSCRIPTION":
            for name in names:
                topic = self._topic(name)
                if topic is not None and self.unsubscribe(connection, topic):
                    connection.state["empty_since"] = time.monotonic()
            self._answer(connection, ",".join(names))
            return
        accepted: list[tuple[str, Topic]] = []
        refused: dict[str, list[str]] = {}
        for name in names:
            topic, held = self._topic(name), len(connection.topics) + len(accepted)
            if topic is None or self.refused(topic.symbol):
                reason = "Blocked!" if topic is not None or ".v3.api@" in name else "Invalid parameter!"
                refused.setdefault(reason, []).append(name)
            elif self.limits and topic not in connection.topics and held >= _STREAMS_MAX:
                refused.setdefault("Subscription limit exceeded!", []).append(name)
            else:
                accepted.append((name, topic))
        if accepted:
            self._answer(connection, ",".join(name for name, _ in accepted))
        for reason, those in refused.items():
            joined = ",".join(those)
            self._answer(connection, f"Not Subscribed successfully! [{joined}].  Reason： {reason} ")
        for _, topic in accepted:
            if topic not in connection.topics:
                if topic.depth:
                    state: _State = self.books[topic.symbol].state
                    state.views.open(topic, topic.depth, state.last)
                self.subscribe(connection, topic)

    def _topic(self, name: str) -> Topic | None:
        match = _STREAM.fullmatch(name)
        if match is None:
            return None
        book = self.by_name.get(match[3] or match[5])
        depth = int(match[6]) if match[6] else 1 if match[1] == _BEST else 0
        return Topic(match[1] or match[4], book.symbol, depth, name) if book else None

    def second(self, connections: Iterable[Connection], now: float) -> None:
        for connection in connections:
            if not self.limits:
                break
            if not connection.topics and now - connection.state["empty_since"] > _UNSUBSCRIBED_SECONDS:
                connection.close(1000, "no subscription")
            elif now - max(connection.last_received, connection.last_sent) > _SILENT_SECONDS:
                connection.close(1000, "no data")
        for book in self.books.values():
            state: _State = book.state
            topics = [each for each in self.topics if each.symbol == book.symbol]
            if topics and now - state.told_at >= _EMPTY_SECONDS:
                # a wrapper without a body: a sign of life, no news
                state.told_at = now
                batch = [(topic, self._wrapper(book, topic, b"")) for topic in topics]
                for connection, raw in self.frames(batch):
                    connection.send(raw)

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        """Only the streams of whole books begin with one; that of increments begins with the next change."""
        book = self.books[topic.symbol]
        state: _State = book.state
        state.told_at = time.monotonic()
        if topic.depth == 0:
            return None
        return self._wrapper(book, topic, self._whole(book, topic))

    def _wrapper(self, book: SimulatedBook, topic: Topic, body: bytes) -> bytes:
        head = _text(1, topic.variant) + _text(3, book.name) + _integer(6, self.clock.now_ms())
        return head + (_bytes(_BODY[topic.channel], body) if body else b"")

    def _whole(self, book: SimulatedBook, topic: Topic) -> bytes:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        state: _State = book.state
        bids, asks = (side.top(topic.depth) for side in book.flow.book.sides)
        made = self.clock.now_ms() - 12
        if topic.channel == _BEST:
            texts = [
                text
                for row in (bids[0], asks[0])
                for text in (shortest(row[0], price), shortest(row[1], quantity))
            ]
            body = b"".join(_text(number, text) for number, text in enumerate(texts, 1))
            return body + _text(5, str(state.last)) + _integer(6, made)
        rows = b"".join(
            _bytes(number, _text(1, fixed(row[0], price)) + _text(2, fixed(row[1], quantity)))
            for number, side in ((1, asks), (2, bids))
            for row in side
        )
        kind = topic.variant.partition(f"@{book.name}")[0]
        return rows + _text(3, kind) + _text(4, str(state.last)) + _integer(5, made)

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        state: _State = book.state
        first, state.last = state.last + 1, state.last + len(changes)
        batch: Batch = []
        for topic, _, shown in state.views.shift(changes, self.topics):
            if shown:
                batch.append((topic, self._wrapper(book, topic, self._whole(book, topic))))
        streams = [each for each in self.topics if each.symbol == book.symbol and not each.depth]
        if streams:
            shown = [*changes, self.crossing(book)] if marks.crossed else changes
            levels = self._levels(book, shown, malformed=marks.malformed)
            versions = (
                _text(4, str(first)) + _text(5, str(state.last)) + _integer(6, self.clock.now_ms() - 12)
            )
            for topic in streams:
                kind = _text(3, topic.variant.rpartition("@")[0])
                batch.append((topic, self._wrapper(book, topic, levels + kind + versions)))
        if batch:
            state.told_at = time.monotonic()
        return batch

    def _levels(self, book: SimulatedBook, changes: list[Change], *, malformed: bool) -> bytes:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        rows = b"".join(
            _bytes(
                1 if each.side == ASK else 2,
                _text(1, shortest(each.price, price)) + _text(2, shortest(each.quantity, quantity)),
            )
            for each in sorted(changes, key=lambda each: each.side == BID)
        )
        return rows + (_bytes(2, _text(1, "not-a-price") + _text(2, "1")) if malformed else b"")

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"version": book.state.last}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "/api/v3/depth": self._depth,
            "/api/v3/exchangeInfo": lambda query: self._limited(
                {"timezone": "CST", **self._information(query)}
            ),
            "/api/v3/defaultSymbols": lambda query: self._limited({"code": 0, "data": list(self.by_name)}),
            "/api/v3/ping": lambda query: self._limited({}),
            "/api/v3/time": lambda query: self._limited({"serverTime": self.clock.now_ms()}),
            "/api/v1/contract/detail": lambda query: self._limited({"success": True, "code": 0, "data": []}),
        }

    def _limited(self, body: Any) -> Reply:
        now = time.monotonic()
        self._requests = [*(each for each in self._requests if each > now - 10), now]
        if self.limits and len(self._requests) > _REST_PER_TEN_SECONDS:
            return Reply(self.rest_error(429), 429, {"Retry-After": "10"})
        return body if isinstance(body, Reply) else Reply(orjson.dumps(body))

    def rest_error(self, status: int) -> bytes:
        code, message = {404: (404, "Not Found"), 429: (429, "Too Many Requests")}.get(
            status, (500, "Internal error")
        )
        return orjson.dumps({"code": code, "msg": message})

    def _depth(self, query: Query) -> Reply:
        book, limit = self.by_name.get(query.get("symbol", "")), query.get("limit", "100")
        if book is None:
            return self._limited(Reply(b'{"code":-1121,"msg":"Invalid symbol."}', 400))
        if not limit.isdecimal() or not 1 <= int(limit) <= _REST_DEPTH_MAX:
            return self._limited(Reply(b'{"code":700004,"msg":"Param limit is invalid"}', 400))
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        bids, asks = (
            [[fixed(row[0], price), fixed(row[1], quantity)] for row in side.top(int(limit))]
            for side in book.flow.book.sides
        )
        body = {"lastUpdateId": book.state.last, "bids": bids, "asks": asks, "timestamp": self.clock.now_ms()}
        if self.chosen["snapshot"] == "stale":
            asked = (book.name, limit)
            body, self._stale[asked] = self._stale.get(asked, body), body
        return self._limited(body)

    def _information(self, query: Query) -> dict[str, Any]:
        rows = [self._row(book.instrument, "1") for book in self.books.values()]
        rows.append(self._row(Instrument("HALTED", self.default_quote, 4, 8, 10_000), "2"))
        wanted = query.get("symbol")
        return {
            "serverTime": self.clock.now_ms(),
            "rateLimits": [],
            "exchangeFilters": [],
            "symbols": [row for row in rows if wanted in (None, "", row["symbol"])],
        }

    def _row(self, instrument: Instrument, status: str) -> dict[str, Any]:
        return {
            "symbol": self.native(instrument),
            "status": status,
            "baseAsset": instrument.base,
            "baseAssetPrecision": instrument.quantity_decimals,
            "quoteAsset": instrument.quote,
            "quotePrecision": instrument.price_decimals,
            "quoteAssetPrecision": instrument.price_decimals,
            "baseCommissionPrecision": instrument.quantity_decimals,
            "quoteCommissionPrecision": instrument.price_decimals,
            "orderTypes": ["LIMIT", "MARKET", "LIMIT_MAKER"],
            "isSpotTradingAllowed": status == "1",
            "isMarginTradingAllowed": False,
            "quoteAmountPrecision": "1",
            "baseSizePrecision": instrument.step_text,
            "permissions": ["SPOT"],
            "filters": [],
            "maxQuoteAmount": "2000000",
            "makerCommission": "0",
            "takerCommission": "0.0005",
            "quoteAmountPrecisionMarket": "1",
            "maxQuoteAmountMarket": "100000",
            "fullName": instrument.base,
            "tradeSideType": 1,
        }
