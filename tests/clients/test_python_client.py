"""The Python client against a gateway that misbehaves on purpose, and its book against exact expectations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from bookwire_client import (
    EXCHANGES,
    ArbChanged,
    Book,
    BookChanged,
    Client,
    Connected,
    Disconnected,
    EventsDropped,
    Refused,
    RefusedError,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from ports import free_ports
from websockets.asyncio.server import ServerConnection, serve

from handlers.registry import EXCHANGES as REGISTRY

PATIENCE_S = 10.0
Handler = Callable[[ServerConnection], Awaitable[None]]


def test_exchanges_are_those_of_the_box_in_their_order() -> None:
    assert list(EXCHANGES) == [row.id for row in REGISTRY]


@asynccontextmanager
async def scripted(handler: Handler, port: int = 0) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", port) as server:
        found = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{found}/"


async def answer(connection: ServerConnection, kind: str = "subscribed", **more: Any) -> dict[str, Any]:
    """Reads a request and answers it."""
    request: dict[str, Any] = json.loads(await connection.recv())
    reply = {"type": kind, "channel": request.get("channel"), "id": request["id"], **more}
    await connection.send(json.dumps(reply))
    return request


def push(kind: str, bids: Any, asks: Any, **more: Any) -> str:
    data = {"bids": bids, "asks": asks, "ts": 1}
    return json.dumps({"type": kind, "channel": "top:A-B", "data": data, **more})


ERROR = {"msg": "unknown symbol", "code": 5, "fatal": False}
WHOLE = push("snapshot", [[1, 1, 0]], [[2, 1, 0]])


async def until(events: Any, kind: type) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        async for event in events:
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__}")


async def test_a_silent_connection_is_pinged_then_given_up_and_its_books_are_not_live() -> None:
    asked: list[str] = []

    async def mute(connection: ServerConnection) -> None:
        await answer(connection)
        await connection.send(WHOLE)
        while True:
            asked.append(json.loads(await connection.recv())["op"])

    async with scripted(mute) as url, Client(url, idle_s=0.2, backoff_max_s=0.01) as client:
        events = client.events()
        book = await client.subscribe("top:A-B")
        await asyncio.wait_for(client.whole(book), PATIENCE_S)
        assert book.live
        assert book.fresh()
        gone = await until(events, Disconnected)
        assert "nothing came" in gone.reason
        assert not book.live
        assert book.best_bid is not None  # for looking at
        assert asked == ["ping"]
        assert (await until(events, Connected)).attempt == 2
        await asyncio.wait_for(client.whole(book), PATIENCE_S)
        assert book.live


async def test_a_subscription_refused_on_the_new_connection_is_asked_for_again() -> None:
    connections = 0

    async def forgetful(connection: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        if connections == 2:
            await answer(connection, "error", **ERROR)
        await answer(connection)
        await connection.send(WHOLE)
        if connections == 1:
            await connection.close(1001, "the gateway stops")
        await connection.wait_closed()

    async with scripted(forgetful) as url, Client(url, backoff_s=0.01) as client:
        events = client.events()
        book = await client.subscribe("top:A-B")
        gone = await until(events, Disconnected)
        assert (gone.code, gone.reason) == (1001, "the gateway stops")
        assert (await until(events, Refused)).code == 5
        assert not book.live
        await asyncio.wait_for(client.whole(book), PATIENCE_S)
        assert book.live


def crossing(age_ms: int) -> str:
    legs = {side: {"exchange": side, "price": 1, "vwap": 1.5, "age_ms": age_ms} for side in ("buy", "sell")}
    row = {"symbol": "A-B", **legs, "size": 2, "notional": 3, "profit": 4, "net_bp": 5, "age_ms": age_ms}
    data = [{**row, "confidence": 0.5, "whole": {"size": 2, "notional": 3, "profit": 4}}]
    return json.dumps({"type": "snapshot", "channel": "arb:A-B", "data": data, "ts": 7})


async def test_rows_of_arbitrage_are_neither_old_nor_of_a_lost_connection() -> None:
    go_on = asyncio.Event()

    async def once(connection: ServerConnection) -> None:
        request = await answer(connection)
        assert {"min_bp": 1, "heartbeat": 1}.items() <= request.items()
        await connection.send(crossing(100))
        await connection.send(crossing(61_000))
        await go_on.wait()
        await connection.close(1001)

    async with scripted(once) as url, Client(url, backoff_s=30.0) as client:
        events = client.events()
        arb = await client.subscribe_arb("A-B", min_bp=1)
        assert client.books == {}
        await until(events, ArbChanged)
        await until(events, ArbChanged)
        assert arb.fresh(60.0)
        assert arb.rows(60.0) == ()  # older than that
        (row,) = arb.rows(3600.0)
        assert (row.buy.exchange, row.sell.exchange, row.profit) == ("buy", "sell", 4.0)
        assert row.age_ms >= 61_000
        go_on.set()
        await until(events, Disconnected)
        assert arb.rows(3600.0) == ()


async def test_an_error_is_raised_where_it_was_asked_for() -> None:
    async def strict(connection: ServerConnection) -> None:
        await answer(connection, "error", **ERROR)
        await connection.wait_closed()

    async with scripted(strict) as url, Client(url) as client:
        with pytest.raises(RefusedError) as refused:
            await client.subscribe("top:A-B")
        assert refused.value.code == 5
        assert client.books == {}


async def test_a_request_waits_for_a_gateway_with_waits_that_are_bounded_and_jittered() -> None:
    port = free_ports(1)[0]
    waits: list[float] = []

    async def late(connection: ServerConnection) -> None:
        await answer(connection)
        await connection.wait_closed()

    async with Client(f"ws://127.0.0.1:{port}/", backoff_s=0.01, backoff_max_s=0.05) as client:
        events = client.events()
        asking = asyncio.create_task(client.subscribe("top:A-B"))
        while len(waits) < 12:
            waits.append((await until(events, Disconnected)).retry_in_s)
        async with scripted(late, port):
            book = await asyncio.wait_for(asking, PATIENCE_S)
            assert book.channel == "top:A-B"
            await client.close()
    assert all(0 <= wait <= 0.05 for wait in waits)
    assert len(set(waits)) > 6


async def test_a_slow_iterator_is_told_what_it_lost_and_the_book_is_right() -> None:
    async def fast(connection: ServerConnection) -> None:
        await answer(connection)
        await connection.send(WHOLE)
        for quantity in range(2, 101):
            await connection.send(push("delta", [[1, quantity, 0]], []))
        await connection.send("not json")

    async with scripted(fast) as url, Client(url, backoff_s=30.0) as client:
        events, all_events = client.events(room=5), client.events()
        book = await client.subscribe("top:A-B")
        gone = await until(all_events, Disconnected)
        assert "unreadable" in gone.reason
        assert (book.snapshots, book.deltas, book.quantity("bids")) == (1, 99, 100)
        first = await anext(events)
        assert first == EventsDropped(97)  # connected, snapshot, 99 deltas, disconnected; room for 5
        assert isinstance(await anext(events), BookChanged)


async def test_closing_ends_iterators_and_later_requests() -> None:
    async def idle(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with scripted(idle) as url:
        client = Client(url)
        async with client:
            events = client.events()
            await until(events, Connected)
        assert [event.retry_in_s async for event in events if isinstance(event, Disconnected)] == [None]
        with pytest.raises(ConnectionError, match="closed"):
            await client.subscribe("top:A-B")


LEVEL = st.tuples(st.integers(1, 12), st.integers(0, 5), st.sampled_from(["okx", "binance", "kraken"]))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.lists(LEVEL, max_size=8), st.lists(LEVEL, max_size=8)), max_size=12)
)
def test_a_fullbook_is_what_its_messages_say(steps: list[Any]) -> None:
    """Against plain dicts: keys (price, exchange), order price, larger quantity, exchange number."""
    book = Book("fullbook:A-B", Decimal)
    expected: tuple[dict[Any, int], dict[Any, int]] = ({}, {})
    for snapshot, *sides in steps:
        data: dict[str, Any] = {"ts": 1}
        for name, side, changes in zip(("bids", "asks"), expected, sides, strict=True):
            if snapshot:
                side.clear()
            for price, quantity, exchange in changes:
                side[price, exchange] = quantity
            data[name] = [[f"{price}", f"{quantity}", 0, exchange] for price, quantity, exchange in changes]
        book.apply({"type": "snapshot" if snapshot else "delta", "channel": "fullbook:A-B", "data": data})
        for sign, side, levels in zip((-1, 1), expected, (book.bids, book.asks), strict=True):
            held = [(price, quantity, name) for (price, name), quantity in side.items() if quantity]
            order = sorted(held, key=lambda row: (sign * row[0], -row[1], EXCHANGES.index(row[2])))
            assert [(level.price, level.quantity, level.exchange) for level in levels] == order


def test_figures_and_pages() -> None:
    book = Book("c", Decimal)
    book.connected = True
    assert (book.mid, book.spread_bps, book.average_price("buy", Decimal(1))) == (None, None, None)
    first = {"bids": [["99.5", "2", 0], ["99", "2", 1]], "asks": [["100.5", "1", 0]], "ts": 1}
    book.apply({"type": "snapshot", "channel": "c", "more": True, "data": first})
    assert not book.live
    book.apply({"type": "delta", "channel": "c", "data": {"bids": [], "asks": [["102.5", "1", 0]], "ts": 2}})
    assert book.live
    assert (book.mid, book.spread, book.spread_bps) == (100, 1, 100)
    assert book.average_price("buy", Decimal("1.5")) == (Decimal("100.5") + Decimal("51.25")) / Decimal("1.5")
    assert book.average_price("sell", Decimal(4)) == Decimal("99.25")
    assert book.average_price("sell", Decimal("4.1")) is None
    assert book.quantity("bids") == 4
