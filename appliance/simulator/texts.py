"""What many protocols have in common on the wire: requests in JSON, levels as pairs of texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from .book import Change
from .instruments import Instrument
from .numbers import shortest


def parsed(text: str) -> Any:
    """What a client said; None where it is not JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def pairs(instrument: Instrument, changes: Iterable[Change]) -> str:
    """Levels as `["price","quantity"]`, shortest numbers, with commas between them."""
    price, quantity = instrument.price_decimals, instrument.quantity_decimals
    return ",".join(
        f'["{shortest(each.price, price)}","{shortest(each.quantity, quantity)}"]' for each in changes
    )


def spoilt(rows: str, row: str = '["not-a-price","1"]') -> str:
    """The fault "malformed": valid JSON, but before the levels stands one that does not fit."""
    return f"{row},{rows}" if rows else row
