"""The control API of a simulated exchange: what is true, freeze, step, and faults. Documented in
docs/simulator.md."""

from __future__ import annotations

from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from .exchange import SimulatedBook
from .faults import FaultError
from .numbers import shortest

if TYPE_CHECKING:
    from .host import Host

_STEPS_MAX = 1_000_000


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


class Control:
    """Handlers under /_control."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def add_routes(self, app: web.Application) -> None:
        """Register before the catch-all route."""
        router = app.router
        router.add_get("/_control/book/{symbol}", self.book)
        router.add_get("/_control/counts", self.counts)
        router.add_get("/_control/faults", self.faults)
        router.add_post("/_control/fault", self.fault)
        router.add_post("/_control/pause", self.pause)
        router.add_post("/_control/resume", self.pause)
        router.add_post("/_control/step", self.step)
        router.add_post("/_control/rate", self.rate)

    def _find(self, symbol: str | None) -> list[SimulatedBook]:
        books = self._host.exchange.books
        if symbol is None:
            return list(books.values())
        if symbol not in books:
            raise FaultError(f"symbol {symbol!r} is not simulated; there are: {', '.join(books)}")
        return [books[symbol]]

    async def _body(self, request: web.Request) -> dict[str, Any]:
        if not request.can_read_body:
            return {}
        try:
            body = await request.json()
        except JSONDecodeError as error:
            raise FaultError(f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise FaultError("the body must be a JSON object")
        return body

    async def book(self, request: web.Request) -> web.Response:
        """The true book at this moment: exact decimals, ids, number of updates."""
        try:
            book = self._find(request.match_info["symbol"])[0]
            depth = int(request.query["depth"]) if "depth" in request.query else None
        except ValueError as error:
            return _json({"error": str(error)}, 404)
        instrument = book.instrument
        price, quantity = instrument.price_decimals, instrument.quantity_decimals
        bids, asks = (
            [[shortest(row[0], price), shortest(row[1], quantity), row[2]] for row in side.top(depth)]
            for side in book.flow.book.sides
        )
        return _json(
            {
                "symbol": book.symbol,
                "name": book.name,
                "updates": book.updates,
                "sequence": self._host.exchange.sequence(book),
                "bids": bids,
                "asks": asks,
            }
        )

    async def counts(self, request: web.Request) -> web.Response:
        """How much happened so far."""
        host = self._host
        exchange = host.exchange
        subscriptions = dict.fromkeys(exchange.books, 0)
        for topic, readers in exchange.topics.items():
            if topic.symbol:
                subscriptions[topic.symbol] += len(readers)
        return _json(
            {
                "updates": {symbol: book.updates for symbol, book in exchange.books.items()},
                "connections": [
                    {
                        "number": each.number,
                        "path": each.path,
                        "frames": each.frames,
                        "topics": len(each.topics),
                    }
                    for each in host.connections.values()
                ],
                "connections_total": host.connections_total,
                "subscriptions": subscriptions,
                "frames_total": host.frames_total,
                "messages_total": host.messages_total,
                "requests_total": host.requests_total,
                "unknown_requests": host.unknown_requests,
                "slow_consumers": host.slow_consumers,
                "late": host.pump.late,
                "faults": dict(exchange.faults.fired),
                "paused": host.pump.paused,
                "rate": host.pump.rate,
            }
        )

    async def faults(self, request: web.Request) -> web.Response:
        """Armed faults, and how often each has fired."""
        board = self._host.exchange.faults
        return _json(
            {
                "armed": [
                    {"fault": each.name, "symbol": each.symbol, "remaining": each.remaining, **each.options}
                    for each in board.armed
                ],
                "fired": dict(board.fired),
            }
        )

    async def fault(self, request: web.Request) -> web.Response:
        """Arm or apply a fault."""
        try:
            return _json(self._host.apply(await self._body(request)))
        except FaultError as error:
            return _json({"error": str(error)}, 400)

    async def pause(self, request: web.Request) -> web.Response:
        """Freeze (/pause) or release (/resume) the flow."""
        self._host.pump.set_paused(request.path.endswith("/pause"))
        return _json({"paused": self._host.pump.paused})

    async def step(self, request: web.Request) -> web.Response:
        """Make exactly n updates of every book, or of one symbol."""
        try:
            body = await self._body(request)
            count = int(body.get("n", request.query.get("n", 1)))
            books = self._find(body.get("symbol", request.query.get("symbol")))
            if not 0 <= count <= _STEPS_MAX:
                raise FaultError(f"n must be 0 to {_STEPS_MAX}")
        except (TypeError, ValueError) as error:
            return _json({"error": str(error)}, 400)
        await self._host.pump.step(count, books)
        return _json({"updates": {book.symbol: book.updates for book in books}})

    async def rate(self, request: web.Request) -> web.Response:
        """Change the mean rate per book."""
        try:
            rate = float((await self._body(request)).get("rate", request.query.get("rate", "")))
            if not 0 <= rate <= 100_000:
                raise FaultError("rate must be 0 to 100000 updates a second")
        except (TypeError, ValueError) as error:
            return _json({"error": str(error)}, 400)
        self._host.pump.set_rate(rate)
        return _json({"rate": rate})
