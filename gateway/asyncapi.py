"""docs/asyncapi.json: the stream in AsyncAPI 3's terms. As a module it writes that and the schemas."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from gateway.metrics import product_version
from gateway.schemas import RECEIVED, SENT, components, message_schemas

# Answers by request; errors may answer any.
REPLIES = {
    "subscribe": "subscribed", "subscribeAction": "subscribed", "unsubscribe": "unsubscribed",
    "unsubscribeAction": "unsubscribed", "ping": "pong", "listExchanges": "exchanges",
    "listSymbols": "symbols", "list": "subscriptions", "auth": "authorised",
}  # fmt: skip
SUMMARIES = {
    "snapshot": "Replaces both sides of the book.",
    "delta": "The levels that changed; quantity 0: the level left.",
    "orderbookSnapshot": "A snapshot in format tardis.",
    "orderbookUpdate": "A delta in format tardis.",
    "statusSnapshot": "Every exchange, and every book that is not live.",
    "status": "An exchange or a book changed its state.",
    "heartbeat": "Nothing else was sent for as long as asked.",
    "reconnect": "The gateway stops: come again.",
    "closed": "The end of server-sent events, and what a WebSocket's close frame would say.",
    "error": "A request was refused; nothing is closed unless fatal.",
}
BINARY = "binaryFrame"


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}


def _message(name: str) -> dict[str, Any]:
    summary = {"summary": SUMMARIES[name]} if name in SUMMARIES else {}
    return {
        "name": name, **summary, "contentType": "application/json",
        "payload": _ref("components", "schemas", name),
    }  # fmt: skip


def _binary() -> dict[str, Any]:
    return {
        "name": BINARY,
        "summary": "A snapshot or delta in format binary; the layout is in docs/gateway.md.",
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }


def _operations() -> dict[str, Any]:
    stream = ("channels", "stream")
    operations: dict[str, Any] = {
        name: {
            "action": "receive",
            "channel": _ref(*stream),
            "messages": [_ref(*stream, "messages", name)],
            "reply": {
                "channel": _ref(*stream),
                "messages": [_ref(*stream, "messages", REPLIES[name]), _ref(*stream, "messages", "error")],
            },
        }
        for name in RECEIVED
    }
    pushed = [name for name in SENT if name not in REPLIES.values()] + [BINARY]
    operations["push"] = {
        "action": "send",
        "channel": _ref(*stream),
        "messages": [_ref(*stream, "messages", name) for name in pushed],
    }
    return operations


def document() -> dict[str, Any]:
    """The AsyncAPI 3.0 document, from the gateway's side: it receives requests and sends the rest."""
    messages = {name: _message(name) for name in (*SENT, *RECEIVED)} | {BINARY: _binary()}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Bookwire", "version": product_version(), "license": {"name": "Apache-2.0"}},
        "defaultContentType": "application/json",
        "servers": {
            "box": {"host": "localhost:8081", "protocol": "ws", "pathname": "/"},
            "events": {
                "host": "localhost:8081",
                "protocol": "sse",
                "pathname": "/v1/events",
                "description": "The same messages as server-sent events; a request's fields as query.",
            },
        },
        "channels": {
            "stream": {
                "address": "/",
                "description": "One WebSocket carries every subscription of a client.",
                "messages": {name: _ref("components", "messages", name) for name in messages},
            }
        },
        "operations": _operations(),
        "components": {"messages": messages, "schemas": components("#/components/schemas/")},
    }


def main(directory: str) -> None:
    for name, content in (("asyncapi.json", document()), ("messages.schema.json", message_schemas())):
        (Path(directory) / name).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
