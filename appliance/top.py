"""The table of tops: the best prices of every book here, how old, how fast, how fresh."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from decimal import Decimal

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from appliance.observe import BookView, ExchangeView, Observer

FRAME_S = 0.25
PLAIN_COLUMNS = 132
_STATE_STYLE = {"live": "green", "syncing": "yellow", "resync": "yellow", "stale": "red", "down": "red"}


class Rates:
    """Updates a second of each book, smoothed over some seconds."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[float, int, float | None]] = {}

    def measure(self, books: Iterable[BookView], now_s: float) -> dict[tuple[str, str], float]:
        """Call at each frame; a book is absent until it was seen twice."""
        rates = {}
        for book in books:
            key = (book.exchange, book.symbol)
            before = self._last.get(key)
            if before is None or book.updates < before[1]:  # new, or its process was restarted
                self._last[key] = (now_s, book.updates, None)
                continue
            then_s, updates, rate = before
            if now_s - then_s >= 1.0:
                current = (book.updates - updates) / (now_s - then_s)
                rate = current if rate is None else 0.6 * rate + 0.4 * current
                self._last[key] = (now_s, book.updates, rate)
            if rate is not None:
                rates[key] = rate
        return rates


def best_of(books: Iterable[BookView]) -> dict[str, tuple[Decimal | None, Decimal | None]]:
    """Highest bid and lowest ask of each symbol over its live books."""
    best: dict[str, tuple[Decimal | None, Decimal | None]] = {}
    for book in books:
        if book.state != "live":
            continue
        bid, ask = best.get(book.symbol, (None, None))
        if book.bid is not None:
            bid = book.bid[0] if bid is None else max(bid, book.bid[0])
        if book.ask is not None:
            ask = book.ask[0] if ask is None else min(ask, book.ask[0])
        best[book.symbol] = (bid, ask)
    return best


def _age(book: BookView, now_ns: int) -> str:
    if not book.last_data_ns:
        return ""
    age_s = max(0.0, (now_ns - book.last_data_ns) / 1e9)
    return f"{age_s * 1e3:.0f} ms" if age_s < 1 else f"{age_s:.0f} s"


def _inside(book: BookView) -> str:
    """Receive to ring of the last update."""
    if not book.published_ns or not book.receive_ns:
        return ""
    return f"{max(0, book.published_ns - book.receive_ns) / 1e3:.0f} µs"


def table_of(
    exchanges: Sequence[ExchangeView],
    rates: dict[tuple[str, str], float],
    *,
    now_ns: int,
    rows_max: int | None = None,
    wanted: Sequence[str] = (),
) -> Table:
    """One row a book, grouped by symbol; the best price of each symbol stands out."""
    books = [book for exchange in exchanges for book in exchange.books]
    live = sum(book.state == "live" for book in books)
    best = best_of(books)
    shown = sorted(
        (book for book in books if not wanted or book.symbol in wanted or book.exchange in wanted),
        key=lambda book: _first_seen(books, book.symbol),
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left", title_style="bold")
    table.title = f"{live} of {len(books)} books live on {len(exchanges)} exchanges"
    table.add_column("symbol", no_wrap=True)
    table.add_column("exchange", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for heading in ("bid qty", "bid", "ask", "ask qty", "spread bp", "upd/s", "age", "in to ring"):
        table.add_column(heading, justify="right", no_wrap=True)
    hidden = 0 if rows_max is None else max(0, len(shown) - rows_max)
    last = ""
    for book in shown[: len(shown) - hidden]:
        table.add_row(*_row(book, best, rates, now_ns, new_symbol=book.symbol != last))
        last = book.symbol
    if hidden:
        table.caption = f"{hidden} more; `bookwire top SYMBOL` chooses"
    return table


def _first_seen(books: Sequence[BookView], symbol: str) -> int:
    return next(index for index, book in enumerate(books) if book.symbol == symbol)


def _row(
    book: BookView,
    best: dict[str, tuple[Decimal | None, Decimal | None]],
    rates: dict[tuple[str, str], float],
    now_ns: int,
    *,
    new_symbol: bool,
) -> list[Text | str]:
    live = book.state == "live"
    state = book.state if live or book.reason == "none" else f"{book.state}: {book.reason}"
    head: list[Text | str] = [
        book.symbol if new_symbol else "",
        book.exchange,
        Text(state, style=_STATE_STYLE.get(book.state, "")),
    ]
    if not live or book.bid is None or book.ask is None:
        return [*head, "", "", "", "", "", "", _age(book, now_ns), ""]
    best_bid, best_ask = best.get(book.symbol, (None, None))
    spread = (book.ask[0] - book.bid[0]) / ((book.ask[0] + book.bid[0]) / 2) * 10_000
    rate = rates.get((book.exchange, book.symbol))
    return [
        *head,
        f"{book.bid[1]:f}",
        Text(f"{book.bid[0]:f}", style="bold green" if book.bid[0] == best_bid else "green"),
        Text(f"{book.ask[0]:f}", style="bold red" if book.ask[0] == best_ask else "red"),
        f"{book.ask[1]:f}",
        f"{spread:.2f}",
        "" if rate is None else f"{rate:.0f}",
        _age(book, now_ns),
        _inside(book),
    ]


def console() -> Console:
    """stdout; wide enough for the table where there is no terminal to say how wide it is."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_COLUMNS, highlight=False)


async def show(
    observer: Observer, moving: bool, interval_s: float | None, wanted: Sequence[str] = ()
) -> None:
    """The moving table until cancelled; else one table, or one every ``interval_s``."""
    rates = Rates()
    if moving:
        with Live(console=console(), auto_refresh=False, redirect_stdout=False) as live:
            while True:
                rows = max(3, shutil.get_terminal_size().lines - 6)
                live.update(_frame(observer, rates, wanted, rows), refresh=True)
                await asyncio.sleep(FRAME_S)
    _frame(observer, rates, wanted, None)
    await asyncio.sleep(min(1.1, interval_s or 1.1))  # rates need two looks
    while True:
        console().print(_frame(observer, rates, wanted, None))
        sys.stdout.flush()
        if interval_s is None:
            return
        await asyncio.sleep(interval_s)


def _frame(observer: Observer, rates: Rates, wanted: Sequence[str], rows_max: int | None) -> Table:
    exchanges = observer.look()
    books = [book for exchange in exchanges for book in exchange.books]
    measured = rates.measure(books, time.monotonic())
    return table_of(exchanges, measured, now_ns=time.time_ns(), rows_max=rows_max, wanted=wanted)
