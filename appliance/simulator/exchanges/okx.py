"""OKX v5 public WebSocket: channel `books` (400 levels), snapshot and chain by seqId/prevSeqId.

Protocol: OKX API v5 documentation and its changelog of 2026 (checksum is the constant 0 since 2026-06-23).
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change, Window
from appliance.simulator.connection import Connection, Topic
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook, json_reply
from appliance.simulator.faults import Marks
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import shortest
from appliance.simulator.texts import parsed, spoilt

_DEPTH = 400
_REST_DEEP_MAX = 5000
_IDLE_SECONDS = 30
_QUIET_SECONDS = 60
_OPERATIONS_PER_HOUR = 480
_ARGUMENT_BYTES_MAX = 65536


@dataclass(slots=True)
class _Chain:
    """The id chain of one instrument."""

    window: Window
    seq_id: int
    sent_at: float = 0.0


class Okx(Exchange):
    """`real_checksums` brings back the CRC of before 2026-06-23."""

    id: ClassVar[str] = "okx"
    websocket_path: ClassVar[str] = "/ws/v5/public"
    has_checksum: ClassVar[bool] = True
    real_checksums: bool = False

    @classmethod
    def adapt(cls, instrument: Instrument) -> Instrument:
        if instrument.base == "BTC" and instrument.price_decimals == 2:
            return replace(instrument, price_decimals=1, start=instrument.start // 10, quantity_decimals=8)
        return instrument

    def native(self, instrument: Instrument) -> str:
        return f"{instrument.base}-{instrument.quote}"

    def prepare(self, book: SimulatedBook) -> None:
        window = Window(book.flow.book, _DEPTH, tell_leaving=True)
        book.state = _Chain(window, 335_000_000_000 + self.random.randrange(10**9))

    def accepts(self, path: str) -> bool:
        return path == self.websocket_path

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        connection.state.update(conn_id=f"{self.random.getrandbits(32):08x}", operations=[])

    def on_text(self, connection: Connection, text: str) -> None:
        if text == "ping":
            self.say(connection, "pong")
            return
        request = parsed(text)
        arguments = request.get("args") if isinstance(request, dict) else None
        operation = request.get("op") if isinstance(request, dict) else None
        if operation not in ("subscribe", "unsubscribe") or not isinstance(arguments, list):
            self._error(connection, "60012", f"Invalid request: {text[:200]}")
            return
        request_id = {"id": request["id"]} if "id" in request else {}
        if self.limits and not self._within_limits(connection, arguments):
            self._error(connection, "60014", "Requests too frequent or args too long", request_id)
            return
        for argument in arguments:
            self._one(connection, operation, argument, request_id)

    def _within_limits(self, connection: Connection, arguments: list[Any]) -> bool:
        now, operations = time.monotonic(), connection.state["operations"]
        operations[:] = [each for each in operations if each > now - 3600]
        operations.append(now)
        held = sum(len(topic.symbol) + 36 for topic in connection.topics)
        return (
            len(operations) <= _OPERATIONS_PER_HOUR
            and held + len(orjson.dumps(arguments)) <= _ARGUMENT_BYTES_MAX
        )

    def _one(self, connection: Connection, operation: str, argument: Any, request_id: dict[str, str]) -> None:
        channel = argument.get("channel") if isinstance(argument, dict) else None
        book = self.by_name.get(str(argument.get("instId"))) if isinstance(argument, dict) else None
        if channel != "books" or book is None or (operation == "subscribe" and self.refused(book.symbol)):
            named = f"channel:{channel}" + (
                f",instId:{argument['instId']}" if isinstance(argument, dict) and "instId" in argument else ""
            )
            self._error(
                connection,
                "60018",
                f"Wrong URL or {named} doesn't exist. Please use the correct URL, "
                "channel and parameters referring to API document.",
                request_id,
            )
            return
        topic = Topic("books", book.symbol)
        self.say(
            connection,
            orjson.dumps(
                {**request_id, "event": operation, "arg": argument, "connId": connection.state["conn_id"]}
            ),
        )
        if operation == "unsubscribe":
            self.unsubscribe(connection, topic)
        elif topic not in connection.topics:
            self.subscribe(connection, topic)

    def _error(
        self, connection: Connection, code: str, message: str, request_id: dict[str, str] | None = None
    ) -> None:
        self.say(
            connection,
            orjson.dumps(
                {
                    **(request_id or {}),
                    "event": "error",
                    "code": code,
                    "msg": message,
                    "connId": connection.state["conn_id"],
                }
            ),
        )

    def notice(self, connection: Connection) -> None:
        self.say(
            connection,
            orjson.dumps(
                {
                    "event": "notice",
                    "code": "64008",
                    "connId": connection.state["conn_id"],
                    "msg": "The connection will soon be closed for a service upgrade. Please reconnect.",
                }
            ),
        )

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        book = self.books[topic.symbol]
        chain: _Chain = book.state
        chain.sent_at = time.monotonic()
        sides = [
            [Change(number, *row, 0) for row in book.flow.book.sides[number].top(_DEPTH)]
            for number in (BID, ASK)
        ]
        return self._message(book, "snapshot", sides[0], sides[1], -1, chain.seq_id, Marks())

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        chain: _Chain = book.state
        topic = Topic("books", book.symbol)
        shown = chain.window.shift(changes)
        if not shown:
            return []
        previous, chain.seq_id = chain.seq_id, chain.seq_id + 1 + self.random.randrange(60)
        if topic not in self.topics:
            return []
        if marks.crossed:
            shown.append(self.crossing(book))
        chain.sent_at = time.monotonic()
        bids, asks = self.split(shown)
        return [(topic, self._message(book, "update", bids, asks, previous, chain.seq_id, marks))]

    def _message(
        self,
        book: SimulatedBook,
        action: str,
        bids: list[Change],
        asks: list[Change],
        previous: int,
        current: int,
        marks: Marks,
    ) -> bytes:
        bid_text, ask_text = self._levels(book, bids), self._levels(book, asks)
        if marks.malformed:
            bid_text = spoilt(bid_text, '["not-a-price","1","0","1"]')
        return (
            f'{{"arg":{{"channel":"books","instId":"{book.name}"}},"action":"{action}","data":[{{'
            f'"asks":[{ask_text}],"bids":[{bid_text}],"ts":"{self.clock.now_ms()}",'
            f'"checksum":{self._checksum(book, marks)},"seqId":{current},"prevSeqId":{previous}}}]}}'
        ).encode()

    def _levels(self, book: SimulatedBook, changes: list[Change]) -> str:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        return ",".join(
            f'["{shortest(each.price, price)}","{shortest(each.quantity, quantity)}","0","{each.orders}"]'
            for each in changes
        )

    def _checksum(self, book: SimulatedBook, marks: Marks) -> int:
        if marks.zero_checksum or not (self.real_checksums or marks.wrong_checksum):
            return 0
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        tops = [side.top(25) for side in book.flow.book.sides]
        parts = [
            f"{shortest(top[index][0], price)}:{shortest(top[index][1], quantity)}"
            for index in range(25)
            for top in tops
            if index < len(top)
        ]
        crc = zlib.crc32(":".join(parts).encode()) ^ (1 if marks.wrong_checksum else 0)
        return crc - (1 << 32) if crc >= 1 << 31 else crc

    def second(self, connections: Iterable[Connection], now: float) -> None:
        for connection in connections:
            if (
                self.limits
                and now - max(connection.last_received, connection.opened) > _IDLE_SECONDS
                and (not connection.topics)
            ):
                connection.close(4004, "No data received in 30s")
        for book in self.books.values():
            chain: _Chain = book.state
            topic = Topic("books", book.symbol)
            if topic in self.topics and now - chain.sent_at >= _QUIET_SECONDS:
                chain.sent_at = now
                message = self._message(book, "update", [], [], chain.seq_id, chain.seq_id, Marks())
                for connection, raw in self.frames([(topic, message)]):
                    connection.send(raw)

    def restart(self, book: SimulatedBook) -> None:
        """Maintenance reset: an update whose seqId is below its prevSeqId, linked to the one before."""
        chain: _Chain = book.state
        topic = Topic("books", book.symbol)
        previous, chain.seq_id = chain.seq_id, 1 + self.random.randrange(1000)
        message = self._message(book, "update", [], [], previous, chain.seq_id, Marks())
        for connection, raw in self.frames([(topic, message)]):
            connection.send(raw)

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"seqId": book.state.seq_id}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "/api/v5/market/books": lambda query: self._books(query, _DEPTH),
            "/api/v5/market/books-full": lambda query: self._books(query, _REST_DEEP_MAX),
            "/api/v5/public/instruments": self._instruments,
            "/api/v5/public/time": lambda query: self._ok([{"ts": str(self.clock.now_ms())}]),
        }

    def _ok(self, data: Any) -> Reply:
        return json_reply({"code": "0", "data": data, "msg": ""})

    def rest_error(self, status: int) -> bytes:
        code, message = {429: ("50011", "Too Many Requests")}.get(
            status, ("50001", "Service temporarily unavailable")
        )
        return orjson.dumps({"code": code, "data": [], "msg": message})

    def _books(self, query: Query, most: int) -> Reply:
        book = self.by_name.get(query.get("instId", ""))
        size = query.get("sz", "1")
        if book is None:
            return json_reply({"code": "51001", "data": [], "msg": "Instrument ID doesn't exist."})
        if not size.isdecimal() or not 1 <= int(size) <= most:
            return json_reply({"code": "51000", "data": [], "msg": "Parameter sz error"})
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        full = most > _DEPTH
        bids, asks = (
            [
                [shortest(row[0], price), shortest(row[1], quantity), *([] if full else ["0"]), str(row[2])]
                for row in side.top(int(size))
            ]
            for side in book.flow.book.sides
        )
        body: dict[str, Any] = {"asks": asks, "bids": bids, "ts": str(self.clock.now_ms())}
        if not full:
            body["seqId"] = book.state.seq_id
        return self._ok([body])

    def _instruments(self, query: Query) -> Reply:
        if query.get("instType") != "SPOT":
            return self._ok([])
        rows = [self._row(book.instrument, book.name, "live") for book in self.books.values()]
        coming = Instrument("COMING", self.default_quote, 4, 1, 10_000)
        rows.append({**self._row(coming, self.native(coming), "preopen"), "tickSz": "", "lotSz": ""})
        return self._ok(rows)

    def _row(self, instrument: Instrument, name: str, state: str) -> dict[str, Any]:
        return {
            "alias": "",
            "auctionEndTime": "",
            "baseCcy": instrument.base,
            "category": "1",
            "ctMult": "",
            "ctType": "",
            "ctVal": "",
            "ctValCcy": "",
            "contTdSwTime": "",
            "expTime": "",
            "futureSettlement": False,
            "groupId": "1",
            "instCategory": "1",
            "instFamily": "",
            "instId": name,
            "instIdCode": 1,
            "instType": "SPOT",
            "lever": "",
            "listTime": "1606468572000",
            "lotSz": instrument.step_text,
            "maxIcebergSz": "999999999999",
            "maxLmtAmt": "20000000",
            "maxLmtSz": "999999999999",
            "maxMktAmt": "1000000",
            "maxMktSz": "1000000",
            "maxStopSz": "1000000",
            "maxTriggerSz": "999999999999",
            "maxTwapSz": "999999999999",
            "minSz": instrument.step_text,
            "openType": "call_auction",
            "optType": "",
            "quoteCcy": instrument.quote,
            "ruleType": "normal",
            "settleCcy": "",
            "state": state,
            "stk": "",
            "tickSz": instrument.tick_text,
            "tradeQuoteCcyList": [instrument.quote],
            "uly": "",
        }
