"""Channel names and subscribe options: text in, one resolved subscription out. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Protocol, TypeVar

from gateway.errors import Refusal, RequestError

T = TypeVar("T")

STATUS_CHANNEL = "status"
HEARTBEAT_S_MAX = 3600
MIN_BP_MAX = 10_000
CAPITAL_MIN, CAPITAL_MAX = 1e-8, 1e9


class View(IntEnum):
    """What a channel shows (enum bw_view_kind)."""

    SINGLE = 0
    TOP = 1
    CONSBOOK = 2
    FULLBOOK = 3
    STATUS = 4
    ARB = 5


class Format(IntEnum):
    """How messages are written (enum bw_format)."""

    JSON = 0
    TARDIS = 1
    BINARY = 2


class Slow(IntEnum):
    """What happens to a subscription whose client reads too slowly (enum bw_slow)."""

    CONFLATE = 0
    RESNAPSHOT = 1
    DISCONNECT = 2


MERGED = {"top": View.TOP, "consbook": View.CONSBOOK, "fullbook": View.FULLBOOK, "arb": View.ARB}
FORMATS = {"json": Format.JSON, "tardis": Format.TARDIS, "binary": Format.BINARY}
SLOW = {"conflate": Slow.CONFLATE, "resnapshot": Slow.RESNAPSHOT, "disconnect": Slow.DISCONNECT}


@dataclass(frozen=True)
class Instrument:
    """One book an exchange carries. ``kind`` is enum bw_instrument_kind, 0 = spot."""

    canonical: str
    native: str
    base: str
    quote: str
    kind: int = 0


class Directory(Protocol):
    """What channel names are resolved against."""

    def exchange_number(self, exchange: str) -> int | None:
        """The exchange's number, or None for an id nobody knows."""

    def instrument(self, exchange: str, symbol: str) -> Instrument | None:
        """By canonical form or the exchange's own, in any case."""

    def carried(self, canonical: str) -> bool:
        """Whether any exchange carries the spot symbol."""


@dataclass(frozen=True)
class Channel:
    """A resolved channel; ``name`` is how answers call it."""

    name: str
    view: View
    symbol: str = ""
    exchange: str = ""
    number: int = 0  # of the exchange, single-exchange channels
    kind: int = 0  # of the instrument
    native: str = ""


@dataclass(frozen=True)
class ArbTerms:
    """What a crossed pair must bring to be shown; net in basis points, money in the quote asset."""

    min_bp: float
    min_notional: float
    capital: float
    taker_ppm: tuple[int, ...] = ()  # by exchange number, millionths


NO_TERMS = ArbTerms(0, 0, 1)


@dataclass(frozen=True)
class Options:
    """How a channel is to be sent. Times in ms."""

    depth: int
    deltas: bool
    interval_ms: int
    format: Format = Format.JSON
    strings: bool = False
    stamps: bool = False
    slow: Slow = Slow.CONFLATE
    heartbeat_ms: int = 0
    arb: ArbTerms = NO_TERMS


def canonical_form(symbol: str) -> str:
    """``btc/usdt`` and ``BTC_USDT`` are ``BTC-USDT``."""
    return symbol.strip().upper().replace("/", "-").replace("_", "-")


def parse_channel(text: str, directory: Directory) -> Channel:
    """Resolves ``prefix:SYMBOL`` or ``status``.

    Raises RequestError: unknown channel (not that form), unknown exchange, unknown symbol.
    """
    if text == STATUS_CHANNEL:
        return Channel(STATUS_CHANNEL, View.STATUS)
    prefix, colon, symbol = text.partition(":")
    prefix = prefix.strip().lower()
    if not colon or not prefix or not symbol.strip() or len(text) > 63:
        raise RequestError(Refusal.UNKNOWN_CHANNEL, text)
    if prefix in MERGED:
        canonical = canonical_form(symbol)
        if not directory.carried(canonical):
            raise RequestError(Refusal.UNKNOWN_SYMBOL, f"{prefix}:{canonical}")
        return Channel(f"{prefix}:{canonical}", MERGED[prefix], canonical)
    number = directory.exchange_number(prefix)
    if number is None:
        raise RequestError(Refusal.UNKNOWN_EXCHANGE, text)
    instrument = directory.instrument(prefix, symbol)
    if instrument is None:
        raise RequestError(Refusal.UNKNOWN_SYMBOL, f"{prefix}:{canonical_form(symbol)}")
    return Channel(
        f"{prefix}:{instrument.canonical}", View.SINGLE, instrument.canonical, prefix, number,
        instrument.kind, instrument.native,
    )  # fmt: skip


def _choice(value: Any, choices: Mapping[str, T], refusal: Refusal, channel: str) -> T:
    if not isinstance(value, str) or value not in choices:
        raise RequestError(refusal, channel)
    return choices[value]


def _number(value: Any, low: float, high: float, refusal: Refusal, channel: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise RequestError(refusal, channel)
    return value


def parse_depth(value: Any, channel: Channel, depth_max: int) -> int:
    """Levels a side; 1 for ``top:`` whatever was asked. Raises RequestError(invalid depth)."""
    if channel.view in (View.TOP, View.STATUS):
        return 1
    depth = _number(value, 1, depth_max, Refusal.INVALID_DEPTH, channel.name)
    if depth != int(depth):
        raise RequestError(Refusal.INVALID_DEPTH, channel.name)
    return int(depth)


def parse_terms(request: Mapping[str, Any], channel: str, terms: ArbTerms) -> ArbTerms:
    """``terms`` with the request's own ``min_bp`` and ``capital``.

    Raises RequestError(invalid min_bp), RequestError(invalid capital).
    """
    min_bp, capital = request.get("min_bp"), request.get("capital")
    if min_bp is not None:
        min_bp = _number(min_bp, 0, MIN_BP_MAX, Refusal.INVALID_MIN_BP, channel)
    if capital is not None:
        capital = _number(capital, CAPITAL_MIN, CAPITAL_MAX, Refusal.INVALID_CAPITAL, channel)
    return replace(
        terms,
        min_bp=terms.min_bp if min_bp is None else min_bp,
        capital=terms.capital if capital is None else capital,
    )


def parse_options(
    request: Mapping[str, Any], channel: Channel, *, depth_default: int, depth_max: int,
    interval_default: int, interval_max: int, mode_default: str = "snapshot",
    terms: ArbTerms = NO_TERMS,
) -> Options:  # fmt: skip
    """Reads the options of a subscribe request; what is absent or null takes its default.

    Raises RequestError with the refusal that names the option.
    """

    def given(key: str, default: Any) -> Any:
        value = request.get(key)
        return default if value is None else value

    name = channel.name
    deltas = _choice(
        given("mode", mode_default), {"snapshot": False, "inc": True}, Refusal.INVALID_MODE, name
    )
    interval = _number(given("interval", interval_default), 0, interval_max, Refusal.INVALID_INTERVAL, name)
    form = _choice(given("format", "json"), FORMATS, Refusal.INVALID_FORMAT, name)
    if (form is Format.TARDIS and channel.view is not View.SINGLE) or (
        form is not Format.JSON and channel.view in (View.STATUS, View.ARB)
    ):
        raise RequestError(Refusal.INVALID_FORMAT, name)
    stamps = given("stamps", False)
    if not isinstance(stamps, bool):
        raise RequestError(Refusal.INVALID_STAMPS, name)
    heartbeat = _number(given("heartbeat", 0), 0, HEARTBEAT_S_MAX, Refusal.INVALID_HEARTBEAT, name)
    return Options(
        depth=parse_depth(given("depth", depth_default), channel, depth_max),
        deltas=deltas and channel.view is not View.ARB,
        interval_ms=int(interval),
        format=form,
        strings=_choice(
            given("numbers", "number"), {"number": False, "string": True}, Refusal.INVALID_NUMBERS, name
        ),
        stamps=stamps and channel.view is not View.ARB,
        slow=_choice(given("slow", "conflate"), SLOW, Refusal.INVALID_SLOW, name),
        heartbeat_ms=int(heartbeat * 1000),
        arb=parse_terms(request, name, terms) if channel.view is View.ARB else NO_TERMS,
    )
