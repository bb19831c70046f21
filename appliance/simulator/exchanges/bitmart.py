"""BitMart spot WebSocket: `spot/depth/increase100` with versions, whole books `spot/depth5/20/50/100`.

Protocol: BitMart's spot API documentation (WebSocket part), the vendor's Python SDK, clients in ccxt 4.5.70
and JKorf/BitMart.Net. Market data comes in binary frames of raw DEFLATE, all else in text frames.
"""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change, Window
from appliance.simulator.connection import Connection, Topic, binary_frame
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook, json_reply
from appliance.simulator.faults import Marks
from appliance.simulator.flow import Flow
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import fixed, shortest
from appliance.simulator.texts import parsed, spoilt

_INCREASE = "spot/depth/increase100"
_WHOLE = {"spot/depth5": 5, "spot/depth20": 20, "spot/depth50": 50, "spot/depth100": 100}
_DEPTH = 100
_TOPICS_MAX = 115
_TOPICS_PER_MESSAGE = 20
_ARGUMENT_BYTES_MAX = 4096
_MESSAGES_PER_TEN_SECONDS = 100
_ATTEMPTS_PER_MINUTE = 30
_CONNECTIONS_MAX = 20
_UNUSED_SECONDS = 300
_QUIET_SECONDS = 10
_REST_DEPTH, _REST_DEPTH_MAX = 35, 50


@dataclass(slots=True)
class _Versions:
    """The version of a symbol's increments; `changed`: whole books are due."""

    window: Window
    version: int
    sent_at: float = 0.0
    changed: bool = False


class Bitmart(Exchange):
    """Option `tail`: the window is kept exact (told), as measured on the futures, or levels that come back
    into it unchanged are not sent, nor deletions of those that leave (untold), as the documentation warns.
    """

    id: ClassVar[str] = "bitmart"
    websocket_path: ClassVar[str] = "/api?protocol=1.1"
    answers_pings: ClassVar[bool] = False
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"tail": ("told", "untold")}

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        super().__init__(flows, seed, limits=limits)
        self._attempts: deque[float] = deque(maxlen=_ATTEMPTS_PER_MINUTE)
        self._open: set[int] = set()

    def native(self, instrument: Instrument) -> str:
        return f"{instrument.base}_{instrument.quote}"

    def prepare(self, book: SimulatedBook) -> None:
        window = Window(book.flow.book, _DEPTH, tell_leaving=True)
        book.state = _Versions(window, 2_000_000 + self.random.randrange(10**6))

    def accepts(self, path: str) -> bool:
        return path == "/api"

    def data_frame(self, payload: bytes) -> bytes:
        packer = zlib.compressobj(wbits=-15)
        return binary_frame(packer.compress(payload) + packer.flush())

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        now = connection.opened
        often = len(self._attempts) == _ATTEMPTS_PER_MINUTE and self._attempts[0] > now - 60
        self._attempts.append(now)
        self._open.add(connection.number)
        connection.state.update(messages=deque(maxlen=_MESSAGES_PER_TEN_SECONDS), unused=now)
        if self.limits and (often or len(self._open) > _CONNECTIONS_MAX):
            code, text = ("94001", "Reconnecting too often") if often else ("94002", "Too many connections")
            self._cut(connection, "open", code, text)

    def forget(self, connection: Connection) -> None:
        self._open.discard(connection.number)
        super().forget(connection)

    def on_text(self, connection: Connection, text: str) -> None:
        messages, now = connection.state["messages"], time.monotonic()
        often = len(messages) == _MESSAGES_PER_TEN_SECONDS and messages[0] > now - 10
        messages.append(now)
        if self.limits and often:
            self._cut(connection, "message", "90007", "Message rate exceeded")
            return
        if text == "ping":
            connection.send_text("pong")
            return
        request = parsed(text)
        operation = request.get("op") if isinstance(request, dict) else None
        names = request.get("args") if isinstance(request, dict) else None
        if not isinstance(request, dict):
            self._error(connection, "error", "90001", "Invalid message format")
        elif operation not in ("subscribe", "unsubscribe", "request"):
            self._error(connection, str(operation), "90002", "Invalid op")
        elif not isinstance(names, list) or not names:
            self._error(connection, operation, "90003", "Invalid args")
        elif self.limits and len(names) > _TOPICS_PER_MESSAGE:
            self._cut(connection, operation, "90005", "Too many topics in one message")
        elif self.limits and len(orjson.dumps(names)) > _ARGUMENT_BYTES_MAX:
            self._cut(connection, operation, "90003", "Args too long")
        else:
            for name in names:
                self._one(connection, operation, str(name))

    def _error(self, connection: Connection, operation: str, code: str, message: str) -> None:
        answer = {"event": operation, "errorMessage": message, "errorCode": code}
        connection.send_text(orjson.dumps(answer))

    def _cut(self, connection: Connection, operation: str, code: str, message: str) -> None:
        """Who breaks a limit is disconnected."""
        self._error(connection, operation, code, message)
        connection.close(1008, message)

    def _one(self, connection: Connection, operation: str, name: str) -> None:
        channel, _, pair = name.partition(":")
        book = self.by_name.get(pair)
        if channel != _INCREASE and channel not in _WHOLE:
            self._error(connection, operation, "90004", f"Channel {channel} does not exist")
            return
        if book is None or (operation != "unsubscribe" and self.refused(book.symbol)):
            self._error(connection, operation, "92001", f"Symbol {pair} is invalid")
            return
        topic = Topic(channel, book.symbol)
        if operation == "request":
            self._send_snapshot(connection, topic)
            return
        held = topic in connection.topics
        if operation == "subscribe" and held:
            self._error(connection, operation, "90008", f"Topic {name} is subscribed already")
        elif operation == "subscribe" and self.limits and len(connection.topics) >= _TOPICS_MAX:
            self._cut(connection, operation, "90006", "Total topics exceeded")
        elif operation == "unsubscribe" and not held:
            self._error(connection, operation, "90009", f"Topic {name} is not subscribed")
        else:
            connection.send_text(orjson.dumps({"topic": name, "event": operation}))
            if operation == "subscribe":
                self.subscribe(connection, topic)
            else:
                self.unsubscribe(connection, topic)

    def second(self, connections: Iterable[Connection], now: float) -> None:
        for book in self.books.values():
            versions: _Versions = book.state
            if versions.changed:
                versions.changed = False
                for channel in _WHOLE:
                    topic = Topic(channel, book.symbol)
                    if topic in self.topics:
                        self.publish(topic, self._whole(book, channel))
            topic = Topic(_INCREASE, book.symbol)
            if topic in self.topics and now - versions.sent_at >= _QUIET_SECONDS:
                versions.sent_at = now
                self.publish(topic, self._message(book, "update", []))
        for connection in connections:
            state = connection.state
            if connection.topics:
                state["unused"] = now
            if self.limits and now - state["unused"] > _UNUSED_SECONDS:
                connection.close(1000, "no subscription")

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        book = self.books[topic.symbol]
        if topic.channel != _INCREASE:
            return self._whole(book, topic.channel)
        book.state.sent_at = time.monotonic()
        return self._message(book, "snapshot", self._top(book, _DEPTH))

    def _top(self, book: SimulatedBook, depth: int) -> list[Change]:
        sides = book.flow.book.sides
        return [Change(number, *row, 0) for number in (BID, ASK) for row in sides[number].top(depth)]

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        versions: _Versions = book.state
        versions.changed = True
        shown = versions.window.shift(changes)
        if self.chosen["tail"] == "untold":
            changed = {(each.side, each.price) for each in changes}
            shown = [each for each in shown if (each.side, each.price) in changed]
        if not shown:
            return []
        versions.version += 1
        topic = Topic(_INCREASE, book.symbol)
        if topic not in self.topics:
            return []
        versions.sent_at = time.monotonic()
        if marks.crossed:
            shown.append(self.crossing(book))
        return [(topic, self._message(book, "update", shown, marks))]

    def _rows(self, book: SimulatedBook, changes: list[Change]) -> tuple[str, str]:
        """Bids and asks. The same price comes with or without its zeros."""
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        rows: tuple[list[str], list[str]] = ([], [])
        for each in changes:
            text = (fixed if self.random.random() < 0.5 else shortest)(each.price, price)
            rows[each.side].append(f'["{text}","{fixed(each.quantity, quantity)}"]')
        return ",".join(rows[BID]), ",".join(rows[ASK])

    def _message(
        self, book: SimulatedBook, kind: str, changes: list[Change], marks: Marks | None = None
    ) -> bytes:
        bids, asks = self._rows(book, changes)
        if marks is not None and marks.malformed:
            bids = spoilt(bids)
        return (
            f'{{"data":[{{"asks":[{asks}],"bids":[{bids}],"ms_t":{self.clock.now_ms()},"symbol":"{book.name}",'
            f'"type":"{kind}","version":{book.state.version}}}],"table":"{_INCREASE}"}}'
        ).encode()

    def _whole(self, book: SimulatedBook, channel: str) -> bytes:
        bids, asks = self._rows(book, self._top(book, _WHOLE[channel]))
        return (
            f'{{"data":[{{"asks":[{asks}],"bids":[{bids}],"ms_t":{self.clock.now_ms()},'
            f'"symbol":"{book.name}"}}],"table":"{channel}"}}'
        ).encode()

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"version": book.state.version}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "/spot/quotation/v3/books": self._books,
            "/spot/v1/symbols/details": self._symbols,
            "/system/time": lambda query: self._ok({"server_time": self.clock.now_ms()}),
            # asked for by clients that also know the coins and the contracts
            "/account/v1/currencies": lambda query: self._ok({"currencies": []}),
            "/contract/public/details": lambda query: self._ok({"symbols": []}),
        }

    def _ok(self, data: Any, code: int = 1000, message: str = "success", status: int = 200) -> Reply:
        trace = f"{self.random.getrandbits(128):032x}"
        return json_reply({"code": code, "message": message, "data": data, "trace": trace}, status)

    def rest_error(self, status: int) -> bytes:
        codes = {429: (30013, "Request too many requests"), 418: (30014, "Service unavailable")}
        code, message = codes.get(status, (30000, "Not found"))
        return orjson.dumps({"code": code, "message": message, "data": {}, "trace": ""})

    def _books(self, query: Query) -> Reply:
        book, limit = self.by_name.get(query.get("symbol", "")), query.get("limit", str(_REST_DEPTH))
        if book is None:
            return self._ok({}, 70002, "symbol not found", 400)
        if not limit.isdecimal() or not 1 <= int(limit) <= _REST_DEPTH_MAX:
            return self._ok({}, 70000, "limit is invalid", 400)
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        bids, asks = (
            [[fixed(row[0], price), fixed(row[1], quantity)] for row in side.top(int(limit))]
            for side in book.flow.book.sides
        )
        now = str(self.clock.now_ms())
        return self._ok({"ts": now, "symbol": book.name, "asks": asks, "bids": bids})

    def _symbols(self, query: Query) -> Reply:
        rows = [self._row(book.instrument, "trading", n) for n, book in enumerate(self.books.values(), 53)]
        coming = Instrument("COMING", self.default_quote, 4, 1, 10_000)
        return self._ok({"symbols": [*rows, self._row(coming, "pre-trade", 9999)]})

    def _row(self, instrument: Instrument, status: str, number: int) -> dict[str, Any]:
        smallest = fixed(instrument.lot, instrument.quantity_decimals)
        whole, _, digits = smallest.partition(".")
        return {
            "symbol": self.native(instrument),
            "symbol_id": number,
            "base_currency": instrument.base,
            "quote_currency": instrument.quote,
            "base_min_size": f"{whole}.{digits.ljust(30, '0')}",
            "base_max_size": f"100000000.{'0' * 30}",
            "price_min_precision": -1,
            "price_max_precision": instrument.price_decimals,
            "quote_increment": instrument.step_text,
            "expiration": "NA",
            "min_buy_amount": f"5.{'0' * 30}",
            "min_sell_amount": f"5.{'0' * 30}",
            "trade_status": status,
        }
