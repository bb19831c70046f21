"""A headless Chromium over its debugging protocol, for tests that look at pages."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import websockets

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
    "--hide-scrollbars",
)  # fmt: skip
LOOK_S = 0.1


class Browser:
    """A page: what it logs comes as lines; an exception in it fails the test."""

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
            self.logged += [str(argument.get("value")) for argument in message["params"]["args"]]
        assert message.get("method") != "Runtime.exceptionThrown", message
        return message

    async def open(self, url: str) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        await self.call("Runtime.enable")
        await self.call("Page.enable")
        await self.call("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is awaited."""
        told = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, expression: str, patience_s: float = 30) -> Any:
        """Looks until the expression is true; its value then."""
        async with asyncio.timeout(patience_s):
            while not (value := await self.evaluate(expression)):
                await asyncio.sleep(LOOK_S)  # a page tells nobody when it changed
        return value

    async def picture(
        self, path: Path, width: int, height: int, *, dark: bool = False, phone: bool = False
    ) -> None:
        """A PNG of the whole page as it looks on such a screen."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        shot = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Browser]:
    """One browser with a profile of its own; skips the test where there is none."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    process = await asyncio.create_subprocess_exec(
        program, *FLAGS, f"--user-data-dir={profile}", "about:blank",
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
