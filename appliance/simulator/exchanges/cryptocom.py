"""Crypto.com Exchange v1, market WebSocket: channels `book.<instrument>.<depth>`, chain by pu and u.

Protocol: Crypto.com Exchange v1 documentation (book channel, heartbeat, rate limits), frames of 2026.
"""

from __future__ import annotations

import time
import zlib
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
from appliance.simulator.numbers import fixed, shortest
from appliance.simulator.texts import parsed, spoilt
from appliance.simulator.views import View

_DELTA, _WHOLE = "SNAPSHOT_AND_UPDATE", "SNAPSHOT"
_DEPTHS = {_DELTA: (10, 50), _WHOLE: (10, 50, 150)}
_FREQUENCIES = {_DELTA: (10, 100), _WHOLE: (500,)}
_WHOLE_SECONDS = 0.5
_QUIET_SECONDS = 5.0
_HEARTBEAT_SECONDS = 30.0
_ANSWER_SECONDS = 5.0
_REQUESTS_PER_SECOND = 100
_CHANNELS_MAX = 400
_REST_DEPTH_MAX = 50
_UPDATE_METHODS = ("subscribe", "unsubscribe")


@dataclass(slots=True)
class _Ids:
    """`update` ends the newest update, `changed_ms` is its time."""

    update: int
    changed_ms: int


class Cryptocom(Exchange):
    """A channel shows N levels: what leaves is deleted, what returns is sent again."""

    id: ClassVar[str] = "cryptocom"
    websocket_path: ClassVar[str] = "/exchange/v1/market"
    ping_seconds: ClassVar[float | None] = 5.0
    snapshot_seconds: float = 1.0

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        super().__init__(flows, seed, limits=limits)
        self._requests: dict[str, Budget] = {}

    def native(self, instrument: Instrument) -> str:
        return f"{instrument.base}_{instrument.quote}"

    def prepare(self, book: SimulatedBook) -> None:
        book.state = _Ids(78_795_598_162_080 + 32 * self.random.randrange(10**9), self.clock.now_ms())

    def accepts(self, path: str) -> bool:
        return path == self.websocket_path

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        second, gone = divmod(self.clock.now_ns(), 1_000_000_000)
        spent = _REQUESTS_PER_SECOND * gone // 1_000_000_000
        connection.state.update(beaten_at=connection.opened, unanswered=None, second=(second, spent))

    def _too_many(self, connection: Connection) -> bool:
        """100 requests in a calendar second, in the first one in proportion to what was left of it."""
        now = self.clock.now_ns() // 1_000_000_000
        second, count = connection.state["second"]
        count = count + 1 if second == now else 1
        connection.state["second"] = (now, count)
        return bool(count > _REQUESTS_PER_SECOND)

    def on_text(self, connection: Connection, text: str) -> None:
        request = parsed(text)
        if not isinstance(request, dict):
            self._answer(connection, {}, 40003, "Invalid request")
            return
        method, parameters = request.get("method"), request.get("params")
        if self.limits and self._too_many(connection):
            self._answer(connection, request, 42901, "TOO_MANY_REQUESTS")
        elif method == "public/respond-heartbeat":
            if request.get("id") == connection.state["unanswered"]:
                connection.state["unanswered"] = None
        elif method not in _UPDATE_METHODS or not isinstance(parameters, dict):
            self._answer(connection, request, 40003, "Unknown method")
        else:
            for name in parameters.get("channels", ()):
                self._one(connection, request, str(name), parameters)

    def _one(
        self, connection: Connection, request: dict[str, Any], name: str, parameters: dict[str, Any]
    ) -> None:
        topic, problem = self._topic(name, parameters)
        if topic is None:
            self._answer(connection, request, 40003, problem, name)
        elif request["method"] == "unsubscribe":
            # the mode is not named again: whatever holds this channel goes
            for held in [each for each in connection.topics if each.variant == name]:
                self.unsubscribe(connection, held)
            self._answer(connection, request, 0, "", name)
        elif self.refused(topic.symbol):
            self._answer(connection, request, 40003, "Unknown symbol", name)
        elif self.limits and topic not in connection.topics and len(connection.topics) >= _CHANNELS_MAX:
            self._answer(connection, request, 40107, "Maximum subscriptions exceeded")
        else:
            self._answer(connection, request, 0, "", name)
            if topic not in connection.topics:
                self.subscribe(connection, topic)

    def _topic(self, name: str, parameters: dict[str, Any]) -> tuple[Topic | None, str]:
        """The channel of a name, or what is wrong with it. Both spellings of the parameters are taken."""
        parts = name.split(".")
        if len(parts) != 3 or parts[0] != "book":
            return None, "Unrecognized channel"
        mode = parameters.get("book_subscription_type", parameters.get("bookSubscriptionType", _WHOLE))
        if mode not in _DEPTHS:
            return None, "Invalid book_subscription_type"
        default = _FREQUENCIES[mode][0]
        frequency = parameters.get("book_update_frequency", parameters.get("bookUpdateFrequency", default))
        book = self.by_name.get(parts[1])
        if book is None:
            return None, "Unknown symbol"
        if not parts[2].isdecimal() or int(parts[2]) not in _DEPTHS[mode]:
            return None, "Invalid depth"
        if mode == _DELTA and frequency not in _FREQUENCIES[mode]:
            return None, "Unsupported depth/interval combination"
        return Topic(mode, book.symbol, int(parts[2]), name), ""

    def _answer(
        self, connection: Connection, request: dict[str, Any], code: int, message: str, channel: str = ""
    ) -> None:
        answer: dict[str, Any] = {
            "id": request.get("id", -1),
            "method": request.get("method", ""),
            "code": code,
        }
        if channel:
            answer["channel"] = channel
        if message:
            answer["message"] = message
        self.say(connection, orjson.dumps(answer))

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        book = self.books[topic.symbol]
        return self._whole(book, topic, self.view(book, topic, book.state.update))

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        ids: _Ids = book.state
        ids.update += 32 * (1 + self.random.randrange(5000))
        ids.changed_ms = self.clock.now_ms()
        now = time.monotonic()
        batch: Batch = []
        for topic, view, shown in self.shifted(book, changes, ids.update):
            if topic.channel == _WHOLE:
                view.last = ids.update
                if now - view.sent_at >= _WHOLE_SECONDS:
                    batch.append((topic, self._whole(book, topic, view)))
            elif shown:
                previous, view.last = view.last, ids.update
                view.sent_at = now
                if marks.crossed:
                    shown.append(self.crossing(book))
                batch.append((topic, self._update(book, topic, shown, (previous, ids.update), marks)))
        return batch

    def _whole(self, book: SimulatedBook, topic: Topic, view: View) -> bytes:
        view.sent_at = time.monotonic()
        sides = self._sides(book, self.top(book, topic.depth), Marks())
        return self._message(book, topic, "book", f"{sides}", f'"u":{view.last}')

    def _update(
        self, book: SimulatedBook, topic: Topic, changes: list[Change], span: tuple[int, int], marks: Marks
    ) -> bytes:
        sides = self._sides(book, changes, marks)
        return self._message(
            book, topic, "book.update", f'"update":{{{sides}}}', f'"u":{span[1]},"pu":{span[0]}'
        )

    def _sides(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> str:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        bids, asks = (
            ",".join(
                f'["{fixed(each.price, price)}","{fixed(each.quantity, quantity) if each.quantity else 0}",'
                f'"{each.orders}"]'
                for each in side
            )
            for side in self.split(changes)
        )
        if marks.malformed:
            bids = spoilt(bids, '["not-a-price","1","1"]')
        return f'"asks":[{asks}],"bids":[{bids}]'

    def _message(self, book: SimulatedBook, topic: Topic, channel: str, sides: str, ids: str) -> bytes:
        changed = book.state.changed_ms
        # `cs` is there and nobody knows how it is computed
        check = zlib.crc32(f"{sides}{changed}".encode()) - (1 << 31)
        return (
            f'{{"id":-1,"method":"subscribe","code":0,"result":{{"instrument_name":"{book.name}",'
            f'"subscription":"book.{book.name}.{topic.depth}","channel":"{channel}","depth":{topic.depth},'
            f'"data":[{{{sides},"t":{self.clock.now_ms()},"tt":{changed},{ids},"cs":{check}}}]}}}}'
        ).encode()

    def second(self, connections: Iterable[Connection], now: float) -> None:
        """Whole books twice a second, empty updates of quiet channels, heartbeats."""
        for book in self.books.values():
            for topic, view in book.views.items():
                if topic not in self.topics:
                    continue
                if topic.channel == _WHOLE and now - view.sent_at >= _WHOLE_SECONDS:
                    self.publish(topic, self._whole(book, topic, view))
                elif topic.channel == _DELTA and now - view.sent_at >= _QUIET_SECONDS:
                    view.sent_at = now
                    span = (view.last, view.last)
                    self.publish(topic, self._update(book, topic, [], span, Marks()))
        for connection in connections:
            self._beat(connection, now)

    def _beat(self, connection: Connection, now: float) -> None:
        state = connection.state
        if now - state["beaten_at"] >= _HEARTBEAT_SECONDS:
            state.update(beaten_at=now, unanswered=self.clock.now_ms())
            beat = {"id": state["unanswered"], "method": "public/heartbeat", "code": 0}
            self.say(connection, orjson.dumps(beat))
        elif self.limits and state["unanswered"] is not None and now - state["beaten_at"] > _ANSWER_SECONDS:
            connection.close(1000, "heartbeat not answered")

    def restart(self, book: SimulatedBook) -> None:
        """A resync by the server: a snapshot that nobody asked for."""
        for topic, view in book.views.items():
            self.publish(topic, self._whole(book, topic, view))

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"u": book.state.update}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "/exchange/v1/public/get-book": self._book,
            "/exchange/v1/public/get-instruments": self._instruments,
        }

    def _ok(self, method: str, result: Any) -> Reply:
        budget = self._requests.setdefault(method, Budget(_REQUESTS_PER_SECOND, 1))
        if self.limits and not budget.take():
            return Reply(self.rest_error(429), 429)
        return json_reply({"id": -1, "method": f"public/{method}", "code": 0, "result": result})

    def rest_error(self, status: int) -> bytes:
        code, message = {429: (42901, "TOO_MANY_REQUESTS")}.get(status, (50001, "ERR_INTERNAL"))
        return orjson.dumps({"code": code, "message": message})

    def _book(self, query: Query) -> Reply:
        book, depth = self.by_name.get(query.get("instrument_name", "")), query.get("depth", "50")
        if book is None or not depth.isdecimal():
            return json_reply({"id": -1, "code": 40003, "message": "Invalid request"}, 400)
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        bids, asks = (
            [
                [fixed(row[0], price), fixed(row[1], quantity), str(row[2])]
                for row in side.top(min(_REST_DEPTH_MAX, int(depth)))
            ]
            for side in book.flow.book.sides
        )
        data = {"bids": bids, "asks": asks, "t": self.clock.now_ms()}
        return self._ok("get-book", {"depth": int(depth), "data": [data], "instrument_name": book.name})

    def _instruments(self, query: Query) -> Reply:
        rows = [self._row(book.instrument, book.name) for book in self.books.values()]
        halted = Instrument("HALTED", self.default_quote, 4, 1, 10_000)
        rows.append({**self._row(halted, self.native(halted)), "tradable": False})
        swap = Instrument("BTC", "USD", 1, 4, 10_000)
        rows.append({**self._row(swap, "BTCUSD-PERP"), "inst_type": "PERPETUAL_SWAP"})
        return self._ok("get-instruments", {"data": rows})

    def _row(self, instrument: Instrument, name: str) -> dict[str, Any]:
        return {
            "symbol": name,
            "inst_type": "CCY_PAIR",
            "display_name": name.replace("_", "/"),
            "base_ccy": instrument.base,
            "quote_ccy": instrument.quote,
            "quote_decimals": instrument.price_decimals,
            "quantity_decimals": instrument.quantity_decimals,
            "price_tick_size": instrument.tick_text,
            "qty_tick_size": instrument.step_text,
            "max_leverage": "50",
            "tradable": True,
            "expiry_timestamp_ms": 0,
            "beta_product": False,
            "margin_buy_enabled": False,
            "margin_sell_enabled": False,
            "contract_size": shortest(1, 0),
        }
