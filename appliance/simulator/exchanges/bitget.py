"""Bitget spot: channel `books` of the classic WebSocket (v2) and of the unified one (v3), chain by pseq/seq.

Protocol: Bitget API documentation, classic and UTA, and messages recorded between 2024 and 2026: the option
`form` chooses among the generations that were seen. The REST book has no sequence number.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change
from appliance.simulator.connection import Connection, Topic
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook, json_reply
from appliance.simulator.faults import Marks
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import shortest
from appliance.simulator.texts import pairs, parsed, spoilt
from appliance.simulator.views import View, Views

_CLASSIC, _UNIFIED = "/v2/ws/public", "/v3/ws/public"
_DEPTHS = {_CLASSIC: 200, _UNIFIED: 1000}
_WHOLE = {"books1": 1, "books5": 5, "books15": 15}
_CHECKED_LEVELS = 25
_REST_DEPTH_MAX = 150
_SILENT_SECONDS = 120
_MESSAGES_PER_SECOND = 10
_SUBSCRIPTIONS_PER_HOUR = 240
_CHANNELS_MAX = 1000
_REQUEST_BYTES_MAX = 4096
_UNIFIED_ARGUMENTS_MAX = 25
# which of the two proofs a push carries, by the time it was recorded
_FORMS = {
    "2026-09": ("seq", "pseq"),
    "2026-04": ("checksum", "seq", "pseq"),
    "2025": ("checksum", "seq"),
    "2024": ("checksum",),
}


class _State:
    """`seq` is the matching engine's newest number; it rises in steps of any size."""

    def __init__(self, book: SimulatedBook, seq: int) -> None:
        self.views = Views(book.flow.book)
        self.seq = seq


class Bitget(Exchange):
    """A topic's `variant` is the path it was asked for on: the two generations have messages of their own."""

    id: ClassVar[str] = "bitget"
    websocket_path: ClassVar[str] = _UNIFIED
    has_checksum: ClassVar[bool] = True
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"form": tuple(_FORMS)}

    def native(self, instrument: Instrument) -> str:
        return instrument.base + instrument.quote

    def prepare(self, book: SimulatedBook) -> None:
        book.state = _State(book, 451_000_000_000 + self.random.randrange(10**9))

    def accepts(self, path: str) -> bool:
        return path in _DEPTHS

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        noise = self.random.getrandbits(128).to_bytes(16, "big").hex()
        connection.state.update(operations=[], pinged=connection.opened)
        connection.state["conn_id"] = f"{noise[:16]}-{noise[16:24]}-{noise[24:]}"

    def on_text(self, connection: Connection, text: str) -> None:
        if text == "ping":
            connection.state["pinged"] = time.monotonic()
            self.say(connection, "pong")
            return
        if self.limits and len(connection.received_at) > _MESSAGES_PER_SECOND:
            self._error(connection, 30007, "request over limit,connection close")
            connection.close(1008, "too many messages")
            return
        request = parsed(text)
        operation = request.get("op") if isinstance(request, dict) else None
        arguments = request.get("args") if isinstance(request, dict) else None
        if operation not in ("subscribe", "unsubscribe"):
            self._error(connection, 30003, "Invalid op")
        elif not isinstance(arguments, list) or (self.limits and len(text.encode()) > _REQUEST_BYTES_MAX):
            self._error(connection, 30016, "Param error", operation=operation)
        elif self.limits and self._cut_by_size(connection, arguments):
            connection.abort()
        else:
            for argument in arguments:
                self._one(connection, operation, argument)

    def _cut_by_size(self, connection: Connection, arguments: list[Any]) -> bool:
        """The unified server drops the connection of a frame with too many arguments."""
        return connection.path == _UNIFIED and len(arguments) >= _UNIFIED_ARGUMENTS_MAX

    def _over_budget(self, connection: Connection) -> bool:
        now, operations = time.monotonic(), connection.state["operations"]
        operations[:] = [each for each in operations if each > now - 3600]
        operations.append(now)
        return len(operations) > _SUBSCRIPTIONS_PER_HOUR or len(connection.topics) >= _CHANNELS_MAX

    def _one(self, connection: Connection, operation: str, argument: Any) -> None:
        keys = ("topic", "symbol", "spot") if connection.path == _UNIFIED else ("channel", "instId", "SPOT")
        if not isinstance(argument, dict):
            self._error(connection, 30016, "Param error", operation=operation)
            return
        channel, book = argument.get(keys[0]), self.by_name.get(str(argument.get(keys[1])))
        if channel not in ("books", *_WHOLE):
            self._error(connection, 30016, "Param error", argument, operation)
            return
        if self.limits and operation == "subscribe" and self._over_budget(connection):
            self._error(connection, 30006, "Too many requests", argument, operation)
            return
        if book is None or (operation == "subscribe" and self.refused(book.symbol)):
            named = f"instType:{argument.get('instType')},channel:{channel},instId:{argument.get('instId')}"
            if connection.path == _UNIFIED:
                named = orjson.dumps(argument, option=orjson.OPT_SORT_KEYS).decode()
            else:
                named += ",precision:null"
            self._error(connection, 30001, f"{named} doesn't exist", argument, operation)
            return
        answer = {"event": operation, "arg": argument}
        if connection.path == _UNIFIED:
            answer["connId"] = connection.state["conn_id"]
        self.say(connection, orjson.dumps(answer))
        topic = Topic(str(channel), book.symbol, _WHOLE.get(str(channel), 0), connection.path)
        if argument.get("instType") != keys[2]:
            return  # acknowledged, and nothing ever comes
        if operation == "unsubscribe":
            self.unsubscribe(connection, topic)
        elif topic not in connection.topics:
            self._view(book, topic)
            self.subscribe(connection, topic)

    def _error(
        self,
        connection: Connection,
        code: int,
        message: str,
        argument: dict[str, Any] | None = None,
        operation: str | None = None,
    ) -> None:
        answer: dict[str, Any] = {"event": "error"}
        if connection.path == _UNIFIED:
            answer.update(code=code, msg=message, connId=connection.state["conn_id"])
        else:
            if argument is not None:
                answer["arg"] = argument
            answer.update(code=code, msg=message)
            if operation is not None:
                answer["op"] = operation
        self.say(connection, orjson.dumps(answer))

    def second(self, connections: Iterable[Connection], now: float) -> None:
        """Data may flow as it likes: who does not ping is cut."""
        for connection in connections:
            if self.limits and now - connection.state["pinged"] > _SILENT_SECONDS:
                connection.close(1000)

    # --- messages

    def _view(self, book: SimulatedBook, topic: Topic) -> View:
        state: _State = book.state
        return state.views.open(topic, topic.depth or _DEPTHS[topic.variant], state.seq)

    def snapshot(self, topic: Topic) -> bytes | None:
        book = self.books[topic.symbol]
        view, depth = self._view(book, topic), topic.depth or _DEPTHS[topic.variant]
        sides = [
            [Change(number, *row, 0) for row in book.flow.book.sides[number].top(depth)]
            for number in (BID, ASK)
        ]
        return self._message(book, topic, "snapshot", sides, (view.last, 0), Marks())

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        state: _State = book.state
        state.seq += 15 + self.random.randrange(5000)
        batch: Batch = []
        for topic, view, shown in state.views.shift(changes, self.topics):
            if not shown:
                continue
            previous, view.last = view.last, state.seq
            if topic.depth:
                whole = self.snapshot(topic)
                batch.append((topic, whole or b""))
                continue
            if marks.crossed:
                shown = [*shown, self.crossing(book)]
            ids = (state.seq, previous)
            batch.append((topic, self._message(book, topic, "update", list(self.split(shown)), ids, marks)))
        return batch

    def _message(
        self,
        book: SimulatedBook,
        topic: Topic,
        action: str,
        sides: list[list[Change]],
        ids: tuple[int, int],
        marks: Marks,
    ) -> bytes:
        bids, asks = (self._levels(book, side) for side in sides)
        if marks.malformed:
            bids = spoilt(bids)
        now = self.clock.now_ms()
        proofs = _FORMS[self.chosen["form"]]
        fields = {"ts": f'"{now - 2}"', "checksum": "", "seq": str(ids[0]), "pseq": str(ids[1])}
        if "checksum" in proofs or marks.wrong_checksum or marks.zero_checksum:
            # 0 stands for "not computed": snapshots and whole pushes never carry a sum
            sum_of_update = self._checksum(book, marks) if action == "update" else 0
            fields["checksum"] = str(sum_of_update)
        for name in {"seq", "pseq"} - set(proofs):
            fields[name] = ""
        if topic.variant == _UNIFIED:
            order: tuple[str, ...] = ("checksum", "seq", "pseq", "ts")
            argument = f'"instType":"spot","topic":"{topic.channel}","symbol":"{book.name}"'
            levels = f'"a":[{asks}],"b":[{bids}]'
            end = ',"maxdepth":"1000"' if proofs == _FORMS["2026-09"] and not topic.depth else ""
        else:
            order = ("checksum", "ts") if proofs == ("checksum",) else ("ts", "checksum", "seq", "pseq")
            argument = f'"instType":"SPOT","channel":"{topic.channel}","instId":"{book.name}"'
            levels = f'"asks":[{asks}],"bids":[{bids}]'
            end = ""
        rest = "".join(f',"{name}":{fields[name]}' for name in order if fields[name])
        return (
            f'{{"action":"{action}","arg":{{{argument}}},"data":[{{{levels}{rest}{end}}}],"ts":{now}}}'
        ).encode()

    def _levels(self, book: SimulatedBook, changes: list[Change]) -> str:
        best_first = sorted(changes, key=lambda each: each.price if each.side == ASK else -each.price)
        return pairs(book.instrument, best_first)

    def _checksum(self, book: SimulatedBook, marks: Marks) -> int:
        """CRC-32 of the best 25 levels' texts, bid and ask by turns, as a signed number."""
        if marks.zero_checksum:
            return 0
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        tops = [side.top(_CHECKED_LEVELS) for side in book.flow.book.sides]
        parts = [
            f"{shortest(top[index][0], price)}:{shortest(top[index][1], quantity)}"
            for index in range(_CHECKED_LEVELS)
            for top in tops
            if index < len(top)
        ]
        crc = zlib.crc32(":".join(parts).encode()) ^ (1 if marks.wrong_checksum else 0)
        return crc - (1 << 32) if crc >= 1 << 31 else crc

    def restart(self, book: SimulatedBook) -> None:
        """The numbers begin anew: an update with pseq 0."""
        state: _State = book.state
        state.seq = 1 + self.random.randrange(1000)
        for topic, view, _ in list(state.views.shift([], self.topics)):
            view.last = state.seq
            if not topic.depth:
                message = self._message(book, topic, "update", [[], []], (state.seq, 0), Marks())
                for connection, raw in self.frames([(topic, message)]):
                    connection.send(raw)

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"seq": book.state.seq}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "/api/v2/spot/market/orderbook": self._books,
            "/api/v2/spot/public/symbols": self._symbols,
            "/api/v2/spot/public/coins": lambda query: self._ok([]),
            "/api/v2/margin/currencies": lambda query: self._ok([]),
            "/api/v2/public/time": lambda query: self._ok({"serverTime": str(self.clock.now_ms())}),
        }

    def _ok(self, data: Any) -> Reply:
        now = self.clock.now_ms()
        return json_reply({"code": "00000", "msg": "success", "requestTime": now, "data": data})

    def rest_error(self, status: int) -> bytes:
        code, message = {404: ("40404", "Request URL NOT FOUND"), 429: ("429", "Too Many Requests")}.get(
            status, ("40725", "service return an error")
        )
        now = self.clock.now_ms()
        return orjson.dumps({"code": code, "msg": message, "requestTime": now, "data": None})

    def _books(self, query: Query) -> Reply:
        book = self.by_name.get(query.get("symbol", ""))
        limit = query.get("limit", str(_REST_DEPTH_MAX))
        if book is None:
            return Reply(orjson.dumps({"code": "40034", "msg": "Parameter does not exist"}), 400)
        if not limit.isdecimal() or int(limit) < 1 or query.get("type", "step0") != "step0":
            return Reply(orjson.dumps({"code": "40017", "msg": "Parameter verification failed"}), 400)
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        bids, asks = (
            [
                [shortest(row[0], price), shortest(row[1], quantity)]
                for row in side.top(min(int(limit), _REST_DEPTH_MAX))
            ]
            for side in book.flow.book.sides
        )
        return self._ok({"asks": asks, "bids": bids, "ts": str(self.clock.now_ms())})

    def _symbols(self, query: Query) -> Reply:
        rows = [self._row(book.instrument, "online") for book in self.books.values()]
        rows.append(self._row(Instrument("HALTED", self.default_quote, 4, 1, 10_000), "halt"))
        wanted = query.get("symbol")
        return self._ok([row for row in rows if wanted in (None, "", row["symbol"])])

    def _row(self, instrument: Instrument, status: str) -> dict[str, Any]:
        return {
            "symbol": self.native(instrument),
            "baseCoin": instrument.base,
            "quoteCoin": instrument.quote,
            "minTradeAmount": "0",
            "maxTradeAmount": "900000000000000000000",
            "takerFeeRate": "0.002",
            "makerFeeRate": "0.002",
            "pricePrecision": str(instrument.price_decimals),
            "quantityPrecision": str(instrument.quantity_decimals),
            "quotePrecision": str(instrument.price_decimals + instrument.quantity_decimals),
            "status": status,
            "minTradeUSDT": "1",
            "buyLimitPriceRatio": "0.05",
            "sellLimitPriceRatio": "0.05",
            "areaSymbol": "no",
            "orderQuantity": "200",
            "openTime": "1532454360000",
            "offTime": "",
        }
