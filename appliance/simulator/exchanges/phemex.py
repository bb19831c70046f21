"""Phemex public WebSocket: `orderbook` (spot, scaled integers) and `orderbook_p` (USD-margined perpetuals).

Protocol: phemex-api-docs (Public-Spot-API, Public-Hedged-Perpetual-API, Generic-API-Info), a recording of
2021, frames and probes of September 2026. No gap can be seen: `sequence` rises by steps that mean nothing.
The whole book comes again every 60 s. A deletion may come twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change, Window
from appliance.simulator.connection import Connection, Topic
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook, json_reply
from appliance.simulator.faults import Marks
from appliance.simulator.flow import Flow
from appliance.simulator.instruments import Instrument
from appliance.simulator.texts import pairs, parsed, spoilt

_DEPTH = 30
_CONTRACT_DEPTHS = (0, 1, 5, 10, 30)
_PRICE_SCALE = 8
_VALUE_SCALE = 8
_VALUE_SCALES = {"SHIB": 2, "VPAD": 4}
_SUBSCRIPTIONS_MAX = 20
_REQUESTS_PER_SECOND = 20
_IDLE_SECONDS = 31
_CACHE_SECONDS = 1.0
_REPEATED_DELETE_CHANCE = 0.1
_INVALID = (6001, "invalid argument")
_METHODS = {"orderbook": "spot", "orderbook_p": "linear"}
_CHANNELS = {kind: channel for channel, kind in _METHODS.items()}


@dataclass(slots=True)
class _State:
    """`changed` is when the book last changed, ns; a window of each depth that somebody looks at."""

    sequence: int
    changed: int
    windows: dict[int, Window] = field(default_factory=dict)


class Phemex(Exchange):
    """One socket for all products; the method's name says of which kind the symbol must be.

    Option `repeat`: seconds until the whole book comes again.
    """

    id: ClassVar[str] = "phemex"
    websocket_path: ClassVar[str] = "/"
    kinds: ClassVar[frozenset[str]] = frozenset({"spot", "linear"})
    connections_max: ClassVar[int | None] = 5
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"repeat": ("60", "10", "1")}

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        super().__init__(flows, seed, limits=limits)
        self._cache: dict[str, tuple[float, Reply]] = {}

    @classmethod
    def adapt(cls, instrument: Instrument) -> Instrument:
        quantity = min(instrument.quantity_decimals, _VALUE_SCALES.get(instrument.base, _VALUE_SCALE))
        if instrument.base == "BTC" and instrument.price_decimals == 2:
            if instrument.kind == "spot":
                return replace(instrument, quantity_decimals=6)
            return replace(instrument, price_decimals=1, start=instrument.start // 10, quantity_decimals=3)
        return replace(instrument, quantity_decimals=quantity)

    def native(self, instrument: Instrument) -> str:
        pair = instrument.base + instrument.quote
        if instrument.kind == "spot":
            return f"s{pair}"
        return f"u{pair}" if pair.startswith("1000") else pair

    def prepare(self, book: SimulatedBook) -> None:
        book.state = _State(68_604_000_000 + self.random.randrange(10**6), self.clock.now_ns())

    def accepts(self, path: str) -> bool:
        return path in ("/", "/ws")

    # --- conversation

    def on_text(self, connection: Connection, text: str) -> None:
        request = parsed(text)
        if not isinstance(request, dict):
            self._refuse(connection, None, _INVALID)
            return
        number, method = request.get("id"), request.get("method")
        parameters = request.get("params")
        if self.limits and len(connection.received_at) > _REQUESTS_PER_SECOND:
            self._refuse(connection, number, (6001, "too many requests"))
        elif method == "server.ping":
            self.say(connection, orjson.dumps({"error": None, "id": number, "result": "pong"}))
        else:
            channel, _, verb = str(method).rpartition(".")
            if channel not in _METHODS or not isinstance(parameters, list):
                self._refuse(connection, number, _INVALID)
            elif verb == "subscribe":
                self._subscribe(connection, number, channel, parameters)
            elif verb == "unsubscribe":
                # there is no way to name a symbol: all books of this method go
                for topic in [each for each in connection.topics if each.channel == channel]:
                    self.unsubscribe(connection, topic)
                self._accept(connection, number)
            else:
                self._refuse(connection, number, _INVALID)

    def _accept(self, connection: Connection, number: Any) -> None:
        self.say(connection, orjson.dumps({"error": None, "id": number, "result": {"status": "success"}}))

    def _refuse(self, connection: Connection, number: Any, error: tuple[int, str]) -> None:
        code, message = error
        answer = {"error": {"code": code, "message": message}, "id": number, "result": None}
        self.say(connection, orjson.dumps(answer))

    def _subscribe(self, connection: Connection, number: Any, channel: str, parameters: list[Any]) -> None:
        topic = self._topic(channel, parameters)
        if topic is None or self.refused(topic.symbol):
            self._refuse(connection, number, _INVALID)
        elif self.limits and topic not in connection.topics and len(connection.topics) >= _SUBSCRIPTIONS_MAX:
            self._refuse(connection, number, (6015, "too many subscriptions"))
        else:
            self._accept(connection, number)
            self.subscribe(connection, topic)

    def _topic(self, channel: str, parameters: list[Any]) -> Topic | None:
        """[symbol], [symbol, full] and, for contracts, [symbol, full, depth]; further texts mean nothing."""
        book = self.by_name.get(str(parameters[0])) if parameters else None
        if book is None or book.instrument.kind != _METHODS[channel]:
            return None
        full = parameters[1] is True if len(parameters) > 1 else False
        depth = parameters[2] if len(parameters) > 2 and channel == "orderbook_p" else _DEPTH
        if depth not in _CONTRACT_DEPTHS:
            return None
        return Topic(channel, book.symbol, 0 if full else depth or _DEPTH)

    def second(self, connections: Iterable[Connection], now: float) -> None:
        self.repeat_books(now, float(self.chosen["repeat"]))
        for connection in connections:
            if self.limits and now - connection.last_received > _IDLE_SECONDS:
                connection.abort()

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        book = self.books[topic.symbol]
        state: _State = book.state
        if topic.depth and topic.depth not in state.windows:
            state.windows[topic.depth] = Window(book.flow.book, topic.depth, tell_leaving=True)
        return self._message(book, topic.depth, "snapshot", self._top(book, topic.depth))

    def _top(self, book: SimulatedBook, depth: int) -> list[Change]:
        sides = book.flow.book.sides
        return [Change(number, *row, 0) for number in (BID, ASK) for row in sides[number].top(depth or None)]

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        state: _State = book.state
        state.sequence += 1 + self.random.randrange(300)
        state.changed = self.clock.now_ns()
        batch: Batch = []
        for depth in _CONTRACT_DEPTHS:
            topic = Topic(_CHANNELS[book.instrument.kind], book.symbol, depth)
            if topic not in self.topics:
                state.windows.pop(depth, None)
                continue
            if depth and depth not in state.windows:
                # subscribed while silent: the snapshot comes later
                state.windows[depth] = Window(book.flow.book, depth, tell_leaving=True)
                continue
            shown = state.windows[depth].shift(changes) if depth else list(changes)
            if not shown:
                continue
            if marks.crossed:
                shown.append(self.crossing(book))
            gone = [each for each in shown if each.quantity == 0]
            if gone and self.random.random() < _REPEATED_DELETE_CHANCE:
                shown += gone[:2]
            batch.append((topic, self._message(book, depth, "incremental", shown, marks)))
        return batch

    def _levels(self, book: SimulatedBook, changes: list[Change]) -> str:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        if book.instrument.kind == "spot":
            price_factor, factor = 10 ** (_PRICE_SCALE - price), 10 ** (self._scale(book) - quantity)
            return ",".join(f"[{each.price * price_factor},{each.quantity * factor}]" for each in changes)
        return pairs(book.instrument, changes)

    def _scale(self, book: SimulatedBook) -> int:
        return _VALUE_SCALES.get(book.instrument.base, _VALUE_SCALE)

    def _message(
        self, book: SimulatedBook, depth: int, kind: str, changes: list[Change], marks: Marks | None = None
    ) -> bytes:
        state: _State = book.state
        bids, asks = (self._levels(book, side) for side in self.split(changes))
        if marks is not None and marks.malformed:
            bids = spoilt(bids)
        ids = f'"sequence":{state.sequence},"symbol":"{book.name}"'
        tail = f'{ids},"timestamp":{state.changed},"type":"{kind}"}}'
        sides = f'{{"asks":[{asks}],"bids":[{bids}]}}'
        if book.instrument.kind == "spot":
            return f'{{"book":{sides},"depth":{depth},{tail}'.encode()
        now = self.clock.now_ns()
        head = f'{{"depth":{depth},"dts":{now},"mts":{now - 1_800_000}'
        return f'{head},"orderbook_p":{sides},{tail}'.encode()

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"sequence": book.state.sequence}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "/md/orderbook": lambda query: self._book(query, "spot", _DEPTH),
            "/md/fullbook": lambda query: self._book(query, "spot", 0),
            "/md/v2/orderbook": lambda query: self._cached(query, _DEPTH),
            "/md/v2/fullbook": lambda query: self._cached(query, 0),
            "/public/products": self._products,
            "/v1/exchange/public/products": lambda query: json_reply({"code": 0, "msg": "OK", "data": []}),
            "/public/time": lambda query: json_reply(
                {"code": 0, "msg": "", "data": {"serverTime": self.clock.now_ms()}}
            ),
        }

    def rest_error(self, status: int) -> bytes:
        return orjson.dumps({"code": status, "msg": "Too many requests" if status == 429 else "error"})

    def _cached(self, query: Query, depth: int) -> Reply:
        """A cache stands before the contracts' books: the same copy may come twice."""
        key, now = f"{query.get('symbol')}:{depth}", time.monotonic()
        if key not in self._cache or now - self._cache[key][0] > _CACHE_SECONDS:
            self._cache[key] = (now, self._book(query, "linear", depth))
        return self._cache[key][1]

    def _book(self, query: Query, kind: str, depth: int) -> Reply:
        book = self.by_name.get(query.get("symbol", ""))
        if book is None or book.instrument.kind != kind:
            code, message = _INVALID
            return json_reply({"error": {"code": code, "message": message}, "id": 0, "result": None})
        message_bytes = self._message(book, depth, "snapshot", self._top(book, depth))
        return Reply(b'{"error":null,"id":0,"result":' + message_bytes + b"}")

    def _products(self, query: Query) -> Reply:
        spot = [self._spot_row(each.instrument, "Listed") for each in self._of("spot")]
        gone = Instrument("GONE", self.default_quote, 4, 2, 10_000)
        names = [each.instrument.base for each in self.books.values()] + ["GONE"]
        quotes = [each.instrument.quote for each in self.books.values()] + [self.default_quote]
        data = {
            "currencies": [
                {
                    "currency": name,
                    "name": name,
                    "code": number,
                    "valueScale": _VALUE_SCALES.get(name, _VALUE_SCALE),
                    "minValueEv": 1,
                    "maxValueEv": 5_000_000_000_000_000_000,
                    "needAddrTag": 0,
                    "status": "Listed",
                    "displayCurrency": name,
                    "assetsPrecision": 8,
                }
                for number, name in enumerate(dict.fromkeys(names + quotes), 1)
            ],
            "products": [*spot, self._spot_row(gone, "Delisted")],
            "perpProductsV2": [self._contract_row(each.instrument) for each in self._of("linear")],
            "riskLimits": [],
            "leverages": [],
            "riskLimitsV2": [],
            "leveragesV2": [],
            "ratioScale": 8,
        }
        return json_reply({"code": 0, "msg": "", "data": data})

    def _of(self, kind: str) -> list[SimulatedBook]:
        return [book for book in self.books.values() if book.instrument.kind == kind]

    def _spot_row(self, instrument: Instrument, status: str) -> dict[str, Any]:
        scale = _VALUE_SCALES.get(instrument.base, _VALUE_SCALE)
        return {
            "symbol": self.native(instrument),
            "type": "Spot",
            "displaySymbol": f"{instrument.base} / {instrument.quote}",
            "quoteCurrency": instrument.quote,
            "priceScale": _PRICE_SCALE,
            "ratioScale": 8,
            "pricePrecision": instrument.price_decimals,
            "baseCurrency": instrument.base,
            "baseTickSize": f"{instrument.step_text} {instrument.base}",
            "baseTickSizeEv": instrument.lot * 10 ** (scale - instrument.quantity_decimals),
            "quoteTickSize": f"{instrument.tick_text} {instrument.quote}",
            "quoteTickSizeEv": instrument.tick * 10 ** (_PRICE_SCALE - instrument.price_decimals),
            "baseQtyPrecision": instrument.quantity_decimals,
            "quoteQtyPrecision": 2,
            "minOrderValue": f"10 {instrument.quote}",
            "maxBaseOrderSize": f"1000 {instrument.base}",
            "maxOrderValue": f"5,000,000 {instrument.quote}",
            "defaultTakerFee": "0.001",
            "defaultMakerFee": "0.001",
            "status": status,
            "listTime": 1589338800000,
        }

    def _contract_row(self, instrument: Instrument) -> dict[str, Any]:
        thousand = instrument.base.startswith("1000")
        base = f"1000 {instrument.base[4:]}" if thousand else instrument.base
        return {
            "symbol": self.native(instrument),
            "type": "PerpetualV2",
            "displaySymbol": f"{base} / {instrument.quote}",
            "contractUnderlyingAssets": base,
            "settleCurrency": instrument.quote,
            "quoteCurrency": instrument.quote,
            "tickSize": instrument.tick_text,
            "priceScale": 0,
            "ratioScale": 0,
            "pricePrecision": instrument.price_decimals,
            "baseCurrency": base,
            "status": "Listed",
            "listTime": 1668225600000,
            "maxLeverage": 100,
            "maxOrderQtyRq": "1000",
            "qtyPrecision": instrument.quantity_decimals,
            "qtyStepSize": instrument.step_text,
        }
