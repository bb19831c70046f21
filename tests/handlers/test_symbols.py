"""Choosing symbols: names in any form, patterns, aliases, and names nobody knows."""

from __future__ import annotations

import pytest

from handlers.errors import UsageError
from handlers.facts import Instrument, Kind, decimals
from handlers.registry import VENUES
from handlers.symbols import choose

BINANCE, COINBASE = VENUES["binance"], VENUES["coinbase"]
LISTED = [
    Instrument("BTCUSDT", "BTC", "USDT", 2, 5),
    Instrument("ETHUSDT", "ETH", "USDT", 2, 4),
    Instrument("ETHBTC", "ETH", "BTC", 5, 4),
    Instrument("X" * 40, "X" * 40, "USDT", 2, 5),
]
ALIASES = [
    Instrument("BTC-USD", "BTC", "USD", 2, 8),
    Instrument("BTC-USDC", "BTC", "USDC", 2, 8, alias_of="BTC-USD"),
]


def names(*wanted: str) -> list[str]:
    return [row.canonical for row in choose(BINANCE, LISTED, wanted)]


@pytest.mark.parametrize("name", ["BTC-USDT", "btc-usdt", "BTC/USDT", "BTCUSDT"])
def test_all_forms_name_the_same_symbol(name: str) -> None:
    assert names(name) == ["BTC-USDT"]


def test_a_bare_name_is_the_usual_quote_and_usdt_where_they_are_listed() -> None:
    assert names("BTC", "eth") == ["BTC-USDT", "ETH-USDT"]
    tether = [Instrument(f"{base}-USDT", base, "USDT", 2, 8) for base in ("BTC", "XRP")]
    ether = Instrument("ETH-USD", "ETH", "USD", 2, 8)
    chosen = choose(COINBASE, [*ALIASES, ether, *tether], ["BTC", "ETH", "XRP"])
    assert [row.canonical for row in chosen] == ["BTC-USD", "BTC-USDT", "ETH-USD", "XRP-USDT"]
    with pytest.raises(UsageError, match="'DOGE'"):
        choose(COINBASE, tether, ["DOGE"])


def test_patterns_and_names_mix_in_the_order_wanted_and_each_counts_once() -> None:
    assert names("ETH-BTC", "*-USDT", "ETH-*") == ["ETH-BTC", "BTC-USDT", "ETH-USDT"]


def test_nothing_wanted_means_all_of_the_customary_quote() -> None:
    assert names() == ["BTC-USDT", "ETH-USDT"]


def test_star_means_all_that_can_be_published() -> None:
    assert names("*") == ["BTC-USDT", "ETH-USDT", "ETH-BTC"]


@pytest.mark.parametrize("name", ["BTC-USD", "NOPE-*"])
def test_an_unknown_name_says_what_is_near_and_what_to_do(name: str) -> None:
    with pytest.raises(UsageError, match="no tradable symbol") as caught:
        names(name)
    assert caught.value.exit_code == 64
    assert "bookwire symbols binance" in caught.value.do


def test_an_alias_is_the_book_it_stands_for_and_no_pattern_brings_it_in() -> None:
    assert [row.native for row in choose(COINBASE, ALIASES, ["BTC-USDC"])] == ["BTC-USD"]
    assert [row.native for row in choose(COINBASE, ALIASES, ["*"])] == ["BTC-USD"]


@pytest.mark.parametrize(
    ("increment", "expected"),
    [("0.01000000", 2), ("1e-08", 8), (1e-08, 8), ("1", 0), ("5", 0), ("100", 0), ("0.5", 1), ("1E-3", 3)],
)
def test_decimals_of_an_increment(increment: str | float, expected: int) -> None:
    assert decimals(increment) == expected


DERIBIT = VENUES["deribit"]
PERPETUALS = [
    Instrument("BTC-PERPETUAL", "BTC", "USD", 1, 0, Kind.PERPETUAL, inverse=True),
    Instrument("BTC_USDC-PERPETUAL", "BTC", "USDC", 1, 3, Kind.PERPETUAL),
    Instrument("ETH_USDT", "ETH", "USDT", 2, 4),
]


def test_where_the_usual_quote_has_no_pair_a_bare_name_is_the_perpetual_against_it() -> None:
    chosen = choose(DERIBIT, PERPETUALS, ["BTC", "ETH", "btc-usdc-perpetual"])
    assert [row.canonical for row in chosen] == ["BTC-PERPETUAL", "ETH-USDT", "BTC-USDC-PERPETUAL"]
    assert [row.canonical for row in choose(DERIBIT, PERPETUALS, [])] == ["BTC-PERPETUAL"]
    assert [row.canonical for row in choose(DERIBIT, PERPETUALS, ["*-PERPETUAL"])] == [
        "BTC-PERPETUAL",
        "BTC-USDC-PERPETUAL",
    ]


def test_a_bare_name_that_is_not_listed_is_left_out_and_told_unless_nothing_else_is_found() -> None:
    told: list[str] = []
    chosen = choose(DERIBIT, PERPETUALS, ["BTC", "DOGE", "SOL"], told.append)
    assert [row.canonical for row in chosen] == ["BTC-PERPETUAL"]
    assert told == ["DOGE", "SOL"]
    with pytest.raises(UsageError, match="'DOGE'"):
        choose(DERIBIT, PERPETUALS, ["DOGE", "SOL"])
    with pytest.raises(UsageError, match="'DOGE-USD'"):
        choose(DERIBIT, PERPETUALS, ["BTC", "DOGE-USD"])
