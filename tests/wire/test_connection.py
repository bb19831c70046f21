"""The native loop against real servers over TLS: what it takes, what it refuses and with which words."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import trustme
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from handlers._ffi import lib
from handlers.facts import Instrument
from handlers.shm import Segment

from .conftest import Authority, Driven

Handler = Callable[[ServerConnection], Awaitable[None]]
SNAPSHOT = (
    '{"topic":"orderbook.200.BTCUSDT","ts":1731035685245,"type":"snapshot","data":{"s":"BTCUSDT",'
    '"b":[["100.5","1"],["100","2"]],"a":[["101","3"]],"u":1,"seq":7},"cts":1731035685240}'
)
DELTA = (
    '{"topic":"orderbook.200.BTCUSDT","ts":1731035685345,"type":"delta","data":{"s":"BTCUSDT",'
    '"b":[["100.5","0"]],"a":[["101","4"]],"u":%d,"seq":8},"cts":1731035685342}'
)
BTC = Instrument("BTCUSDT", "BTC", "USDT", price_decimals=2, quantity_decimals=6)


async def stay(connection: ServerConnection) -> None:
    await connection.wait_closed()


@asynccontextmanager
async def exchange(
    authority: Authority,
    handler: Handler = stay,
    leaf: trustme.LeafCert | None = None,
    answer: Callable[[ServerConnection, Request], Response | None] | None = None,
    compression: str | None = None,
) -> AsyncIterator[int]:
    """A WebSocket server of the ``websockets`` library; yields its port."""
    async with serve(
        handler, "127.0.0.1", 0, ssl=authority.server(leaf), process_request=answer, compression=compression
    ) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@asynccontextmanager
async def raw_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A plain TCP server; yields its port."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await talk(reader, writer)
        writer.close()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_book_comes_through_and_control_frames_are_answered(
    driven: Driven, authority: Authority
) -> None:
    heard: asyncio.Queue[str | bytes] = asyncio.Queue()

    async def talk(connection: ServerConnection) -> None:
        heard.put_nowait(await connection.recv())
        waiter = await connection.ping(b"are you there")
        await connection.send(SNAPSHOT)
        await connection.send([(DELTA % 2)[:50], (DELTA % 2)[50:]])
        await waiter  # the pong carries the same payload, or this never returns
        heard.put_nowait("pong")
        await connection.close(1001, "maintenance")

    driven.feed.add_book(BTC)
    driven.feed.bind(0, 0)
    driven.feed.start()
    async with exchange(authority, talk) as port:
        driven.connect(port)
        await driven.next(lib.BW_EVENT_CONNECTED)
        driven.feed.send(0, "subscribe é")
        assert await heard.get() == "subscribe é"
        assert await heard.get() == "pong"
        closed = await driven.next(lib.BW_EVENT_CLOSED)
        assert (closed.code, closed.a, closed.text) == (lib.BW_CLOSE_PEER, 1001, b"maintenance")
    view = driven.feed.connection(0)
    assert (view.messages, view.pings, view.state) == (2, 1, lib.BW_CONNECTION_FREE)
    with Segment.open(driven.feed_path) as segment:
        book = segment.book("BTC-USDT")
        assert [(str(price), str(quantity)) for price, quantity, *_ in book.decimals("bids")] == [
            ("100.00", "2.000000")
        ]
        assert [str(quantity) for _, quantity, *_ in book.decimals("asks")] == ["4.000000"]
        assert int(segment.stats["connects"]) == 1


async def refusal(driven: Driven, authority: Authority, leaf: trustme.LeafCert | None, host: str) -> str:
    driven.feed.start()
    async with exchange(authority, leaf=leaf) as port:
        driven.connect(port, host)
        closed = await driven.next(lib.BW_EVENT_CLOSED)
    assert closed.code == lib.BW_CLOSE_TLS
    return closed.text.decode()


async def test_a_certificate_of_another_authority_is_refused(driven: Driven, authority: Authority) -> None:
    text = await refusal(driven, authority, trustme.CA().issue_cert("localhost"), "localhost")
    assert text.startswith(f"certificate of localhost is not signed by an authority in {authority.ca_file}")


async def test_a_certificate_for_another_host_is_refused(driven: Driven, authority: Authority) -> None:
    text = await refusal(driven, authority, authority.ca.issue_cert("elsewhere.example"), "localhost")
    assert text.startswith("certificate is not for localhost but for another host")


async def test_an_expired_certificate_is_refused(driven: Driven, authority: Authority) -> None:
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    ended = datetime.datetime(2020, 2, 1, tzinfo=datetime.UTC)
    leaf = authority.ca.issue_cert("localhost", not_before=long_ago, not_after=ended)
    text = await refusal(driven, authority, leaf, "localhost")
    assert text.startswith("certificate of localhost expired 2020-02-01 00:00:00 UTC")


async def test_a_session_is_resumed(driven: Driven, authority: Authority) -> None:
    async def greet(connection: ServerConnection) -> None:
        await connection.send("{}")  # the session's ticket comes before it
        await connection.wait_closed()

    driven.feed.start()
    async with exchange(authority, greet) as port:
        resumed = []
        for _ in range(2):
            driven.connect(port)
            await driven.next(lib.BW_EVENT_CONNECTED)
            await message_of(driven)
            resumed.append(driven.feed.connection(0).tls_resumed)
            driven.feed.drop(0, 1000)
            closed = await driven.next(lib.BW_EVENT_CLOSED)
            assert (closed.code, closed.a) == (lib.BW_CLOSE_ASKED, 1000)
        assert resumed == [0, 1]


async def message_of(driven: Driven) -> None:
    """Waits until the connection has had a message."""
    async with asyncio.timeout(10):
        while not driven.feed.connection(0).messages:
            await asyncio.sleep(0.005)  # there is no event for data: that is the point of the loop


async def test_too_many_requests_says_when_to_come_back(driven: Driven, authority: Authority) -> None:
    def answer(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "slow down\n")
        response.headers["Retry-After"] = "17"
        return response

    driven.feed.start()
    async with exchange(authority, answer=answer) as port:
        driven.connect(port)
        closed = await driven.next(lib.BW_EVENT_CLOSED)
    assert (closed.code, closed.a, closed.b) == (lib.BW_CLOSE_UPGRADE, 429, 17)
    assert closed.text.startswith(b"HTTP/1.1 429 Too Many Requests")


async def test_garbage_instead_of_tls_http_or_frames(driven: Driven) -> None:
    async def spew(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(range(7, 256)) * 40)
        await reader.read()

    driven.feed.start()
    async with raw_server(spew) as port:
        driven.connect(port)
        closed = await driven.next(lib.BW_EVENT_CLOSED)
        assert closed.code == lib.BW_CLOSE_TLS
        assert b"localhost" in closed.text
        driven.connect(port, secure=False)
        closed = await driven.next(lib.BW_EVENT_CLOSED)
        assert (closed.code, closed.a, closed.text) == (lib.BW_CLOSE_UPGRADE, 0, b"the answer is not HTTP")


async def test_nobody_listens(driven: Driven) -> None:
    async with raw_server(lambda reader, writer: asyncio.sleep(0)) as port:
        pass
    driven.feed.start()
    driven.connect(port)
    closed = await driven.next(lib.BW_EVENT_CLOSED)
    assert closed.code == lib.BW_CLOSE_CONNECT
    assert closed.text == b"Connection refused"


async def test_a_half_open_peer_shows_as_silence_and_can_be_dropped(
    driven: Driven, authority: Authority
) -> None:
    """The peer's machine is gone without a word: the stamps stand still, a ping stays unanswered."""

    over = asyncio.Event()

    async def go_deaf(connection: ServerConnection) -> None:
        await connection.send("{}")
        connection.transport.pause_reading()
        await over.wait()
        connection.transport.abort()

    driven.feed.start()
    async with exchange(authority, go_deaf) as port:
        driven.connect(port)
        await driven.next(lib.BW_EVENT_CONNECTED)
        await message_of(driven)
        before = driven.feed.connection(0)
        lib.bw_feed_send_ping(driven.feed._feed, 0)
        await asyncio.sleep(0.2)
        after = driven.feed.connection(0)
        assert (after.last_receive_ns, after.pongs) == (before.last_receive_ns, 0)
        driven.feed.drop(0, 1000)  # no answer to the close frame either
        started = time.monotonic()
        closed = await driven.next(lib.BW_EVENT_CLOSED)
        assert (closed.code, closed.a) == (lib.BW_CLOSE_ASKED, 0)
        assert 0.5 < time.monotonic() - started < 3
        over.set()


async def test_messages_of_megabytes_in_pieces(driven: Driven, authority: Authority) -> None:
    padding = " " * (5 << 20)

    async def talk(connection: ServerConnection) -> None:
        whole = SNAPSHOT[:-1] + padding + "}"
        await connection.send([whole[i : i + 300_000] for i in range(0, len(whole), 300_000)])
        await connection.send(DELTA % 2)
        await connection.close()

    driven.feed.add_book(BTC)
    driven.feed.bind(0, 0)
    driven.feed.start()
    async with exchange(authority, talk) as port:
        driven.connect(port)
        closed = await driven.next(lib.BW_EVENT_CLOSED)
    assert (closed.code, closed.a) == (lib.BW_CLOSE_PEER, 1000)
    with Segment.open(driven.feed_path) as segment:
        assert int(segment.books[0]["venue_sequence"]) == 2
        assert int(segment.stats["largest_frame_bytes"]) == len(SNAPSHOT) + len(padding)


async def test_a_message_beyond_the_limit_is_quarantined_and_answered_1009(
    driven: Driven, authority: Authority
) -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def talk(connection: ServerConnection) -> None:
        try:
            await connection.send("x" * (20 << 20))
            await connection.recv()
        except ConnectionClosed as end:
            codes.put_nowait(end.rcvd.code if end.rcvd else None)

    driven.feed.start()
    async with exchange(authority, talk) as port:
        driven.connect(port)
        quarantined = await driven.next(lib.BW_EVENT_QUARANTINE)
        assert b"too large" in quarantined.text
        closed = await driven.next(lib.BW_EVENT_CLOSED)
        assert (closed.code, closed.a) == (lib.BW_CLOSE_TOO_LARGE, 1009)
        assert await codes.get() in (1009, None)  # None: the reset overtook our close frame


async def test_deflate_where_it_is_asked_for(driven: Driven, authority: Authority) -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send(SNAPSHOT)
        for number in range(2, 50):
            await connection.send(DELTA % number)
        await connection.close()

    driven.feed.add_book(BTC)
    driven.feed.bind(0, 0)
    driven.feed.start()
    async with exchange(authority, talk, compression="deflate") as port:
        driven.connect_deflated(port)
        closed = await driven.next(lib.BW_EVENT_CLOSED)
    assert (closed.code, closed.a) == (lib.BW_CLOSE_PEER, 1000)
    view = driven.feed.connection(0)
    assert view.messages == 49
    assert view.bytes < 49 * len(DELTA) / 2
    with Segment.open(driven.feed_path) as segment:
        assert int(segment.books[0]["venue_sequence"]) == 49


async def test_two_connections_live_side_by_side(driven: Driven, authority: Authority) -> None:
    driven.feed.start()
    async with exchange(authority) as port:
        driven.connect(port, connection=0)
        driven.connect(port, connection=1)
        both = {(await driven.next(lib.BW_EVENT_CONNECTED)).connection for _ in range(2)}
        assert both == {0, 1}
        driven.feed.drop(0, 1000)
        assert (await driven.next(lib.BW_EVENT_CLOSED)).connection == 0
        assert driven.feed.connection(1).state == lib.BW_CONNECTION_OPEN
