"""CoinEx v2 spot WebSocket: `depth.subscribe` of 5 to 50 levels, every frame gzip, a checksum on each push.

Protocol: CoinEx API v2 documentation (market depth, both languages), the vendor's demo, frames and probes
of September 2026. There is no sequence: what is lost shows in the CRC-32 of the whole book at its limit.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change, Window
from appliance.simulator.connection import Connection, Topic, binary_frame
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook, json_reply
from appliance.simulator.faults import Marks
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import fixed, shortest
from appliance.simulator.texts import parsed

_LIMITS = (5, 10, 20, 50)
_FULL, _DELTAS = "full", "deltas"
_IDLE_SECONDS = 60


@dataclass(slots=True)
class _Windows:
    """Windows of the limits that somebody looks at, and when the book last changed, ms."""

    updated: int
    windows: dict[int, Window] = field(default_factory=dict)


class Coinex(Exchange):
    """A market or a limit that does not exist is acknowledged like any other, and silent.

    Option `repeat`: seconds until the whole book comes again.
    """

    id: ClassVar[str] = "coinex"
    websocket_path: ClassVar[str] = "/v2/spot"
    has_checksum: ClassVar[bool] = True
    answers_pings: ClassVar[bool] = False
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"repeat": ("60", "10", "1")}

    @classmethod
    def adapt(cls, instrument: Instrument) -> Instrument:
        return replace(instrument, quantity_decimals=8)

    def native(self, instrument: Instrument) -> str:
        return instrument.base + instrument.quote

    def prepare(self, book: SimulatedBook) -> None:
        book.state = _Windows(self.clock.now_ms())

    def accepts(self, path: str) -> bool:
        return path.rstrip("/") == self.websocket_path

    def data_frame(self, payload: bytes) -> bytes:
        return binary_frame(gzip.compress(payload, 6))

    # --- conversation

    def on_text(self, connection: Connection, text: str) -> None:
        request = parsed(text)
        if not isinstance(request, dict) or not isinstance(request.get("params"), dict):
            number = request.get("id") if isinstance(request, dict) else None
            self._answer(connection, number, 20001, "invalid argument")
            return
        number, markets = request.get("id"), request["params"].get("market_list")
        match request.get("method"):
            case "server.ping":
                pong = {"id": number, "code": 0, "data": {"result": "pong"}, "message": "OK"}
                self.say(connection, orjson.dumps(pong))
            case "depth.subscribe" if isinstance(markets, list):
                self._answer(connection, number)
                for entry in markets:
                    self._subscribe(connection, entry)
            case "depth.unsubscribe" if isinstance(markets, list):
                self._answer(connection, number)
                symbols = {self.by_name[str(name)].symbol for name in markets if str(name) in self.by_name}
                for topic in list(connection.topics):
                    if topic.symbol in symbols or not markets:
                        self.unsubscribe(connection, topic)
            case "depth.subscribe" | "depth.unsubscribe":
                self._answer(connection, number, 20001, "invalid argument")
            case _:
                self._answer(connection, number, 20002, "unknown method")

    def _answer(self, connection: Connection, number: Any, code: int = 0, message: str = "OK") -> None:
        self.say(connection, orjson.dumps({"id": number, "code": code, "message": message}))

    def _subscribe(self, connection: Connection, entry: Any) -> None:
        market, limit, interval, full = entry if isinstance(entry, list) and len(entry) == 4 else [None] * 4
        book = self.by_name.get(str(market))
        if book is None or limit not in _LIMITS or interval != "0" or not isinstance(full, bool):
            return
        if self.refused(book.symbol):
            self._answer(connection, None, 24001, "internal error")
            return
        # pushes do not name their limit: a market has one subscription
        for topic in [each for each in connection.topics if each.symbol == book.symbol]:
            self.unsubscribe(connection, topic)
        self.subscribe(connection, Topic("depth", book.symbol, limit, _FULL if full else _DELTAS))

    def second(self, connections: Iterable[Connection], now: float) -> None:
        self.repeat_books(now, float(self.chosen["repeat"]))
        for connection in connections:
            if self.limits and now - connection.last_received > _IDLE_SECONDS:
                connection.abort()

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        book = self.books[topic.symbol]
        windows: dict[int, Window] = book.state.windows
        if topic.depth not in windows:
            windows[topic.depth] = Window(book.flow.book, topic.depth, tell_leaving=True)
        return self._message(book, topic.depth, self._top(book, topic.depth), Marks(), full=True)

    def _top(self, book: SimulatedBook, depth: int) -> list[Change]:
        sides = book.flow.book.sides
        return [Change(number, *row, 0) for number in (BID, ASK) for row in sides[number].top(depth)]

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        state: _Windows = book.state
        state.updated = self.clock.now_ms()
        batch: Batch = []
        for limit in _LIMITS:
            topics = {kind: Topic("depth", book.symbol, limit, kind) for kind in (_FULL, _DELTAS)}
            if not any(topic in self.topics for topic in topics.values()):
                state.windows.pop(limit, None)
                continue
            if limit not in state.windows:
                # subscribed while silent: the first push comes later
                state.windows[limit] = Window(book.flow.book, limit, tell_leaving=True)
                continue
            shown = state.windows[limit].shift(changes)
            if not shown:
                continue
            extra = [self.crossing(book)] if marks.crossed else []
            if topics[_DELTAS] in self.topics:
                message = self._message(book, limit, shown + extra, marks, full=False)
                batch.append((topics[_DELTAS], message))
            if topics[_FULL] in self.topics:
                message = self._message(book, limit, self._top(book, limit) + extra, marks, full=True)
                batch.append((topics[_FULL], message))
        return batch

    def _message(
        self, book: SimulatedBook, limit: int, changes: list[Change], marks: Marks, *, full: bool
    ) -> bytes:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        parts = []
        for name, side in zip(("asks", "bids"), reversed(self.split(changes)), strict=True):
            rows = [
                f'["{shortest(each.price, price)}","{self._size(each.quantity, quantity)}"]' for each in side
            ]
            if marks.malformed and name == "bids":
                rows.insert(0, '["not-a-price","1"]')
            # a side without changes may be missing
            if rows or full or self.random.random() < 0.5:
                parts.append(f'"{name}":[{",".join(rows)}]')
        parts.append(f'"last":"{shortest(book.flow.book.bids.best(), price)}"')
        parts.append(f'"updated_at":{book.state.updated},"checksum":{self._checksum(book, limit, marks)}')
        return (
            f'{{"method":"depth.update","data":{{"market":"{book.name}","is_full":{str(full).lower()},'
            f'"depth":{{{",".join(parts)}}}}},"id":null}}'
        ).encode()

    def _size(self, units: int, decimals: int) -> str:
        """All decimals, but a deletion is a bare 0."""
        return fixed(units, decimals) if units else "0"

    def _checksum(self, book: SimulatedBook, limit: int, marks: Marks) -> int:
        if marks.zero_checksum:
            return 0
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        text = ":".join(
            f"{shortest(row[0], price)}:{fixed(row[1], quantity)}"
            for side in book.flow.book.sides
            for row in side.top(limit)
        )
        return zlib.crc32(text.encode()) ^ (1 if marks.wrong_checksum else 0)

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"checksum": {str(limit): self._checksum(book, limit, Marks()) for limit in _LIMITS}}

    # --- REST

    def routes(self) -> dict[str, Route]:
        return {
            "/v2/spot/depth": self._depth,
            "/v2/spot/market": self._markets,
            "/v2/time": lambda query: self._ok({"timestamp": self.clock.now_ms()}),
            # asked for by clients that also know the coins and the contracts
            "/v2/futures/market": lambda query: self._ok([]),
            "/v2/assets/all-deposit-withdraw-config": lambda query: self._ok([]),
        }

    def _ok(self, data: Any, code: int = 0, message: str = "OK") -> Reply:
        return json_reply({"code": code, "data": data, "message": message})

    def rest_error(self, status: int) -> bytes:
        code, message = (4213, "rate limit exceeded") if status == 429 else (4001, "service unavailable")
        return orjson.dumps({"code": code, "data": {}, "message": message})

    def _depth(self, query: Query) -> Reply:
        book, limit = self.by_name.get(query.get("market", "")), query.get("limit", "")
        if book is None or limit not in map(str, _LIMITS) or query.get("interval") != "0":
            return self._ok({}, 3639, "Invalid Parameter")
        push = orjson.loads(self._message(book, int(limit), self._top(book, int(limit)), Marks(), full=True))
        return self._ok(push["data"])

    def _markets(self, query: Query) -> Reply:
        wanted = query.get("market")
        rows = [self._row(book.instrument, open_to_all=True) for book in self.books.values()]
        closed = Instrument("CLOSED", self.default_quote, 4, 8, 10_000)
        rows.append(self._row(closed, open_to_all=False))
        return self._ok([row for row in rows if wanted is None or row["market"] in wanted.split(",")])

    def _row(self, instrument: Instrument, *, open_to_all: bool) -> dict[str, Any]:
        return {
            "market": self.native(instrument),
            "taker_fee_rate": "0.002",
            "maker_fee_rate": "0.002",
            "min_amount": "0.0005",
            "base_ccy": instrument.base,
            "quote_ccy": instrument.quote,
            "base_ccy_precision": instrument.quantity_decimals,
            "quote_ccy_precision": instrument.price_decimals,
            "is_amm_available": False,
            "is_margin_available": False,
            "is_pre_trading_available": False,
            "is_api_trading_available": open_to_all,
        }
