"""Coinbase Advanced Trade public WebSocket: channels level2 (data comes as `l2_data`) and heartbeats.

Protocol: Coinbase developer documentation (Advanced Trade WebSocket overview, channels, rate limits). Every
message of a connection carries the next `sequence_num`, over all channels; errors carry none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import orjson

from appliance.simulator.book import ASK, BID, Change
from appliance.simulator.connection import Connection, Topic
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook, json_reply
from appliance.simulator.faults import Marks
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import shortest

_FIRST_SUBSCRIBE_SECONDS = 5
_QUIET_SECONDS = 90
_MESSAGES_PER_SECOND = 8
_HERE = b"\x00"  # where the connection's number goes
_HEARTBEATS = Topic("heartbeats")


class Coinbase(Exchange):
    """Full books, nothing falls out of a window; X-USDC is another name of X-USD."""

    id: ClassVar[str] = "coinbase"
    default_quote: ClassVar[str] = "USD"
    websocket_path: ClassVar[str] = "/"
    numbered: ClassVar[bool] = True

    @classmethod
    def adapt(cls, instrument: Instrument) -> Instrument:
        return replace(instrument, quantity_decimals=8)

    def native(self, instrument: Instrument) -> str:
        return f"{instrument.base}-{instrument.quote}"

    def prepare(self, book: SimulatedBook) -> None:
        """No ids of its own: messages are numbered per connection."""

    def accepts(self, path: str) -> bool:
        return path == self.websocket_path

    # --- numbering

    def number(self, connection: Connection, payload: bytes) -> bytes:
        if _HERE not in payload[:120]:
            return payload
        number = connection.state["next"]
        connection.state["next"] = number + 1
        return payload.replace(_HERE, str(number).encode(), 1)

    def skip(self, connection: Connection, count: int) -> None:
        connection.state["next"] += count

    def _head(self, channel: str) -> str:
        return f'{{"channel":"{channel}","timestamp":"{self.clock.iso(9)}","sequence_num":\0,"events":['

    # --- conversation

    def on_open(self, connection: Connection, query: Query) -> None:
        connection.state.update(next=0, beats=0, subscribed=False)

    def on_text(self, connection: Connection, text: str) -> None:
        if self.limits and len(connection.received_at) > _MESSAGES_PER_SECOND:
            self._error(connection, "rate limit exceeded")
            return
        try:
            request = orjson.loads(text)
        except orjson.JSONDecodeError:
            self._error(connection, "Malformed JSON")
            return
        kind = request.get("type") if isinstance(request, dict) else None
        channel = request.get("channel") if isinstance(request, dict) else None
        names = request.get("product_ids") or [] if isinstance(request, dict) else []
        if kind not in ("subscribe", "unsubscribe"):
            self._error(connection, "Unknown message type")
        elif channel == "heartbeats":
            self._change(connection, kind, [_HEARTBEATS])
        elif channel == "level2":
            self._level2(connection, kind, names)
        else:
            self._error(connection, f"channel {channel} does not exist or needs authentication")

    def _error(self, connection: Connection, message: str) -> None:
        self.say(connection, orjson.dumps({"type": "error", "message": message}))

    def _find(self, name: str) -> SimulatedBook | None:
        """A product by its name or by its alias."""
        if name not in self.by_name and name.endswith("-USDC"):
            name = name[:-1]
        return self.by_name.get(name)

    def _level2(self, connection: Connection, kind: str, names: Any) -> None:
        if kind == "unsubscribe" and not names:
            self._change(connection, kind, [each for each in connection.topics if each.channel == "level2"])
            return
        topics = []
        for name in names if isinstance(names, list) else []:
            book = self._find(str(name))
            if book is None or (kind == "subscribe" and self.refused(book.symbol)):
                self._error(connection, f"{name} is not a valid product")
                return
            topics.append(Topic("level2", book.symbol))
        if not topics:
            self._error(connection, "product_ids missing")
            return
        self._change(connection, kind, topics)

    def _change(self, connection: Connection, kind: str, topics: list[Topic]) -> None:
        connection.state["subscribed"] = True
        for topic in topics:
            if kind == "unsubscribe":
                self.unsubscribe(connection, topic)
            else:
                # subscribing again brings a new snapshot
                self.subscribe(connection, topic)
        held: dict[str, list[str]] = {}
        for topic in connection.topics:
            if topic.symbol:
                held.setdefault(topic.channel, []).append(self.books[topic.symbol].name)
            else:
                held[topic.channel] = [topic.channel]
        event = orjson.dumps({"subscriptions": held}).decode()
        self.say(connection, f"{self._head('subscriptions')}{event}]}}")

    # --- messages

    def snapshot(self, topic: Topic) -> bytes | None:
        if topic is _HEARTBEATS or topic.channel == "heartbeats":
            return None
        book = self.books[topic.symbol]
        rows = [
            Change(number, *row, 0) for number in (BID, ASK) for row in book.flow.book.sides[number].top()
        ]
        return self._message(book, "snapshot", rows, Marks())

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        topic = Topic("level2", book.symbol)
        if topic not in self.topics:
            return []
        shown = [*changes, self.crossing(book)] if marks.crossed else changes
        return [(topic, self._message(book, "update", shown, marks))]

    def _message(self, book: SimulatedBook, kind: str, changes: list[Change], marks: Marks) -> bytes:
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        when = self.clock.iso()
        sides = tuple(f'{{"side":"{side}","event_time":"{when}","price_level":"' for side in ("bid", "offer"))
        rows = [
            f'{sides[each.side]}{shortest(each.price, price)}","new_quantity":"'
            f'{shortest(each.quantity, quantity)}"}}'
            for each in changes
        ]
        if marks.malformed:
            rows.insert(0, f'{sides[0]}not-a-price","new_quantity":"1"}}')
        return (
            f'{self._head("l2_data")}{{"type":"{kind}","product_id":"{book.name}",'
            f'"updates":[{",".join(rows)}]}}]}}'
        ).encode()

    def second(self, connections: Iterable[Connection], now: float) -> None:
        for connection in connections:
            if _HEARTBEATS in connection.topics:
                beat = connection.state["beats"]
                connection.state["beats"] = beat + 1
                current = self.clock.iso(9).replace("T", " ").replace("Z", "+00:00")
                event = f'{{"current_time":"{current}","heartbeat_counter":{beat}}}'
                self.say(connection, f"{self._head('heartbeats')}{event}]}}")
            elif self.limits and now - max(connection.last_sent, connection.last_received) > _QUIET_SECONDS:
                connection.close(1000, "no messages")
            late = now - connection.opened > _FIRST_SUBSCRIBE_SECONDS
            if self.limits and late and not connection.state["subscribed"]:
                connection.close(1000, "no subscription within 5 s")

    def restart(self, book: SimulatedBook) -> None:
        """A bounce on the server's side: a snapshot comes again on the same connection."""
        topic = Topic("level2", book.symbol)
        payload = self.snapshot(topic)
        for connection, raw in self.frames([(topic, payload)] if payload else []):
            connection.send(raw)

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {}

    # --- REST

    def routes(self) -> dict[str, Route]:
        market = "/api/v3/brokerage/market"
        return {
            f"{market}/products": self._products,
            f"{market}/product_book": self._product_book,
            "/api/v3/brokerage/time": lambda query: json_reply(
                {"iso": self.clock.iso(0)[:19] + "Z", "epochMillis": str(self.clock.now_ms())}
            ),
            "/v2/currencies": self._currencies,
            "/v2/currencies/crypto": self._crypto,
            "/v2/exchange-rates": self._rates,
            **{f"{market}/products/{row['product_id']}": partial(self._product, row) for row in self._rows()},
        }

    def rest_error(self, status: int) -> bytes:
        name = {404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 451: "PERMISSION_DENIED"}.get(
            status, "UNAVAILABLE"
        )
        return orjson.dumps({"error": name, "code": status, "message": name.lower().replace("_", " ")})

    def _products(self, query: Query) -> Reply:
        rows = self._rows() if query.get("product_type", "SPOT") == "SPOT" else []
        offset, limit = query.get("offset", "0"), query.get("limit", "1000")
        if not offset.isdecimal() or not limit.isdecimal():
            return json_reply({"error": "INVALID_ARGUMENT", "message": "limit and offset are numbers"}, 400)
        page = rows[int(offset) : int(offset) + int(limit)]
        return json_reply({"products": page, "num_products": len(rows)})

    def _product(self, row: dict[str, Any], query: Query) -> Reply:
        return json_reply(row)

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for book in self.books.values():
            rows.append(self._row(book.instrument))
            alias = replace(book.instrument, quote="USDC")
            if book.instrument.quote == "USD" and self.native(alias) not in self.by_name:
                rows[-1]["alias_to"] = [self.native(alias)]
                rows.append({**self._row(alias), "alias": book.name})
        halted = Instrument("HALTED", self.default_quote, 4, 8, 10_000)
        rows.append({**self._row(halted), "trading_disabled": True, "cancel_only": True})
        return rows

    def _row(self, instrument: Instrument) -> dict[str, Any]:
        flags = ("watched", "is_disabled", "new", "cancel_only", "limit_only", "post_only")
        more_flags = ("trading_disabled", "auction_mode", "view_only")
        return {
            "product_id": self.native(instrument),
            "price": shortest(instrument.start, instrument.price_decimals),
            "price_percentage_change_24h": "0.5",
            "volume_24h": "1000",
            "volume_percentage_change_24h": "1.5",
            "base_increment": instrument.step_text,
            "quote_increment": instrument.tick_text,
            "quote_min_size": "1",
            "quote_max_size": "150000000",
            "base_min_size": instrument.step_text,
            "base_max_size": "3400",
            "base_name": instrument.base,
            "quote_name": instrument.quote,
            **dict.fromkeys((*flags, *more_flags), False),
            "status": "online",
            "product_type": "SPOT",
            "quote_currency_id": instrument.quote,
            "base_currency_id": instrument.base,
            "fcm_trading_session_details": None,
            "mid_market_price": "",
            "alias": "",
            "alias_to": [],
            "base_display_symbol": instrument.base,
            "quote_display_symbol": instrument.quote,
            "price_increment": instrument.tick_text,
            "display_name": self.native(instrument),
            "product_venue": "CBE",
        }

    def _product_book(self, query: Query) -> Reply:
        book, limit = self._find(query.get("product_id", "")), query.get("limit", "1000000")
        if book is None or not limit.isdecimal():
            return json_reply({"error": "INVALID_ARGUMENT", "message": "product_id or limit"}, 400)
        price, quantity = book.instrument.price_decimals, book.instrument.quantity_decimals
        bids, asks = (
            [
                {"price": shortest(row[0], price), "size": shortest(row[1], quantity)}
                for row in side.top(int(limit))
            ]
            for side in book.flow.book.sides
        )
        sides = {"product_id": book.name, "bids": bids, "asks": asks, "time": self.clock.iso()}
        return json_reply({"pricebook": sides})

    def _bases(self) -> list[str]:
        return list(dict.fromkeys(book.instrument.base for book in self.books.values()))

    def _currencies(self, query: Query) -> Reply:
        names = {"USD": "US Dollar", "EUR": "Euro", "GBP": "British Pound"}
        rows = [{"id": each, "name": name, "min_size": "0.01"} for each, name in names.items()]
        return json_reply({"data": rows})

    def _crypto(self, query: Query) -> Reply:
        rows = [
            {
                "asset_id": f"00000000-0000-4000-8000-{number:012d}",
                "code": base,
                "name": base,
                "color": "#0433FF",
                "sort_index": number,
                "exponent": 8,
                "type": "crypto",
                "address_regex": "^[0-9a-zA-Z]{20,80}$",
            }
            for number, base in enumerate([*self._bases(), "USDC", "USDT"])
        ]
        return json_reply({"data": rows})

    def _rates(self, query: Query) -> Reply:
        rates = dict.fromkeys(self._bases(), "0.001")
        return json_reply({"data": {"currency": "USD", "rates": {**rates, "USD": "1.0"}}})
