"""SIGHUP: symbols come and go in a running box, and nothing else moves."""

from __future__ import annotations

import json
import signal
import urllib.request
from typing import Any

import pytest
from box import Box, running
from play import until

from appliance.observe import BookView

CONFIG = """
[simulate]
symbols = ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
[exchange.kraken]
symbols = {kraken}
[exchange.binance]
symbols = {binance}
[record]
enabled = false
"""
PATIENCE_S = 60.0


def configure(box: Box, kraken: list[str], binance: list[str]) -> None:
    box.config_path.write_text(CONFIG.format(kraken=json.dumps(kraken), binance=json.dumps(binance)))


def hang_up(box: Box) -> None:
    assert box.process
    box.process.send_signal(signal.SIGHUP)


def books(box: Box) -> dict[tuple[str, str], BookView]:
    with box.observer() as observer:
        return {(book.exchange, book.symbol): book for each in observer.look() for book in each.books}


def live(box: Box) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for (exchange, symbol), book in books(box).items():
        if book.state == "live":
            found.setdefault(exchange, set()).add(symbol)
    return found


def said(box: Box, event: str) -> int:
    return sum(line.startswith(event) for line in box.messages)


def symbols_listed(box: Box, exchange: str) -> set[str]:
    with urllib.request.urlopen(f"{box.http_url}/v1/symbols?exchange={exchange}", timeout=10) as answer:
        rows: list[dict[str, Any]] = json.load(answer)["data"]
    return {row["symbol"] for row in rows}


@pytest.mark.timeout(300)
async def test_symbols_come_and_go_and_the_others_are_not_disturbed() -> None:
    first = CONFIG.format(kraken='["BTC-USDT", "ETH-USDT"]', binance='["BTC-USDT", "ETH-USDT"]')
    with running("--exchanges", "binance,kraken", config=first) as box:
        pids = {name: box.pid(name) for name in ("feed kraken", "feed binance", "gateway", "http")}
        before = books(box)

        configure(box, ["BTC-USDT", "SOL-USDT"], ["BTC-USDT", "SOL-USDT"])
        hang_up(box)
        wanted = {name: {"BTC-USDT", "SOL-USDT"} for name in ("binance", "kraken")}
        await until(lambda: live(box) == wanted, PATIENCE_S, "SOL-USDT instead of ETH-USDT")
        assert {symbol for _, symbol in books(box)} == {"BTC-USDT", "SOL-USDT"}
        await until(lambda: symbols_listed(box, "kraken") == wanted["kraken"], PATIENCE_S, "the list follows")

        for exchange in wanted:
            old, new = before[exchange, "BTC-USDT"], books(box)[exchange, "BTC-USDT"]
            assert (new.epoch, new.gaps, new.resyncs) == (old.epoch, old.gaps, old.resyncs)
            assert new.sequence > old.sequence

        configure(box, ["BTC-USDT", "ETH-USDT", "SOL-USDT"], ["ETH-USDT"])  # back where it was, and two leave
        hang_up(box)
        wanted = {"binance": {"ETH-USDT"}, "kraken": {"BTC-USDT", "ETH-USDT", "SOL-USDT"}}
        await until(lambda: live(box) == wanted, PATIENCE_S, "ETH-USDT again")
        assert books(box)["kraken", "BTC-USDT"].epoch == before["kraken", "BTC-USDT"].epoch

        box.config_path.write_text("[exchanges]\nsymbol = 3\n")
        hang_up(box)
        await until(lambda: said(box, "reload_refused") == 1, PATIENCE_S, "a wrong file is refused")
        configure(box, ["NO-SUCH"], ["ETH-USDT"])
        hang_up(box)
        await until(lambda: said(box, "reload_refused") == 2, PATIENCE_S, "an unknown symbol is refused")
        assert live(box) == wanted
        assert pids == {name: box.pid(name) for name in pids}
