"""Messages by their shape: the same keys in order, the same kinds of values."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any


def shape(value: Any) -> Any:
    """Keys in order and kinds of values; a list is the set of its elements' shapes."""
    if isinstance(value, dict):
        return tuple((key, shape(each)) for key, each in value.items())
    if isinstance(value, list):
        return frozenset(shape(each) for each in value)
    if not isinstance(value, str):
        return type(value).__name__
    if re.fullmatch(r"-?\d+(\.\d+)?", value):
        return "number"
    iso = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value)
    return "time" if iso else value if value in ("snapshot", "update", "delta", "depthUpdate") else "text"


def flat(found: Any) -> set[str]:
    """A shape as the set of its paths, so that an empty side does not count."""
    if isinstance(found, tuple):
        order = ">".join(key for key, _ in found)
        return {order} | {f"{key}.{each}" for key, inner in found for each in flat(inner)}
    if isinstance(found, frozenset):
        return {f"[]{each}" for inner in found for each in flat(inner)}
    return {str(found)}


def paths(message: Any) -> set[str]:
    """The shape of a message as a set of paths."""
    return flat(shape(message))


def recorded_texts(path: Path) -> list[str]:
    """The texts of a capture as the exchange sent them, gzip undone; REST bodies left out."""
    raw = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    lines = [json.loads(line) for line in raw.splitlines()]
    return [
        line["raw"] if "raw" in line else gzip.decompress(base64.b64decode(line["b64"])).decode()
        for line in lines
        if not line.get("rest")
    ]
