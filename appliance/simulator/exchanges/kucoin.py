"""KuCoin spot, both generations: `obu` of the Pro socket at /, and classic level2 with a token at /endpoint.

Protocol: KuCoin documentation (Pro/UTA order book, classic level2, bullet-public), frames of 2021 to 2026.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import Change
from appliance.simulator.budget import Budget
from appliance.simulator.connection import Connection, Topic, binary_frame, text_frame
from appliance.simulator.exchange import (
    Batch,
    Exchange,
    Query,
    Reply,
    Route,
    SimulatedBook,
)
from appliance.simulator.faults import Marks
from appliance.simulator.flow import Flow
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import shortest
from appliance.simulator.texts import pairs, parsed, spoilt
from appliance.simulator.views import View

_CLASSIC_PATH = "/endpoint"
_LEVEL2, _OBU = "/market/level2", "obu"
_INCREMENTS = ("increment", "increment@10ms")
_DEPTHS = {"1": 1, "5": 5, "50": 50, **dict.fromkeys(_INCREMENTS, 500)}
_TOP_SECONDS = 0.1
_PING_MILLISECONDS = 18_000
_SILENCE_SECONDS = 60  # without a ping the server hangs up
_TOKEN_SECONDS = 24 * 3600
_NOTHING_SHARE = 0.3  # of classic messages change nothing
_PRO_PER_TEN_SECONDS, _CLASSIC_PER_TEN_SECONDS = 300, 100
_PRO_TOPICS_MAX, _CLASSIC_TOPICS_MAX = 600, 300
_TOPICS_PER_FRAME = 100
_CONNECTS_PER_FIVE_MINUTES = 250
_WEIGHT_PER_THIRTY_SECONDS = 2000


@dataclass(slots=True)
class _Ids:
    """The newest sequence of a pair."""

    last: int


class Kucoin(Exchange):
    """Each change has a sequence of its own; a message covers the changes of an update."""

    id: ClassVar[str] = "kucoin"
    websocket_path: ClassVar[str] = "/"
    snapshot_seconds: float = 0.5

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        super().__init__(flows, seed, limits=limits)
        self._weight = Budget(_WEIGHT_PER_THIRTY_SECONDS, 30)
        self._connects = Budget(_CONNECTS_PER_FIVE_MINUTES, 300)
        self._tokens: dict[str, float] = {}

    def native(self, instrument: Instrument) -> str:
        return f"{instrument.base}-{instrument.quote}"

    def prepare(self, book: SimulatedBook) -> None:
        book.state = _Ids(25_984_000_000 + self.random.randrange(10**8))

    def accepts(self, path: str) -> bool:
        return path in ("/", _CLASSIC_PATH)

    def frame_for(self, connection: Connection, payload: bytes) -> bytes:
        return text_frame(payload) if connection.state["classic"] else binary_frame(payload)

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        classic = connection.path == _CLASSIC_PATH or "token" in query
        most = _CLASSIC_PER_TEN_SECONDS if classic else _PRO_PER_TEN_SECONDS
        connection.state.update(
            classic=classic, messages=Budget(most, 10), pings=Budget(1, 1), pinged_at=connection.opened
        )
        if not classic:
            session = f"{self.random.getrandbits(128):032x}"
            session = "-".join((session[:8], session[8:12], session[12:16], session[16:20], session[20:]))
            self.say(
                connection,
                f'{{"sessionId":"{session}","message":"welcome","pingInterval":{_PING_MILLISECONDS}}}',
            )
            return
        name = query.get("connectId", f"{self.random.getrandbits(48):012x}")
        if self._tokens.get(query.get("token", ""), 0.0) < time.monotonic():
            self._complain(connection, name, 401, "token is expired")
            connection.close(1000)
        else:
            self.say(connection, orjson.dumps({"id": name, "type": "welcome"}))

    def on_text(self, connection: Connection, text: str) -> None:
        request = parsed(text)
        if not isinstance(request, dict):
            request = {}
        # numbers are given back as text
        name = str(request.get("id", ""))
        classic = connection.state["classic"]
        if request.get("type") == "ping":
            self._pong(connection, name)
        elif self.limits and not connection.state["messages"].take():
            self._deny(connection, name, 429, "exceed max permits per second")
        elif classic:
            self._on_classic(connection, name, request)
        else:
            self._on_pro(connection, name, request)

    def _pong(self, connection: Connection, name: str) -> None:
        connection.state["pinged_at"] = connection.last_received
        if connection.state["classic"]:
            stamp = self.clock.now_ns() // 1000
            self.say(connection, orjson.dumps({"id": name, "type": "pong", "timestamp": stamp}))
        elif self.limits and not connection.state["pings"].take():
            connection.close(1000, "too many pings")
        else:
            self.say(connection, orjson.dumps({"type": "pong", "id": name, "ts": self.clock.now_ns()}))

    def _deny(self, connection: Connection, name: str, code: int, reason: str) -> None:
        if connection.state["classic"]:
            self._complain(connection, name, code, reason)
        else:
            self.say(connection, orjson.dumps({"id": name, "result": False, "reason": reason}))

    def _complain(self, connection: Connection, name: str, code: int, text: str) -> None:
        self.say(connection, orjson.dumps({"id": name, "type": "error", "code": code, "data": text}))

    def _on_classic(self, connection: Connection, name: str, request: dict[str, Any]) -> None:
        kind, (channel, _, listed) = request.get("type"), str(request.get("topic", "")).partition(":")
        symbols = listed.split(",") if listed else []
        books = [self.by_name.get(symbol) for symbol in symbols]
        if kind not in ("subscribe", "unsubscribe"):
            self._complain(connection, name, 415, "type is not supported")
            return
        if channel != _LEVEL2 or not books or None in books:
            self._complain(connection, name, 404, f"topic {request.get('topic')} does not exist")
            return
        found = [book for book in books if book is not None]
        if kind == "subscribe" and any(self.refused(book.symbol) for book in found):
            self._complain(connection, name, 404, "topic does not exist")
            return
        if self.limits and len(found) > _TOPICS_PER_FRAME:
            text = f"exceed max subscription count limitation of {_TOPICS_PER_FRAME} per time"
            self._complain(connection, name, 509, text)
            return
        if self.limits and kind == "subscribe" and len(connection.topics) + len(found) > _CLASSIC_TOPICS_MAX:
            text = f"exceed max subscription count limitation of {_CLASSIC_TOPICS_MAX} per session"
            self._complain(connection, name, 509, text)
            return
        for book in found:
            if kind == "subscribe":
                self.subscribe(connection, Topic(_LEVEL2, book.symbol), snapshot=False)
            else:
                self.unsubscribe(connection, Topic(_LEVEL2, book.symbol))
        if request.get("response"):
            self.say(connection, orjson.dumps({"id": name, "type": "ack"}))

    def _on_pro(self, connection: Connection, name: str, request: dict[str, Any]) -> None:
        action, symbol, depth = (
            str(request.get("action", "")).upper(),
            request.get("symbol"),
            request.get("depth"),
        )
        if action not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            self._deny(connection, name, 400, f"action {action} is not supported")
        elif request.get("channel") != _OBU or request.get("tradeType") != "SPOT":
            self._deny(connection, name, 400, f"channel {request.get('channel')} is not supported")
        elif not isinstance(symbol, str):
            self._deny(connection, name, 400, f"symbols are not supported for topic {_OBU}")
        elif str(depth) not in _DEPTHS:
            self._deny(connection, name, 400, f"depth {depth} is not supported")
        elif symbol not in self.by_name:
            self.say(connection, orjson.dumps({"id": name, "result": True}))  # and nothing follows
        else:
            topic = Topic(_OBU, self.by_name[symbol].symbol, _DEPTHS[str(depth)], str(depth))
            self._switch(connection, name, action, topic)

    def _switch(self, connection: Connection, name: str, action: str, topic: Topic) -> None:
        full = self.limits and len(connection.topics) >= _PRO_TOPICS_MAX
        if action == "SUBSCRIBE" and (full or self.refused(topic.symbol)):
            self._deny(
                connection, name, 400, "topic limit" if full else "topic not allowed in current environment"
            )
            return
        self.say(connection, orjson.dumps({"id": name, "result": True}))
        if action == "UNSUBSCRIBE":
            self.unsubscribe(connection, topic)
        elif topic not in connection.topics:
            self.subscribe(connection, topic)

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        if topic.channel == _LEVEL2:
            return None
        book = self.books[topic.symbol]
        view = self.view(book, topic, book.state.last)
        span = (view.last, view.last)
        return self._obu(book, topic, "snapshot", self.top(book, topic.depth), span, Marks())

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        ids: _Ids = book.state
        first, batch = ids.last + 1, []
        nothing = int(self.random.random() < _NOTHING_SHARE)
        ids.last += len(changes) + nothing
        shown = [*changes, self.crossing(book)] if marks.crossed else changes
        level2 = Topic(_LEVEL2, book.symbol)
        if level2 in self.topics:
            if nothing:
                batch.append((level2, self._nothing(book, first)))
            batch.append((level2, self._level2(book, shown, first + nothing, marks)))
        for topic, view, seen in self.shifted(book, changes, ids.last):
            message = self._tell(book, topic, view, seen, marks)
            if message is not None:
                batch.append((topic, message))
        return batch

    def _tell(
        self, book: SimulatedBook, topic: Topic, view: View, seen: list[Change], marks: Marks
    ) -> bytes | None:
        """The obu message of an update, if this depth has one now."""
        now, last = time.monotonic(), book.state.last
        if topic.variant not in _INCREMENTS:
            view.last = last
            if now - view.sent_at < _TOP_SECONDS:
                return None
            view.sent_at = now
            return self._obu(book, topic, "snapshot", self.top(book, topic.depth), (last, last), marks)
        if not seen:
            return None
        span, view.last = (view.last + 1, last), last
        more = [self.crossing(book)] if marks.crossed else []
        return self._obu(book, topic, "delta", seen + more, span, marks)

    def _obu(
        self,
        book: SimulatedBook,
        topic: Topic,
        kind: str,
        changes: list[Change],
        span: tuple[int, int],
        marks: Marks,
    ) -> bytes:
        bids, asks = (pairs(book.instrument, side) for side in self.split(changes))
        if marks.malformed:
            bids = spoilt(bids)
        now = self.clock.now_ns()
        matched = (now // 1_000_000 - 1) * 1_000_000
        pair = f'"s":"{book.name}"'
        order = f'"C":{span[1]},{pair}' if kind == "delta" else f'{pair},"C":{span[1]}'
        return (
            f'{{"T":"obu.SPOT", "dp":"{topic.variant}", "t":"{kind}", "P":{now}, '
            f'"d":{{"a":[{asks}],"b":[{bids}],{order},"M":{matched},"O":{span[0]}}}}}'
        ).encode()

    def _level2(self, book: SimulatedBook, changes: list[Change], first: int, marks: Marks) -> bytes:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        sides: tuple[list[str], list[str]] = ([], [])
        for sequence, each in enumerate(changes, first):
            sides[each.side].append(
                f'["{shortest(each.price, price)}","{shortest(each.quantity, quantity)}","{sequence}"]'
            )
        if marks.malformed:
            sides[0].append(f'["not-a-price","1","{first}"]')
        last = first + len(changes) - 1 - marks.crossed
        return self._l2update(book, (first, last), ",".join(sides[1]), ",".join(sides[0]))

    def _nothing(self, book: SimulatedBook, sequence: int) -> bytes:
        """A message that moves the sequence and no level: price 0."""
        row, bid = f'["0","0","{sequence}"]', self.random.randrange(2)
        return self._l2update(book, (sequence, sequence), "" if bid else row, row if bid else "")

    def _l2update(self, book: SimulatedBook, span: tuple[int, int], asks: str, bids: str) -> bytes:
        return (
            f'{{"type":"message","topic":"{_LEVEL2}:{book.name}","subject":"trade.l2update","data":{{'
            f'"changes":{{"asks":[{asks}],"bids":[{bids}]}},"sequenceEnd":{span[1]},'
            f'"sequenceStart":{span[0]},"symbol":"{book.name}","time":{self.clock.now_ms()}}}}}'
        ).encode()

    def second(self, connections: Iterable[Connection], now: float) -> None:
        for book in self.books.values():
            for topic, view in book.views.items():
                if topic.variant not in _INCREMENTS and now - view.sent_at >= _TOP_SECONDS:
                    view.sent_at = now
                    span = (view.last, view.last)
                    whole = self._obu(book, topic, "snapshot", self.top(book, topic.depth), span, Marks())
                    self.publish(topic, whole)
        for connection in connections:
            if self.limits and now - connection.state["pinged_at"] > _SILENCE_SECONDS:
                if connection.state["classic"]:
                    self._complain(connection, "", 400, "ping timeout")
                    connection.close(1000, "ping timeout")
                elif not connection.topics:
                    connection.close(1000, "ping timeout")

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"sequence": book.state.last}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "POST /api/v1/bullet-public": self._bullet,
            "/api/v1/market/orderbook/level2_20": lambda query: self._orderbook(query, 20, 2),
            "/api/v1/market/orderbook/level2_100": lambda query: self._orderbook(query, 100, 4),
            "/api/v3/market/orderbook/level2": self._unsigned,
            "/api/ua/v1/market/orderbook": self._unsigned,
            "/api/v2/symbols": self._symbols,
            "/api/ua/v1/market/instrument": self._instruments,
            "/api/v3/currencies": lambda query: self._ok(3, []),
            "/api/v1/market/allTickers": lambda query: self._ok(
                15, {"time": self.clock.now_ms(), "ticker": []}
            ),
        }

    def _ok(self, weight: int, data: Any) -> Reply:
        if self.limits and not self._weight.take(weight):
            return Reply(self.rest_error(429), 429)
        left = self._weight.most - self._weight.used(time.monotonic())
        headers = {
            "gw-ratelimit-limit": str(self._weight.most),
            "gw-ratelimit-remaining": str(left),
            "gw-ratelimit-reset": "30000",
        }
        return Reply(orjson.dumps({"code": "200000", "data": data}), 200, headers)

    def rest_error(self, status: int) -> bytes:
        code, message = {
            404: ("404", "Not Found"),
            429: ("429000", "Too many requests"),
        }.get(status, ("500000", "Internal Server Error"))
        return orjson.dumps({"code": code, "msg": message})

    def _unsigned(self, query: Query) -> Reply:
        message = "Please check the header of your request for KC-API-KEY, KC-API-SIGN, KC-API-TIMESTAMP"
        return Reply(orjson.dumps({"code": "400001", "msg": message}), 401)

    def _bullet(self, query: Query) -> Reply:
        token, now = f"{self.random.getrandbits(256):064x}", time.monotonic()
        self._tokens = {each: until for each, until in self._tokens.items() if until > now}
        self._tokens[token] = now + _TOKEN_SECONDS
        server = {
            "endpoint": f"wss://{self.address}{_CLASSIC_PATH}",
            "encrypt": True,
            "protocol": "websocket",
            "pingInterval": _PING_MILLISECONDS,
            "pingTimeout": 10_000,
        }
        return self._ok(10, {"token": token, "instanceServers": [server]})

    def _orderbook(self, query: Query, depth: int, weight: int) -> Reply:
        book = self.by_name.get(query.get("symbol", ""))
        if book is None:
            return Reply(orjson.dumps({"code": "400100", "msg": "symbol does not exist"}), 400)
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        bids, asks = (
            [[shortest(row[0], price), shortest(row[1], quantity)] for row in side.top(depth)]
            for side in book.flow.book.sides
        )
        data = {"time": self.clock.now_ms(), "sequence": str(book.state.last), "bids": bids, "asks": asks}
        return self._ok(weight, data)

    def _listed(self) -> list[tuple[Instrument, str, bool]]:
        halted = Instrument("HALTED", self.default_quote, 4, 1, 10_000)
        listed = [(book.instrument, book.name, True) for book in self.books.values()]
        return [*listed, (halted, self.native(halted), False)]

    def _symbols(self, query: Query) -> Reply:
        rows = [
            {
                "symbol": name,
                "name": name,
                "baseCurrency": instrument.base,
                "quoteCurrency": instrument.quote,
                "feeCurrency": instrument.quote,
                "market": "USDS",
                "baseMinSize": instrument.step_text,
                "quoteMinSize": "0.1",
                "baseMaxSize": "10000000000",
                "quoteMaxSize": "99999999",
                "baseIncrement": instrument.step_text,
                "quoteIncrement": "0.000001",
                "priceIncrement": instrument.tick_text,
                "priceLimitRate": "0.1",
                "minFunds": "0.1",
                "isMarginEnabled": False,
                "enableTrading": trading,
                "feeCategory": 1,
                "makerFeeCoefficient": "1.00",
                "takerFeeCoefficient": "1.00",
                "st": False,
            }
            for instrument, name, trading in self._listed()
        ]
        return self._ok(4, rows)

    def _instruments(self, query: Query) -> Reply:
        rows = [
            {
                "symbol": name,
                "baseCurrency": instrument.base,
                "quoteCurrency": instrument.quote,
                "tradingStatus": "1" if trading else "0",
                "tickSize": instrument.tick_text,
                "baseOrderStep": instrument.step_text,
                "minBaseOrderSize": instrument.step_text,
            }
            for instrument, name, trading in self._listed()
            if query.get("tradeType", "SPOT") == "SPOT"
        ]
        return self._ok(4, {"tradeType": query.get("tradeType", "SPOT"), "list": rows})
