"""What the gateway and the HTTP process can be told, with every limit in one place.

The numbers are related: ``check()`` holds those relations, and both processes call it before they
start, so that a contradiction is an error at start and not a surprise under load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


class SettingsError(ValueError):
    """A setting that cannot work; the text says which, why and what to do."""


@dataclass(frozen=True)
class ArbSettings:
    """Which crossed books are worth showing. Money in the quote asset of the symbol."""

    min_net_bp: float = 5.0  # net yield on what is spent
    min_notional: float = 1000.0  # of all that pays
    capital: float = 10_000.0  # what a trade may cost
    fees: Mapping[str, float] = field(default_factory=dict)  # taker, percent; else gateway/fees.toml

    def check(self) -> None:
        """Raises SettingsError for a threshold or fee that cannot be meant."""
        if not 0 <= self.min_net_bp <= 10_000:
            raise SettingsError(f"arb min_net_bp = {self.min_net_bp} must be 0..10000")
        if not 0 <= self.min_notional <= 1e9:
            raise SettingsError(f"arb min_notional = {self.min_notional} must be 0..1e9")
        if not 1e-8 <= self.capital <= 1e9:
            raise SettingsError(f"arb capital = {self.capital} must be 1e-8..1e9")
        for exchange, percent in self.fees.items():
            if not 0 <= percent <= 100:
                raise SettingsError(f"arb fees {exchange} = {percent} must be 0..100 percent")


@dataclass(frozen=True)
class GatewaySettings:
    """The WebSocket process. Sizes in bytes, times in the unit the name ends with."""

    shm_dir: Path
    run_dir: Path
    record_dir: Path | None = None  # of recordings, for subscriptions to the past
    host: str = "127.0.0.1"
    port: int = 8081  # 0: any free port
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    token_file: Path | None = None  # one bearer token a line; None: open to all
    poll: str = "epoll"  # "epoll" sleeps between changes, "busy" spins on its core
    cpu: int | None = None  # core of the native loop

    depth_default: int = 20
    depth_max: int = 1000
    interval_ms_default: int = 100
    interval_ms_max: int = 60_000

    clients_max: int = 10_000
    clients_per_address: int = 64  # addresses of the loopback are not counted
    subscriptions_per_client: int = 256
    replays_max: int = 4  # at a time, each a process of its own
    request_bytes_max: int = 16 << 10  # larger: error "message too large"
    message_bytes_max: int = 64 << 10  # larger: close 1009
    requests_per_second: int = 50
    requests_burst: int = 1000  # more at once: close 1008
    errors_max: int = 32  # within errors_window_s: close 1008
    errors_window_s: float = 10.0
    handshake_ms: int = 5000
    ping_ms: int = 20_000  # nothing received for so long: ping
    timeout_ms: int = 60_000  # no sign of life for so long: close 1001
    queue_bytes_max: int = 256 << 10  # unsent bytes of a client before it is conflated
    frame_bytes_max: int = 1_000_000  # larger snapshots are sent in pages
    send_buffer_bytes: int = 256 << 10  # SO_SNDBUF; what stands in it can no longer be conflated
    writer_patience_ms: int = 3000  # heartbeat age at which a feed process counts as dead
    arb: ArbSettings = ArbSettings()

    def check(self) -> None:
        """Raises SettingsError when two settings contradict each other."""
        self.arb.check()
        if self.poll not in ("epoll", "busy"):
            raise SettingsError(f"gateway poll = {self.poll!r}: use 'epoll' or 'busy'")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise SettingsError("gateway TLS needs both tls_certificate and tls_key: give both or none")
        if not 1 <= self.depth_default <= self.depth_max:
            raise SettingsError(
                f"gateway depth_default = {self.depth_default} must be 1..depth_max ({self.depth_max})"
            )
        if not 0 <= self.interval_ms_default <= self.interval_ms_max:
            raise SettingsError("gateway interval_ms_default must be 0..interval_ms_max")
        if self.request_bytes_max > self.message_bytes_max:
            raise SettingsError("gateway request_bytes_max must not exceed message_bytes_max")
        if self.ping_ms >= self.timeout_ms:
            raise SettingsError("gateway ping_ms must be below timeout_ms, or nobody can answer in time")
        if self.queue_bytes_max < 64 << 10:
            raise SettingsError("gateway queue_bytes_max must be at least 65536")
        if self.frame_bytes_max < 64 << 10:
            raise SettingsError("gateway frame_bytes_max must be at least 65536")


@dataclass(frozen=True)
class HttpSettings:
    """The HTTP process: health, metrics, directory and one-off snapshots."""

    shm_dir: Path
    run_dir: Path
    host: str = "127.0.0.1"
    port: int = 8080  # 0: any free port
    websocket_port: int = 8081  # for the page that shows the live stream
    depth_default: int = 20
    depth_max: int = 1000
    record_dir: Path | None = None  # of recordings, for /v1/history
    history_processes: int = 2  # that answer /v1/history
    history_waiting_max: int = 64  # queries that wait for them; one more is answered with 503
    arb_tick_ms: int = 50  # rows of /v1/arb are made once in so long, for all who ask the same; 0: each time
    live_exchanges_min: int = 1  # /readyz and /health are 503 below this
    live_books_min: int = 1
    symbol_labels: bool = False  # per-book metrics: one series a symbol
    exchanges: tuple[str, ...] | None = None  # that shall run here: metrics tell when one does not; None: all
    writer_patience_ms: int = 3000
    arb: ArbSettings = ArbSettings()

    def check(self) -> None:
        """Raises SettingsError when two settings contradict each other."""
        self.arb.check()
        if not 1 <= self.depth_default <= self.depth_max:
            raise SettingsError(
                f"http depth_default = {self.depth_default} must be 1..depth_max ({self.depth_max})"
            )
