"""What the requests and answers of most exchanges have in common, for the files in ``handlers/venues``."""

from __future__ import annotations

from typing import Any

import orjson

from handlers.facts import Answer


def frame(told: Any) -> str:
    """A request as JSON text."""
    return orjson.dumps(told).decode()


def echoed(message: Any, key: str = "id") -> str | None:
    """Our request id that an answer gives back, as a number or as text; None where it has none."""
    number = message.get(key)
    return None if number is None else str(number)


def words(told: Any, *keys: str) -> str:
    """What the exchange says at these keys, for a refusal's reason; what is missing or empty is left out."""
    return " ".join(str(said) for key in keys if (said := told.get(key)) not in (None, ""))


def settled(verb: str | None, symbols: tuple[str, ...] = (), request: str | None = None) -> Answer:
    """What an answer without an error means, by the verb of ours that it repeats."""
    match verb:
        case "subscribe" | "sub":
            return Answer("taken", symbols, request)
        case "unsubscribe" | "unsub":
            return Answer("unsubscribed", symbols, request)
        case _:
            return Answer("other")
