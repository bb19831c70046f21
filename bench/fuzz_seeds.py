"""Seeds for the fuzzer of the engine (handlers/native/fuzz): frames that reach books, not only the decoder.

    python -m bench.fuzz_seeds DIRECTORY

One file is a venue's byte and frames between newlines, the REST snapshot led by an ``R``: generated ones in
each venue's wire form, and the beginning of each recording of consecutive messages, where there are any
(``BOOKWIRE_SHARED`` names another place than ``../shared``).
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from bench import frames
from bench.flow import Flow, Market
from bench.programs import ROOT

VENUES = ("binance", "coinbase", "okx", "bybit", "kraken")  # as tests/venue_plans.h numbers them
MARKETS = {"kraken": Market("BTC/USD", 1, 8)}  # the symbols that the fuzzer's books have
SEED_BYTES = 20_000
REST_LEVELS = 100


def seed(venue: str, variant: int, lines: Iterable[bytes]) -> bytes:
    """Whole lines up to SEED_BYTES; ``variant`` chooses among the book's ways."""
    data = bytes([VENUES.index(venue) + len(VENUES) * variant])
    for line in lines:
        if len(data) + len(line) > SEED_BYTES:
            break
        data += line + b"\n"
    return data


def generated(venue: str, depth: int, number: int) -> Iterable[bytes]:
    encoder, market, _ = frames.VENUES[venue]
    flow = Flow(MARKETS.get(venue, market), depth, number)
    snapshot = encoder(flow, 0, flow.snapshot())
    yield (b"R" if venue == "binance" else b"") + snapshot
    for update in range(1, 100):
        yield encoder(flow, update, flow.update())


def shortened(raw: str) -> bytes:
    """A REST snapshot with fewer levels: what it is about stays."""
    body = json.loads(raw)
    for side in ("bids", "asks"):
        body[side] = body.get(side, [])[:REST_LEVELS]
    return b"R" + json.dumps(body, separators=(",", ":")).encode()


def recorded(path: Path) -> Iterable[bytes]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        for line in lines:
            record = json.loads(line)
            raw = record.get("raw", "")
            if raw and "\n" not in raw:
                yield shortened(raw) if record.get("rest") else raw.encode()


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    captures = Path(os.environ.get("BOOKWIRE_SHARED", ROOT.parent / "shared")) / "captures"
    for venue in VENUES:
        for number, depth in enumerate((40, 60, 100)):
            name = directory / f"generated-{venue}-{depth}"
            name.write_bytes(seed(venue, number, generated(venue, depth, number + 1)))
        for variant, path in enumerate(sorted((captures / venue).glob("*.jsonl*"))):
            (directory / f"recorded-{venue}-{path.name}").write_bytes(
                seed(venue, variant % 3, recorded(path))
            )
    print(f"{len(list(directory.iterdir()))} seeds in {directory}")


if __name__ == "__main__":
    main()
