"""The stream as server-sent events over plain HTTP: what a URL asks for, and how it is refused. No I/O.

``GET /v1/events?channel=top:BTC-USDT&interval=0`` on the gateway's port; the options are those of a subscribe
request, ``channel`` may come several times.
"""

from __future__ import annotations

from contextlib import suppress
from math import isfinite
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from gateway.errors import HTTP_STATUS, RequestError, problem_document

NUMBERS = frozenset({"depth", "interval", "heartbeat", "min_bp", "capital", "speed"})
TRUTHS = {"true": True, "false": False}


def _number(text: str) -> Any:
    """As JSON would have it; what is none stays text, and is refused by who reads it."""
    with suppress(ValueError):
        return int(text) if text.isdecimal() and len(text) < 20 else finite(float(text))
    return text


def finite(value: float) -> float:
    """The value. Raises ValueError for an infinity or NaN."""
    if not isfinite(value):
        raise ValueError(value)
    return value


def requests_of(target: str) -> list[dict[str, Any]]:
    """A subscribe request for each channel of a URL's query; one without a channel if it has none."""
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    channels = query.pop("channel", [])
    options: dict[str, Any] = {name: values[-1] for name, values in query.items()}
    options |= {name: _number(text) for name, text in options.items() if name in NUMBERS}
    if "stamps" in options:
        options["stamps"] = TRUTHS.get(options["stamps"], options["stamps"])
    return [{**options, "channel": name} for name in channels] or [options]


def refusal(error: RequestError, target: str) -> bytes:
    """The HTTP answer that says why: an RFC 9457 problem document."""
    status, phrase = HTTP_STATUS.get(error.refusal, (400, "Bad Request"))
    what = error.channel or urlsplit(target).path
    body = orjson.dumps(problem_document(status, error.refusal.text, what, error.refusal.code))
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
        f"Access-Control-Allow-Origin: *\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
