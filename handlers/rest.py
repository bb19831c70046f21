"""REST requests of an exchange process: verified TLS, one budget, and obedience to refusals.

A venue that says 429, 418, 403 or 451 is not asked again before the time it names: the breaker opens
for every process that shares the address.
"""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import Self

import aiohttp

from handlers.budget import SharedBudget
from handlers.errors import UnavailableError
from handlers.facts import Venue
from handlers.refusals import stay_away_s, words
from handlers.settings import FeedSettings

USER_AGENT = "bookwire/0.1"
TIMEOUT_S = 15.0
BODY_BYTES_MAX = 64 << 20


class RestError(Exception):
    """A request failed. ``retry_s``: the venue, or the budget, wants no other before so many seconds."""

    def __init__(self, reason: str, retry_s: float = 0.0) -> None:
        self.retry_s = retry_s
        super().__init__(reason)


def tls_context(settings: FeedSettings) -> ssl.SSLContext:
    """Chain and host name are always verified; a CA file replaces the system's store."""
    if settings.ca_file is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=str(settings.ca_file))
    except (OSError, ssl.SSLError) as error:
        do = "give the PEM file of the CA that signed the exchange's certificate"
        raise UnavailableError(
            f"CA file cannot be read: {error}", where=str(settings.ca_file), do=do
        ) from error


class Rest:
    """A session with one venue. ``used`` is the weight the venue last told."""

    def __init__(self, venue: Venue, settings: FeedSettings) -> None:
        self.venue = venue
        self.base = (settings.rest_url or venue.rest_url).rstrip("/")
        self.budget = SharedBudget(
            settings.run_dir, venue.id, "rest", venue.limits.rest, settings.source_address
        )
        self.requests = 0
        self.failures = 0
        self.used = 0.0
        connector = aiohttp.TCPConnector(
            ssl=tls_context(settings),
            local_addr=(settings.source_address, 0) if settings.source_address else None,
        )
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str, weight: float = 1) -> bytes:
        """Body of a 200, as received. Waits for the budget; raises RestError for everything else."""
        return await self._request("GET", path, weight)

    async def post(self, path: str, weight: float = 1) -> bytes:
        """The same with an empty POST."""
        return await self._request("POST", path, weight)

    async def _request(self, method: str, path: str, weight: float) -> bytes:
        while (wait := self.budget.take(weight)) > 0:
            if self.budget.state().open_until:
                raise RestError(f"refused by {self.venue.name}: {self.budget.state().reason}", wait)
            await asyncio.sleep(min(wait, 5.0))
        self.requests += 1
        try:
            async with self._session.request(method, self.base + path) as response:
                self._weigh(response)
                if response.status != 200:
                    raise self._refusal(response, await response.content.read(200))
                return await self._body(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.failures += 1
            raise RestError(f"{method} {self.base}{path}: {error or type(error).__name__}") from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > BODY_BYTES_MAX:
                self.failures += 1
                raise RestError(f"{response.method} {response.url}: more than {BODY_BYTES_MAX} bytes")
        return bytes(body)

    def _weigh(self, response: aiohttp.ClientResponse) -> None:
        text = response.headers.get(self.venue.limits.weight_header or "", "")
        if text.isdigit():
            self.used = float(text)
            self.budget.observe(self.used)

    def _refusal(self, response: aiohttp.ClientResponse, head: bytes) -> RestError:
        self.failures += 1
        said = head.decode(errors="replace").strip()
        reason = f"{response.method} {response.url}: HTTP {response.status} {said}"
        told = response.headers.get("Retry-After", "")
        seconds = stay_away_s(response.status, float(told) if told.isdigit() else 0.0)
        if seconds:
            self.budget.open(seconds, words(response.status))
        return RestError(reason, seconds)
