"""The configuration: one TOML file, every key known, every default stated here.

Where a value comes from, strongest first: command-line flag, environment (``BOOKWIRE_<TABLE>_<KEY>``), file,
default. These classes are the schema: ``docs/config.schema.json`` and
``docs/reference/configuration.md`` are made from them, and ``config_read`` holds a file to them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from handlers.registry import active

DEFAULT_SYMBOLS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "AVAX", "LINK", "LTC", "DOT")
# Live within seconds on every exchange. All symbols (`*`) cost Binance alone some twenty minutes of its REST
# budget at start, so that is asked for, not assumed.


def default_run_dir() -> Path:
    """$XDG_RUNTIME_DIR/bookwire, else a directory of this user under the temporary one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "bookwire"
    return Path(os.environ.get("TMPDIR", "/tmp")) / f"bookwire-{os.getuid()}"


def default_data_dir() -> Path:
    """$XDG_STATE_HOME/bookwire, else ~/.local/state/bookwire; root's is /var/lib/bookwire."""
    if os.getuid() == 0:
        return Path("/var/lib/bookwire")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "bookwire"


def _about(text: str) -> Meta:
    return Meta(description=text)


Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Poll = Literal["epoll", "busy"]
DataPath = Literal["auto", "dpdk", "sockets"]
POLL = "epoll sleeps when nothing comes; busy spins and needs a core of its own."


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Box(_Table, frozen=True):
    """Where this machine keeps what the processes share."""

    shm_dir: Annotated[
        Path, _about("Segments of shared memory, one file an exchange. Default: /dev/shm/bookwire.")
    ] = msgspec.field(default_factory=lambda: Path("/dev/shm/bookwire"))
    run_dir: Annotated[
        Path,
        _about("Sockets, bells and status files. Default: $XDG_RUNTIME_DIR/bookwire, else the user's own."),
    ] = msgspec.field(default_factory=default_run_dir)
    data_dir: Annotated[
        Path,
        _about(
            "What outlives a run: recordings. Default: $XDG_STATE_HOME/bookwire; root: /var/lib/bookwire."
        ),
    ] = msgspec.field(default_factory=default_data_dir)


class Exchanges(_Table, frozen=True):
    """Which exchanges run, and which symbols each takes unless its own table says otherwise."""

    enabled: Annotated[
        tuple[str, ...],
        _about(
            "Exchanges to run, each a process of its own. Default: all whose lifecycle is active "
            "(`bookwire exchanges`); with up --simulate, all."
        ),
    ] = msgspec.field(default_factory=active)
    symbols: Annotated[
        tuple[str, ...],
        _about("BTC-USDT; BTC (in the usual quote and USDT); *-USDT or *; kraken:BTC-USD for one exchange."),
    ] = DEFAULT_SYMBOLS


class Exchange(_Table, frozen=True):
    """One exchange's own settings, [exchange.<id>]; what is left out is as the exchange's facts say."""

    symbols: Annotated[tuple[str, ...], _about("Instead of [exchanges] symbols; empty: those.")] = ()
    websocket_url: Annotated[str | None, _about("Instead of the exchange's own address.")] = None
    rest_url: Annotated[str | None, _about("Instead of the exchange's own address.")] = None
    ca_file: Annotated[Path | None, _about("PEM bundle to trust instead of the system's.")] = None
    poll: Annotated[Poll, _about(POLL)] = "epoll"
    cpu: Annotated[int | None, _about("Core the native loop is pinned to. Default: where cores allow.")] = (
        None
    )
    levels_max: Annotated[Count | None, _about("Levels kept a side of one book.")] = None
    ring_bytes: Annotated[Count | None, _about("Update ring, bytes, a power of two.")] = None
    pending_bytes: Annotated[Count | None, _about("Updates that wait for a snapshot, bytes, all books.")] = (
        None
    )
    source_address: Annotated[str | None, _about("Local address of its connections and requests.")] = None
    path: Annotated[
        DataPath,
        _about(
            "auto: past the kernel where a device is named and works; dpdk: so or not at all (exit code 69)."
        ),
    ] = "auto"
    device: Annotated[
        str | None, _about("What DPDK drives: pci:0000:08:00.0, af_xdp:eth1, af_packet:eth1.")
    ] = None
    interface: Annotated[
        str | None,
        _about(
            "The kernel's name of it: its addresses are taken over, or what bookwire nic apply wrote down."
        ),
    ] = None
    addresses: Annotated[
        tuple[str, ...], _about("IP addresses of the device with their prefix, instead of the interface's.")
    ] = ()
    hugepages: Annotated[bool, _about("False: DPDK works on ordinary pages, for trying things.")] = True
    memory_mib: Annotated[Count | None, _about("Memory of DPDK. Default: 256, without hugepages 600.")] = None


class Gateway(_Table, frozen=True):
    """The WebSocket gateway, and its limits."""

    host: Annotated[str, _about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[Port, _about("TCP port.")] = 8081
    tls_certificate: Annotated[Path | None, _about("PEM chain; with tls_key makes it wss://.")] = None
    tls_key: Annotated[Path | None, _about("PEM key.")] = None
    token_file: Annotated[Path | None, _about("One bearer token a line; without it everybody may read.")] = (
        None
    )
    poll: Annotated[Poll, _about(POLL)] = "epoll"
    cpu: Annotated[int | None, _about("Core its native loop is pinned to. Default: where cores allow.")] = (
        None
    )
    depth_default: Annotated[Count, _about("Levels a side where a subscriber names none.")] = 20
    depth_max: Annotated[Count, _about("Levels a side a subscriber may ask for.")] = 1000
    interval_ms_default: Annotated[int, _about("Least time between two pushes of a subscription.")] = 100
    interval_ms_max: Annotated[Count, _about("Longest interval a subscriber may ask for.")] = 60_000
    clients_max: Annotated[Count, _about("Connections.")] = 10_000
    clients_per_address: Annotated[Count, _about("Connections of one address; loopback is not counted.")] = 64
    subscriptions_per_client: Annotated[Count, _about("Subscriptions of one connection.")] = 256
    replays_max: Annotated[Count, _about("Subscriptions to the past at a time, each a process.")] = 4
    request_bytes_max: Annotated[Count, _about("A longer request is answered by an error.")] = 16 << 10
    message_bytes_max: Annotated[Count, _about("A longer message closes the connection (1009).")] = 64 << 10
    requests_per_second: Annotated[Count, _about("Requests of one connection, sustained.")] = 50
    requests_burst: Annotated[Count, _about("Requests at once; more close the connection (1008).")] = 1000
    errors_max: Annotated[
        Count, _about("Errors within errors_window_s that close the connection (1008).")
    ] = 32
    errors_window_s: Annotated[float, _about("Seconds in which errors are counted.")] = 10.0
    handshake_ms: Annotated[Count, _about("Time a client has for TLS and the upgrade.")] = 5000
    ping_ms: Annotated[Count, _about("Silence after which a client is pinged.")] = 20_000
    timeout_ms: Annotated[Count, _about("Silence after which a client is closed (1001).")] = 60_000
    queue_bytes_max: Annotated[Count, _about("Unsent bytes after which a client is conflated.")] = 256 << 10
    frame_bytes_max: Annotated[Count, _about("Larger snapshots are sent in pages.")] = 1_000_000
    send_buffer_bytes: Annotated[Count, _about("Socket buffer; what is in it cannot be conflated.")] = (
        256 << 10
    )
    writer_patience_ms: Annotated[Count, _about("Silence after which an exchange's process is dead.")] = 3000


class Http(_Table, frozen=True):
    """REST, health and metrics."""

    host: Annotated[str, _about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[Port, _about("TCP port.")] = 8080
    depth_default: Annotated[Count, _about("Levels a side where a request names none.")] = 20
    depth_max: Annotated[Count, _about("Levels a side a request may ask for.")] = 1000
    history_processes: Annotated[Count, _about("Processes that answer /v1/history, of low priority.")] = 2
    history_waiting_max: Annotated[int, _about("Queries that wait for them; one more is told 503.")] = 64
    arb_tick_ms: Annotated[
        int, _about("Rows of /v1/arb are made once in so long for all who ask the same; 0: each time.")
    ] = 50
    live_exchanges_min: Annotated[int, _about("Fewer live exchanges: not ready (503).")] = 1
    live_books_min: Annotated[int, _about("Fewer live books: not ready (503).")] = 1
    symbol_labels: Annotated[bool, _about("Metrics of every book: one series a symbol.")] = False
    writer_patience_ms: Annotated[Count, _about("Silence after which an exchange's process is dead.")] = 3000


class Arb(_Table, frozen=True):
    """Which crossed books are shown by arb: and /v1/arb. Money in the symbol's quote asset."""

    min_net_bp: Annotated[float, _about("Least net yield, basis points of what is spent.")] = 5.0
    min_notional: Annotated[float, _about("Least notional of all that pays.")] = 1000.0
    capital: Annotated[float, _about("Most a trade may cost, the buyer's fee included.")] = 10_000.0
    fees: Annotated[
        dict[str, float],
        _about("Taker fee in percent by exchange, [arb.fees]; else that of gateway/fees.toml."),
    ] = msgspec.field(default_factory=dict)


class Record(_Table, frozen=True):
    """The recorder: a journal of every update, and Parquet made from it."""

    enabled: Annotated[bool, _about("`bookwire up` records.")] = True
    raw: Annotated[bool, _about("Raw frames too, for `bookwire replay`; 64 MiB of memory an exchange.")] = (
        False
    )
    budget_bytes: Annotated[Count, _about("Disk it may take; the oldest leaves first.")] = 2 << 30
    keep_hours: Annotated[float, Meta(gt=0, description="What is older leaves.")] = 72.0
    file_bytes: Annotated[Count, _about("A file of the journal is ended at this size.")] = 64 << 20
    rotate_s: Annotated[
        float,
        Meta(gt=0, description="And at each multiple of so many seconds, which is when Parquet is made."),
    ] = 3600.0
    parquet: Annotated[
        bool, _about("Make Parquet of ended files, where the extra `history` is installed.")
    ] = True
    compression: Annotated[Literal["zstd", "snappy"], _about("Of Parquet.")] = "zstd"


class PostgresSink(_Table, frozen=True):
    """PostgreSQL or TimescaleDB; needs the extra `postgres`."""

    url: Annotated[str, _about("postgresql://user@host:port/database; empty: no such sink.")] = ""
    batch_rows: Annotated[Count, _about("Rows in one delivery, about.")] = 20_000
    interval_ms: Annotated[Count, _about("Pause where there is nothing to deliver.")] = 100
    hypertable: Annotated[bool, _about("Make the table TimescaleDB's, where that is installed.")] = False


class QuestdbSink(_Table, frozen=True):
    """QuestDB, by its line protocol over HTTP."""

    url: Annotated[str, _about("http://host:9000; empty: no such sink.")] = ""
    batch_rows: Annotated[Count, _about("Rows in one delivery, about.")] = 20_000
    interval_ms: Annotated[Count, _about("Pause where there is nothing to deliver.")] = 100


class KafkaSink(_Table, frozen=True):
    """Kafka; needs the extra `kafka`."""

    url: Annotated[str, _about("kafka://host:9092,other:9092/topic; empty: no such sink.")] = ""
    batch_rows: Annotated[Count, _about("Rows in one delivery, about.")] = 20_000
    interval_ms: Annotated[Count, _about("Pause where there is nothing to deliver.")] = 100
    properties: Annotated[Path | None, _about("librdkafka's own settings, key=value lines.")] = None
    partitions: Annotated[Count, _about("Of the topic, where it is made.")] = 4
    snapshot_s: Annotated[
        float, Meta(gt=0, le=30, description="Each book whole into the topic so often, for who comes late.")
    ] = 10.0


class Sinks(_Table, frozen=True):
    """Where the journal is brought to, by a process each, [sinks.<kind>]."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9._-]*$",
            description="Under which the target keeps this box's offsets; empty: its host name.",
        ),
    ] = ""
    postgres: Annotated[PostgresSink, _about("PostgreSQL, [sinks.postgres].")] = msgspec.field(
        default_factory=PostgresSink
    )
    questdb: Annotated[QuestdbSink, _about("QuestDB, [sinks.questdb].")] = msgspec.field(
        default_factory=QuestdbSink
    )
    kafka: Annotated[KafkaSink, _about("Kafka, [sinks.kafka].")] = msgspec.field(default_factory=KafkaSink)

    def wanted(self) -> tuple[str, ...]:
        """Kinds that have somewhere to go."""
        kinds = (name for name in self.__struct_fields__ if name != "name")
        return tuple(kind for kind in kinds if getattr(self, kind).url)


class Simulate(_Table, frozen=True):
    """The built-in exchanges of ``bookwire up --simulate``."""

    symbols: Annotated[tuple[str, ...], _about("What they list.")] = (
        "BTC-USDT", "ETH-USDT", "SOL-USDT", "coinbase:BTC-USD", "kraken:BTC-USD",
    )  # fmt: skip
    levels: Annotated[int, Meta(ge=1, le=50_000, description="Levels a side of each book.")] = 1000
    rate: Annotated[float, Meta(gt=0, description="Updates a second and symbol.")] = 20.0
    processes: Annotated[
        Count, _about("Processes that play them; of several, each falls and comes back alone.")
    ] = 1
    skew: Annotated[
        dict[str, Annotated[float, Meta(ge=-1000, le=1000)]],
        _about("Prices of an exchange shifted by basis points, [simulate.skew]: books cross, for arb:."),
    ] = msgspec.field(default_factory=dict)
    seed: Annotated[int, _about("The same seed, the same order flow.")] = 1


class Config(_Table, frozen=True):
    """Bookwire's configuration file."""

    box: Box = msgspec.field(default_factory=Box)
    exchanges: Exchanges = msgspec.field(default_factory=Exchanges)
    exchange: dict[str, Exchange] = msgspec.field(default_factory=dict)
    gateway: Gateway = msgspec.field(default_factory=Gateway)
    http: Http = msgspec.field(default_factory=Http)
    arb: Arb = msgspec.field(default_factory=Arb)
    record: Record = msgspec.field(default_factory=Record)
    sinks: Sinks = msgspec.field(default_factory=Sinks)
    simulate: Simulate = msgspec.field(default_factory=Simulate)

    def of(self, exchange: str) -> Exchange:
        """The exchange's table with its symbols filled in."""
        table = self.exchange.get(exchange, Exchange())
        chosen: dict[str, None] = {}
        for entry in table.symbols or self.exchanges.symbols:
            owner, colon, symbol = entry.rpartition(":")
            if not colon or owner == exchange:
                chosen[symbol] = None
        return msgspec.structs.replace(table, symbols=tuple(chosen))
