"""socketify as a fan-out server: one topic, everybody subscribed, updates by its own ``publish``.

    socketify_server.py BYTES RATE BATCH

RATE updates a second by a timer of its loop; RATE 0: BATCH updates in every turn of the loop, for
saturation, where it merges them into one write a subscriber.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import Any

from socketify import App, CompressOptions, OpCode


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    size, rate, batch = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    app = App()
    subscribed = False

    def message(ws: Any, text: Any, opcode: OpCode) -> None:
        nonlocal subscribed
        ws.subscribe("book")
        subscribed = True

    app.ws("/*", {"compression": CompressOptions.DISABLED, "max_backpressure": 1 << 20, "message": message})

    def publish(_: Any) -> None:
        text = f'{{"pub_ns":{time.time_ns()},'
        app.publish("book", text.ljust(size), OpCode.TEXT)

    def flood() -> None:
        if subscribed:
            for _ in range(batch):
                app.publish("book", b" " * size, OpCode.TEXT)
        app.loop.is_idle = False
        app.loop.loop.call_soon(flood)

    if rate:
        timer = app.loop.uv_loop.create_timer(1000 // rate, 1000 // rate, publish, None)
    else:
        app.loop.loop.call_soon(flood)
    port = free_port()
    app.listen({"port": port, "host": "127.0.0.1"}, lambda _: print(port, flush=True))
    app.run()
    del timer


if __name__ == "__main__":
    main()
