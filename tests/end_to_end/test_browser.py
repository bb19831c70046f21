"""The README's browser client, letter by letter but for the port, in a headless Chromium."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from box import running
from browser import Browser, chromium

README = Path(__file__).resolve().parents[2] / "README.md"
PAGE = "<!doctype html><meta charset=utf-8><script>\n{script}\n</script>\n"

# The same messages without a WebSocket, from a page of another origin.
EVENTS = """new Promise((done, failed) => {{
  const events = new EventSource("http://127.0.0.1:{port}/v1/events?channel=top:BTC-USDT"), seen = [];
  events.onerror = () => failed(new Error("refused"));
  events.onmessage = (event) => {{
    if (seen.push(event.data) === 3) {{ events.close(); done(seen); }}
  }};
}})"""


def readme_client(port: int) -> str:
    """The first block of JavaScript that opens a WebSocket, with the box's port. Three statements."""
    blocks = re.findall(r"^```(?:js|javascript|html)\n(.*?)^```", README.read_text(), re.S | re.M)
    client: str = next(block for block in blocks if "new WebSocket(" in block)
    assert "ws://127.0.0.1:8081/" in client
    assert len(client.strip().splitlines()) == 3
    return client.replace("8081", str(port))


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with chromium(tmp_path / "profile") as opened:
        yield opened


def best(levels: dict[Decimal, Decimal], side: str) -> Decimal:
    return max(levels) if side == "bids" else min(levels)


async def test_the_readme_client_shows_the_book_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    arguments = ("--exchanges", "binance,okx", "--symbols", "BTC-USDT")
    with running(*arguments, config="[simulate]\nlevels = 200\nrate = 50\n") as box:
        page = tmp_path / "readme.html"
        page.write_text(PAGE.format(script=readme_client(box.port)))
        await browser.open(page.as_uri())
        async with asyncio.timeout(30):
            while len(browser.logged) < 20:
                await browser.receive()
        events = await browser.evaluate(EVENTS.format(port=box.port))
    assert [json.loads(text)["type"] for text in events] == ["subscribed", "snapshot", "snapshot"]
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
