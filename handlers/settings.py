"""What one exchange process is told: the face of ``handlers`` towards the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from handlers.errors import SetupError


@dataclass(frozen=True)
class FeedSettings:
    """Settings of one exchange process.

    ``symbols`` are names (``BTC-USDT``), patterns (``*-USDT``) or ``*`` for all the exchange lists; empty
    means every symbol of the exchange's customary quote currency. URLs left None are the exchange's
    own. Byte sizes left None are chosen from the number of books.
    """

    exchange: str
    shm_dir: Path
    run_dir: Path
    symbols: tuple[str, ...] = ()
    websocket_url: str | None = None
    rest_url: str | None = None
    ca_file: Path | None = None  # PEM bundle trusted instead of the system's, never "no check"
    poll: Literal["epoll", "busy"] = "epoll"
    cpu: int | None = None  # core the native loop is pinned to
    levels_max: int | None = None  # a side of one book
    ring_bytes: int | None = None  # of the update ring; a power of two
    pending_bytes: int | None = None  # for deltas that wait for their snapshot, all books together
    raw_ring_bytes: int | None = None  # a second ring, of raw frames, for a recorder; a power of two
    source_address: str | None = None  # local address of connections and REST; budgets count by it
    path: Literal["auto", "dpdk", "sockets"] = (
        "auto"  # auto: past the kernel where a device is named and works
    )
    device: str | None = None  # as dpdk_bindings.devices lists them
    interface: str | None = None  # the kernel's name, whose addresses are taken over
    addresses: tuple[str, ...] = ()  # with prefix, instead of the interface's
    routes: tuple[tuple[str, str | None], ...] = ()  # destination and gateway, instead of the interface's
    measured: str | None = None  # what was measured of sockets and the device on this box, for people
    sockets_measured_better: bool = False  # then path "auto" takes sockets
    hugepages: bool = True
    memory_mib: int | None = None

    def __post_init__(self) -> None:
        if self.poll not in ("epoll", "busy"):
            raise SetupError(f"poll is {self.poll!r}", where="poll", do='use "epoll" or "busy"')
        ring = self.ring_bytes
        if ring is not None and (ring < 1 << 16 or ring & (ring - 1)):
            do = "use a power of two of at least 65536"
            raise SetupError(f"ring_bytes is {ring}", where="ring_bytes", do=do)

    @property
    def segment_path(self) -> Path:
        return self.shm_dir / f"{self.exchange}.shm"

    @property
    def raw_path(self) -> Path:
        return self.shm_dir / f"{self.exchange}.raw"

    @property
    def status_path(self) -> Path:
        return self.run_dir / f"{self.exchange}.status.json"
