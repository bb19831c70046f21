"""Every message of the stream as a JSON Schema (draft 7), each way. One source for two documents.

``message_schemas()`` is docs/messages.schema.json, ``asyncapi.document()`` says the same in AsyncAPI's terms;
a test holds what a gateway sends against them. Objects are open: subscribers ignore what they do not know.
"""

from __future__ import annotations

from typing import Any

from gateway.channels import FORMATS, HEARTBEAT_S_MAX, SLOW
from gateway.directory import STATES
from gateway.errors import Refusal
from handlers.registry import EXCHANGES
from handlers.shm_layout import Reason

Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
REASONS = [reason.name.lower() for reason in Reason]  # why a book is in its state, as `status` tells it

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
EXCHANGE: Schema = {"enum": [row.id for row in EXCHANGES]}
IDENTIFIER: Schema = {
    "type": ["string", "number"],
    "description": "of the request that this answers, where it had one",
}
NUMBER: Schema = {
    "description": "the exchange's own digits; a string with numbers: string and in format tardis",
    "oneOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^(0|[1-9]\d*)(\.\d+)?$"}],
}
SYMBOL: Schema = {"type": "string", "pattern": r"^[^:\s]+-[^:\s]+$", "description": "BASE-QUOTE"}
CHANNEL: Schema = {
    "type": "string",
    "pattern": rf"^(status|(top|consbook|fullbook|arb|{'|'.join(row.id for row in EXCHANGES)}):\S+)$",
    "maxLength": 63,
}


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _tuple(*items: Schema) -> Schema:
    many = len(items)
    return {
        "type": "array", "items": list(items), "additionalItems": False, "minItems": many, "maxItems": many,
    }  # fmt: skip


def _answer(kind: str, required: Schema | None = None, optional: Schema | None = None) -> Schema:
    return _object({"type": {"const": kind}, **(required or {})}, {**(optional or {}), "id": IDENTIFIER})


# What ``stamps`` adds to ``data``; ``state`` on single exchanges only.
STAMPS: Schema = {
    "seq": {**COUNT, "description": "+1 per update of the book; merged channels: of all their books"},
    "exch_ts": {**COUNT, "description": "ms since the epoch, the exchange's own, 0 if none"},
    "recv_ns": {**COUNT, "description": "ns since the epoch: received"},
    "pub_ns": {**COUNT, "description": "ns since the epoch: visible in shared memory"},
    "state": {"enum": list(STATES)},
}
MORE: Schema = {"const": True, "description": "further pages follow; the last has no `more`"}
CONFLATED: Schema = {
    "type": "integer", "minimum": 1, "description": "stands for so many updates you were too slow for",
}  # fmt: skip
TS: Schema = {**COUNT, "description": "ms since the epoch: our box received the newest update"}


def _push(kind: str) -> Schema:
    """A snapshot or a delta of a book. The channel says how its levels look."""

    def data(level: str) -> Schema:
        sides = {"bids": _list({"$ref": level}), "asks": _list({"$ref": level}), "ts": TS}
        return _object({"data": _object(sides, STAMPS)})

    return {
        **_object(
            {
                "type": {"const": kind},
                "channel": {**CHANNEL, "not": {"pattern": "^(status$|arb:)"}},
                "data": {"type": "object"},
            },
            {"more": MORE, "conflated": CONFLATED},
        ),
        "if": {"properties": {"channel": {"pattern": "^fullbook:"}}},
        "then": data("fullLevel"),
        "else": data("level"),
    }


def _arbitrage() -> Schema:
    """Whole rows each time: what pays now between two exchanges."""
    end = _object({"exchange": EXCHANGE, "price": NUMBER, "vwap": NUMBER, "age_ms": COUNT})
    trade = {"size": NUMBER, "notional": NUMBER, "profit": NUMBER}
    row = {
        "symbol": SYMBOL, "buy": end, "sell": end, **trade, "spread_bp": NUMBER, "net_bp": NUMBER,
        "whole": _object(trade), "age_ms": COUNT, "confidence": NUMBER,
    }  # fmt: skip
    left_out: Schema = {"type": "integer", "minimum": 1, "description": "rows beyond the 64 shown"}
    return _object(
        {
            "type": {"const": "snapshot"},
            "channel": {**CHANNEL, "pattern": "^arb:"},
            "data": _list(_object(row)),
            "ts": TS,
        },
        {"left_out": left_out, "conflated": CONFLATED},
    )


def _tardis(kind: str) -> Schema:
    quantity = {"type": "string", "pattern": r"^\d+(\.\d+)?$", "description": '"0.0": the level left'}
    level = _tuple({"type": "string", "pattern": r"^\d+(\.\d+)?$"}, quantity)
    return _object(
        {
            "type": {"const": kind}, "exchange": EXCHANGE,
            "symbol": {**TEXT, "description": "the exchange's own"},
            "data": _object({"bids": _list(level), "asks": _list(level)}, STAMPS),
            "timestamp": TS,
        },
        {"more": MORE, "conflated": CONFLATED},
    )  # fmt: skip


def _error() -> Schema:
    pairs = [{"properties": {"msg": {"const": each.text}, "code": {"const": each.code}}} for each in Refusal]
    schema = _answer(
        "error",
        {"msg": TEXT, "code": {"type": "integer"}, "fatal": {"type": "boolean"}},
        {"channel": {**TEXT, "description": "as asked for, or its canonical name where it is known"}},
    )
    return {**schema, "oneOf": pairs}


def _status_snapshot() -> Schema:
    exchange = {"exchange": EXCHANGE, "state": {"enum": ["live", "down"]}, "books": COUNT, "live": COUNT}
    book = {"exchange": EXCHANGE, "symbol": SYMBOL, "state": {"enum": list(STATES)}}
    rows = {
        "exchanges": _list(_object(exchange)),
        "books": _list(_object({**book, "reason": {"enum": REASONS}})),
    }
    head = {"type": {"const": "snapshot"}, "channel": {"const": "status"}}
    return _object({**head, "data": _object({**rows, "ts": TS})}, {"conflated": CONFLATED})


def _status() -> Schema:
    book = {"exchange": EXCHANGE, "symbol": SYMBOL, "state": {"enum": list(STATES)}}
    exchange = {"exchange": EXCHANGE, "state": {"enum": ["live", "down"]}, "reason": TEXT, "ts": TS}
    whole = {**_object(exchange), "not": {"required": ["symbol"]}}
    data = {"oneOf": [_object({**book, "reason": {"enum": REASONS}, "ts": TS}), whole]}
    return _object({"type": {"const": "status"}, "channel": {"const": "status"}, "data": data})


def _subscriptions() -> Schema:
    row = {
        "channel": CHANNEL, "depth": COUNT, "mode": {"enum": ["snapshot", "inc"]}, "interval": COUNT,
        "format": {"enum": list(FORMATS)}, "numbers": {"enum": ["number", "string"]},
        "stamps": {"type": "boolean"}, "slow": {"enum": list(SLOW)}, "heartbeat": {"type": "number"},
    }  # fmt: skip
    terms = {"min_bp": {"type": "number"}, "capital": {"type": "number"}}
    return _answer("subscriptions", {"data": _list(_object(row, terms))})


# Parts that several messages use.
PARTS: dict[str, Schema] = {
    "level": {**_tuple(NUMBER, NUMBER, COUNT), "description": "[price, quantity, orders]; quantity 0: left"},
    "fullLevel": {
        **_tuple(NUMBER, NUMBER, COUNT, EXCHANGE),
        "description": "[price, quantity, orders, exchange]",
    },
}

# What the gateway sends, by the name of the message. Binary frames are described in docs/gateway.md.
SENT: dict[str, Schema] = {
    "subscribed": _answer("subscribed", {"channel": CHANNEL}),
    "unsubscribed": _answer("unsubscribed", {"channel": CHANNEL}),
    "pong": _answer("pong"),
    "authorised": _answer("authorised"),
    "exchanges": _answer(
        "exchanges",
        {
            "data": _list(
                _object(
                    {
                        "id": EXCHANGE, "name": TEXT, "quote": TEXT, "symbols": COUNT,
                        "status": {"enum": ["live", "down"]}, "depth": {"type": "integer", "minimum": 1},
                    }
                )
            )
        },
    ),
    "symbols": _answer("symbols", {"data": _list(_object({"symbol": SYMBOL, "exchanges": _list(EXCHANGE)}))}),
    "subscriptions": _subscriptions(),
    "error": _error(),
    "snapshot": _push("snapshot"),
    "delta": _push("delta"),
    "orderbookSnapshot": _tardis("orderbook_snapshot"),
    "orderbookUpdate": _tardis("orderbook_update"),
    "statusSnapshot": _status_snapshot(),
    "arbitrage": _arbitrage(),
    "status": _status(),
    "heartbeat": _object({"type": {"const": "heartbeat"}, "channel": CHANNEL, "ts": TS}),
    "replayed": _object({"type": {"const": "replayed"}, "channel": CHANNEL, "to": COUNT}),
    "closed": _object({"type": {"const": "closed"}, "code": COUNT, "reason": TEXT}),
    "reconnect": _object({"type": {"const": "reconnect"}, "reason": TEXT, "deadline_ms": COUNT}),
}  # fmt: skip

_OPTIONS: Schema = {
    "depth": {"type": "integer", "minimum": 1, "description": "levels a side, up to the box's ceiling"},
    "mode": {"enum": ["snapshot", "inc"]},
    "interval": {"type": "number", "minimum": 0, "description": "ms between two messages; 0: every change"},
    "format": {"enum": list(FORMATS)},
    "numbers": {"enum": ["number", "string"]},
    "stamps": {"type": "boolean"},
    "slow": {"enum": list(SLOW)},
    "heartbeat": {"type": "number", "minimum": 0, "maximum": HEARTBEAT_S_MAX, "description": "s"},
    "from": {"type": ["string", "number"], "description": "recorded data from here: ISO 8601, or ms"},
    "to": {"type": ["string", "number"], "description": "up to here; without it, up to now"},
    "speed": {"type": "number", "exclusiveMinimum": 0, "description": "times the pace of the recording"},
    "min_bp": {"type": "number", "minimum": 0, "description": "arb: only, least net yield in basis points"},
    "capital": {"type": "number", "exclusiveMinimum": 0, "description": "arb: only, most a trade may cost"},
}
_WHERE: Schema = {"channel": {**TEXT, "minLength": 1}}
_PAIR: Schema = {"exchange": {**TEXT, "minLength": 1}, "symbol": {**TEXT, "minLength": 1}}
_ID: Schema = {"id": {"type": ["string", "number"]}}


def _request(op: str, required: Schema | None = None, optional: Schema | None = None) -> Schema:
    return _object({"op": {"const": op}, **(required or {})}, {**(optional or {}), **_ID})


# What a subscriber sends. ``action`` with exchange and symbol is the second dialect.
RECEIVED: dict[str, Schema] = {
    "subscribe": _request("subscribe", _WHERE, _OPTIONS),
    "subscribeAction": _object({"action": {"const": "subscribe"}, **_PAIR}, {**_OPTIONS, **_ID}),
    "unsubscribe": _request("unsubscribe", _WHERE),
    "unsubscribeAction": _object({"action": {"const": "unsubscribe"}, **_PAIR}, _ID),
    "ping": _request("ping"),
    "listExchanges": _request("exchanges"),
    "listSymbols": _request("symbols", None, {"quote": TEXT, "exchange": TEXT}),
    "list": _request("list"),
    "auth": _request("auth", {"token": TEXT}),
}


def _resolved(schema: Any, prefix: str) -> Any:
    """The schema with its references under ``prefix``."""
    if isinstance(schema, dict):
        return {
            key: prefix + value if key == "$ref" else _resolved(value, prefix)
            for key, value in schema.items()
        }
    return [_resolved(each, prefix) for each in schema] if isinstance(schema, list) else schema


def components(prefix: str) -> dict[str, Schema]:
    """Every schema by name, references pointing to ``prefix`` + name."""
    return {name: _resolved(schema, prefix) for name, schema in {**PARTS, **SENT, **RECEIVED}.items()}


def message_schemas() -> Schema:
    """One JSON Schema: any message the gateway sends; requests and single messages in its definitions."""
    prefix = "#/definitions/"
    requests = {"oneOf": [{"$ref": prefix + name} for name in RECEIVED]}
    return {
        "$schema": DRAFT,
        "title": "A message of a Bookwire gateway",
        "oneOf": [{"$ref": prefix + name} for name in SENT],
        "definitions": {**components(prefix), "request": requests},
    }
