"""A running gateway for each test that asks, with short names for what tests do with it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import trustme
import websockets

sys.path.insert(0, str(Path(__file__).parent))

from gateway_support import Writer, loads

from gateway.server import Server
from gateway.settings import GatewaySettings
from handlers.logs import Log
from handlers.registry import EXCHANGES

ORDER = [row.id for row in EXCHANGES]
PATIENCE_S = 10.0


class Client:
    """A subscriber: requests out, decoded messages in, every wait bounded."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def send(self, **request: Any) -> None:
        import json

        await self.socket.send(json.dumps(request))

    async def next(self, patience_s: float = PATIENCE_S) -> Any:
        message = await asyncio.wait_for(self.socket.recv(), patience_s)
        return message if isinstance(message, bytes) else loads(message)

    async def until(self, kind: str, patience_s: float = PATIENCE_S) -> Any:
        while True:
            message = await self.next(patience_s)
            if not isinstance(message, bytes) and message["type"] == kind:
                return message

    async def ask(self, **request: Any) -> Any:
        await self.send(**request)
        return await self.next()

    async def subscribe(self, channel: str, **options: Any) -> Any:
        """Subscribes and returns the first snapshot."""
        ack = await self.ask(op="subscribe", channel=channel, **options)
        assert ack["type"] == "subscribed", ack
        return await self.next()

    async def silent(self, seconds: float) -> bool:
        try:
            await self.next(seconds)
        except TimeoutError:
            return True
        return False


class Gateway:
    """One gateway inside the test's own event loop, and the writers it follows."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.server = Server(settings, Log("gateway"))
        self.writers: dict[str, Writer] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        ready = asyncio.Event()
        self._task = asyncio.create_task(self.server.serve(lambda host, port: ready.set()))
        await asyncio.wait_for(ready.wait(), PATIENCE_S)

    async def stop(self) -> None:
        if self._task and not self._task.done():
            self.server.stop("test over")
            await asyncio.wait_for(self._task, PATIENCE_S)

    def writer(self, exchange: str, **options: Any) -> Writer:
        """A segment of the exchange, its bell attached; a second call replaces the first."""
        writer = Writer(exchange, ORDER.index(exchange), self.settings.shm_dir, **options)
        writer.attach_bell(self.settings.run_dir)
        self.writers[exchange] = writer
        return writer

    @property
    def url(self) -> str:
        scheme = "wss" if self.settings.tls_certificate else "ws"
        return f"{scheme}://localhost:{self.server.port}/"

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[Client]:
        options.setdefault("max_size", 1 << 20)
        async with websockets.connect(self.url, compression=None, **options) as socket:
            yield Client(socket)


@pytest.fixture
def certified(run_dir: Path) -> tuple[trustme.CA, Path, Path]:
    """An authority, and the files of the certificate and key that it gave to localhost."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    certificate, key = run_dir / "certificate.pem", run_dir / "key.pem"
    issued.private_key_pem.write_to_path(str(key))
    for part in issued.cert_chain_pems:
        part.write_to_path(str(certificate), append=True)
    return authority, certificate, key


@pytest_asyncio.fixture
async def make_gateway(shm_dir: Path, run_dir: Path) -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:

        async def make(**changes: Any) -> Gateway:
            settings = replace(
                GatewaySettings(shm_dir, run_dir, port=0, writer_patience_ms=60_000, requests_burst=100_000),
                **changes,
            )
            gateway = Gateway(settings)
            stack.push_async_callback(gateway.stop)
            await gateway.start()
            return gateway

        yield make


@pytest_asyncio.fixture
async def gateway(make_gateway: Callable[..., Any]) -> Gateway:
    return await make_gateway()


@pytest.fixture
def order() -> list[str]:
    return ORDER
