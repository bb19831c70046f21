"""Every error a subscriber can get: its text and its number. Both are promises; neither changes."""

from __future__ import annotations

from enum import Enum
from typing import Any


class Refusal(Enum):
    """Text and number of an error message; the numbers are never reused."""

    MISSING_OP = ("missing op", 1)
    UNKNOWN_OP = ("unknown op", 2)
    MISSING_CHANNEL = ("missing channel", 3)
    UNKNOWN_CHANNEL = ("unknown channel", 4)
    UNKNOWN_SYMBOL = ("unknown symbol", 5)
    UNKNOWN_EXCHANGE = ("unknown exchange", 6)
    ALREADY_SUBSCRIBED = ("already subscribed", 7)
    INVALID_JSON = ("invalid json", 8)
    INVALID_DEPTH = ("invalid depth", 9)
    INVALID_MODE = ("invalid mode", 10)
    INVALID_INTERVAL = ("invalid interval", 11)
    INVALID_FORMAT = ("invalid format", 12)
    NOT_SUBSCRIBED = ("not subscribed", 13)
    TOO_MANY_SUBSCRIPTIONS = ("too many subscriptions", 14)
    MESSAGE_TOO_LARGE = ("message too large", 15)
    INVALID_NUMBERS = ("invalid numbers", 16)
    INVALID_SLOW = ("invalid slow", 17)
    INVALID_HEARTBEAT = ("invalid heartbeat", 18)
    INVALID_STAMPS = ("invalid stamps", 19)
    NOT_AUTHORISED = ("not authorised", 20)
    INVALID_TOKEN = ("invalid token", 21)
    NO_ROOM = ("no room", 22)
    INVALID_MIN_BP = ("invalid min_bp", 23)
    INVALID_CAPITAL = ("invalid capital", 24)
    INVALID_REPLAY = ("invalid replay", 25)
    NO_RECORDING = ("no recording", 26)
    REPLAY_FAILED = ("replay failed", 27)

    def __init__(self, text: str, code: int) -> None:
        self.text = text
        self.code = code


# Of refusals over HTTP; the others are 400.
HTTP_STATUS = {
    Refusal.UNKNOWN_CHANNEL: (404, "Not Found"),
    Refusal.UNKNOWN_EXCHANGE: (404, "Not Found"),
    Refusal.UNKNOWN_SYMBOL: (404, "Not Found"),
    Refusal.NO_RECORDING: (404, "Not Found"),
    Refusal.NO_ROOM: (503, "Service Unavailable"),
}


def problem_document(status: int, title: str, detail: str, code: int | None = None) -> dict[str, Any]:
    """An RFC 9457 problem document; ``code`` is that of the stream's error of the same name."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return body if code is None else {**body, "code": code}


class RequestError(Exception):
    """A request that is answered with an error message."""

    def __init__(self, refusal: Refusal, channel: str | None = None) -> None:
        self.refusal = refusal
        self.channel = channel
        super().__init__(refusal.text)
