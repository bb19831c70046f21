"""Asks the gateway and the HTTP process whether they answer, as a client would."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp

from appliance.config import Config

PATIENCE_S = 2.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def reachable(host: str) -> str:
    """An address to connect to for one that is listened on, fit for a URL."""
    host = _ANYWHERE.get(host, host)
    return f"[{host}]" if ":" in host else host


async def answers(config: Config) -> bool:
    """True when both do their job now."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as session:
        return await _gateway(config, session) and await _http(config, session)


async def _gateway(config: Config, session: aiohttp.ClientSession) -> bool:
    gateway = config.gateway
    host = reachable(gateway.host)
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        if gateway.tls_certificate or gateway.token_file:
            # Whether it may be trusted is its clients' question; that it listens is ours.
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(host.strip("[]"), gateway.port), PATIENCE_S
            )
            writer.close()
            await writer.wait_closed()
            return True
        async with session.ws_connect(f"ws://{host}:{gateway.port}/") as socket:
            await socket.send_str('{"op":"ping"}')
            answer = await socket.receive_json(timeout=PATIENCE_S)
            return bool(answer.get("type") == "pong")
    return False


async def _http(config: Config, session: aiohttp.ClientSession) -> bool:
    url = f"http://{reachable(config.http.host)}:{config.http.port}/livez"
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with session.get(url) as answer:
            return answer.status == 200
    return False
