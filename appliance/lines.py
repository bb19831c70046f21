"""JSON lines on stdout: decimals keep every digit."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any


def json_line(value: Any) -> str:
    """One line; Decimals as JSON strings, so that no reader rounds them."""
    return json.dumps(value, default=_plain, separators=(",", ":"))


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value)
