"""What each venue file says: its frames, how it reads answers and symbol lists, the limits it states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from handlers.errors import SetupError, UsageError
from handlers.facts import Continuity, Instrument, Sync, Venue
from handlers.registry import EXCHANGES, VENUES, active, ordered, venue

ANSWERS: list[tuple[str, dict[str, Any], str, tuple[str, ...], str | None]] = [
    ("binance", {"result": None, "id": 7}, "taken", (), "7"),
    ("binance", {"code": 2, "msg": "Invalid request: missing field"}, "refused", (), None),
    ("binance", {"error": {"code": 3, "msg": "Invalid JSON"}, "id": 9}, "refused", (), "9"),
    ("binance", {"e": "serverShutdown", "E": 1770123456789}, "leave", (), None),
    ("binance", {"stream": "!serverShutdown", "data": {"e": "serverShutdown"}}, "leave", (), None),
    (
        "coinbase",
        {
            "channel": "subscriptions",
            "sequence_num": 1,
            "events": [{"subscriptions": {"level2": ["BTC-USD"]}}],
        },
        "current",
        ("BTC-USD",),
        None,
    ),
    (
        "coinbase",
        {"channel": "subscriptions", "events": [{"subscriptions": {"heartbeats": ["heartbeats"]}}]},
        "current",
        (),
        None,
    ),
    ("coinbase", {"type": "error", "message": "Failed to subscribe"}, "refused", (), None),
    (
        "okx",
        {"id": "1", "event": "subscribe", "arg": {"channel": "books", "instId": "BTC-USDT"}, "connId": "a"},
        "taken",
        ("BTC-USDT",),
        None,
    ),
    (
        "okx",
        {"event": "unsubscribe", "arg": {"channel": "books", "instId": "X-Y"}},
        "unsubscribed",
        ("X-Y",),
        None,
    ),
    (
        "okx",
        {"event": "error", "code": "60018", "msg": "Wrong URL or channel:books,instId:NO-PE doesn't exist."},
        "refused",
        ("NO-PE",),
        None,
    ),
    ("okx", {"event": "notice", "code": "64008", "msg": "will soon be closed"}, "leave", (), None),
    ("bybit", {"success": True, "ret_msg": "subscribe", "req_id": "1", "op": "subscribe"}, "taken", (), "1"),
    ("bybit", {"success": True, "ret_msg": "", "req_id": "2", "op": "unsubscribe"}, "unsubscribed", (), "2"),
    (
        "bybit",
        {"success": False, "ret_msg": "Invalid topic", "req_id": "1", "op": "subscribe"},
        "refused",
        (),
        "1",
    ),
    ("kraken", {"channel": "status", "data": [{"system": "online"}]}, "other", (), None),
    (
        "kraken",
        {
            "method": "subscribe",
            "req_id": 1,
            "result": {"channel": "book", "symbol": "BTC/USD"},
            "success": True,
        },
        "taken",
        ("BTC/USD",),
        "1",
    ),
    (
        "kraken",
        {"method": "unsubscribe", "result": {"symbol": "BTC/USD"}, "success": True},
        "unsubscribed",
        ("BTC/USD",),
        None,
    ),
    (
        "kraken",
        {"error": "Currency pair not supported", "method": "subscribe", "success": False, "symbol": "A/B"},
        "refused",
        ("A/B",),
        None,
    ),
]

LISTS: list[tuple[str, Any, list[Instrument]]] = [
    (
        "binance",
        {
            "symbols": [
                {
                    "symbol": symbol,
                    "status": status,
                    "isSpotTradingAllowed": True,
                    "baseAsset": symbol[:-4],
                    "quoteAsset": "USDT",
                    "filters": [
                        {"filterType": "LOT_SIZE", "stepSize": "0.00001000"},
                        {"filterType": "PRICE_FILTER", "tickSize": "0.01000000"},
                    ],
                }
                for symbol, status in (("BTCUSDT", "TRADING"), ("OLDUSDT", "HALT"), ("币安USDT", "TRADING"))
            ]
        },
        [Instrument("BTCUSDT", "BTC", "USDT", 2, 5)],
    ),
    (
        "coinbase",
        {
            "products": [
                {
                    "product_id": symbol,
                    "status": "online",
                    "product_type": "SPOT",
                    "price_increment": "0.01",
                    "base_increment": "0.00000001",
                    "alias": alias,
                    "view_only": closed,
                }
                for symbol, alias, closed in (
                    ("BTC-USD", "", False),
                    ("BTC-USDC", "BTC-USD", False),
                    ("OLD-USD", "", True),
                )
            ]
        },
        [
            Instrument("BTC-USD", "BTC", "USD", 2, 8),
            Instrument("BTC-USDC", "BTC", "USDC", 2, 8, alias_of="BTC-USD"),
        ],
    ),
    (
        "okx",
        {
            "data": [
                {
                    "instId": symbol,
                    "baseCcy": symbol.split("-")[0],
                    "quoteCcy": "USDT",
                    "state": state,
                    "tickSz": tick,
                    "lotSz": "0.00000001",
                }
                for symbol, state, tick in (
                    ("BTC-USDT", "live", "0.1"),
                    ("NEW-USDT", "preopen", ""),
                    ("ODD-USDT", "live", ""),
                )
            ]
        },
        [Instrument("BTC-USDT", "BTC", "USDT", 1, 8)],
    ),
    (
        "bybit",
        {
            "result": {
                "list": [
                    {
                        "symbol": "BTCUSDT",
                        "baseCoin": "BTC",
                        "quoteCoin": "USDT",
                        "status": status,
                        "priceFilter": {"tickSize": "0.1"},
                        "lotSizeFilter": {"basePrecision": "0.000001"},
                    }
                    for status in ("Trading", "Closed")
                ]
            }
        },
        [Instrument("BTCUSDT", "BTC", "USDT", 1, 6)],
    ),
    (
        "kraken",
        {
            "error": [],
            "result": {
                key: {"wsname": name, "status": status, "pair_decimals": 1, "lot_decimals": 8}
                for key, name, status in (
                    ("XXBTZUSD", "XBT/USD", "online"),
                    ("XDGUSDT", "XDG/USDT", "online"),
                    ("AAPLxUSD", "AAPLx/USD", "online"),
                    ("XXBTZUSD.d", "XBT/USD", "online"),
                    ("OLDUSD", "OLD/USD", "delisted"),
                )
            },
        },
        [
            Instrument("BTC/USD", "BTC", "USD", 1, 8),
            Instrument("DOGE/USDT", "DOGE", "USDT", 1, 8),
            Instrument("AAPLx/USD", "AAPLx", "USD", 1, 8),
        ],
    ),
]


@pytest.mark.parametrize(("name", "message", "kind", "symbols", "request_id"), ANSWERS)
def test_answers_are_understood(
    name: str, message: dict[str, Any], kind: str, symbols: tuple[str, ...], request_id: str | None
) -> None:
    said = VENUES[name].answer(message)
    assert (said.kind, said.symbols, said.request) == (kind, symbols, request_id)


@pytest.mark.parametrize(("name", "body", "expected"), LISTS)
def test_symbol_lists_give_what_trades(name: str, body: Any, expected: list[Instrument]) -> None:
    assert list(VENUES[name].instruments(body)) == expected


def test_canonical_names_are_upper_case_while_the_native_form_is_kept() -> None:
    row = Instrument("AAPLx/USD", "AAPLx", "USD", 2, 8)
    assert (row.canonical, row.native) == ("AAPLX-USD", "AAPLx/USD")


@pytest.mark.parametrize("facts", VENUES.values(), ids=VENUES)
def test_facts_hold_together(facts: Venue) -> None:
    assert facts.websocket_url.startswith("wss://")
    assert facts.rest_url.startswith("https://")
    assert (facts.sync is Sync.REST_SNAPSHOT) == bool(facts.snapshots)
    proved = facts.continuity is not Continuity.NONE or facts.checksum is not None
    assert proved or facts.sync is Sync.SNAPSHOTS_ONLY, "nothing would prove a loss"
    assert facts.lifecycle.state == "active" or (facts.lifecycle.date and facts.lifecycle.source)
    assert facts.levels_max >= max(facts.depth, facts.levels_expected)
    assert facts.limits.subscriptions_per_request <= facts.limits.subscriptions_per_connection
    assert facts.verified.date
    assert facts.verified.evidence
    assert (facts.unsubscribe is None) == (facts.resubscribe != "unsubscribe")
    for make in (facts.subscribe, facts.unsubscribe):
        if make is not None:
            orjson.loads(make(["A", "B"][: facts.limits.subscriptions_per_request], 1))


# The contract with subscribers: these never change.
PUBLIC = (
    "0 binance Binance USDT · 1 coinbase Coinbase USD · 2 okx OKX USDT · 3 bybit Bybit USDT · "
    "4 kraken Kraken USDT · 5 gemini Gemini USD · 6 cryptocom Crypto.com USDT · 7 gateio Gate.io USDT · "
    "8 kucoin KuCoin USDT · 9 upbit Upbit USDT · 10 bitget Bitget USDT · 11 mexc MEXC USDT · "
    "12 htx HTX USDT · 13 bitfinex Bitfinex USD · "
    "14 bingx BingX USDT · 15 phemex Phemex USDT · 16 lbank LBank USDT · "
    "17 bitmart BitMart USDT · 18 coinex CoinEx USDT · 19 ascendex AscendEX USDT · 20 deribit Deribit USD"
)


def test_the_public_order_of_exchanges_is_fixed() -> None:
    assert " · ".join(f"{row.number} {row.id} {row.name} {row.quote}" for row in EXCHANGES) == PUBLIC
    assert [*VENUES] == [row.id for row in EXCHANGES]


def test_only_what_serves_is_dialled_unasked() -> None:
    assert set(VENUES) - set(active()) == {"bitmart", "coinex", "ascendex"}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"number": 2}, "exchange number 2 is okx's"),
        ({"number": 32}, "exchange number 32"),
        ({"number": 21, "id": "okx"}, "two exchanges have one id"),
        ({"number": 21, "id": "OKX-2"}, "exchange id 'OKX-2'"),
    ],
)
def test_two_exchanges_are_never_taken_for_one(change: dict[str, Any], what: str) -> None:
    rows = [("okx.py", VENUES["okx"]), ("mine.py", replace(VENUES["kraken"], **change))]
    with pytest.raises(SetupError, match=what):
        ordered(rows)


def test_an_unknown_exchange_is_named_with_what_is_known() -> None:
    with pytest.raises(UsageError, match=r"'bianance' is unknown.*binance, coinbase"):
        venue("bianance")
