"""Where a connection goes: a token where the venue wants one, the name resolved, addresses in turn."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol
from urllib.parse import urlsplit

import orjson

from handlers.errors import SetupError
from handlers.facts import Venue
from handlers.native_feed import Endpoint
from handlers.rest import RestError

DEFAULT_PORTS = {"wss": 443, "ws": 80}


class DialError(Exception):
    """No address to connect to now. ``cause`` counts ("name", "token"); ``retry_s`` as the venue wants."""

    def __init__(self, cause: str, reason: str, retry_s: float = 0.0) -> None:
        self.cause = cause
        self.retry_s = retry_s
        super().__init__(reason)


class Poster(Protocol):
    async def post(self, path: str, weight: float = 1) -> bytes: ...


def endpoint_of(url: str, address: str) -> Endpoint:
    """Raises SetupError for what is no WebSocket address."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise SetupError(f"{url!r} is no WebSocket address", where="websocket_url", do="use wss://host/path")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    return Endpoint(address, port, parts.hostname, path, parts.scheme == "wss")


class Dialler:
    """Asks for a token and resolves for every attempt. ``url`` None: the venue's own. Raises SetupError."""

    def __init__(self, venue: Venue, url: str | None, rest: Poster) -> None:
        self.url = url or venue.websocket_url
        self._own = url is None
        self._token = venue.token
        self._rest = rest
        self._turn = 0
        endpoint_of(self.url, "")

    async def next(self) -> Endpoint:
        """The next address. Raises DialError where there is none now."""
        to = endpoint_of(await self._address(), "")
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise DialError("name", f"{to.host} does not resolve: {error}") from error
        addresses = list(dict.fromkeys(str(row[4][0]) for row in found))
        self._turn += 1
        return to._replace(address=addresses[self._turn % len(addresses)])

    async def _address(self) -> str:
        if self._token is None:
            return self.url
        try:
            told = self._token.url(orjson.loads(await self._rest.post(self._token.path, self._token.weight)))
            endpoint_of(told, "")
        except RestError as error:
            raise DialError("token", f"no token: {error}", error.retry_s) from error
        except (ValueError, KeyError, TypeError, IndexError, SetupError) as error:
            raise DialError("token", f"no token in the answer: {error!r}") from error
        return told if self._own else f"{self.url.split('?')[0]}?{urlsplit(told).query}"
