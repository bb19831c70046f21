"""Kraken spot WebSocket v2: channels book, instrument and status, a CRC over the top ten in every message.

Protocol: Kraken documentation, WebSocket v2 pages and the guide "spot book checksum v2"; REST AssetPairs,
Assets and Depth. The client cuts the book to its depth itself: nothing is said of levels that fall out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change, Window
from appliance.simulator.connection import Connection, Topic
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook, json_reply
from appliance.simulator.faults import Marks
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import fixed
from appliance.simulator.texts import parsed, spoilt

_DEPTHS = (10, 25, 100, 500, 1000)
_CHECKED_LEVELS = 10
_REST_DEPTH_MAX = 500
_IDLE_SECONDS = 60
# old four-letter codes: (REST code, name in REST pair names)
_LEGACY = {
    "BTC": ("XXBT", "XBT"),
    "ETH": ("XETH", "ETH"),
    "XRP": ("XXRP", "XRP"),
    "LTC": ("XLTC", "LTC"),
    "DOGE": ("XXDG", "XDG"),
    "ETC": ("XETC", "ETC"),
    "USD": ("ZUSD", "USD"),
    "EUR": ("ZEUR", "EUR"),
    "GBP": ("ZGBP", "GBP"),
}


def checksum(asks: list[tuple[str, str]], bids: list[tuple[str, str]]) -> int:
    """CRC-32 of the best ten asks (low to high), then bids (high to low): price and quantity as text, without
    point and leading zeros."""
    parts = [
        text.replace(".", "").lstrip("0")
        for side in (asks, bids)
        for level in side[:_CHECKED_LEVELS]
        for text in level
    ]
    return zlib.crc32("".join(parts).encode())


@dataclass(slots=True)
class _Windows:
    """Windows by depth, while someone looks."""

    by_depth: dict[int, Window] = field(default_factory=dict)


class Kraken(Exchange):
    """No sequence numbers: the chain is the order of messages, and the checksum proves it."""

    id: ClassVar[str] = "kraken"
    websocket_path: ClassVar[str] = "/v2"
    has_checksum: ClassVar[bool] = True

    @classmethod
    def adapt(cls, instrument: Instrument) -> Instrument:
        if instrument.base == "BTC" and instrument.price_decimals == 2:
            return replace(instrument, price_decimals=1, start=instrument.start // 10, quantity_decimals=8)
        return replace(instrument, quantity_decimals=8)

    def native(self, instrument: Instrument) -> str:
        return f"{instrument.base}/{instrument.quote}"

    def prepare(self, book: SimulatedBook) -> None:
        book.state = _Windows()

    def accepts(self, path: str) -> bool:
        return path == self.websocket_path

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        number = (1 << 63) + self.random.getrandbits(62)
        self.say(
            connection,
            '{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online",'
            f'"api_version":"v2","connection_id":{number}}}]}}',
        )

    def on_text(self, connection: Connection, text: str) -> None:
        time_in = self.clock.iso()
        request = parsed(text)
        if not isinstance(request, dict):
            self._answer(connection, {}, time_in, error="Malformed request")
            return
        method, parameters = request.get("method"), request.get("params")
        if method == "ping":
            self._pong(connection, request, time_in)
        elif method not in ("subscribe", "unsubscribe") or not isinstance(parameters, dict):
            self._answer(connection, request, time_in, error="Unsupported method")
        elif parameters.get("channel") == "instrument":
            self._instrument(connection, request, time_in)
        elif parameters.get("channel") == "book":
            self._book(connection, request, parameters, time_in)
        else:
            self._answer(connection, request, time_in, error="Unsupported channel")

    def _pong(self, connection: Connection, request: dict[str, Any], time_in: str) -> None:
        number = {"req_id": request["req_id"]} if "req_id" in request else {}
        answer = {"method": "pong", **number, "time_in": time_in, "time_out": self.clock.iso()}
        self.say(connection, orjson.dumps(answer))

    def _answer(
        self,
        connection: Connection,
        request: dict[str, Any],
        time_in: str,
        *,
        result: dict[str, Any] | None = None,
        error: str | None = None,
        symbol: str | None = None,
    ) -> None:
        answer: dict[str, Any] = {} if error is None else {"error": error}
        if "method" in request:
            answer["method"] = request["method"]
        if "req_id" in request:
            answer["req_id"] = request["req_id"]
        if result is not None:
            answer["result"] = result
        answer["success"] = error is None
        if symbol is not None:
            answer["symbol"] = symbol
        answer.update(time_in=time_in, time_out=self.clock.iso())
        self.say(connection, orjson.dumps(answer))

    def _book(
        self, connection: Connection, request: dict[str, Any], parameters: dict[str, Any], time_in: str
    ) -> None:
        symbols, depth = parameters.get("symbol"), parameters.get("depth", 10)
        if not isinstance(symbols, list) or not symbols:
            self._answer(connection, request, time_in, error="Symbol(s) missing")
        elif depth not in _DEPTHS:
            self._answer(connection, request, time_in, error="Subscription depth not supported")
        else:
            wants_snapshot = parameters.get("snapshot", True) is not False
            for name in symbols:
                self._one(connection, request, str(name), depth, wants_snapshot, time_in)

    def _one(
        self,
        connection: Connection,
        request: dict[str, Any],
        name: str,
        depth: int,
        wants_snapshot: bool,
        time_in: str,
    ) -> None:
        book, subscribing = self.by_name.get(name), request["method"] == "subscribe"
        if book is None or (subscribing and self.refused(book.symbol)):
            error = f"Currency pair not supported {name}"
            self._answer(connection, request, time_in, error=error, symbol=name)
            return
        topic = Topic("book", book.symbol, depth)
        held = [each for each in connection.topics if each.channel == "book" and each.symbol == book.symbol]
        if subscribing and held:
            self._answer(connection, request, time_in, error="Already subscribed", symbol=name)
            return
        if not subscribing and topic not in held:
            self._answer(connection, request, time_in, error="Subscription Not Found", symbol=name)
            return
        result: dict[str, Any] = {"channel": "book", "depth": depth}
        if subscribing:
            result["snapshot"] = wants_snapshot
        result["symbol"] = name
        self._answer(connection, request, time_in, result=result)
        if not subscribing:
            self.unsubscribe(connection, topic)
        else:
            self.subscribe(connection, topic, snapshot=wants_snapshot)

    def _instrument(self, connection: Connection, request: dict[str, Any], time_in: str) -> None:
        topic = Topic("instrument")
        result = {"channel": "instrument", "snapshot": True}
        self._answer(connection, request, time_in, result=result)
        if request["method"] == "subscribe":
            self.subscribe(connection, topic)
        else:
            self.unsubscribe(connection, topic)

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        if topic.channel == "instrument":
            return self._instruments()
        book = self.books[topic.symbol]
        windows: _Windows = book.state
        if topic.depth not in windows.by_depth:
            windows.by_depth[topic.depth] = Window(book.flow.book, topic.depth, tell_leaving=False)
        sides = [
            [Change(number, *row, 0) for row in book.flow.book.sides[number].top(topic.depth)]
            for number in (BID, ASK)
        ]
        return self._message(book, "snapshot", sides[0], sides[1], self._checksum(book), Marks())

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        windows: _Windows = book.state
        batch: Batch = []
        proof: int | None = None
        for depth in _DEPTHS:
            topic = Topic("book", book.symbol, depth)
            if topic not in self.topics:
                windows.by_depth.pop(depth, None)
                continue
            if depth not in windows.by_depth:
                windows.by_depth[depth] = Window(book.flow.book, depth, tell_leaving=False)
                continue
            shown = windows.by_depth[depth].shift(changes)
            if not shown:
                continue
            if marks.crossed:
                shown = [*shown, self.crossing(book)]
            proof = self._checksum(book) if proof is None else proof
            bids, asks = self.split(shown)
            batch.append((topic, self._message(book, "update", bids, asks, proof, marks)))
        return batch

    def _checksum(self, book: SimulatedBook) -> int:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        bids, asks = (
            [(fixed(row[0], price), fixed(row[1], quantity)) for row in side.top(_CHECKED_LEVELS)]
            for side in book.flow.book.sides
        )
        return checksum(asks, bids)

    def _message(
        self, book: SimulatedBook, kind: str, bids: list[Change], asks: list[Change], proof: int, marks: Marks
    ) -> bytes:
        bid_text, ask_text = self._levels(book, bids), self._levels(book, asks)
        if marks.malformed:
            bid_text = spoilt(bid_text, '{"price":"not-a-price","qty":1.0}')
        if marks.wrong_checksum:
            proof ^= 1
        if marks.zero_checksum:
            proof = 0
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{book.name}","bids":[{bid_text}],'
            f'"asks":[{ask_text}],"checksum":{proof},"timestamp":"{self.clock.iso()}"}}]}}'
        ).encode()

    def _levels(self, book: SimulatedBook, changes: list[Change]) -> str:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        return ",".join(
            f'{{"price":{fixed(each.price, price)},"qty":{fixed(each.quantity, quantity)}}}'
            for each in changes
        )

    def second(self, connections: Iterable[Connection], now: float) -> None:
        for connection in connections:
            if connection.topics and now - connection.last_sent >= 1.0:
                self.say(connection, b'{"channel":"heartbeat"}')
            elif self.limits and not connection.topics and now - connection.last_received > _IDLE_SECONDS:
                connection.close(1001, "idle")

    def restart(self, book: SimulatedBook) -> None:
        """The exchange sends a fresh snapshot of its own accord."""
        for topic in [each for each in self.topics if each.symbol == book.symbol]:
            payload = self.snapshot(topic)
            for connection, raw in self.frames([(topic, payload)] if payload else []):
                connection.send(raw)

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"checksum": self._checksum(book)}

    # --- lists of what is traded

    def _names(self, instrument: Instrument) -> tuple[str, str, str, str]:
        """REST key, altname, base code, quote code."""
        base, quote = (_LEGACY.get(each, (each, each)) for each in (instrument.base, instrument.quote))
        altname = base[1] + quote[1]
        legacy = instrument.base in _LEGACY and instrument.quote in _LEGACY
        return (base[0] + quote[0] if legacy else altname), altname, base[0], quote[0]

    def _listed(self) -> list[tuple[Instrument, str]]:
        closed = Instrument("CLOSED", self.default_quote, 4, 8, 10_000)
        return [*((book.instrument, "online") for book in self.books.values()), (closed, "cancel_only")]

    def _assets(self) -> dict[str, dict[str, Any]]:
        rows = {}
        for instrument, _ in self._listed():
            for asset in (instrument.base, instrument.quote):
                code, altname = _LEGACY.get(asset, (asset, asset))
                fiat = code.startswith("Z") and asset in _LEGACY
                row = {"aclass": "currency", "altname": altname, "decimals": 4 if fiat else 10}
                rows[code] = {**row, "display_decimals": 2 if fiat else 5, "status": "enabled"}
        return rows

    def _instruments(self) -> bytes:
        assets = {asset for instrument, _ in self._listed() for asset in (instrument.base, instrument.quote)}
        pairs = []
        for instrument, status in self._listed():
            increment = float(instrument.tick_text)
            pairs.append(
                {
                    "symbol": self.native(instrument),
                    "base": instrument.base,
                    "quote": instrument.quote,
                    "status": status,
                    "qty_precision": instrument.quantity_decimals,
                    "qty_increment": float(instrument.step_text),
                    "price_precision": instrument.price_decimals,
                    "cost_precision": 5,
                    "marginable": False,
                    "has_index": True,
                    "cost_min": 0.5,
                    "tick_size": increment,
                    "price_increment": increment,
                    "qty_min": float(instrument.step_text) * 1000,
                }
            )
        rows = [
            {"id": asset, "status": "enabled", "precision": 10, "precision_display": 5, "borrowable": False}
            for asset in sorted(assets)
        ]
        data = {"assets": rows, "pairs": pairs}
        return orjson.dumps({"channel": "instrument", "type": "snapshot", "data": data})

    def routes(self) -> dict[str, Route]:
        return {
            "/0/public/AssetPairs": self._asset_pairs,
            "/0/public/Assets": lambda query: self._ok(self._assets()),
            "/0/public/Depth": self._depth,
            "/0/public/Time": lambda query: self._ok({"unixtime": self.clock.now_ns() // 10**9}),
            "/0/public/SystemStatus": lambda query: self._ok(
                {"status": "online", "timestamp": self.clock.iso(0)[:19] + "Z"}
            ),
        }

    def _ok(self, result: Any) -> Reply:
        return json_reply({"error": [], "result": result})

    def rest_error(self, status: int) -> bytes:
        text = {404: "EGeneral:Unknown method", 429: "EGeneral:Too many requests"}.get(status)
        return orjson.dumps({"error": [text or "EService:Unavailable"]})

    def _asset_pairs(self, query: Query) -> Reply:
        rows = {}
        for instrument, status in self._listed():
            key, altname, base, quote = self._names(instrument)
            names = [_LEGACY.get(each, (each, each))[1] for each in (instrument.base, instrument.quote)]
            wsname = "/".join(names)
            rows[key] = {
                "altname": altname,
                "wsname": wsname,
                "aclass_base": "currency",
                "base": base,
                "aclass_quote": "currency",
                "quote": quote,
                "lot": "unit",
                "cost_decimals": 5,
                "pair_decimals": instrument.price_decimals,
                "lot_decimals": instrument.quantity_decimals,
                "lot_multiplier": 1,
                "leverage_buy": [],
                "leverage_sell": [],
                "fees": [[0, 0.4]],
                "fees_maker": [[0, 0.25]],
                "fee_volume_currency": "ZUSD",
                "margin_call": 80,
                "margin_stop": 40,
                "ordermin": "0.00005",
                "costmin": "0.5",
                "tick_size": instrument.tick_text,
                "status": status,
            }
        wanted = query.get("pair")
        if wanted:
            chosen = {key: row for key, row in rows.items() if wanted in (key, row["altname"], row["wsname"])}
            return self._ok(chosen) if chosen else json_reply({"error": ["EQuery:Unknown asset pair"]})
        return self._ok(rows)

    def _depth(self, query: Query) -> Reply:
        wanted, count = query.get("pair", ""), query.get("count", "100")
        if not count.isdecimal() or not 1 <= int(count) <= _REST_DEPTH_MAX:
            return json_reply({"error": ["EGeneral:Invalid arguments:count"]})
        for book in self.books.values():
            key, altname, _, _ = self._names(book.instrument)
            if wanted in (key, altname):
                price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
                seconds = self.clock.now_ns() // 10**9
                bids, asks = (
                    [[fixed(row[0], price), fixed(row[1], quantity), seconds] for row in side.top(int(count))]
                    for side in book.flow.book.sides
                )
                return self._ok({key: {"asks": asks, "bids": bids}})
        return json_reply({"error": ["EQuery:Unknown asset pair"]})
