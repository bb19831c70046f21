"""Mars, an exchange invented for docs/add-an-exchange.md, as its documentation would tell it."""

from __future__ import annotations

from typing import Any, ClassVar

import orjson

from appliance.simulator.book import Change
from appliance.simulator.connection import Connection, Topic
from appliance.simulator.exchange import Batch, Exchange, Query, Reply, Route, SimulatedBook, json_reply
from appliance.simulator.faults import Marks
from appliance.simulator.instruments import Instrument
from appliance.simulator.numbers import fixed


class Mars(Exchange):
    """Every change of the whole book, numbered by market."""

    id: ClassVar[str] = "mars"
    websocket_path: ClassVar[str] = "/books"

    def native(self, instrument: Instrument) -> str:
        return f"{instrument.base}/{instrument.quote}"

    def prepare(self, book: SimulatedBook) -> None:
        book.state = 1000

    def accepts(self, path: str) -> bool:
        return path == "/books"

    def routes(self) -> dict[str, Route]:
        return {"/markets": self._markets}

    def _markets(self, query: Query) -> Reply:
        return json_reply(
            [
                {
                    "market": book.name,
                    "open": True,
                    "tick": book.instrument.tick_text,
                    "step": book.instrument.step_text,
                }
                for book in self.books.values()
            ]
        )

    def on_text(self, connection: Connection, text: str) -> None:
        asked = orjson.loads(text)
        unknown = [name for name in asked["markets"] if name not in self.by_name]
        if unknown:
            self._answer(connection, asked["id"], "error", f"no market {unknown[0]}")
            return
        self._answer(connection, asked["id"], asked["do"])
        for name in asked["markets"]:
            topic = Topic("book", self.by_name[name].symbol)
            if asked["do"] == "follow":
                self.subscribe(connection, topic)
            else:
                self.unsubscribe(connection, topic)

    def _answer(self, connection: Connection, number: int, did: str, why: str = "") -> None:
        self.say(connection, orjson.dumps({"did": did, "id": number, **({"why": why} if why else {})}))

    def snapshot(self, topic: Topic) -> bytes | None:
        book = self.books[topic.symbol]
        return self._message(book, self.top(book), whole=True)

    def encode(self, book: SimulatedBook, changes: list[Change], marks: Marks) -> Batch:
        book.state += 1
        return [(Topic("book", book.symbol), self._message(book, changes, malformed=marks.malformed))]

    def _message(self, book: SimulatedBook, changes: list[Change], **how: bool) -> bytes:
        row = book.instrument
        bids, asks = (
            [
                [fixed(each.price, row.price_decimals), fixed(each.quantity, row.quantity_decimals)]
                for each in side
            ]
            for side in self.split(changes)
        )
        if how.get("malformed"):
            bids.append(["not-a-price", "1"])
        told: dict[str, Any] = {"m": book.name, "n": book.state, "t": self.clock.now_ms()}
        whole = {"whole": True} if how.get("whole") else {}
        return orjson.dumps({**told, **whole, "b": bids, "a": asks})

    def sequence(self, book: SimulatedBook) -> dict[str, Any]:
        return {"n": book.state}

    def rest_error(self, status: int) -> bytes:
        return orjson.dumps({"error": status})
