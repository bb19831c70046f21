"""A venue in a namespace, on kernel TCP: a TLS WebSocket server that streams one book, by seed and number.

Arguments: directory (the CA's certificate is put there as ca.pem), port, updates a connection (0: for ever,
one every 2 ms), then its addresses. Prints ``ready``. After its updates a connection is closed with 1001 when
the client acknowledged the last one by a text message.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from pathlib import Path

import trustme
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

PACE_S = 0.002


def message(number: int) -> str:
    """A snapshot first, then deltas that set, move and delete levels around the top."""
    bids = ",".join(f'["{100 - i * 0.5 - number % 7}","{number % 5 + i}"]' for i in range(20))
    asks = ",".join(f'["{101 + i * 0.5 + number % 7}","{number % 3 + i}"]' for i in range(20))
    kind = "snapshot" if number == 1 else "delta"
    return (
        f'{{"topic":"orderbook.200.BTCUSDT","ts":1731035685345,"type":"{kind}","data":{{"s":"BTCUSDT",'
        f'"b":[{bids}],"a":[{asks}],"u":{number},"seq":8}},"cts":1731035685342}}'
    )


async def main(directory: Path, port: int, updates: int, addresses: list[str]) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(directory / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)

    async def talk(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for number in range(1, updates + 1):
                await connection.send(message(number))
            number = updates
            while not updates:
                number += 1
                await connection.send(message(number))
                await asyncio.sleep(PACE_S)
            await connection.recv()
            await connection.close(1001)

    async with serve(talk, addresses, port, ssl=context, compression=None):
        print("ready", flush=True)
        await asyncio.Future()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
