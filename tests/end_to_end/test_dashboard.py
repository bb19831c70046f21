"""The dashboard in a headless Chromium: what moves, what it says when something stops, that it comes back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from box import Box, running
from browser import Browser, chromium

STATES = """Object.fromEntries([...document.querySelectorAll('#exchange-rows tr')]
  .map((row) => [row.cells[0].textContent, row.cells[1].textContent]))"""
# Every state that an exchange's row ever showed, however short: kept by the page itself.
WATCH_KRAKEN = """(() => {
  const row = [...document.querySelectorAll('#exchange-rows tr')]
    .find((one) => one.cells[0].textContent === 'Kraken');
  const cell = row.cells[1], seen = window.seenStates = [cell.textContent];
  new MutationObserver(() => {
    if (seen.at(-1) !== cell.textContent) seen.push(cell.textContent);
  }).observe(cell, { characterData: true, childList: true, subtree: true });
})()"""
SEEN = "window.seenStates"
INTERRUPTED = """Number.parseInt([...document.querySelectorAll('#exchange-rows tr')]
  .find((row) => row.cells[0].textContent === 'Kraken').cells[5].textContent) || 0"""
CHOOSE_OKX = """(() => {
  const source = document.querySelector('#source');
  source.value = 'okx';
  source.dispatchEvent(new Event('change'));
})()"""
ALL_OKX = """[...document.querySelectorAll('#bids tr:not([hidden])')]
  .every((row) => row.title.startsWith('okx '))"""
# What the Tab key must reach, in the order of the page; an id, or the word before it.
STOPS = [
    "skip", "symbol", "depth", "h-exchanges", "h-tops", "source", "latency-of", "h-arb", "preset", "request",
    "Send", "stop", "clear", "answers", "/v1/exchanges", "/v1/symbols", "/v1/status", "/health?verbose",
    "/metrics", "/openapi.json",
]  # fmt: skip
FOCUSED = """(() => {
  const one = document.activeElement;
  const name = one.id || one.className === 'skip' && 'skip' || one.getAttribute('aria-labelledby')
    || one.getAttribute('href') || one.textContent;
  return [name, getComputedStyle(one).outlineStyle];
})()"""

# The depth chart of sides of 100 levels, a tick apart, whose best prices cross by so many ticks: heights that
# its outline takes in its left and in its right half. Of a cliff there are two.
HEIGHTS = """import('/assets/ladder.js').then(({{ depthChart }}) => {{
  const canvas = document.body.appendChild(document.createElement('canvas'));
  canvas.style.cssText = 'width: 400px; height: 200px';
  const side = (best, step) => Array.from({{ length: 100 }}, (_, at) => [best + step * at, 1]);
  depthChart(canvas, side(64000 + {crossed}, -1), side(64000, 1));
  const {{ data, width, height }} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  canvas.remove();
  const heights = [new Set(), new Set()];
  for (let x = 0; x < width; x += 1) {{
    let y = Math.round(18 / 200 * height); // under the text
    while (y < height && !data[4 * (y * width + x) + 3]) y += 1;
    heights[Math.floor(2 * x / width)].add(y);
  }}
  return heights.map((each) => each.size);
}})"""


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with running(
        "--exchanges", "binance,okx,kraken", config="[simulate]\nlevels = 200\nrate = 20\n"
    ) as started:
        yield started


@pytest.fixture
async def page(box: Box, tmp_path: Path) -> AsyncIterator[Browser]:
    async with chromium(tmp_path / "profile") as browser:
        await browser.open(box.http_url)
        await browser.until("document.querySelectorAll('#bids tr:not([hidden])').length === 15", 60)
        yield browser


async def test_all_of_it_moves(page: Browser) -> None:
    states = await page.until(f"(() => {{ const s = {STATES}; return s.Kraken === 'live' && s }})()")
    assert {name for name, state in states.items() if state == "live"} == {"Binance", "OKX", "Kraken"}
    assert states["Gemini"] == "off"
    tops = await page.until("document.querySelectorAll('#top-rows tr:not([hidden])').length === 3")
    assert tops
    before = await page.evaluate("document.querySelector('#ladder').textContent")
    await page.until(f"document.querySelector('#ladder').textContent !== {before!r}")
    best = await page.evaluate(
        "[...document.querySelectorAll('#bids tr:first-child td')].map((c) => c.textContent)"
    )
    assert 60_000 < float(best[2]) < 70_000
    summary = "document.querySelector('#summary').textContent"
    await page.until(f"/^3 of 3 live, (\\d+) of \\1 books$/.test({summary})")


async def test_one_exchange_is_shown_alone_and_the_choice_is_kept(page: Browser) -> None:
    await page.until("document.querySelector('#source').options.length === 4")
    await page.evaluate(CHOOSE_OKX)
    await page.until(ALL_OKX)
    assert await page.evaluate("JSON.parse(localStorage.getItem('bookwire.choice')).source") == "okx"


async def live_again(page: Browser, box: Box, killed: int) -> None:
    """Kraken is live in a process that is not the killed one."""
    async with asyncio.timeout(60):
        while box.pid("feed kraken") in (killed, None):
            await asyncio.sleep(0.1)
    await page.until(f"{STATES}.Kraken === 'live'", 60)


def feed(box: Box) -> int:
    pid = box.pid("feed kraken")
    assert pid is not None
    return pid


async def test_an_exchange_leaves_and_returns_before_ones_eyes(page: Browser, box: Box) -> None:
    """Away for as long as it takes to be seen: it stands still, is seen to be down, and is killed then."""
    await page.until(f"{STATES}.Kraken === 'live'")
    await page.evaluate(WATCH_KRAKEN)
    pid = feed(box)
    os.kill(pid, signal.SIGSTOP)
    try:
        await page.until(f"{SEEN}.includes('down')", 60)
        await page.until("![...document.querySelectorAll('#top-rows tr:not([hidden])')]"
                         ".some((row) => row.cells[0].textContent === 'Kraken')")  # fmt: skip
        await page.until(f"{STATES}.OKX === 'live'")
    finally:
        os.kill(pid, signal.SIGKILL)
    await live_again(page, box, pid)
    seen = await page.evaluate(SEEN)
    assert seen[0] == seen[-1] == "live"
    await page.until("document.querySelectorAll('#top-rows tr:not([hidden])').length === 3")
    assert await page.evaluate("document.querySelector('#stale').hidden")


async def test_an_exchange_that_is_back_at_once_has_left_a_mark(page: Browser, box: Box) -> None:
    """However soon it is live again: a look once a second would have seen nothing."""
    await page.until(f"{STATES}.Kraken === 'live'")
    before = await page.evaluate(INTERRUPTED)
    pid = feed(box)
    os.kill(pid, signal.SIGKILL)
    await page.until(f"({INTERRUPTED}) > {before}", 60)
    await live_again(page, box, pid)
    told = """[...document.querySelectorAll('#exchange-rows tr')]
      .find((row) => row.cells[0].textContent === 'Kraken').cells[5].textContent"""
    await page.until(f"/^\\d+ ×, .+ ago$/.test({told})")


async def test_a_lost_stream_is_said_and_comes_back(page: Browser, box: Box) -> None:
    gateway = box.pid("gateway")
    assert gateway is not None
    os.kill(gateway, signal.SIGKILL)
    await page.until("!document.querySelector('#stale').hidden")
    assert "not connected" in await page.evaluate("document.querySelector('#stale').textContent")
    await page.until("document.querySelector('#link').dataset.state === 'live'", 60)
    await page.until("document.querySelector('#stale').hidden")
    await page.until("document.querySelectorAll('#bids tr:not([hidden])').length === 15")


@pytest.mark.parametrize("crossed", [-3, 20, 90, 150, 5000])
async def test_the_depth_shows_steps_however_far_exchanges_cross(page: Browser, crossed: int) -> None:
    left, right = await page.evaluate(HEIGHTS.format(crossed=crossed))
    assert left > 20
    assert right > 20


@pytest.mark.long
async def test_a_silent_stream_is_said_and_heard_again(page: Browser, box: Box) -> None:
    gateway = box.pid("gateway")
    assert gateway is not None
    os.kill(gateway, signal.SIGSTOP)
    try:
        await page.until("document.querySelector('#link').textContent.startsWith('nothing heard')", 60)
        await page.until("!document.querySelector('#stale').hidden")
    finally:
        os.kill(gateway, signal.SIGCONT)
    await page.until("document.querySelector('#link').dataset.state === 'live'", 60)
    await page.until("document.querySelector('#stale').hidden")


async def test_a_flood_of_answers_is_kept_short(page: Browser) -> None:
    send = """(() => {{ document.querySelector('#request').value = '{}';
               document.querySelector('#console').requestSubmit(); }})()"""
    for text in ('{"op":"ping"}', '{"op":"subscribe","channel":"fullbook:BTC-USDT","interval":0}'):
        await page.evaluate(send.format(text))  # the second while the first still connects
    lines = "[...document.querySelectorAll('#answers li')].map((item) => item.textContent)"
    await page.until(f"{lines}.length === 200", 60)
    first = await page.evaluate(f"{lines}[0]")
    await page.until(f"{lines}[0] !== {first!r}")
    assert await page.evaluate("document.querySelectorAll('#answers li').length") == 200
    await page.evaluate("document.querySelector('#stop').click()")
    await page.until(f"{lines}.at(-1) === 'closed: 1000 '")


async def test_requests_are_tried_by_hand(page: Browser) -> None:
    ask = """(() => { document.querySelector('#request').value = '{"op":"nonsense","id":7}';
             document.querySelector('#console').requestSubmit(); })()"""
    await page.evaluate(ask)
    answers = "[...document.querySelectorAll('#answers li')].map((item) => item.textContent)"
    await page.until(f"{answers}.length >= 2")
    sent, answer = (await page.evaluate(answers))[:2]
    assert sent == '→ {"op":"nonsense","id":7}'
    assert '"unknown op"' in answer
    assert '"id":7' in answer


async def test_it_is_used_without_a_mouse(page: Browser) -> None:
    """Tab goes through all of it in the order of the page, each stop to be seen and named, and out again."""
    reached = []
    for _ in STOPS:
        for kind in ("keyDown", "keyUp"):
            await page.call(
                "Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9
            )
        name, outline = await page.evaluate(FOCUSED)
        reached.append(name)
        assert outline != "none", f"{name}: nobody sees where the focus is"
    assert reached == STOPS
    unnamed = """[...document.querySelectorAll('input, select, textarea, [tabindex]')]
                 .filter((one) => !one.labels?.length && !one.getAttribute('aria-label')
                   && !one.getAttribute('aria-labelledby')).map((one) => one.id)"""
    assert await page.evaluate(unnamed) == []
