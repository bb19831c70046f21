"""The dashboard in a headless Chromium: what moves, what it says when something stops, that it comes back.

With BOOKWIRE_SCREENSHOTS=DIRECTORY it leaves its pictures there (those in docs/ are made so).
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from box import Box, running
from browser import Browser, chromium

SCREENS = {"laptop": (1400, 900, False), "phone": (390, 844, True)}
STATES = """Object.fromEntries([...document.querySelectorAll('#exchange-rows tr')]
  .map((row) => [row.cells[0].textContent, row.cells[1].textContent]))"""
CHOOSE_OKX = """(() => {
  const source = document.querySelector('#source');
  source.value = 'okx';
  source.dispatchEvent(new Event('change'));
})()"""
ALL_OKX = """[...document.querySelectorAll('#bids tr:not([hidden])')]
  .every((row) => row.title.startsWith('okx '))"""
REACHABLE = """[...document.querySelectorAll('a, input, select, textarea, button, [tabindex]')]
  .filter((one) => one.tabIndex >= 0 && (one.offsetParent !== null || one.className === 'skip')).length"""
FRAMES = """new Promise((done) => {
  const start = performance.now();
  let frames = 0;
  const look = (now) => {
    frames += 1;
    if (now - start < 3000) requestAnimationFrame(look);
    else done(frames);
  };
  requestAnimationFrame(look);
})"""
FRAME_S = 1 / 60


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


def pictures() -> Path | None:
    told = os.environ.get("BOOKWIRE_SCREENSHOTS")
    return Path(told) if told else None


async def test_all_of_it_moves(page: Browser, tmp_path: Path) -> None:
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
    assert 60_000 < float(best[1]) < 70_000
    for name, (width, height, phone) in SCREENS.items():
        for dark in (False, True):
            path = (pictures() or tmp_path) / f"dashboard-{name}-{'dark' if dark else 'light'}.png"
            await page.picture(path, width, height, dark=dark, phone=phone)
            assert path.stat().st_size > 20_000
    over = "document.documentElement.scrollWidth <= innerWidth"
    assert await page.evaluate(over), "nothing sticks out of a phone's screen"


async def test_one_exchange_is_shown_alone_and_the_choice_is_kept(page: Browser) -> None:
    await page.until("document.querySelector('#source').options.length === 4")
    await page.evaluate(CHOOSE_OKX)
    await page.until(ALL_OKX)
    assert await page.evaluate("JSON.parse(localStorage.getItem('bookwire.choice')).source") == "okx"


async def test_an_exchange_leaves_and_returns_before_ones_eyes(page: Browser, box: Box) -> None:
    await page.until(f"{STATES}.Kraken === 'live'")
    pid = box.pid("feed kraken")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await page.until(f"{STATES}.Kraken !== 'live'")
    await page.until(f"{STATES}.Kraken === 'live'", 60)
    assert await page.evaluate("document.querySelector('#stale').hidden")


async def test_a_lost_stream_is_said_and_comes_back(page: Browser, box: Box) -> None:
    gateway = box.pid("gateway")
    assert gateway is not None
    os.kill(gateway, signal.SIGKILL)
    await page.until("!document.querySelector('#stale').hidden")
    assert "not connected" in await page.evaluate("document.querySelector('#stale').textContent")
    await page.until("document.querySelector('#link').dataset.state === 'live'", 60)
    await page.until("document.querySelector('#stale').hidden")
    await page.until("document.querySelectorAll('#bids tr:not([hidden])').length === 15")


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


async def busy_s(page: Browser) -> float:
    """CPU time that the page's thread has used."""
    told = await page.call("Performance.getMetrics")
    return float({row["name"]: row["value"] for row in told["metrics"]}["TaskDuration"])


async def test_a_frame_costs_less_than_a_sixtieth_of_a_second(page: Browser) -> None:
    """CPU time, not the frames a shared machine happens to grant."""
    await page.call("Performance.enable", timeDomain="threadTicks")
    before = await busy_s(page)
    frames = await page.evaluate(FRAMES)
    cost_s = (await busy_s(page) - before) / frames
    print(f"{frames} frames, {cost_s * 1000:.1f} ms of CPU each")
    assert cost_s < FRAME_S


async def test_it_is_used_without_a_mouse(page: Browser) -> None:
    assert await page.evaluate(REACHABLE) >= 12
    unnamed = """[...document.querySelectorAll('input, select, textarea')]
                 .filter((one) => !one.labels.length).map((one) => one.id)"""
    assert await page.evaluate(unnamed) == []
