"""Upbit Korea: every frame is the whole visible book, JSON in binary frames, numbers unquoted.

Protocol: Upbit developer documentation (WebSocket orderbook), frames of 2021 to 2026.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import ceil, log10
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import Change
from appliance.simulator.budget import Budget
from appliance.simulator.connection import Connection, Topic, binary_frame
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
from appliance.simulator.numbers import fixed, java_double
from appliance.simulator.texts import parsed

_DEPTH = 30
_SUFFIXES = {"1": 1, "5": 5, "15": 15, "30": 30}
_QUANTITY_DECIMALS = 8
_LONG = (
    "type",
    "code",
    "timestamp",
    "total_ask_size",
    "total_bid_size",
    "orderbook_units",
    "stream_type",
    "level",
)
_LONG_UNIT = ("ask_price", "bid_price", "ask_size", "bid_size")
_SHORT = ("ty", "cd", "tms", "tas", "tbs", "obu", "st", "lv")
_SHORT_UNIT = ("ap", "bp", "as", "bs")
_FORMATS = ("DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST")
_IDLE_SECONDS = 60
_STATUS_SECONDS = 10
_MESSAGES_PER_SECOND, _MESSAGES_PER_MINUTE = 5, 100
_CONNECTS_PER_SECOND = 5
_REST_PER_SECOND = 10
_EXCESSES_PER_MINUTE, _BLOCK_SECONDS = 10, 10


class Upbit(Exchange):
    """No sequence, no deletion, no acknowledgement: what the next frame lacks is gone."""

    id: ClassVar[str] = "upbit"
    websocket_path: ClassVar[str] = "/websocket/v1"
    snapshot_seconds: float = 0.25

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        super().__init__(flows, seed, limits=limits)
        self._connects = Budget(_CONNECTS_PER_SECOND, 1)
        self._from_browsers = Budget(1, 10)
        self._requests: dict[str, Budget] = {}
        self._excesses = Budget(_EXCESSES_PER_MINUTE, 60)
        self._blocked_until = 0.0

    @classmethod
    def adapt(cls, instrument: Instrument) -> Instrument:
        if instrument.quote != "KRW":
            return replace(instrument, quantity_decimals=_QUANTITY_DECIMALS)
        # ticks of about 1/100,000 of the price, a power of ten: 1000 for a price of 90 million
        price = instrument.start / 10**instrument.price_decimals
        power = ceil(log10(price)) - 5
        decimals, tick = max(0, -power), 10 ** max(0, power)
        return replace(
            instrument,
            price_decimals=decimals,
            quantity_decimals=_QUANTITY_DECIMALS,
            start=int(price * 10**decimals),
            tick=tick,
        )

    def native(self, instrument: Instrument) -> str:
        return f"{instrument.quote}-{instrument.base}"

    def prepare(self, book: SimulatedBook) -> None:
        book.state = None

    def accepts(self, path: str) -> bool:
        return path == self.websocket_path

    def data_frame(self, payload: bytes) -> bytes:
        return binary_frame(payload)

    # --- conversation

    def admit(self, headers: Mapping[str, str]) -> Reply | None:
        budget = self._from_browsers if "Origin" in headers else self._connects
        return self._excess(budget)

    def _excess(self, budget: Budget) -> Reply | None:
        """The refusal of a request beyond the budget, a block when that goes on; None within it."""
        now = time.monotonic()
        if not self.limits or (now >= self._blocked_until and budget.take()):
            return None
        if now >= self._blocked_until and self._excesses.take():
            return Reply(self.rest_error(429), 429)
        self._blocked_until = max(self._blocked_until, now + _BLOCK_SECONDS)
        return Reply(self.rest_error(418), 418, {"Retry-After": str(_BLOCK_SECONDS)})

    def on_open(self, connection: Connection, query: Query) -> None:
        connection.state.update(
            status_at=None,
            budgets=(Budget(_MESSAGES_PER_SECOND, 1), Budget(_MESSAGES_PER_MINUTE, 60)),
        )

    def on_text(self, connection: Connection, text: str) -> None:
        budgets: tuple[Budget, ...] = connection.state["budgets"]
        if self.limits and not all(budget.take() for budget in budgets):
            self._refuse(connection, "TOO_MANY_REQUESTS", "too many requests")
            return
        if text == "PING":
            connection.state["status_at"] = connection.last_received
            self.say(connection, b'{"status":"UP"}')
            return
        request = parsed(text)
        if not isinstance(request, list) or not all(isinstance(part, dict) for part in request):
            self._refuse(connection, "WRONG_FORMAT", "Format is wrong")
            return
        self._request(connection, request)

    def _refuse(self, connection: Connection, name: str, message: str) -> None:
        self.say(connection, orjson.dumps({"error": {"name": name, "message": message}}))
        connection.close(1000)

    def _request(self, connection: Connection, parts: list[dict[str, Any]]) -> None:
        kinds = [part for part in parts if "type" in part]
        style = next((str(part["format"]) for part in parts if "format" in part), "DEFAULT")
        if not any("ticket" in part for part in parts):
            self._refuse(connection, "NO_TICKET", "티켓이 존재하지 않습니다.")
        elif not kinds:
            self._refuse(connection, "NO_TYPE", "타입이 존재하지 않습니다.")
        elif not all(isinstance(part.get("codes"), list) and part["codes"] for part in kinds):
            self._refuse(connection, "NO_CODES", "코드가 존재하지 않습니다.")
        elif style not in _FORMATS or any(part.get("level", 0) != 0 for part in kinds):
            # price grouping is not played
            self._refuse(connection, "INVALID_PARAM", "지원하지 않는 값입니다.")
        else:
            self._replace(connection, [part for part in kinds if part["type"] == "orderbook"], style)

    def _replace(self, connection: Connection, kinds: list[dict[str, Any]], style: str) -> None:
        """A request is the whole new subscription; codes that do not exist are passed over."""
        for topic in list(connection.topics):
            self.unsubscribe(connection, topic)
        for part in kinds:
            only_first = bool(part.get("is_only_snapshot", part.get("isOnlySnapshot")))
            only_later = bool(part.get("is_only_realtime", part.get("isOnlyRealtime")))
            for code in part["codes"]:
                name, _, suffix = str(code).partition(".")
                book = self.by_name.get(name)
                if book is None or self.refused(book.symbol):
                    continue
                topic = Topic("orderbook", book.symbol, _SUFFIXES.get(suffix, _DEPTH), style)
                if only_first:
                    self.say(connection, self._message(book, topic, "SNAPSHOT"))
                else:
                    self.subscribe(connection, topic, snapshot=not only_later)

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        book = self.books[topic.symbol]
        self.view(book, topic, 0)
        return self._message(book, topic, "SNAPSHOT")

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        return [
            (topic, self._message(book, topic, "REALTIME", marks))
            for topic, _, shown in self.shifted(book, changes, 0)
            if shown
        ]

    def _message(self, book: SimulatedBook, topic: Topic, stream: str, marks: Marks | None = None) -> bytes:
        payload = f"{{{self._body(book, topic, 'type', stream, marks)}}}"
        return (f"[{payload}]" if topic.variant.endswith("_LIST") else payload).encode()

    def _body(
        self, book: SimulatedBook, topic: Topic, named: str, stream: str, marks: Marks | None = None
    ) -> str:
        """The members of a frame, or of a REST answer (which has `market` for `code` and no types)."""
        simple = topic.variant.startswith("SIMPLE")
        keys, unit_keys = (_SHORT, _SHORT_UNIT) if simple else (_LONG, _LONG_UNIT)
        bids, asks = self.split(self.top(book, topic.depth))
        if marks is not None and marks.crossed:
            bids = [self.crossing(book), *bids][: topic.depth]
        totals = [fixed(sum(each.quantity for each in side), _QUANTITY_DECIMALS) for side in (asks, bids)]
        rows = [
            [self._level(book, side, index, simple=simple) for side in (asks, bids)]
            for index in range(max(len(bids), len(asks)))
        ]
        units = [
            f'{{"{unit_keys[0]}":{ask[0]},"{unit_keys[1]}":{bid[0]},'
            f'"{unit_keys[2]}":{ask[1]},"{unit_keys[3]}":{bid[1]}}}'
            for ask, bid in rows
        ]
        if marks is not None and marks.malformed:
            units.append(
                f'{{"{unit_keys[0]}":"not-a-price","{unit_keys[1]}":0.0,'
                f'"{unit_keys[2]}":1.0,"{unit_keys[3]}":0.0}}'
            )
        front = f'"{keys[0]}":"orderbook","{keys[1]}":' if named == "type" else f'"{named}":'
        behind = f'"{keys[6]}":"{stream}",' if stream else ""
        return (
            f'{front}"{book.name}","{keys[2]}":{self.clock.now_ms()},"{keys[3]}":{totals[0]},'
            f'"{keys[4]}":{totals[1]},"{keys[5]}":[{",".join(units)}],{behind}"{keys[7]}":0'
        )

    def _level(self, book: SimulatedBook, side: list[Change], index: int, *, simple: bool) -> tuple[str, str]:
        """Price and size; zeros where this side has no such level and the other has."""
        if index >= len(side):
            return "0.0", "0.0"
        quantity = book.instrument.quantity_decimals
        size = (
            java_double(side[index].quantity, quantity) if simple else fixed(side[index].quantity, quantity)
        )
        return java_double(side[index].price, book.instrument.price_decimals), size

    def second(self, connections: Iterable[Connection], now: float) -> None:
        for connection in connections:
            status_at = connection.state["status_at"]
            if status_at is not None and now - status_at >= _STATUS_SECONDS:
                connection.state["status_at"] = now
                self.say(connection, b'{"status":"UP"}')
            if self.limits and now - max(connection.last_received, connection.opened) > _IDLE_SECONDS:
                connection.abort()  # without a close frame

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "/v1/orderbook": self._orderbook,
            "/v1/market/all": self._markets,
            "/v1/orderbook/instruments": self._instruments,
        }

    def _within(self, group: str, body: bytes, status: int = 200) -> Reply:
        budget = self._requests.setdefault(group, Budget(_REST_PER_SECOND, 1))
        refusal = self._excess(budget)
        if refusal is not None:
            return refusal
        left = _REST_PER_SECOND - budget.used(time.monotonic())
        return Reply(body, status, {"Remaining-Req": f"group={group}; min=600; sec={left}"})

    def rest_error(self, status: int) -> bytes:
        name, message = {
            404: ("404", "Code not found"),
            418: ("too_many_requests", "blocked for 10 seconds"),
            429: ("too_many_requests", "Too many API requests."),
        }.get(status, ("server_error", "Server error"))
        return orjson.dumps({"error": {"name": name, "message": message}})

    def _orderbook(self, query: Query) -> Reply:
        names, count = query.get("markets", "").split(","), query.get("count", str(_DEPTH))
        if not count.isdecimal() or not int(count):
            return json_reply({"error": {"name": "invalid_parameter", "message": "count"}}, 400)
        if not all(name in self.by_name for name in names):
            return self._within("orderbook", self.rest_error(404), 404)
        bodies = []
        for name in names:
            book = self.by_name[name]
            topic = Topic("orderbook", book.symbol, min(_DEPTH, int(count)), "DEFAULT")
            bodies.append(f"{{{self._body(book, topic, 'market', '')}}}")
        return self._within("orderbook", f"[{','.join(bodies)}]".encode())

    def _markets(self, query: Query) -> Reply:
        rows = []
        for book in self.books.values():
            row: dict[str, Any] = {
                "market": book.name,
                "korean_name": book.instrument.base,
                "english_name": book.instrument.base,
            }
            if query.get("is_details", query.get("isDetails")) == "true":
                cautions = dict.fromkeys(
                    (
                        "PRICE_FLUCTUATIONS",
                        "TRADING_VOLUME_SOARING",
                        "DEPOSIT_AMOUNT_SOARING",
                        "GLOBAL_PRICE_DIFFERENCES",
                        "CONCENTRATION_OF_SMALL_ACCOUNTS",
                    ),
                    False,
                )
                row["market_event"] = {"warning": False, "caution": cautions}
            rows.append(row)
        return self._within("market", orjson.dumps(rows))

    def _instruments(self, query: Query) -> Reply:
        names = query.get("markets", "").split(",")
        if not all(name in self.by_name for name in names):
            return self._within("orderbook", self.rest_error(404), 404)
        rows = [
            {
                "market": name,
                "quote_currency": self.by_name[name].instrument.quote,
                "tick_size": self.by_name[name].instrument.tick_text,
                "supported_levels": ["0"],
            }
            for name in names
        ]
        return self._within("orderbook", orjson.dumps(rows))
