"""What a simulator run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SKEW_MAX = 1000.0  # basis points


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Settings of `run`.

    `symbols` are canonical (BTC-USDT), or a bare base (BTC) which takes each exchange's usual quote, or
    EXCHANGE:SYMBOL for one exchange only. `rate` is updates per second and book. `levels` is per side.
    `options` are of the form EXCHANGE.NAME=VALUE, such as bitget.form=2025: one of the ways an exchange can
    be played in. `skew` entries EXCHANGE=BP shift all its prices by so many basis points, so that its books
    cross those of others. `names` are what the certificate is for beside the local names. `port` 0 takes free
    ports, otherwise the exchanges take port, port + 1, ... in their order; `ports` names each one's instead.
    """

    exchanges: tuple[str, ...] = ("binance", "coinbase", "okx", "bybit", "kraken")
    symbols: tuple[str, ...] = ("BTC", "ETH", "SOL")
    rate: float = 20.0
    seed: int = 1
    levels: int = 1000
    burst: int = 8
    state_dir: Path = Path("simulator-state")
    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    port: int = 0
    ports: tuple[int, ...] = ()
    faults: Path | None = None
    limits: bool = True
    age_limit: float | None = 86_400.0
    okx_checksums: bool = False
    options: tuple[str, ...] = ()
    skew: tuple[str, ...] = ()
    paused: bool = False


def skew_of(settings: SimulatorSettings, exchange: str) -> float:
    """How many basis points an exchange's prices stand off. Raises ValueError for what is none."""
    points = 0.0
    for entry in settings.skew:
        owner, equals, text = entry.partition("=")
        if not equals or not -SKEW_MAX <= float(text) <= SKEW_MAX:
            raise ValueError(f"skew {entry!r} is not EXCHANGE=BP, within {SKEW_MAX:g} basis points")
        points = float(text) if owner == exchange else points
    return points


def symbols_for(settings: SimulatorSettings, exchange: str, quote: str) -> tuple[str, ...]:
    """The canonical symbols of one exchange, in order and without repetition."""
    chosen: dict[str, None] = {}
    for entry in settings.symbols:
        owner, colon, symbol = entry.rpartition(":")
        if not colon or owner == exchange:
            chosen[(symbol if "-" in symbol else f"{symbol}-{quote}").upper()] = None
    return tuple(chosen)
