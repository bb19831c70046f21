"""What the venue files of the wire's further kinds say: frames, answers, symbol lists."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from handlers.facts import Answer, Instrument, Kind
from handlers.registry import VENUES

BOOK = {"event": "subscribed", "channel": "book", "chanId": 209640, "symbol": "tBTCUSD", "prec": "P0"}
BLOCKED = "Not Subscribed successfully! [spot@public.aggre.depth.v3.api.pb@100ms@X].  Reason\uff1a Blocked! "
ANSWERS: list[tuple[str, dict[str, Any], Answer]] = [
    ("gemini", {"id": 1, "status": 200}, Answer("taken", request="1")),
    (
        "gemini",
        {"id": 4, "status": 400, "error": {"code": -1013, "msg": "Invalid stream name: x"}},
        Answer("refused", request="4", reason="-1013 Invalid stream name: x"),
    ),
    (
        "gateio",
        {
            "id": 3,
            "channel": "spot.obu",
            "event": "subscribe",
            "payload": ["ob.A_B.400", "ob.C_D.400"],
            "result": {"status": "success"},
        },
        Answer("taken", ("A_B", "C_D"), "3"),
    ),
    (
        "gateio",
        {
            "channel": "spot.obu",
            "event": "subscribe",
            "payload": ["ob.A_B.400"],
            "error": {"code": 2, "message": "Alert sub ob.A_B.400"},
            "result": {"status": "fail"},
        },
        Answer("refused", ("A_B",), reason="2 Alert sub ob.A_B.400"),
    ),
    (
        "gateio",
        {"channel": "spot.obu", "event": "unsubscribe", "payload": ["ob.A_B.400"], "error": None},
        Answer("unsubscribed", ("A_B",)),
    ),
    (
        "upbit",
        {"error": {"name": "WRONG_FORMAT", "message": "no"}},
        Answer("refused", reason="WRONG_FORMAT no"),
    ),
    (
        "mexc",
        {
            "id": 0,
            "code": 0,
            "msg": "spot@public.aggre.depth.v3.api.pb@100ms@BTCUSDT,"
            "spot@public.aggre.depth.v3.api.pb@100ms@ETHUSDT",
        },
        Answer("taken", ("BTCUSDT", "ETHUSDT")),
    ),
    (
        "mexc",
        {
            "id": 0,
            "code": 0,
            "msg": BLOCKED,
        },
        Answer(
            "refused",
            ("X",),
            reason=BLOCKED,
        ),
    ),
    ("bitfinex", {**BOOK, "subId": 123}, Answer("taken", ("tBTCUSD",), "123")),
    ("bitfinex", {"event": "conf", "status": "OK", "flags": 196608}, Answer("welcome")),
    (
        "bitfinex",
        {"event": "error", "code": 10300, "msg": "symbol: invalid", "symbol": "tNO", "subId": 7},
        Answer("refused", ("tNO",), "7", "10300 symbol: invalid"),
    ),
    ("bitfinex", {"event": "info", "version": 2, "platform": {"status": 1}}, Answer("other")),
    ("bitfinex", {"event": "info", "code": 20051, "msg": "Stopping"}, Answer("leave", reason="Stopping")),
    (
        "bingx",
        {"ping": "5963ba3d", "time": "2023-10-02T18:51:55.089+0800"},
        Answer("reply", text='{"pong":"5963ba3d","time":"2023-10-02T18:51:55.089+0800"}'),
    ),
    ("bingx", {"code": 0, "id": "7", "msg": "SUCCESS"}, Answer("taken", request="7")),
    ("bingx", {"code": 80015, "id": "8", "msg": "no"}, Answer("refused", request="8", reason="80015 no")),
    ("phemex", {"error": None, "id": 1, "result": {"status": "success"}}, Answer("taken", request="1")),
    (
        "phemex",
        {"error": {"code": 6001, "message": "invalid argument"}, "id": 106, "result": None},
        Answer("refused", request="106", reason="6001 invalid argument"),
    ),
]

GEMINI = {"base_currency": "BTC", "quote_currency": "USD", "tick_size": 1e-8, "quote_increment": 0.01}
BINGX = {"tickSize": 0.01, "stepSize": 1e-06, "apiStateBuy": True, "apiStateSell": True}
LISTS: dict[str, tuple[Any, list[Instrument]]] = {
    "gemini": (
        [
            {**GEMINI, "symbol": "BTCUSD", "status": "open", "product_type": "spot"},
            {**GEMINI, "symbol": "BTCPERP", "status": "open", "product_type": "swap"},
            {**GEMINI, "symbol": "OLDUSD", "status": "closed", "product_type": "spot"},
        ],
        [Instrument("btcusd", "BTC", "USD", 2, 8)],
    ),
    "gateio": (
        [
            {
                "id": f"{base}_USDT",
                "base": base,
                "quote": "USDT",
                "precision": 1,
                "amount_precision": 6,
                "trade_status": status,
            }
            for base, status in (("BTC", "tradable"), ("OLD", "untradable"))
        ],
        [Instrument("BTC_USDT", "BTC", "USDT", 1, 6)],
    ),
    "upbit": (
        [{"market": "KRW-BTC"}, {"market": "USDT-BTC"}],
        [Instrument("KRW-BTC", "BTC", "KRW", 0, 8), Instrument("USDT-BTC", "BTC", "USDT", 8, 8)],
    ),
    "mexc": (
        {
            "symbols": [
                {
                    "symbol": f"{base}USDT",
                    "baseAsset": base,
                    "quoteAsset": "USDT",
                    "status": status,
                    "isSpotTradingAllowed": True,
                    "quoteAssetPrecision": 2,
                    "baseAssetPrecision": "8",
                }
                for base, status in (("BTC", "1"), ("ETH", "ENABLED"), ("OLD", "2"))
            ]
        },
        [Instrument("BTCUSDT", "BTC", "USDT", 2, 8), Instrument("ETHUSDT", "ETH", "USDT", 2, 8)],
    ),
    "bitfinex": (
        [[[name, []] for name in ("BTCUST", "AVAX:USD", "BTCF0:USTF0", "TESTBTC:TESTUSD", "LUNA2:UST")]],
        [
            Instrument("tBTCUST", "BTC", "USDT", 0, 8),
            Instrument("tAVAX:USD", "AVAX", "USD", 0, 8),
            Instrument("tLUNA2:UST", "LUNA", "USDT", 0, 8),
        ],
    ),
    "bingx": (
        {
            "data": {
                "symbols": [
                    {**BINGX, "symbol": "BTC-USDT", "status": 1},
                    {**BINGX, "symbol": "OLD-USDT", "status": 25},
                ]
            }
        },
        [Instrument("BTC-USDT", "BTC", "USDT", 2, 6)],
    ),
    "phemex": (
        {
            "data": {
                "currencies": [{"currency": "BTC", "valueScale": 8}, {"currency": "SHIB", "valueScale": 2}],
                "products": [
                    {
                        "type": "Spot",
                        "status": status,
                        "symbol": symbol,
                        "baseCurrency": base,
                        "quoteCurrency": "USDT",
                        "quoteTickSize": "0.01 USDT",
                        "baseTickSize": f"0.000001 {base}",
                        "priceScale": 8,
                    }
                    for symbol, base, status in (
                        ("sBTCUSDT", "BTC", "Listed"),
                        ("sSHIBUSDT", "SHIB", "Listed"),
                        ("sOLDUSDT", "BTC", "Delisted"),
                    )
                ],
                "perpProductsV2": [
                    {
                        "symbol": "u1000SHIBUSDT",
                        "baseCurrency": "1000 SHIB",
                        "quoteCurrency": "USDT",
                        "status": "Listed",
                        "tickSize": "0.1",
                        "qtyStepSize": "0.001",
                    }
                ],
            }
        },
        [
            Instrument("sBTCUSDT", "BTC", "USDT", 2, 6, price_scale=8, quantity_scale=8),
            Instrument("sSHIBUSDT", "SHIB", "USDT", 2, 6, price_scale=8, quantity_scale=2),
            Instrument("u1000SHIBUSDT", "1000SHIB", "USDT", 1, 3, kind=Kind.PERPETUAL),
        ],
    ),
}

FRAMES: dict[str, Any] = {  # a subscription of A (and B, where one request takes several), number 7
    "gemini": {"id": 7, "method": "subscribe", "params": ["A@depth@100ms", "B@depth@100ms"]},
    "gateio": {"id": 7, "channel": "spot.obu", "event": "subscribe", "payload": ["ob.A.400", "ob.B.400"]},
    "upbit": [
        {"ticket": "bookwire-7"},
        {"type": "orderbook", "codes": ["A", "B"]},
        {"format": "DEFAULT"},
    ],
    "mexc": {
        "id": 7,
        "method": "SUBSCRIPTION",
        "params": [f"spot@public.aggre.depth.v3.api.pb@100ms@{symbol}" for symbol in "AB"],
    },
    "bitfinex": {
        "event": "subscribe",
        "channel": "book",
        "symbol": "A",
        "prec": "P0",
        "freq": "F0",
        "len": "250",
        "subId": 7,
    },
    "bingx": {"id": "7", "reqType": "sub", "dataType": "A@incrDepth"},
    "phemex": {"id": 7, "method": "orderbook_p.subscribe", "params": ["A", True]},
}


@pytest.mark.parametrize(("name", "message", "said"), ANSWERS)
def test_answers_are_understood(name: str, message: dict[str, Any], said: Answer) -> None:
    assert VENUES[name].answer(message) == said


@pytest.mark.parametrize("name", LISTS)
def test_symbol_lists_give_what_trades(name: str) -> None:
    body, expected = LISTS[name]
    assert list(VENUES[name].instruments(body)) == expected


@pytest.mark.parametrize("name", FRAMES)
def test_subscriptions_are_those_of_the_documentation(name: str) -> None:
    venue = VENUES[name]
    made = orjson.loads(venue.subscribe(["A", "B"][: venue.limits.subscriptions_per_request], 7))
    if isinstance(made, dict):
        made.pop("time", None)
    assert made == FRAMES[name]


def test_a_spot_symbol_has_a_channel_of_its_own_at_phemex() -> None:
    made = orjson.loads(VENUES["phemex"].subscribe(["sBTCUSDT"], 3))
    assert made == {"id": 3, "method": "orderbook.subscribe", "params": ["sBTCUSDT", True]}


def test_topics_name_the_book() -> None:
    topics = {name: VENUES[name].topic("A") for name in ("gateio", "bingx", "gemini")}
    assert topics == {"gateio": "ob.A.400", "bingx": "A@incrDepth", "gemini": "A"}
