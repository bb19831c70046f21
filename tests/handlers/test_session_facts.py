"""What the venue files with sessions of their own kinds say: frames, answers, symbol lists, lifecycles."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from handlers.facts import Answer, Instrument, Kind
from handlers.registry import VENUES

ANSWERS: list[tuple[str, dict[str, Any], Answer]] = [
    ("ascendex", {"m": "connected", "type": "unauth"}, Answer("welcome")),
    ("ascendex", {"op": "connected", "type": "unauth"}, Answer("welcome")),
    ("ascendex", {"m": "ping", "hp": 3}, Answer("reply", text='{"op":"pong"}')),
    (
        "ascendex",
        {"m": "sub", "id": "1", "ch": "depth:BTC/USDT,ETH/USDT", "code": 0},
        Answer("taken", ("BTC/USDT", "ETH/USDT"), "1"),
    ),
    ("ascendex", {"m": "unsub", "ch": "depth:A/B", "code": 0}, Answer("unsubscribed", ("A/B",))),
    (
        "ascendex",
        {"m": "error", "id": "2", "code": 100005, "reason": "INVALID_WS_REQUEST_DATA", "info": "no"},
        Answer("refused", (), "2", "100005 INVALID_WS_REQUEST_DATA no"),
    ),
    (
        "ascendex",
        {"m": "disconnected", "code": 100005, "info": "missing pong"},
        Answer("leave", reason="missing pong"),
    ),
    (
        "bitget",
        {
            "event": "subscribe",
            "arg": {"instType": "spot", "topic": "books", "symbol": "BTCUSDT"},
            "connId": "a",
        },
        Answer("taken", ("BTCUSDT",)),
    ),
    (
        "bitget",
        {"event": "unsubscribe", "arg": {"instType": "SPOT", "channel": "books", "instId": "BTCUSDT"}},
        Answer("unsubscribed", ("BTCUSDT",)),
    ),
    (
        "bitget",
        {
            "event": "error",
            "code": 30001,
            "msg": '{"instType":"spot","symbol":"NOPE","topic":"books"} doesn\'t exist',
        },
        Answer(
            "refused",
            ("NOPE",),
            reason='30001 {"instType":"spot","symbol":"NOPE","topic":"books"} doesn\'t exist',
        ),
    ),
    (
        "bitmart",
        {"topic": "spot/depth/increase100:BTC_USDT", "event": "subscribe"},
        Answer("taken", ("BTC_USDT",)),
    ),
    (
        "bitmart",
        {"event": "subscribe", "errorMessage": "symbol", "errorCode": "92001"},
        Answer("refused", reason="92001 symbol"),
    ),
    ("bitmart", {"event": "subscribe", "errorMessage": "twice", "errorCode": "90008"}, Answer("taken")),
    (
        "bitmart",
        {"event": "request", "errorMessage": "symbol", "errorCode": "92001"},
        Answer("other", reason="92001 symbol"),
    ),
    ("coinex", {"id": 1, "code": 0, "message": "OK"}, Answer("taken", request="1")),
    (
        "coinex",
        {"id": 4, "code": 20001, "message": "invalid argument"},
        Answer("refused", request="4", reason="20001 invalid argument"),
    ),
    (
        "cryptocom",
        {"id": 7, "method": "public/heartbeat", "code": 0},
        Answer("reply", text='{"id":7,"method":"public/respond-heartbeat"}'),
    ),
    (
        "cryptocom",
        {"id": 1, "method": "subscribe", "code": 0, "channel": "book.BTC_USDT.50"},
        Answer("taken", ("BTC_USDT",), "1"),
    ),
    ("cryptocom", {"id": 2, "method": "unsubscribe", "code": 0}, Answer("unsubscribed", (), "2")),
    (
        "cryptocom",
        {
            "id": 11,
            "method": "subscribe",
            "code": 40003,
            "channel": "book.NOPE.50",
            "message": "Unknown symbol",
        },
        Answer("refused", ("NOPE",), "11", "Unknown symbol"),
    ),
    (
        "cryptocom",
        {"id": -1, "method": "subscribe", "code": 0, "result": {"channel": "mark"}},
        Answer("other"),
    ),
    (
        "deribit",
        {"method": "heartbeat", "params": {"type": "test_request"}},
        Answer("reply", text='{"jsonrpc":"2.0","id":0,"method":"public/test","params":{}}'),
    ),
    (
        "deribit",
        {"id": 3, "result": ["book.BTC-PERPETUAL.100ms", "book.BTC_USDC.100ms"]},
        Answer("listed", ("BTC-PERPETUAL", "BTC_USDC"), "3"),
    ),
    ("deribit", {"id": 0, "result": "ok"}, Answer("other")),
    (
        "deribit",
        {"id": 5, "error": {"code": 10028, "message": "too_many_requests"}},
        Answer("refused", request="5", reason="10028 too_many_requests"),
    ),
    ("htx", {"ping": 1492420473027}, Answer("reply", text='{"pong":1492420473027}')),
    ("htx", {"id": "1", "status": "ok", "subbed": "market.btcusdt.mbp.150"}, Answer("taken", request="1")),
    (
        "htx",
        {"id": "2", "status": "ok", "unsubbed": "market.btcusdt.mbp.150"},
        Answer("unsubscribed", request="2"),
    ),
    (
        "htx",
        {"status": "error", "id": "1", "err-code": "bad-request", "err-msg": "invalid topic"},
        Answer("refused", request="1", reason="invalid topic"),
    ),
    (
        "kucoin",
        {"sessionId": "a", "message": "welcome", "pingInterval": 18000},
        Answer("welcome", every_s=18.0),
    ),
    ("kucoin", {"id": "1", "result": True}, Answer("taken", request="1")),
    ("kucoin", {"id": "1", "result": "true"}, Answer("taken", request="1")),
    ("kucoin", {"id": "2", "result": False, "reason": "no"}, Answer("refused", request="2", reason="no")),
    ("lbank", {"action": "ping", "ping": "0ca8"}, Answer("reply", text='{"action":"pong","pong":"0ca8"}')),
    ("lbank", {"SERVER": "V2", "message": "Missing", "status": "error"}, Answer("refused", reason="Missing")),
]

LISTS: dict[str, tuple[Any, list[Instrument]]] = {
    "ascendex": (
        {
            "data": [
                {
                    "symbol": symbol,
                    "baseAsset": "BTC",
                    "quoteAsset": "USDT",
                    "status": status,
                    "tickSize": "0.01",
                    "lotSize": "0.00001",
                }
                for symbol, status in (
                    ("BTC/USDT", "Normal"),
                    ("ETH/USDT", "NoTrading"),
                    ("BTC-PERP", "Normal"),
                )
            ]
        },
        [Instrument("BTC/USDT", "BTC", "USDT", 2, 5)],
    ),
    "bitget": (
        {
            "data": [
                {
                    "symbol": symbol,
                    "baseCoin": "BTC",
                    "quoteCoin": "USDT",
                    "status": status,
                    "pricePrecision": "2",
                    "quantityPrecision": "6",
                }
                for symbol, status in (("BTCUSDT", "online"), ("OLDUSDT", "offline"), ("币安USDT", "online"))
            ]
        },
        [Instrument("BTCUSDT", "BTC", "USDT", 2, 6)],
    ),
    "bitmart": (
        {
            "data": {
                "symbols": [
                    {
                        "symbol": "BTC_USDT",
                        "base_currency": "BTC",
                        "quote_currency": "USDT",
                        "trade_status": status,
                        "price_max_precision": 2,
                        "base_min_size": "0.00001",
                    }
                    for status in ("trading", "pre-trade")
                ]
            }
        },
        [Instrument("BTC_USDT", "BTC", "USDT", 2, 5)],
    ),
    "coinex": (
        {
            "data": [
                {
                    "market": "BTCUSDT",
                    "base_ccy": "BTC",
                    "quote_ccy": "USDT",
                    "is_api_trading_available": trading,
                    "quote_ccy_precision": 2,
                    "base_ccy_precision": 8,
                }
                for trading in (True, False)
            ]
        },
        [Instrument("BTCUSDT", "BTC", "USDT", 2, 8)],
    ),
    "cryptocom": (
        {
            "result": {
                "data": [
                    {
                        "symbol": symbol,
                        "inst_type": kind,
                        "base_ccy": "BTC",
                        "quote_ccy": "USDT",
                        "tradable": tradable,
                        "price_tick_size": "0.01",
                        "qty_tick_size": "0.00001",
                    }
                    for symbol, kind, tradable in (
                        ("BTC_USDT", "CCY_PAIR", True),
                        ("OLD_USDT", "CCY_PAIR", False),
                        ("BTCUSD-PERP", "PERPETUAL_SWAP", True),
                    )
                ]
            }
        },
        [Instrument("BTC_USDT", "BTC", "USDT", 2, 5)],
    ),
    "deribit": (
        {
            "result": [
                {
                    "instrument_name": name,
                    "kind": kind,
                    "base_currency": "BTC",
                    "counter_currency": quote,
                    "settlement_period": period,
                    "instrument_type": form,
                    "is_active": active,
                    "state": "open",
                    "tick_size": 0.5,
                    "contract_size": size,
                    "min_trade_amount": size,
                }
                for name, kind, quote, period, form, active, size in (
                    ("BTC_USDC", "spot", "USDC", None, "linear", True, 0.0001),
                    ("BTC-PERPETUAL", "future", "USD", "perpetual", "reversed", True, 10.0),
                    ("BTC_USDC-PERPETUAL", "future", "USDC", "perpetual", "linear", True, 0.001),
                    ("BTC-26DEC25", "future", "USD", "month", "reversed", True, 10.0),
                    ("BTC-26DEC25-1-C", "option", "USD", "month", "reversed", True, 1.0),
                    ("OLD_USDC", "spot", "USDC", None, "linear", False, 0.0001),
                )
            ]
        },
        [
            Instrument("BTC_USDC", "BTC", "USDC", 1, 4),
            Instrument("BTC-PERPETUAL", "BTC", "USD", 1, 0, Kind.PERPETUAL, inverse=True),
            Instrument("BTC_USDC-PERPETUAL", "BTC", "USDC", 1, 3, Kind.PERPETUAL),
        ],
    ),
    "htx": (
        {
            "data": [
                {
                    "symbol": "btcusdt",
                    "base-currency": "btc",
                    "quote-currency": "usdt",
                    "state": state,
                    "api-trading": "enabled",
                    "price-precision": 2,
                    "amount-precision": 6,
                }
                for state in ("online", "suspend")
            ]
        },
        [Instrument("btcusdt", "BTC", "USDT", 2, 6)],
    ),
    "kucoin": (
        {
            "data": [
                {
                    "symbol": "BTC-USDT",
                    "baseCurrency": "BTC",
                    "quoteCurrency": "USDT",
                    "enableTrading": trading,
                    "priceIncrement": "0.1",
                    "baseIncrement": "0.00000001",
                }
                for trading in (True, False)
            ]
        },
        [Instrument("BTC-USDT", "BTC", "USDT", 1, 8)],
    ),
    "lbank": (
        {
            "data": [
                {"symbol": "btc_usdt", "priceAccuracy": "2", "quantityAccuracy": "4", "minTranQua": "0.0001"}
            ]
        },
        [Instrument("btc_usdt", "BTC", "USDT", 2, 4)],
    ),
}

FRAMES = {
    "ascendex": ('{"op":"sub","id":"7","ch":"depth:A,B"}', '{"op":"unsub","id":"7","ch":"depth:A,B"}'),
    "bitget": tuple(
        f'{{"op":"{operation}","args":[{{"instType":"spot","topic":"books","symbol":"A"}},'
        '{"instType":"spot","topic":"books","symbol":"B"}]}'
        for operation in ("subscribe", "unsubscribe")
    ),
    "bitmart": tuple(
        f'{{"op":"{operation}","args":["spot/depth/increase100:A","spot/depth/increase100:B"]}}'
        for operation in ("subscribe", "unsubscribe")
    ),
    "coinex": (
        '{"method":"depth.subscribe","params":{"market_list":[["A",50,"0",false],["B",50,"0",false]]},"id":7}',
        '{"method":"depth.unsubscribe","params":{"market_list":["A","B"]},"id":7}',
    ),
    "cryptocom": (
        '{"id":7,"method":"subscribe","params":{"channels":["book.A.50","book.B.50"],'
        '"book_subscription_type":"SNAPSHOT_AND_UPDATE","book_update_frequency":10}}',
        '{"id":7,"method":"unsubscribe","params":{"channels":["book.A.50","book.B.50"]}}',
    ),
    "deribit": tuple(
        f'{{"jsonrpc":"2.0","id":7,"method":"public/{method}",'
        '"params":{"channels":["book.A.100ms","book.B.100ms"]}}'
        for method in ("subscribe", "unsubscribe")
    ),
    "htx": ('{"sub":"market.A.mbp.150","id":"7"}', '{"unsub":"market.A.mbp.150","id":"7"}'),
    "kucoin": tuple(
        f'{{"id":"7","action":"{action}","channel":"obu","tradeType":"SPOT","symbol":"A",'
        '"depth":"increment@10ms","rpiFilter":0}'
        for action in ("SUBSCRIBE", "UNSUBSCRIBE")
    ),
    "lbank": tuple(
        f'{{"action":"{action}","subscribe":"depth","depth":"100","pair":"A"}}'
        for action in ("subscribe", "unsubscribe")
    ),
}

SNAPSHOT_REQUESTS = {
    "ascendex": {"op": "req", "action": "depth-snapshot", "args": {"symbol": "A"}},
    "bitmart": {"op": "request", "args": ["spot/depth/increase100:A"]},
    "htx": {"req": "market.A.mbp.150", "id": "snapshot-3"},
}


@pytest.mark.parametrize(("name", "message", "said"), ANSWERS)
def test_answers_are_understood(name: str, message: dict[str, Any], said: Answer) -> None:
    assert VENUES[name].answer(message) == said


@pytest.mark.parametrize("name", LISTS)
def test_symbol_lists_give_what_trades(name: str) -> None:
    body, expected = LISTS[name]
    assert list(VENUES[name].instruments(body)) == expected


@pytest.mark.parametrize("name", FRAMES)
def test_frames_are_those_of_the_documentation(name: str) -> None:
    venue = VENUES[name]
    assert venue.unsubscribe is not None
    symbols = ["A", "B"][: venue.limits.subscriptions_per_request]
    made = (venue.subscribe(symbols, 7), venue.unsubscribe(symbols, 7))
    assert [orjson.loads(one) for one in made] == [orjson.loads(one) for one in FRAMES[name]]


@pytest.mark.parametrize("name", SNAPSHOT_REQUESTS)
def test_snapshots_are_asked_for_as_documented(name: str) -> None:
    request = VENUES[name].snapshot_request
    assert request is not None
    assert orjson.loads(request("A", 3)) == SNAPSHOT_REQUESTS[name]


def test_what_has_ceased_or_may_have_says_since_when_and_by_whom() -> None:
    states = {name: VENUES[name].lifecycle.state for name in ("ascendex", "bitmart", "coinex")}
    assert states == {"ascendex": "doubtful", "bitmart": "doubtful", "coinex": "ceased"}
