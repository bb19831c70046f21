"""Crossed books over all symbols as they are now, for one who asks once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from gateway._ffi import ffi, lib
from gateway.channels import ArbTerms, Channel, Options, View, parse_terms
from gateway.directory import SegmentDirectory
from gateway.errors import Refusal, RequestError
from gateway.native_loop import subscription_of
from gateway.settings import HttpSettings
from handlers.registry import EXCHANGES

ROWS_MAX = 64  # BW_ARB_ROWS_MAX, of one symbol
ROW_BYTES = 1024  # BW_ARB_ROW_BYTES


def channels_of(directory: SegmentDirectory, symbol: str | None) -> list[Channel]:
    """The symbol's, or those of every symbol that at least two exchanges carry."""
    symbols = (
        [row["symbol"] for row in directory.symbols() if len(row["exchanges"]) > 1]
        if symbol is None
        else [symbol]
    )
    return [Channel(f"arb:{name}", View.ARB, name) for name in symbols]


def terms_of(query: Mapping[str, str], terms: ArbTerms) -> ArbTerms:
    """Terms with ``min_bp`` and ``capital`` of a query string. Raises RequestError naming the wrong one."""
    given: dict[str, float] = {}
    for key, refusal in (("min_bp", Refusal.INVALID_MIN_BP), ("capital", Refusal.INVALID_CAPITAL)):
        if key in query:
            try:
                given[key] = float(query[key])
            except ValueError:
                raise RequestError(refusal) from None
    return parse_terms(given, "arb", terms)


def scan(
    settings: HttpSettings, directory: SegmentDirectory, channels: Sequence[Channel], options: Options
) -> bytes:
    """``{"data":[...],"ts":...}``, best net yield first over all symbols. Raises MemoryError."""
    texts = [ffi.new("char[]", str(directory.path(row.id)).encode()) for row in EXCHANGES]
    exchanges = ffi.new("bw_gateway_exchange[]", [(row.number, row.id.encode()) for row in EXCHANGES])
    handle = lib.bw_arb_scan_new(
        ffi.new("char *[]", texts), exchanges, len(EXCHANGES), settings.writer_patience_ms
    )
    if handle == ffi.NULL:
        raise MemoryError("no room to compare the books")
    out, net = ffi.new("char[]", (ROWS_MAX + 1) * ROW_BYTES), ffi.new("int64_t[]", ROWS_MAX)
    rows, left_out = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    found: list[tuple[int, bytes]] = []
    omitted = 0
    try:
        for channel in channels:
            wanted = subscription_of(0, channel, options)
            size = lib.bw_arb_scan_symbol(handle, wanted, out, net, rows, left_out)
            if size < 0:
                raise MemoryError(f"no room to compare the books of {channel.symbol}")
            lines = bytes(ffi.buffer(out, size)).split(b"\n")
            found += zip(net[0 : rows[0]], lines, strict=False)
            omitted += left_out[0]
    finally:
        lib.bw_arb_scan_free(handle)
    found.sort(key=lambda row: -row[0])
    tail = b',"left_out":%d' % omitted if omitted else b""
    stamp = b',"ts":%d}' % (time.time_ns() // 1_000_000)
    return b'{"data":[' + b",".join(row for _, row in found) + b"]" + tail + stamp


class ArbTable:
    """Rows for whoever asks, made once a tick for all who ask the same. One event loop's."""

    def __init__(self, settings: HttpSettings, directory: SegmentDirectory) -> None:
        self._settings, self._directory = settings, directory
        self._made: dict[tuple[str | None, Options], tuple[float, asyncio.Task[bytes]]] = {}

    async def rows(self, symbol: str | None, options: Options) -> bytes:
        """As ``scan``; begun a tick ago at most."""
        key, now_s = (symbol, options), time.monotonic()
        for held, (begun_s, _) in list(self._made.items()):
            if now_s - begun_s >= self._settings.arb_tick_ms / 1000:
                del self._made[held]
        if key not in self._made:
            channels = channels_of(self._directory, symbol)
            work = asyncio.to_thread(scan, self._settings, self._directory, channels, options)
            self._made[key] = now_s, asyncio.get_running_loop().create_task(work)
        return await asyncio.shield(self._made[key][1])
