"""The stream as server-sent events: the same messages, for those who cannot have a WebSocket."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from gateway_support import RandomFlow, SubscriberBook, expected_side, loads
from support_stats import counters
from test_played import scene_of
from test_schemas import VALIDATORS

CHANNEL = "binance:BTC-USDT"
PATIENCE_S = 10.0


class Events:
    """What an EventSource would make of the bytes; raw, so that a test can stop reading."""

    def __init__(self, reader: asyncio.StreamReader, status: int, headers: dict[str, str]) -> None:
        self.reader, self.status, self.headers = reader, status, headers
        self.comments = 0

    async def text(self) -> str:
        """The next event's data."""
        while True:
            event = await asyncio.wait_for(self.reader.readuntil(b"\n\n"), PATIENCE_S)
            if event.startswith(b":"):
                self.comments += 1
                continue
            assert event.startswith(b"data: ")
            return event[6:-2].decode()

    async def next(self) -> Any:
        return loads(await self.text())

    async def rest(self) -> list[Any]:
        """Every event up to the end, where none is cut."""
        *events, end = (await asyncio.wait_for(self.reader.read(), 6 * PATIENCE_S)).split(b"\n\n")
        assert end == b""
        return [loads(event[6:].decode()) for event in events if not event.startswith(b":")]

    async def problem(self) -> dict[str, Any]:
        body = await asyncio.wait_for(
            self.reader.readexactly(int(self.headers["content-length"])), PATIENCE_S
        )
        assert await asyncio.wait_for(self.reader.read(), PATIENCE_S) == b"", "it ends there"
        return dict(json.loads(body))


@asynccontextmanager
async def asked(
    gateway: Any, query: str, *fields: str, limit: int = 1 << 20, **options: Any
) -> AsyncIterator[Events]:
    reader, writer = await asyncio.open_connection(
        "localhost" if options else "127.0.0.1", gateway.server.port, limit=limit, **options
    )
    lines = [f"GET /v1/events{query} HTTP/1.1", "Host: here", "Accept: text/event-stream", *fields, "", ""]
    writer.write("\r\n".join(lines).encode())
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        first, *rest = head.decode().split("\r\n")[:-2]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        yield Events(reader, int(first.split()[1]), headers)
    finally:
        writer.close()


@pytest_asyncio.fixture
async def book(gateway):
    writer = gateway.writer("binance", ring_bytes=1 << 22)
    made = writer.add("BTC-USDT")
    flow = RandomFlow(3, 4_500_000, 200)
    flow.fill(writer, made)
    made.step = lambda: flow.step(writer, made)
    return made


async def until(true, what: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("more", ["", "&numbers=string&stamps=true", "&format=tardis"])
async def test_events_are_the_messages_of_a_websocket(gateway, book, more):
    query = f"?channel={CHANNEL}&depth=20&mode=inc&interval=0{more}"
    options = {"depth": 20, "mode": "inc", "interval": 0}
    options |= {"numbers": "string", "stamps": True} if "stamps" in more else {}
    options |= {"format": "tardis"} if "tardis" in more else {}
    async with asked(gateway, query) as events, gateway.client(max_queue=None) as client:
        assert events.status == 200
        assert events.headers["content-type"] == "text/event-stream"
        assert events.headers["cache-control"] == "no-store"
        assert await events.next() == {"type": "subscribed", "channel": CHANNEL}
        first = await client.subscribe(CHANNEL, **options)
        assert await events.next() == first
        for _ in range(200):
            book.step()
        for _ in range(100):  # of one group: byte by byte
            assert await events.text() == await asyncio.wait_for(client.socket.recv(), PATIENCE_S)
        assert counters(gateway)["groups"] == 1


async def test_several_channels_in_one_answer(gateway, book):
    names = ["top:BTC-USDT", "status", "fullbook:BTC-USDT"]
    query = "?" + "&".join(f"channel={name}" for name in [*names, names[0]]) + "&depth=3"
    async with asked(gateway, query) as events:
        first = [await events.next() for _ in range(6)]
    assert [one["channel"] for one in first if one["type"] == "subscribed"] == names
    assert {one["channel"] for one in first if one["type"] == "snapshot"} == set(names)
    await until(lambda: counters(gateway)["clients"] == 0, "who leaves is forgotten")
    assert counters(gateway)["groups"] == 0


@pytest.mark.parametrize(
    ("query", "status", "title", "code"),
    [
        ("", 400, "missing channel", 3),
        ("?channel=nonsense", 404, "unknown channel", 4),
        ("?channel=top:NO-SUCH", 404, "unknown symbol", 5),
        ("?channel=nowhere:BTC-USDT", 404, "unknown exchange", 6),
        (f"?channel={CHANNEL}&depth=0", 400, "invalid depth", 9),
        (f"?channel={CHANNEL}&depth=nan", 400, "invalid depth", 9),
        (f"?channel={CHANNEL}&interval=fast", 400, "invalid interval", 11),
        (f"?channel={CHANNEL}&stamps=1", 400, "invalid stamps", 19),
        (f"?channel={CHANNEL}&format=binary", 400, "invalid format", 12),
        (f"?channel={CHANNEL}&channel=nonsense", 404, "unknown channel", 4),
        (f"?channel={CHANNEL}&from=1000", 404, "no recording", 26),
    ],
)
async def test_refusals_are_http_answers(gateway, book, query, status, title, code):
    async with asked(gateway, query) as events:
        assert events.status == status
        assert events.headers["content-type"] == "application/problem+json"
        told = await events.problem()
    assert (told["status"], told["title"], told["code"]) == (status, title, code)
    await until(lambda: counters(gateway)["clients"] == 0, "the connection is over")


async def test_who_reads_too_slowly_is_conflated_and_ends_exact(make_gateway, order):
    gateway = await make_gateway(send_buffer_bytes=8192, queue_bytes_max=64 << 10)
    writer = gateway.writer("binance", ring_bytes=1 << 22)
    book = writer.add("BTC-USDT")
    flow = RandomFlow(5, 4_500_000, 200)
    flow.fill(writer, book)
    query = f"?channel={CHANNEL}&depth=100&mode=inc&interval=0&stamps=true"
    async with asked(gateway, query, limit=2048) as slow, gateway.client() as fast:
        await slow.next()
        await fast.subscribe(CHANNEL, depth=100, mode="inc", interval=0, stamps=True)
        while counters(gateway)["slow_conflate"] == 0:
            for _ in range(100):
                flow.step(writer, book)
            sequence = 0
            while sequence < book.sequence:
                sequence = (await fast.next())["data"]["seq"]
        slow.reader._limit = 1 << 20
        rebuilt = SubscriberBook()
        expected = [expected_side(CHANNEL, {"binance": book}, side, 100, order) for side in (0, 1)]
        while rebuilt.messages == 0 or [rebuilt.side(side, order) for side in (0, 1)] != expected:
            rebuilt.apply(await slow.next())
        assert rebuilt.conflated > 0
        flow.step(writer, book)  # and keeps up again
        while rebuilt.sequence < book.sequence:
            rebuilt.apply(await slow.next())


async def test_tokens_and_silence(make_gateway, run_dir):
    path = run_dir / "tokens"
    path.write_text("secret\n")
    gateway = await make_gateway(token_file=path, ping_ms=100, timeout_ms=400, handshake_ms=300)
    gateway.writer("binance").add("BTC-USDT")
    for fields in ((), ("Authorization: Bearer wrong",)):
        async with asked(gateway, f"?channel={CHANNEL}", *fields) as events:
            assert events.status == 401
    async with asked(gateway, "?channel=status&heartbeat=1", "Authorization: Bearer secret") as events:
        assert (await events.next())["type"] == "subscribed"
        assert (await events.next())["type"] == "snapshot"
        assert (await events.next())["type"] == "heartbeat"  # longer than silence may last
        assert events.comments > 1


async def test_over_tls(make_gateway, certified):
    authority, certificate, key = certified
    gateway = await make_gateway(tls_certificate=certificate, tls_key=key)
    writer = gateway.writer("binance", ring_bytes=1 << 22)
    book = writer.add("BTC-USDT")
    flow = RandomFlow(9, 4_500_000, 200)
    flow.fill(writer, book)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    query = f"?channel={CHANNEL}&depth=100&mode=inc&interval=0&stamps=true"
    async with asked(gateway, query, ssl=trust) as events:
        assert (await events.next())["type"] == "subscribed"
        for _ in range(300):
            flow.step(writer, book)
        sequence = 0
        while sequence < book.sequence:
            sequence = (await events.next())["data"]["seq"]


async def test_an_orderly_end(gateway, book):
    async with asked(gateway, f"?channel={CHANNEL}") as events:
        assert (await events.next())["type"] == "subscribed"
        gateway.server.stop("update")
        told = await events.rest()
    assert [(one["type"], one["reason"]) for one in told[-2:]] == [
        ("reconnect", "update"), ("closed", "the gateway stops"),
    ]  # fmt: skip
    VALIDATORS["closed"].validate(told[-1])


async def test_the_past_ends_with_what_was_recorded(make_gateway, tmp_path):
    gateway, scene = await scene_of(make_gateway, tmp_path)
    scene.close()
    span = f"&from={scene.from_ms}&to={scene.to_ms}&speed=100"
    async with asked(gateway, "?channel=okx:BTC-USDT&mode=inc&interval=0&stamps=true" + span) as events:
        told = await events.rest()
    assert [one["type"] for one in (told[0], told[1], *told[-2:])] == [
        "subscribed", "snapshot", "replayed", "closed",
    ]  # fmt: skip
    sequences = [one["data"]["seq"] for one in told[1:-2]]
    assert sequences[-1] == scene.books["okx"].sequence
    assert sequences == sorted(set(sequences))
