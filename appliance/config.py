"""The configuration: one TOML file, every key known, every default stated here.

Where a value comes from, strongest first: command-line flag, environment (``BOOKWIRE_...``), file, default.
The dataclasses below are the schema; ``docs/config.schema.json`` is made from them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MAJORS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "AVAX", "LINK", "LTC", "DOT")
# Ten majors in both dollars: live within seconds on every venue. All symbols (`*-USDT`) cost Binance
# alone some twenty minutes of its REST budget at start, so that is asked for, not assumed.
DEFAULT_SYMBOLS = tuple(f"{base}-{quote}" for base in MAJORS for quote in ("USDT", "USD"))
DEFAULT_EXCHANGES = ("binance", "coinbase", "okx", "bybit", "kraken")


def default_run_dir() -> Path:
    """$XDG_RUNTIME_DIR/bookwire, else a directory of this user under the temporary one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "bookwire"
    return Path(os.environ.get("TMPDIR", "/tmp")) / f"bookwire-{os.getuid()}"


@dataclass(frozen=True)
class Box:
    """Where this machine keeps what the processes share."""

    shm_dir: Path = Path("/dev/shm/bookwire")
    run_dir: Path = field(default_factory=default_run_dir)


@dataclass(frozen=True)
class ExchangeTable:
    """One exchange's own settings; None and () mean "as the venue's facts or [exchanges] say"."""

    symbols: tuple[str, ...] = ()
    websocket_url: str | None = None
    rest_url: str | None = None
    ca_file: Path | None = None
    poll: str = "epoll"
    cpu: int | None = None
    levels_max: int | None = None
    source_address: str | None = None


@dataclass(frozen=True)
class Gateway:
    """The WebSocket gateway."""

    host: str = "127.0.0.1"
    port: int = 8081
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    token_file: Path | None = None
    depth_max: int = 1000


@dataclass(frozen=True)
class Http:
    """REST, health and metrics."""

    host: str = "127.0.0.1"
    port: int = 8080


@dataclass(frozen=True)
class Simulate:
    """The built-in exchanges of ``up --simulate``."""

    symbols: tuple[str, ...] = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
    rate: float = 20.0  # updates a second and symbol
    seed: int = 1


@dataclass(frozen=True)
class Config:
    """Everything, with defaults filled in."""

    box: Box = field(default_factory=Box)
    enabled: tuple[str, ...] = DEFAULT_EXCHANGES
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    exchange: Mapping[str, ExchangeTable] = field(default_factory=dict)
    gateway: Gateway = field(default_factory=Gateway)
    http: Http = field(default_factory=Http)
    simulate: Simulate = field(default_factory=Simulate)
