"""Scripted faults: what can go wrong, when, and how often.

A fault is a JSON object: {"fault": name, "symbol": "BTC-USDT" (all when absent), "count": 1 (0: until
cleared), "seconds": 5 (ends by itself), ...options}. Names and options are in FAULTS; docs/simulator.md
explains them. Three kinds: *update* faults take the next update of the symbol that somebody is subscribed to,
*connection* faults act at once on open connections, *state* faults hold until their count, their seconds or
`clear`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UPDATE, CONNECTION, STATE, ACTION = "update", "connection", "state", "action"

_UPDATE_OPTIONS = frozenset({"top"})

# name: (kind, options it understands besides symbol, count, seconds)
FAULTS: dict[str, tuple[str, frozenset[str]]] = {
    "drop": (UPDATE, _UPDATE_OPTIONS),
    "duplicate": (UPDATE, _UPDATE_OPTIONS),
    "reorder": (UPDATE, _UPDATE_OPTIONS),
    "wrong_checksum": (UPDATE, _UPDATE_OPTIONS),
    "zero_checksum": (UPDATE, _UPDATE_OPTIONS),
    "malformed": (UPDATE, _UPDATE_OPTIONS),
    "crossed": (UPDATE, _UPDATE_OPTIONS),
    "garbage": (CONNECTION, frozenset({"connection", "kind"})),
    "oversized": (CONNECTION, frozenset({"connection", "bytes"})),
    "half_open": (CONNECTION, frozenset({"connection"})),
    "close": (CONNECTION, frozenset({"connection", "code", "reason"})),
    "reset": (CONNECTION, frozenset({"connection"})),
    "notice": (CONNECTION, frozenset({"connection"})),
    "silence": (STATE, frozenset({"until"})),
    "refuse_connections": (STATE, frozenset({"status"})),
    "refuse_subscription": (STATE, frozenset()),
    "rest_status": (STATE, frozenset({"status", "retry_after"})),
    "slow_rest": (STATE, frozenset({"delay"})),
    "clock_jump": (ACTION, frozenset({"by"})),
    "age_limit": (ACTION, frozenset({"age"})),
    "restart": (ACTION, frozenset()),
    "resume": (ACTION, frozenset()),
    "clear": (ACTION, frozenset()),
}
_COMMON = frozenset({"fault", "symbol", "count", "seconds"})
_UNTIL_CLEARED = frozenset({"silence", "refuse_connections", "refuse_subscription"})


class FaultError(ValueError):
    """A fault that does not exist, or options it does not know."""


@dataclass(slots=True)
class Fault:
    """One armed fault. `remaining` below 0: until cleared. `ends`: monotonic seconds, or None."""

    name: str
    symbol: str | None
    remaining: int
    ends: float | None
    options: dict[str, Any]

    @property
    def kind(self) -> str:
        """update, connection, state or action."""
        return FAULTS[self.name][0]

    def number(self, option: str, default: float) -> float:
        """A numeric option."""
        return float(self.options.get(option, default))


@dataclass(slots=True)
class Marks:
    """What an update about to be encoded must suffer."""

    drop: bool = False
    duplicate: bool = False
    reorder: bool = False
    wrong_checksum: bool = False
    zero_checksum: bool = False
    malformed: bool = False
    crossed: bool = False


def parse_fault(request: Mapping[str, Any], symbols: Iterable[str], now: float) -> Fault:
    """Check a fault request. Raises FaultError that says what is wrong."""
    name = request.get("fault")
    if not isinstance(name, str) or name not in FAULTS:
        raise FaultError(f"unknown fault {name!r}; there are: {', '.join(FAULTS)}")
    unknown = set(request) - _COMMON - FAULTS[name][1]
    if unknown:
        raise FaultError(f"fault {name} does not know {', '.join(sorted(unknown))}")
    symbol = request.get("symbol")
    if symbol is not None and symbol not in set(symbols):
        raise FaultError(f"symbol {symbol!r} is not simulated; there are: {', '.join(symbols)}")
    seconds = request.get("seconds")
    default = 0 if name in _UNTIL_CLEARED or seconds is not None else 1
    try:
        count = int(request.get("count", default))
        ends = None if seconds is None else now + float(seconds)
        options = {key: request[key] for key in FAULTS[name][1] if key in request}
        for key in options.keys() - {"kind", "until", "reason"}:
            options[key] = float(options[key])
    except (TypeError, ValueError) as error:
        raise FaultError(f"fault {name}: {error}") from error
    return Fault(name, symbol, count if count > 0 else -1, ends, options)


@dataclass(slots=True)
class FaultBoard:
    """The armed faults of one exchange."""

    armed: list[Fault] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)

    def arm(self, fault: Fault) -> None:
        """Put an update or state fault on the board."""
        self.armed.append(fault)

    def find(self, name: str, symbol: str | None, now: float) -> Fault | None:
        """The first armed fault of that name that concerns the symbol; ended ones are taken down."""
        for fault in self.armed:
            if fault.ends is not None and now >= fault.ends:
                self.armed = [each for each in self.armed if each.ends is None or now < each.ends]
                return self.find(name, symbol, now)
            if fault.name == name and (fault.symbol is None or fault.symbol == symbol):
                return fault
        return None

    def take(self, name: str, symbol: str | None, now: float) -> Fault | None:
        """Like `find`, and use the fault up by one."""
        fault = self.find(name, symbol, now)
        if fault is None:
            return None
        self.fired[name] += 1
        if fault.remaining > 0:
            fault.remaining -= 1
            if fault.remaining == 0:
                self.armed.remove(fault)
        return fault

    def marks(self, symbol: str, now: float, *, at_top: bool) -> list[str]:
        """Names of the update faults that the coming update of the symbol must suffer; see `use`.

        `at_top`: the update changes one of the best ten levels; faults with the option `top` wait for that.
        """
        names = []
        for fault in self.armed:
            waits = bool(fault.options.get("top")) and not at_top
            if fault.kind == UPDATE and not waits and self.find(fault.name, symbol, now) is fault:
                names.append(fault.name)
        return names

    def remove(self, name: str | None = None, symbol: str | None = None) -> list[Fault]:
        """Take down all faults, or those of one name (and symbol); returns them."""
        gone = [
            each
            for each in self.armed
            if name is None or (each.name == name and (symbol is None or each.symbol == symbol))
        ]
        self.armed = [each for each in self.armed if each not in gone]
        return gone


@dataclass(frozen=True, slots=True)
class ScriptLine:
    """A fault to be armed when the symbol (or any) reaches an update, or at a time after the start."""

    request: dict[str, Any]
    exchange: str | None
    at_update: int | None
    at_seconds: float | None


def load_script(path: Path) -> tuple[ScriptLine, ...]:
    """Read a fault script: a JSON list of faults with `at_update` or `at_seconds`, perhaps `exchange`.

    Raises FaultError with the number of the bad entry, OSError when the file cannot be read.
    """
    try:
        entries = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise FaultError(f"{path}: not JSON: {error}") from error
    if not isinstance(entries, list):
        raise FaultError(f"{path}: a list of faults is expected")
    lines = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or ("at_update" in entry) == ("at_seconds" in entry):
            raise FaultError(
                f"{path}: entry {number}: an object with either at_update or at_seconds is expected"
            )
        request = {
            key: value for key, value in entry.items() if key not in ("at_update", "at_seconds", "exchange")
        }
        try:
            parse_fault({key: value for key, value in request.items() if key != "symbol"}, (), 0.0)
            at_update = int(entry["at_update"]) if "at_update" in entry else None
            at_seconds = float(entry["at_seconds"]) if "at_seconds" in entry else None
        except (TypeError, ValueError) as error:
            raise FaultError(f"{path}: entry {number}: {error}") from error
        lines.append(ScriptLine(request, entry.get("exchange"), at_update, at_seconds))
    return tuple(lines)
