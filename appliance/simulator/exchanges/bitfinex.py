"""Bitfinex WebSocket v2: channel `book` P0/F0, one frame a level, sequence numbers and checksums by flag.

Protocol: Bitfinex documentation (general, book, checksum, requirements) and recorded messages. Numbers are
JSON numbers as JavaScript prints them. BULK_UPDATES, single orders (R0), grouped prices and F1 are refused.
"""

from __future__ import annotations

import time
import uuid
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change
from appliance.simulator.connection import Connection, Topic
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook, json_reply
from appliance.simulator.faults import Marks
from appliance.simulator.flow import Flow
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import javascript
from appliance.simulator.texts import parsed
from appliance.simulator.views import Views

_TIMESTAMP, _SEQ_ALL, _OB_CHECKSUM = 32768, 65536, 131072
_LENGTHS = (1, 25, 100, 250)
_SIGNIFICANT_DIGITS = 5
_CHECKED_LEVELS = 25
_CHECKSUM_SECONDS = 2.5
_HEARTBEAT_SECONDS = 15.0
_IDLE_SECONDS = 60.0
_CHANNELS_MAX = 30
_REST_PER_MINUTE = 240
# canonical: Bitfinex's code
_CODES = {
    "USDT": "UST",
    "USDC": "UDC",
    "EURT": "EUT",
    "TUSD": "TSD",
    "IOTA": "IOT",
    "DASH": "DSH",
    "QTUM": "QTM",
    "ALGO": "ALG",
    "ATOM": "ATO",
    "DATA": "DAT",
    "MANA": "MNA",
    "BCH": "BCHN",
    "LUNC": "LUNA",
    "LUNA": "LUNA2",
    "USTC": "TERRAUST",
}


def _key(topic: Topic) -> str:
    return f"{topic.symbol}:{topic.depth}"


class _Check:
    """When the readers of a topic were last told the checksum, and what they still have to be told."""

    __slots__ = ("changed", "owed", "told_at")

    def __init__(self) -> None:
        self.changed = False
        self.owed: int | None = None
        self.told_at = time.monotonic()


class _State:
    """Windows by length of the book and their checksums."""

    def __init__(self, book: SimulatedBook) -> None:
        self.views = Views(book.flow.book)
        self.checks: dict[Topic, _Check] = {}


class Bitfinex(Exchange):
    """Channel numbers belong to a connection: payloads begin with ``#key#``, which `number` replaces."""

    id: ClassVar[str] = "bitfinex"
    default_quote: ClassVar[str] = "USD"
    websocket_path: ClassVar[str] = "/ws/2"
    numbered: ClassVar[bool] = True
    has_checksum: ClassVar[bool] = True
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"subscribed": ("first", "late")}
    amount_decimals: ClassVar[int] = 8

    def __init__(self, flows: Iterable[Flow], seed: int, *, limits: bool = True) -> None:
        super().__init__(flows, seed, limits=limits)
        self._requests: list[float] = []

    @classmethod
    def adapt(cls, instrument: Instrument) -> Instrument:
        """Prices of five significant digits, amounts of eight decimals."""
        before_point = len(str(instrument.start)) - instrument.price_decimals
        decimals = max(0, _SIGNIFICANT_DIGITS - before_point)
        start = instrument.start * 10**decimals // 10**instrument.price_decimals
        return replace(
            instrument, price_decimals=decimals, quantity_decimals=cls.amount_decimals, start=start, tick=1
        )

    def _pair(self, instrument: Instrument) -> str:
        base, quote = (_CODES.get(each, each) for each in (instrument.base, instrument.quote))
        return f"{base}{quote}" if len(base) <= 3 and len(quote) <= 3 else f"{base}:{quote}"

    def native(self, instrument: Instrument) -> str:
        return f"t{self._pair(instrument)}"

    def prepare(self, book: SimulatedBook) -> None:
        book.state = _State(book)

    def accepts(self, path: str) -> bool:
        return path == self.websocket_path

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        connection.state.update(flags=0, seq=0, channels={}, heard={}, empty_since=connection.opened)
        server = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        event = {"event": "info", "version": 2, "serverId": server, "platform": {"status": 1}}
        self.say(connection, orjson.dumps(event))

    def on_text(self, connection: Connection, text: str) -> None:
        request = parsed(text)
        event = request.get("event") if isinstance(request, dict) else None
        match event:
            case "ping":
                answer = {"event": "pong", "ts": self.clock.now_ms()}
                self.say(
                    connection, orjson.dumps(answer | ({"cid": request["cid"]} if "cid" in request else {}))
                )
            case "conf":
                self._configure(connection, request.get("flags"))
            case "subscribe":
                self._subscribe(connection, request)
            case "unsubscribe":
                self._unsubscribe(connection, request.get("chanId"))
            case _:
                self._error(connection, 10000, "unknown event")

    def _error(self, connection: Connection, code: int, message: str, **more: Any) -> None:
        self.say(connection, orjson.dumps({"event": "error", "msg": message, "code": code, **more}))

    def _configure(self, connection: Connection, flags: Any) -> None:
        if not isinstance(flags, int) or flags & ~(_TIMESTAMP | _SEQ_ALL | _OB_CHECKSUM):
            self._error(connection, 10000, "flags: invalid")
            return
        connection.state["flags"] = flags
        self.say(connection, orjson.dumps({"event": "conf", "status": "OK", "flags": flags}))

    def _subscribe(self, connection: Connection, request: dict[str, Any]) -> None:
        name, length = str(request.get("symbol", "")), str(request.get("len", "25"))
        book = self.by_name.get(name) or self.by_name.get(f"t{name}")
        asked = {
            key: request[key] for key in ("channel", "symbol", "prec", "freq", "subId") if key in request
        }
        wrong = next(
            (
                field
                for field, right in (
                    ("channel", request.get("channel") == "book"),
                    ("symbol", book is not None),
                    ("prec", request.get("prec", "P0") == "P0"),
                    ("freq", request.get("freq", "F0") == "F0"),
                    ("len", length in map(str, _LENGTHS)),
                )
                if not right
            ),
            None,
        )
        if book is None or wrong is not None or self.refused(book.symbol):
            self._error(connection, 10300, f"{wrong or 'symbol'}: invalid", **asked, len=length)
            return
        topic = Topic("book", book.symbol, int(length))
        channels = connection.state["channels"]
        if topic in connection.topics:
            self._error(connection, 10301, "subscribe: dup", **asked, chanId=channels[_key(topic)])
            return
        if self.limits and len(connection.topics) >= _CHANNELS_MAX:
            self._error(connection, 10305, "subscribe: limit", **asked)
            return
        number = self.random.randrange(1, 1_000_000)
        while number in channels.values():
            number += 1
        channels[_key(topic)] = number
        connection.state["heard"][_key(topic)] = time.monotonic()
        answer = {"event": "subscribed", "channel": "book", "chanId": number, "symbol": book.name}
        answer.update(prec="P0", freq="F0", len=length)
        answer.update({"subId": request["subId"]} if "subId" in request else {})
        said = orjson.dumps({**answer, "pair": book.name[1:]})
        state: _State = book.state
        state.views.open(topic, topic.depth, 0)
        state.checks.setdefault(topic, _Check())
        if self.chosen["subscribed"] == "first":
            self.say(connection, said)
        self.subscribe(connection, topic)
        if self.chosen["subscribed"] == "late":
            # it happens: data of a channel that the client does not know yet
            self.say(connection, said)

    def _unsubscribe(self, connection: Connection, number: Any) -> None:
        for topic in connection.topics:
            if connection.state["channels"].get(_key(topic)) == number:
                self.unsubscribe(connection, topic)
                self.say(
                    connection, orjson.dumps({"event": "unsubscribed", "status": "OK", "chanId": number})
                )
                return
        self._error(connection, 10400, "unsubscribe: invalid", chanId=number)

    def unsubscribe(self, connection: Connection, topic: Topic) -> bool:
        connection.state["channels"].pop(_key(topic), None)
        connection.state["heard"].pop(_key(topic), None)
        connection.state["empty_since"] = time.monotonic()
        return super().unsubscribe(connection, topic)

    def notice(self, connection: Connection) -> None:
        message = {"event": "info", "code": 20051, "msg": "Stopping. Please try to reconnect"}
        self.say(connection, orjson.dumps(message))

    # --- numbers of a connection

    def number(self, connection: Connection, payload: bytes) -> bytes:
        if payload[:1] != b"#":
            return payload  # events have no number
        _, key, content = payload.split(b"#", 2)
        state = connection.state
        state["heard"][key.decode()] = time.monotonic()
        flags, end = state["flags"], b"]"
        if flags & _TIMESTAMP:
            end = b",%d]" % self.clock.now_ms()
        if flags & _SEQ_ALL:
            state["seq"] += 1
            end = b",%d" % state["seq"] + end
        return b"[%d," % state["channels"][key.decode()] + content + end

    def skip(self, connection: Connection, count: int) -> None:
        if connection.state["flags"] & _SEQ_ALL:
            connection.state["seq"] += count

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        rows = self._rows(self.books[topic.symbol], topic.depth)
        return f"#{_key(topic)}#[{','.join(rows)}]".encode()

    def _rows(self, book: SimulatedBook, depth: int) -> list[str]:
        return [
            self._row(book, Change(number, *row, 0))
            for number in (BID, ASK)
            for row in book.flow.book.sides[number].top(depth)
        ]

    def _row(self, book: SimulatedBook, change: Change) -> str:
        """Count 0 deletes; the amount then says no more than the side."""
        sign = "" if change.side == BID else "-"
        price = javascript(change.price, book.instrument.price_decimals)
        if change.quantity == 0:
            return f"[{price},0,{sign}1]"
        amount = javascript(change.quantity, book.instrument.quantity_decimals)
        return f"[{price},{change.orders},{sign}{amount}]"

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        state: _State = book.state
        self._tell(book, [topic for topic, check in state.checks.items() if check.owed is not None])
        batch: Batch = []
        for topic, _, shown in state.views.shift(changes, self.topics):
            # what goes away first: the book is neither crossed nor longer than its window in between
            rows = [self._row(book, each) for each in sorted(shown, key=lambda each: each.quantity > 0)]
            if not rows:
                continue
            if marks.crossed:
                rows.append(self._row(book, self.crossing(book)))
            if marks.malformed:
                rows.append('["not-a-price",1,1]')
            batch += [(topic, f"#{_key(topic)}#{row}".encode()) for row in rows]
            check = state.checks[topic]
            check.changed = True
            if marks.wrong_checksum:
                check.owed = self._checksum(book, topic.depth) ^ 1
            if marks.zero_checksum:
                check.owed = 0
        return batch

    def _checksum(self, book: SimulatedBook, depth: int) -> int:
        """CRC-32 of price and amount of the best 25 levels, bid and ask by turns, as a signed number."""
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        tops = [side.top(min(depth, _CHECKED_LEVELS)) for side in book.flow.book.sides]
        parts = [
            f"{javascript(top[index][0], price)}:{sign}{javascript(top[index][1], quantity)}"
            for index in range(_CHECKED_LEVELS)
            for sign, top in zip(("", "-"), tops, strict=True)
            if index < len(top)
        ]
        crc = zlib.crc32(":".join(parts).encode())
        return crc - (1 << 32) if crc >= 1 << 31 else crc

    def _tell(self, book: SimulatedBook, topics: list[Topic]) -> None:
        """Send the checksums of topics, as owed or as of now, to those who asked for them."""
        for topic in topics:
            check = book.state.checks[topic]
            value = self._checksum(book, topic.depth) if check.owed is None else check.owed
            check.owed, check.changed, check.told_at = None, False, time.monotonic()
            if self.silent(book.symbol):
                continue
            for connection in self.topics.get(topic, {}).values():
                hushed = (connection.number, topic) in self.muted or topic in connection.waiting
                if connection.state["flags"] & _OB_CHECKSUM and not hushed:
                    self.say(connection, f'#{_key(topic)}#"cs",{value}')

    def second(self, connections: Iterable[Connection], now: float) -> None:
        for book in self.books.values():
            checks = book.state.checks
            for topic in [each for each in checks if each not in self.topics]:
                del checks[topic]
            due = [
                topic
                for topic, check in checks.items()
                if check.owed is not None or (check.changed and now - check.told_at >= _CHECKSUM_SECONDS)
            ]
            self._tell(book, due)
        for connection in connections:
            heard = connection.state["heard"]
            for key in [each for each, at in heard.items() if now - at >= _HEARTBEAT_SECONDS]:
                self.say(connection, f'#{key}#"hb"')
            if self.limits and not heard and now - connection.state["empty_since"] > _IDLE_SECONDS:
                connection.abort()

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"cs": self._checksum(book, _CHECKED_LEVELS)}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {"/v2/platform/status": lambda query: self._counted([1])}

    def route(self, path: str) -> Route | None:
        parts = path.split("/")[1:]
        if len(parts) == 3 and parts[:2] == ["v2", "conf"]:
            return lambda query: self._counted([self._list(label) for label in parts[2].split(",")])
        if len(parts) == 4 and parts[:2] == ["v2", "book"] and parts[3] == "P0":
            return lambda query: self._rest_book(parts[2], query)
        return None

    def _counted(self, body: Any) -> Reply:
        now = time.monotonic()
        self._requests = [*(each for each in self._requests if each > now - 60), now]
        if self.limits and len(self._requests) > _REST_PER_MINUTE:
            return Reply(self.rest_error(429), 429)
        return body if isinstance(body, Reply) else json_reply(body)

    def rest_error(self, status: int) -> bytes:
        return b'{"error":"ERR_RATE_LIMIT"}' if status == 429 else b'["error",10020,"request: invalid"]'

    def _list(self, label: str) -> list[Any]:
        pairs = [self._pair(book.instrument) for book in self.books.values()]
        no_more = [None] * 7
        if label == "pub:info:pair":
            names = [*pairs, "TESTBTC:TESTUSD"]
            return [[name, [None, None, None, "0.00004", "2000.0", *no_more]] for name in names]
        if label == "pub:info:pair:futures":
            return [["BTCF0:USTF0", [None, None, None, "0.00004", "100.0", *no_more[2:], 0.01, 0.005]]]
        if label == "pub:list:pair:exchange":
            return [*pairs, "TESTBTC:TESTUSD"]
        if label == "pub:list:currency":
            instruments = [book.instrument for book in self.books.values()]
            held = [code for each in instruments for code in (each.base, each.quote)]
            return list(dict.fromkeys(_CODES.get(code, code) for code in held))
        return [["UST", "USDt"]] if label == "pub:map:currency:sym" else []

    def _rest_book(self, name: str, query: Query) -> Reply:
        book, length = self.by_name.get(name), query.get("len", "25")
        if book is None or length not in map(str, _LENGTHS):
            return self._counted(Reply(b'["error",10020,"symbol: invalid"]', 500))
        return self._counted(Reply(f"[{','.join(self._rows(book, int(length)))}]".encode()))
