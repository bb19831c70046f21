"""An exchange reduced to its socket, for measuring: TLS, one WebSocket client after the other, updates.

Each update carries the time at which it is handed to the kernel, in ns, where Kraken's carry theirs. A
process of its own (`python -m appliance.traffic ADDRESS RATE DIRECTORY`): one JSON line says port and CA. A
client gets a snapshot, then RATE updates a second, each in a packet of its own, until it leaves.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import select
import socket
import ssl
import sys
import time
from pathlib import Path

from appliance.simulator.certificates import open_authority, server_context

NATIVE = "BTC/USDT"
LEVELS = 100
GONE_MS = 2000  # a client past the kernel that was killed says no goodbye
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_HEAD_MAX = 16 << 10


def frame(text: bytes) -> bytes:
    """A text frame of a server."""
    if len(text) < 126:
        return bytes((0x81, len(text))) + text
    return b"\x81\x7e" + len(text).to_bytes(2, "big") + text


def upgrade(connection: ssl.SSLSocket) -> None:
    """Answers the client's request. Raises ValueError for one that is none."""
    request = b""
    while b"\r\n\r\n" not in request and len(request) < _HEAD_MAX:
        if not (piece := connection.recv(4096)):
            raise ValueError("the client left")
        request += piece
    key = next(
        (line.partition(b":")[2].strip() for line in request.split(b"\r\n")
         if line.lower().startswith(b"sec-websocket-key:")), None,
    )  # fmt: skip
    if key is None:
        raise ValueError("no key")
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # RFC 6455 1.3 names it
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def _message(kind: str, bids: str, asks: str, stamp: str) -> bytes:
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{NATIVE}","bids":[{bids}],"asks":[{asks}],'
        f'"checksum":0,"timestamp":"{stamp}"}}]}}'
    ).encode()


def _stamp(now_ns: int, seconds: dict[int, str]) -> str:
    second, rest = divmod(now_ns, 1_000_000_000)
    if second not in seconds:
        seconds.clear()
        seconds[second] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{seconds[second]}.{rest:09d}Z"


def play(connection: ssl.SSLSocket, rate: float) -> None:
    """Until the client leaves, which may end it with an OSError."""
    seconds: dict[int, str] = {}
    bids, asks = (
        ",".join(f'{{"price":{60000 + sign * (at + 1) * 0.1:.1f},"qty":1.00000000}}' for at in range(LEVELS))
        for sign in (-1, 1)
    )
    connection.sendall(frame(_message("snapshot", bids, asks, _stamp(time.time_ns(), seconds))))
    due, number = time.monotonic(), 0
    while True:
        due = max(due + 1 / rate, time.monotonic() - 0.1)  # a second that was lost is not made up for
        left, _, _ = select.select([connection], [], [], max(0.0, due - time.monotonic()))
        if left and not connection.recv(4096):
            return
        number += 1
        level = f'{{"price":{60000 - (number % 50 + 1) * 0.1:.1f},"qty":{1 + number % 9}.00000001}}'
        connection.sendall(frame(_message("update", level, "", _stamp(time.time_ns(), seconds))))


def main(address: str, port: int, rate: float, directory: Path) -> None:
    """Until a signal. Says port and CA in a line of JSON."""
    authority, ca_file = open_authority(directory)
    context = server_context(authority)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, backlog=1) as listener:
        print(json.dumps({"port": listener.getsockname()[1], "ca_file": str(ca_file)}), flush=True)
        while True:
            plain, _ = listener.accept()
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
            with (
                contextlib.suppress(OSError, ValueError),
                context.wrap_socket(plain, server_side=True) as secure,
            ):
                upgrade(secure)
                play(secure, rate)


if __name__ == "__main__":
    main(sys.argv[1], 0, float(sys.argv[2]), Path(sys.argv[3]))
