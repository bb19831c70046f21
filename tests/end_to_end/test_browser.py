"""The README's browser client, letter by letter but for the port, in a headless Chromium."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import websockets
from box import running

README = Path(__file__).resolve().parents[2] / "README.md"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
)  # fmt: skip
PAGE = "<!doctype html><meta charset=utf-8><script>\n{script}\n</script>\n"


def readme_client(port: int) -> str:
    """The first block of JavaScript that opens a WebSocket, with the box's port. Three statements."""
    blocks = re.findall(r"^```(?:js|javascript|html)\n(.*?)^```", README.read_text(), re.S | re.M)
    client: str = next(block for block in blocks if "new WebSocket(" in block)
    assert "ws://127.0.0.1:8081/" in client
    assert len(client.strip().splitlines()) == 3
    return client.replace("8081", str(port))


class Browser:
    """A page of Chromium over its debugging protocol: what the page logs comes as lines."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.connection, self.numbers, self.session = connection, count(1), ""
        self.logged: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        await self.connection.send(
            json.dumps(message | ({"sessionId": self.session} if self.session else {}))
        )
        while (answer := await self.receive()).get("id") != number:
            pass
        assert "error" not in answer, answer
        return dict(answer["result"])

    async def receive(self) -> dict[str, Any]:
        message = dict(json.loads(await self.connection.recv()))
        if message.get("method") == "Runtime.consoleAPICalled":
            self.logged += [str(argument["value"]) for argument in message["params"]["args"]]
        assert message.get("method") != "Runtime.exceptionThrown", message
        return message

    async def open(self, page: Path) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        await self.call("Runtime.enable")
        await self.call("Page.navigate", url=page.as_uri())


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    process = await asyncio.create_subprocess_exec(
        program, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "about:blank",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        url = None
        async with asyncio.timeout(30):
            while url is None:
                line = (await process.stderr.readline()).decode()
                assert line, "Chromium ended"
                url = re.search(r"DevTools listening on (ws://\S+)", line)
        async with websockets.connect(url[1], max_size=64 << 20) as connection:
            yield Browser(connection)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


def best(levels: dict[Decimal, Decimal], side: str) -> Decimal:
    return max(levels) if side == "bids" else min(levels)


async def test_the_readme_client_shows_the_book_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    arguments = ("--exchanges", "binance,okx", "--symbols", "BTC-USDT")
    with running(*arguments, config="[simulate]\nlevels = 200\nrate = 50\n") as box:
        page = tmp_path / "readme.html"
        page.write_text(PAGE.format(script=readme_client(box.port)))
        await browser.open(page)
        async with asyncio.timeout(30):
            while len(browser.logged) < 20:
                await browser.receive()
    ack, first, *rest = [json.loads(text, parse_float=Decimal, parse_int=Decimal) for text in browser.logged]
    assert ack == {"type": "subscribed", "channel": "consbook:BTC-USDT"}
    assert first["type"] == "snapshot"
    assert {message["type"] for message in rest} == {"delta"}
    sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
    for message in (first, *rest):
        for side, levels in sides.items():
            levels.update({row[0]: row[1] for row in message["data"][side]})
            for price in [price for price, quantity in levels.items() if not quantity]:
                del levels[price]
            assert len(levels) == 10
    assert Decimal(60_000) < best(sides["bids"], "bids")
    assert best(sides["asks"], "asks") < Decimal(70_000)
