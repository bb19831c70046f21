"""Hostile and broken clients, secrets, TLS, crowds, and an orderly end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import websockets
from gateway_support import RandomFlow, loads
from support_stats import counters
from websockets.frames import Frame, Opcode

HERE = Path(__file__).parent
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def close_code(client) -> int:
    try:
        while True:
            await asyncio.wait_for(client.socket.recv(), 5)
    except websockets.ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006


def send_raw(client, frame: Frame) -> None:
    client.socket.transport.write(frame.serialize(mask=True, extensions=[]))


async def test_a_flood_of_requests_is_closed_with_1008(make_gateway):
    gateway = await make_gateway(requests_per_second=10, requests_burst=50)
    async with gateway.client() as client:
        for _ in range(200):
            send_raw(client, Frame(Opcode.TEXT, b'{"op":"ping"}'))
        assert await close_code(client) == 1008
    assert counters(gateway)["refused_requests"] == 1


async def test_answers_nobody_reads_are_bounded(make_gateway):
    gateway = await make_gateway(send_buffer_bytes=8192, queue_bytes_max=64 << 10)
    gateway.writer("binance").add("BTC-USDT")
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.server.port, limit=2048)
    writer.write(UPGRADE)
    asked = Frame(Opcode.TEXT, b'{"op":"exchanges"}').serialize(mask=True, extensions=[])
    for _ in range(3000):
        writer.write(asked)
    async with asyncio.timeout(10):
        while counters(gateway)["refused_unread"] == 0:
            await asyncio.sleep(0.02)
        while counters(gateway)["clients"]:
            await asyncio.sleep(0.02)
    writer.close()


async def test_a_flood_of_errors_is_closed_with_1008(make_gateway):
    gateway = await make_gateway(errors_max=5)
    async with gateway.client() as client:
        for _ in range(5):
            assert (await client.ask(op="fly"))["fatal"] is False
        assert (await client.ask(op="fly"))["fatal"] is True
        assert await close_code(client) == 1008


async def test_protocol_violations_have_their_close_code(gateway):
    for frame, code in [
        (Frame(Opcode.TEXT, b"\xff\xfe"), 1007),
        (Frame(Opcode.CONT, b"x"), 1002),
        (Frame(Opcode.TEXT, b"x" * 70_000), 1009),
    ]:
        async with gateway.client() as client:
            send_raw(client, frame)
            assert await close_code(client) == code
    assert counters(gateway)["refused_protocol"] == 3


async def test_pings_are_answered_and_a_close_is_returned(gateway):
    async with gateway.client() as client:
        await asyncio.wait_for(await client.socket.ping(b"hello"), 5)
        await client.socket.close(1000)
        assert client.socket.close_code == 1000


async def test_clients_max_is_held(make_gateway):
    gateway = await make_gateway(clients_max=2)
    async with gateway.client(), gateway.client():
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with gateway.client():
                pass
        assert refused.value.response.status_code == 503
    assert counters(gateway)["refused_clients"] >= 1
    async with gateway.client() as client:  # room again
        assert await client.ask(op="ping") == {"type": "pong"}


async def test_http_on_this_port_is_told_where_it_is(gateway):
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"426 Upgrade Required" in await asyncio.wait_for(reader.read(), 5)
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.port)
    writer.write(b"nonsense\r\n\r\n")
    assert b"400 Bad Request" in await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_who_does_not_finish_the_handshake_is_dropped(make_gateway):
    gateway = await make_gateway(handshake_ms=200)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    assert counters(gateway)["refused_handshake"] == 1


async def test_silent_clients_are_pinged_then_closed(make_gateway):
    gateway = await make_gateway(ping_ms=100, timeout_ms=300)
    async with gateway.client() as client:
        await asyncio.sleep(0.8)  # its library answers pings: it lives
        assert await client.ask(op="ping") == {"type": "pong"}
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.port)
    writer.write(UPGRADE)
    said = await asyncio.wait_for(reader.read(), 5)
    assert b"101 Switching" in said
    assert b"\x89\x08bookwire" in said  # a ping
    assert b"\x88" in said
    assert (1001).to_bytes(2, "big") in said
    writer.close()


async def test_tokens_in_a_header_or_the_first_message(make_gateway, run_dir):
    path = run_dir / "tokens"
    path.write_text("# mine\nsecret-one\nsecret-two\n")
    gateway = await make_gateway(token_file=path)
    async with gateway.client(additional_headers={"Authorization": "Bearer secret-two"}) as client:
        assert await client.ask(op="ping") == {"type": "pong"}
    async with gateway.client() as client:
        assert (await client.ask(op="ping"))["msg"] == "not authorised"
        assert (await client.ask(op="auth", token="wrong"))["msg"] == "invalid token"
        assert await client.ask(op="auth", token="secret-one", id=1) == {"type": "authorised", "id": 1}
        assert await client.ask(op="ping") == {"type": "pong"}
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with gateway.client(additional_headers={"Authorization": "Bearer secret"}):
            pass
    assert refused.value.response.status_code == 401
    assert counters(gateway)["refused_token"] == 1


async def test_tls(make_gateway, certified):
    authority, certificate, key = certified
    gateway = await make_gateway(tls_certificate=certificate, tls_key=key)
    writer = gateway.writer("binance", ring_bytes=1 << 22)
    book = writer.add("BTC-USDT")
    flow = RandomFlow(9, 4500000, 200)
    flow.fill(writer, book)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with gateway.client(ssl=trust) as client:
        await client.subscribe("binance:BTC-USDT", depth=100, mode="inc", interval=0, stamps=True)
        for _ in range(300):
            flow.step(writer, book)
        sequence = 0
        while sequence < book.sequence:
            sequence = (await client.next())["data"]["seq"]


async def test_five_hundred_clients_all_get_every_change(gateway):
    writer = gateway.writer("binance")
    book = writer.add("BTC-USDT")
    writer.reset(book, [(4500000, 1, 1)], [(4500100, 1, 1)])
    sockets = await asyncio.gather(
        *(websockets.connect(gateway.url, compression=None, max_queue=None) for _ in range(500))
    )
    request = json.dumps({"op": "subscribe", "channel": "binance:BTC-USDT", "mode": "inc", "interval": 0})
    await asyncio.gather(*(socket.send(request) for socket in sockets))
    for socket in sockets:
        assert loads(await socket.recv())["type"] == "subscribed"
        assert loads(await socket.recv())["type"] == "snapshot"
    for quantity in range(2, 12):
        writer.change(book, bids=[(4500000, quantity, 1)])
        answers = await asyncio.gather(*(socket.recv() for socket in sockets))
        assert len(set(answers)) == 1
    told = counters(gateway)
    assert told["clients"] == 500
    assert told["groups"] == 1
    assert told["emissions"] == 10
    assert told["messages_sent"] == 500 * 12
    await asyncio.gather(*(socket.close() for socket in sockets))


async def test_stopping_says_so_and_closes_with_1001(gateway):
    async with gateway.client() as client:
        assert await client.ask(op="ping") == {"type": "pong"}
        gateway.server.stop("update")
        notice = await client.next()
        assert (notice["type"], notice["reason"]) == ("reconnect", "update")
        assert await close_code(client) == 1001
    await gateway.stop()
    assert not (gateway.settings.shm_dir / "gateway.stats").exists()


WRITER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from gateway_support import Writer, RandomFlow
from handlers._ffi import lib
writer = Writer("binance", 0, Path(sys.argv[2]))
book = writer.add("BTC-USDT")
RandomFlow(1, 4500000).fill(writer, book)
print("ready", flush=True)
sys.stdin.readline()
lib.bw_book_begin(lib.bw_shm_writer_book(writer.handle, 0))  # inside a write, and never out of it
print("inside", flush=True)
time.sleep(60)
"""


async def test_a_writer_killed_inside_a_write_leaves_at_once_and_hangs_nobody(gateway, shm_dir):
    other = gateway.writer("okx")
    okx = other.add("BTC-USDT")
    other.reset(okx, [(4400000, 1, 1)], [(4600000, 1, 1)])
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(HERE), str(shm_dir)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "ready\n"
        async with gateway.client() as client, gateway.client() as late:
            first = await client.subscribe("binance:BTC-USDT", mode="inc", interval=0)
            assert first["data"]["bids"]
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "inside\n"
            os.kill(process.pid, signal.SIGKILL)
            gone = await client.next(2)
            assert gone["type"] == "snapshot"
            assert gone["data"]["bids"] == gone["data"]["asks"] == []
            assert await client.silent(0.4)  # what the dead one left does not come back
            assert (await late.subscribe("binance:BTC-USDT"))["data"]["bids"] == []
            full = await late.subscribe("fullbook:BTC-USDT")
            assert {level[3] for level in full["data"]["bids"]} == {"okx"}
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


async def test_a_writer_whose_loop_stands_still_counts_as_dead(make_gateway):
    gateway = await make_gateway(writer_patience_ms=300)
    writer = gateway.writer("binance")
    book = writer.add("BTC-USDT")
    writer.reset(book, [(4500000, 1, 1)], [(4500100, 1, 1)])
    async with gateway.client() as client:
        assert (await client.subscribe("binance:BTC-USDT", mode="inc", interval=0))["data"]["bids"]
        assert (await client.next(3))["data"]["bids"] == []
        writer.change(book, bids=[(4500000, 2, 1)])  # it turns again
        assert (await client.next(3))["data"]["bids"] != []
