"""Show one book. EXCHANGE:SYMBOL is read from shared memory; consbook:, fullbook: and top: are asked of HTTP.

Exit code 75 while the book is not live: what is shown then is not known to be right, so nothing is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from decimal import Decimal
from typing import Any

import aiohttp

from appliance.commands import add_config, add_json, config_of
from appliance.config import Config
from appliance.lines import json_line
from appliance.observe import Observer, need_something
from appliance.probe import reachable
from appliance.slips import suggestion
from handlers.errors import SetupError, UnavailableError, UsageError
from handlers.shm import Book, ReadError
from handlers.shm_layout import BookState

EXAMPLES = """
  bookwire book binance:BTC-USDT
  bookwire book consbook:BTC-USDT --depth 5
  bookwire book kraken:ETH-USDT --json | jq '.bids[0]'
"""

MERGED = ("top", "consbook", "fullbook")
TRY_LATER = 75


class NotLiveError(SetupError):
    """The book is not known to be right now."""

    exit_code = TRY_LATER


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("channel", metavar="CHANNEL", help="binance:BTC-USDT, consbook:BTC-USDT, ...")
    parser.add_argument(
        "--depth", type=int, default=10, metavar="N", help="levels a side, 0 all (default: 10)"
    )
    add_json(parser)
    add_config(parser)


def split(channel: str) -> tuple[str, str]:
    """(exchange or prefix, SYMBOL) of a channel. Raises UsageError."""
    prefix, colon, symbol = channel.partition(":")
    if not colon or not symbol:
        raise UsageError(f"no channel {channel!r}", do="write EXCHANGE:SYMBOL, as in binance:BTC-USDT")
    return prefix.lower(), symbol.upper().replace("/", "-")


def copied(observer: Observer, exchange: str, symbol: str, depth: int) -> Book:
    """An untorn copy. Raises UsageError (64) for unknown names, NotLiveError (75) for what is not live."""
    names = [each.exchange for each in observer.look()]
    segment = observer.segment(exchange) if exchange in names else None
    if segment is None:
        raise UsageError(
            f"exchange {exchange!r} does not run here", do=suggestion(exchange, [*names, *MERGED])
        )
    known = [row.canonical for row in segment.symbols]
    if symbol not in known:
        raise UsageError(f"{exchange} has no symbol {symbol!r} here", do=suggestion(symbol, known))
    if not segment.alive():
        raise NotLiveError(f"the process of {exchange} is down", do="see `bookwire status`; try again")
    try:
        return segment.book(symbol, depth)
    except ReadError as error:
        raise NotLiveError(f"{exchange}:{symbol} cannot be read now: {error}", do="try again") from error


def run(arguments: argparse.Namespace) -> int:
    """0 and the book; 64, 69 or 75 and why not."""
    config = config_of(arguments)
    prefix, symbol = split(arguments.channel)
    if prefix in MERGED:
        told = asyncio.run(_ask(config, f"{prefix}:{symbol}", arguments.depth))
        bids, asks = ([tuple(level) for level in told["data"][side]] for side in ("bids", "asks"))
        head = told["channel"]
    else:
        with Observer(config.box.shm_dir) as observer:
            need_something(observer.look(), config)
            book = copied(observer, prefix, symbol, arguments.depth)
        if book.state is not BookState.LIVE:
            raise NotLiveError(
                f"{prefix}:{symbol} is {book.state.name.lower()} ({book.reason.name.lower()})", do="try again"
            )
        orders = {"bids": book.bids["orders"].tolist(), "asks": book.asks["orders"].tolist()}
        bids = [(*level, count) for level, count in zip(book.decimals("bids"), orders["bids"], strict=True)]
        asks = [(*level, count) for level, count in zip(book.decimals("asks"), orders["asks"], strict=True)]
        head = f"{prefix}:{symbol}"
        told = {"channel": head, "sequence": book.sequence, "bids": bids, "asks": asks}
    if arguments.json:
        print(json_line(told))
    else:
        _print(head, bids, asks)
    return 0


async def _ask(config: Config, channel: str, depth: int) -> dict[str, Any]:
    """The snapshot a subscriber would get."""
    url = f"http://{reachable(config.http.host)}:{config.http.port}/v1/book/{channel}"
    parameters = {"depth": str(depth or config.http.depth_max)}
    try:
        async with aiohttp.ClientSession() as session, session.get(url, params=parameters) as answer:
            body = json.loads(await answer.text(), parse_float=Decimal)
            if answer.status == 404:
                raise UsageError(str(body.get("detail")), do="see `bookwire symbols`")
            if answer.status != 200:
                raise NotLiveError(
                    str(body.get("detail") or body.get("title") or answer.status), do="try again"
                )
            found: dict[str, Any] = body
            return found
    except aiohttp.ClientError as error:
        raise UnavailableError(
            f"no answer from the HTTP process: {error}",
            where=url,
            do="start `bookwire up` or `bookwire http`",
        ) from error


def _print(head: str, bids: list[tuple[Any, ...]], asks: list[tuple[Any, ...]]) -> None:
    """Asks above bids, best prices in the middle, as traders read it."""
    print(f"{head}  {len(bids)} bids, {len(asks)} asks  (price, quantity, orders)")
    texts = [[_text(cell) for cell in row] for row in (*reversed(asks), (), *bids)]
    widths = [max(map(len, column)) for column in zip(*filter(None, texts), strict=True)]
    for text in texts:
        cells = (cell.rjust(width) for cell, width in zip(text, widths, strict=False))
        print("  ".join(cells) if text else "-")


def _text(value: object) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
