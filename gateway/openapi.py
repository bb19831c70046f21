"""The description of the HTTP interface, served at /openapi.json and held to the routes by test."""

from __future__ import annotations

from typing import Any

from gateway.channels import CAPITAL_MAX, CAPITAL_MIN
from gateway.history import CURSOR, INTERVAL, NAME, SYMBOL
from gateway.metrics import product_version

_LEVEL = {
    "type": "array",
    "description": "[price, quantity, orders], fullbook adds the exchange id",
    "items": {"type": ["number", "string"]},
    "minItems": 3,
    "maxItems": 4,
}

_MOMENT = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": 10**14 - 1}, {"type": "string", "format": "date-time"},
    ]
}  # fmt: skip
_AMOUNT = {"type": ["number", "string"]}
_ARB_LEG = {
    "type": "object",
    "required": ["exchange", "price", "vwap", "age_ms"],
    "properties": {
        "exchange": {"type": "string"}, "price": _AMOUNT, "vwap": _AMOUNT, "age_ms": {"type": "integer"},
    },
}  # fmt: skip
_ARB_TRADE = {"size": _AMOUNT, "notional": _AMOUNT, "profit": _AMOUNT}

SCHEMAS: dict[str, Any] = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457",
        "required": ["type", "title", "status"],
        "properties": {
            "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
            "detail": {"type": "string"}, "code": {"type": "integer"},
        },
    },
    "Snapshot": {
        "type": "object",
        "required": ["type", "channel", "data"],
        "properties": {
            "type": {"const": "snapshot"},
            "channel": {"type": "string"},
            "data": {
                "type": "object",
                "required": ["bids", "asks", "ts"],
                "properties": {
                    "bids": {"type": "array", "items": _LEVEL},
                    "asks": {"type": "array", "items": _LEVEL},
                    "ts": {"type": "integer", "description": "ms since the epoch"},
                },
            },
        },
    },
    "ArbRow": {
        "type": "object",
        "description": "buy at one exchange's asks, sell at another's bids, after both taker fees",
        "required": ["symbol", "buy", "sell", "size", "notional", "profit", "spread_bp", "net_bp",
                     "whole", "age_ms", "confidence"],
        "properties": {
            "symbol": {"type": "string"}, "buy": _ARB_LEG, "sell": _ARB_LEG, **_ARB_TRADE,
            "spread_bp": {"type": "number", "description": "between the best prices, before fees"},
            "net_bp": {"type": "number", "description": "profit on what is spent, basis points"},
            "whole": {"type": "object", "properties": _ARB_TRADE, "required": [*_ARB_TRADE]},
            "age_ms": {"type": "integer", "description": "of the older quote"},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        },
    },
    "ArbRows": {
        "type": "object",
        "required": ["data", "ts"],
        "properties": {
            "data": {"type": "array", "items": {"$ref": "#/components/schemas/ArbRow"}},
            "ts": {"type": "integer", "description": "ms since the epoch: when the books were compared"},
            "left_out": {"type": "integer", "minimum": 1, "description": "rows beyond 64 of a symbol"},
        },
    },
    "Exchange": {
        "type": "object",
        "required": ["id", "name", "quote", "symbols", "status", "depth"],
        "properties": {
            "id": {"type": "string"}, "name": {"type": "string"}, "quote": {"type": "string"},
            "symbols": {"type": "integer"}, "status": {"enum": ["live", "down"]},
            "depth": {"type": "integer"},
        },
    },
    "HistoryPage": {
        "type": "object",
        "required": ["data", "next"],
        "properties": {
            "data": {"type": "array", "items": {"type": "object"}},
            "next": {"type": ["string", "null"], "description": "cursor of the next page, null on the last"},
        },
    },
    "Status": {
        "type": "object",
        "required": ["ts", "gateway", "exchanges"],
        "properties": {
            "ts": {"type": "integer", "description": "ms since the epoch"},
            "gateway": {
                "type": "object",
                "required": ["up", "clients", "subscriptions"],
                "properties": {
                    "up": {"type": "boolean"}, "clients": {"type": "integer"},
                    "subscriptions": {"type": "integer"},
                },
            },
            "exchanges": {"type": "array", "items": {"$ref": "#/components/schemas/ExchangeState"}},
        },
    },
    "ExchangeState": {
        "type": "object",
        "required": [
            "id", "name", "number", "quote", "state", "why", "books", "total", "age_ms", "updates", "gaps",
            "resyncs", "latency", "interruptions",
        ],
        "properties": {
            "id": {"type": "string"}, "name": {"type": "string"}, "number": {"type": "integer"},
            "quote": {"type": "string"},
            "state": {
                "enum": ["live", "stale", "resync", "syncing", "down", "off"],
                "description": "live when every book is, else the worst of them; off: does not run here",
            },
            "why": {"type": "string", "description": "the same in words"},
            "books": {"type": "object", "description": "number of books by state"},
            "total": {"type": "integer", "description": "books"},
            "age_ms": {"type": ["number", "null"], "description": "of the newest data of any book"},
            "updates": {"type": "integer", "description": "since the process started, as all counts here"},
            "gaps": {"type": "integer"}, "resyncs": {"type": "integer"},
            "latency": {
                "type": ["object", "null"],
                "description": "received to visible in shared memory: count, p50_ns, p99_ns, and "
                "octaves as [smallest ns, count]",
            },
            "interruptions": {
                "type": "object",
                "description": "of being live, since the HTTP process started: count; ago_ms since the last "
                "ended, 0 while it lasts; lasted_ms",
                "required": ["count", "ago_ms", "lasted_ms"],
                "properties": {
                    "count": {"type": "integer"}, "ago_ms": {"type": ["integer", "null"]},
                    "lasted_ms": {"type": ["integer", "null"]},
                },
            },
        },
    },
    "Symbol": {
        "type": "object",
        "required": ["symbol", "exchanges"],
        "properties": {
            "symbol": {"type": "string"}, "exchanges": {"type": "array", "items": {"type": "string"}},
        },
    },
}  # fmt: skip


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answers(
    description: str, schema: Any = None, media: str = "application/json", *problems: int
) -> dict[str, Any]:
    content: dict[str, Any] = {media: {"schema": schema} if schema else {}}
    answers: dict[str, Any] = {"200": {"description": description, "content": content}}
    for status in problems:
        answers[str(status)] = {
            "description": "problem",
            "content": {"application/problem+json": {"schema": _ref("Problem")}},
        }
    return answers


def _query(name: str, schema: Any, text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": text}


def _get(summary: str, answers: dict[str, Any], parameters: list[Any] | None = None) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary, "responses": answers}
    if parameters:
        operation["parameters"] = parameters
    return {"get": operation}


def _rows(name: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"data": {"type": "array", "items": _ref(name)}}}


def _history() -> dict[str, Any]:
    """Recorded data; gateway.history answers it."""
    path = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in (
            ("exchange", {"type": "string", "pattern": NAME.pattern}),
            ("symbol", {"type": "string", "pattern": SYMBOL.pattern}),
            ("kind", {"enum": ["updates", "snapshots", "ohlc", "spread"]}),
        )
    ]  # fmt: skip
    moment = "ms since the epoch, or ISO 8601"
    query = [
        _query("from", _MOMENT, f"{moment}; when we published it"),
        _query("to", _MOMENT, f"{moment}; excluded, and not before from"),
        _query("limit", {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 1000}, "rows a page"),
        _query("cursor", {"type": "string", "pattern": CURSOR.pattern}, "`next` of the page before"),
        _query("format", {"enum": ["json", "csv", "parquet"]}, "of the answer"),
        _query(
            "depth", {"type": "integer", "minimum": 1, "maximum": 100_000}, "levels a side, all if left out"
        ),
        _query(
            "interval",
            {"type": "string", "pattern": INTERVAL.pattern, "default": "1m"},
            "of ohlc and spread: 10s, 5m, 1h, or seconds",
        ),
    ]
    answers = _answers("a page", _ref("HistoryPage"), "application/json", 400, 404, 501, 503)
    answers["200"]["content"] |= {"text/csv": {}, "application/vnd.apache.parquet": {}}
    return _get("Recorded updates, snapshots, mids and spreads.", answers, [*path, *query])


def document(depth_default: int, depth_max: int) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    verbose = [_query("verbose", {"type": "string"}, "one line a check")]
    channel = {
        "name": "channel", "in": "path", "required": True, "schema": {"type": "string"},
        "description": "as in the stream: top:, consbook:, fullbook: or an exchange id, then the symbol",
    }  # fmt: skip
    depth = _query(
        "depth",
        {"type": "integer", "minimum": 1, "maximum": depth_max, "default": depth_default},
        "levels a side",
    )
    text = "text/plain"
    return {
        "openapi": "3.1.0",
        "info": {"title": "Bookwire", "version": product_version(), "license": {"name": "Apache-2.0"}},
        "components": {"schemas": SCHEMAS},
        "paths": {
            "/livez": _get("The process runs.", _answers("alive", None, text)),
            "/readyz": _get("Enough books are live.", _answers("ready", None, text, 503), verbose),
            "/health": _get("The box does its job.", _answers("healthy", None, text, 503), verbose),
            "/metrics": _get("Prometheus text.", _answers("metrics", None, text)),
            "/version": _get("Version of the product.", _answers("version")),
            "/v1/exchanges": _get("The 21 exchanges.", _answers("exchanges", _rows("Exchange"))),
            "/v1/symbols": _get(
                "Spot symbols and who carries them.",
                _answers("symbols", _rows("Symbol"), "application/json", 404),
                [_query("quote", {"type": "string"}, "only this quote asset"),
                 _query("exchange", {"type": "string"}, "only this exchange")],
            ),
            "/v1/status": _get(
                "Every exchange's state, ages, counters, latency.", _answers("status", _ref("Status"))
            ),
            "/v1/book/{channel}": _get(
                "The snapshot a subscriber would get now.",
                _answers("snapshot", _ref("Snapshot"), "application/json", 400, 404),
                [channel, depth,
                 _query("numbers", {"enum": ["number", "string"]}, "string: exact decimal strings"),
                 _query("stamps", {"type": "boolean"}, "adds seq, exch_ts, recv_ns, pub_ns")],
            ),
            "/v1/arb": _get(
                "Crossed books after both taker fees, best net yield first.",
                _answers("rows", _ref("ArbRows"), "application/json", 400, 404),
                [_query("symbol", {"type": "string"}, "only this symbol; else all that two exchanges carry"),
                 _query("min_bp", {"type": "number", "minimum": 0, "maximum": 10_000}, "least net yield"),
                 _query("capital", {"type": "number", "minimum": CAPITAL_MIN, "maximum": CAPITAL_MAX},
                        "most a trade may cost, in the quote asset"),
                 _query("numbers", {"enum": ["number", "string"]}, "string: exact decimal strings")],
            ),
            "/v1/history/{exchange}/{symbol}/{kind}": _history(),
            "/openapi.json": _get("This document.", _answers("document")),
            "/": _get("The dashboard.", _answers("page", None, "text/html")),
            "/assets/{name}": _get(
                "A file of the dashboard.",
                _answers("file", None, "text/javascript", 404),
                [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}],
            ),
        },
    }  # fmt: skip
