"""REST: verified TLS, the budget told and obeyed, refusals that open the breaker."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer

from handlers.errors import UnavailableError
from handlers.registry import VENUES
from handlers.rest import Rest, RestError, tls_context
from handlers.settings import FeedSettings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Venue:
    """An HTTPS server with a CA of its own that answers as told."""

    def __init__(self, directory: Path) -> None:
        self.seen: list[web.Request] = []
        self.status, self.headers, self.body = 200, dict[str, str](), b"{}"
        self.directory = directory
        authority = trustme.CA()
        self.ca_file = directory / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(self._context)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self.server = TestServer(app, scheme="https", host="localhost")
        await self.server.start_server(ssl=self._context)

    async def _answer(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        return web.Response(status=self.status, headers=self.headers, body=self.body)

    def rest(self, *, ca: bool = True) -> Rest:
        settings = FeedSettings(
            "binance",
            shm_dir=self.directory,
            run_dir=self.directory,
            rest_url=f"https://localhost:{self.server.port}",
            ca_file=self.ca_file if ca else None,
        )
        return Rest(replace(VENUES["binance"]), settings)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Venue]:
    made = Venue(tmp_path)
    await made.start()
    yield made
    await made.server.close()


@pytest.mark.asyncio
async def test_a_body_comes_as_it_is_and_the_client_names_itself(server: Venue) -> None:
    server.body = b'{"lastUpdateId": 1}'
    async with server.rest() as rest:
        assert await rest.get("/api/v3/depth?symbol=BTCUSDT", 250) == server.body
        assert rest.budget.state().used == 250
    assert "bookwire" in server.seen[0].headers["User-Agent"]


@pytest.mark.asyncio
async def test_the_venues_own_count_is_believed(server: Venue) -> None:
    server.headers = {"X-MBX-USED-WEIGHT-1M": "4321"}
    async with server.rest() as rest:
        await rest.get("/x", 5)
        assert rest.used == 4321
        assert rest.budget.state().used == 4321


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {"Retry-After": "7"}, 7.0),
        (418, {"Retry-After": "300"}, 300.0),
        (418, {}, 120.0),
        (451, {}, 3600.0),
    ],
)
@pytest.mark.asyncio
async def test_a_refusal_opens_the_breaker_for_everybody(
    server: Venue, status: int, headers: dict[str, str], wait: float
) -> None:
    server.status, server.headers = status, headers
    async with server.rest() as rest, server.rest() as other:
        with pytest.raises(RestError, match=f"HTTP {status}") as caught:
            await rest.get("/x")
        assert caught.value.retry_s == wait
        with pytest.raises(RestError, match="refused by Binance") as again:
            await other.get("/x")
        assert wait - 5 < again.value.retry_s <= wait
        assert rest.budget.state().reason.startswith(f"HTTP {status}: ")
    assert len(server.seen) == 1


@pytest.mark.asyncio
async def test_a_server_error_is_told_and_does_not_open_the_breaker(server: Venue) -> None:
    server.status, server.body = 500, b"oops"
    async with server.rest() as rest:
        with pytest.raises(RestError, match="HTTP 500 oops"):
            await rest.get("/x")
        assert rest.failures == 1
        assert rest.budget.state().open_until == 0


@pytest.mark.asyncio
async def test_an_unknown_authority_is_refused(server: Venue) -> None:
    async with server.rest(ca=False) as rest:
        with pytest.raises(RestError, match="certificate"):
            await rest.get("/x")
    assert server.seen == []


def test_a_missing_ca_file_says_where_and_what_to_do(tmp_path: Path) -> None:
    missing = tmp_path / "none.pem"
    settings = FeedSettings("binance", shm_dir=tmp_path, run_dir=tmp_path, ca_file=missing)
    with pytest.raises(UnavailableError) as caught:
        tls_context(settings)
    assert caught.value.where == str(missing)
    assert caught.value.exit_code == 69
    assert "PEM" in caught.value.do
