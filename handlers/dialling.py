"""Addresses of a venue: the URL taken apart, names resolved, addresses used in turn."""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import urlsplit

from handlers.errors import SetupError
from handlers.native_feed import Endpoint

DEFAULT_PORTS = {"wss": 443, "ws": 80}


class Dialler:
    """Resolves for every attempt, so that a venue's changed addresses are found. Raises SetupError."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise SetupError(
                f"{url!r} is no WebSocket address", where="websocket_url", do="use wss://host/path"
            )
        self.host = parts.hostname
        self.port = parts.port or DEFAULT_PORTS[parts.scheme]
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.secure = parts.scheme == "wss"
        self._turn = 0

    async def next(self) -> Endpoint:
        """The next address. Raises OSError where the name does not resolve."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(row[4][0]) for row in found))
        self._turn += 1
        address = addresses[self._turn % len(addresses)]
        return Endpoint(address, self.port, self.host, self.path, self.secure)
