"""The pages of docs/exchanges, made from the venue files: one an exchange, and the table of all.

``make docs`` writes them; a test holds the committed ones to what this makes. What facts do not tell stands
in the venue file's docstring and in docs/exchanges/evidence.toml.
"""

from __future__ import annotations

import inspect
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

from handlers.facts import Continuity, Limits, Rate, Sync, Venue
from handlers.planning import plan
from handlers.registry import VENUES

EVIDENCE = "evidence.toml"
BOOKS = 100  # of the example of a start
GENERATED = "<!-- made by `make docs` from handlers/venues: edit the facts, not this page -->"

STARTS = {
    Sync.FEED_SNAPSHOT: "the stream's own snapshot",
    Sync.REST_SNAPSHOT: "a REST snapshot, joined to updates held until then",
    Sync.SNAPSHOTS_ONLY: "every message: each is a whole book",
    Sync.REQUESTED_SNAPSHOT: "a snapshot asked for on the same connection, joined to updates held until then",
}
RULES = {
    Continuity.NONE: "no numbers",
    Continuity.LINK: "previous id = last id",
    Continuity.NEXT: "id = last id + 1",
    Continuity.RANGE: "first id = last id + 1",
    Continuity.CONNECTION: "one count over all messages of a connection, + 1",
    Continuity.OVERLAP: "first id at most the last one's last id, last id above it",
    Continuity.COVERS: "first id at most last id + 1",
    Continuity.RISES: "id above the last",
    Continuity.JUMPS: "id = last id + 1; larger steps are taken and counted",
}
BLIND = (Continuity.NONE, Continuity.RISES, Continuity.JUMPS)


def proof(venue: Venue) -> str:
    """How a lost update shows."""
    if venue.sync is Sync.SNAPSHOTS_ONLY:
        return "nothing can be lost for longer than one message"
    if venue.continuity not in BLIND:
        return "at the next update"
    if venue.checksum is not None and venue.checksum_state == "verified":
        return f"by the checksum of the best {venue.checksum.levels} levels a side"
    if venue.audit:
        return "not by itself: the snapshot that comes again is compared with the book (an audit)"
    return "not: steps are counted (`jumps`), and a crossed book starts afresh"


def rule(venue: Venue) -> str:
    """The sequence rule in words."""
    said = RULES[venue.continuity]
    return f"{said}; the first may straddle the snapshot" if venue.straddle else said


def depth(venue: Venue) -> str:
    """Levels a side that are kept."""
    if venue.depth:
        return f"{venue.depth:,}" + (", cut by the client" if venue.client_cuts else "")
    if venue.snapshots:
        return f"{venue.snapshots[0].levels:,} at start, then as it trades"
    return f"{venue.snapshot_levels:,} at start, then as it trades" if venue.snapshot_levels else "whole book"


def verified_depth(venue: Venue) -> str:
    """How deep the book is known to be complete, which readers see as ``verified_price``."""
    levels = venue.snapshots[0].levels if venue.snapshots else venue.snapshot_levels
    if levels:
        return (
            f"the start holds the best {levels:,} levels a side; what lies beyond is known only where it has "
            "changed since"
        )
    return f"all {venue.depth:,} levels a side" if venue.depth else "the whole book"


def checksum(venue: Venue) -> str:
    """What it covers, and whether it is used."""
    told = venue.checksum
    if told is None:
        return "none"
    return f"CRC-32 of the best {told.levels} levels a side: {venue.checksum_state}"


def rate(value: Rate | None) -> str:
    """``5 in 1 s``."""
    return "none known" if value is None else f"{value.count:,} in {value.per_s:g} s"


def lifecycle(venue: Venue) -> str:
    """``active``, or since when and why not."""
    life = venue.lifecycle
    return f"{life.state} since {life.date}: {life.source}" if life.date else life.state


def _limits(limits: Limits) -> Iterator[tuple[str, str]]:
    yield "subscriptions a connection", f"{limits.subscriptions_per_connection:,}"
    yield "subscriptions a request", f"{limits.subscriptions_per_request:,}"
    yield "messages of ours, a connection", rate(limits.requests)
    if limits.operations:
        yield "subscribe and unsubscribe requests, a connection", rate(limits.operations)
    if limits.address_requests:
        yield "messages of ours, an address", rate(limits.address_requests)
    if limits.snapshot_requests:
        yield "requests for a snapshot, a connection", rate(limits.snapshot_requests)
    yield "connection attempts, an address", rate(limits.connects)
    if limits.connections:
        yield "connections, an address", f"{limits.connections}"
    yield "REST weight, an address", rate(limits.rest)
    if limits.lifetime_s:
        yield "life of a connection", f"{limits.lifetime_s / 3600:g} h; rolled over before it ends"


def _alive(venue: Venue) -> str:
    beat = venue.heartbeat
    ours = f"we ping every {beat.every_s:g} s" if beat.every_s else "the exchange asks, or its data tells"
    return f"{ours}; a connection without any frame for {beat.silence_s:g} s is left"


def _facts(venue: Venue) -> Iterator[tuple[str, str]]:
    yield "lifecycle", lifecycle(venue)
    yield "starts from", STARTS[venue.sync]
    yield "sequence rule", rule(venue)
    yield "a lost update shows", proof(venue)
    yield "checksum", checksum(venue)
    yield "depth a side", depth(venue)
    yield "known to be complete", verified_depth(venue)
    yield "cadence", f"every {venue.cadence_ms} ms" if venue.cadence_ms else "each change as it happens"
    yield "frames", venue.frames
    yield "a symbol may be silent", f"{venue.quiet_floor_s:g} s before its own habit is known"
    yield "kept alive", _alive(venue)
    yield "a fresh start of one book", _fresh(venue)
    if venue.token:
        yield "token", f"`POST {venue.token.path}` before each connection"
    if venue.settle_s:
        yield "after connecting", f"nothing is sent for {venue.settle_s:g} s"


def _fresh(venue: Venue) -> str:
    if venue.resubscribe == "reconnect":
        return "a new connection: one symbol cannot be asked for again"
    return "subscribed once more" if venue.resubscribe == "again" else "unsubscribe, wait, subscribe"


def _prose(venue: Venue) -> str:
    module = import_module(f"handlers.venues.{venue.id}")
    text = inspect.cleandoc(module.__doc__ or "")
    return dedent(text).replace("``", "`")


def _rows(pairs: Iterator[tuple[str, str]]) -> list[str]:
    return [f"| {name} | {value} |" for name, value in pairs]


def page(venue: Venue, evidence: Mapping[str, Any]) -> str:
    """One exchange's page."""
    start = plan(venue, [f"SYMBOL-{number}" for number in range(BOOKS)], connections_max=BOOKS)
    lines = [
        f"# {venue.name}",
        "",
        GENERATED,
        "",
        f"`{venue.id}`, number {venue.number}, usual quote {venue.quote}. Facts: "
        f"[handlers/venues/{venue.id}.py](../../handlers/venues/{venue.id}.py).",
        "",
        _prose(venue),
        "",
        "| | |",
        "|---|---|",
        f"| WebSocket | `{venue.websocket_url}` |",
        f"| REST | `{venue.rest_url}` |",
        *_rows(_facts(venue)),
        "",
        "## Limits",
        "",
        "| | |",
        "|---|---|",
        *_rows(_limits(venue.limits)),
        "",
        f"{BOOKS} books take {start.connections} connections, {start.requests} requests and a REST weight of "
        f"{start.rest_weight:g}; the limits alone make that last {start.warm_up_s:.0f} s (`bookwire plan`).",
        "",
        "## Evidence",
        "",
        f"Last verified {venue.verified.date}: {venue.verified.evidence}.",
        "",
        "| | |",
        "|---|---|",
        *_rows(_evidence(evidence)),
        "",
    ]
    return "\n".join(lines)


def _evidence(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "recordings that equal an independent rebuild", recorded(told)
    yield "checksums in them that match", f"{told['checksums']:,}" if told.get("checksums") else "none"
    yield "sample frames decoded alone", f"{told['samples']}" if told.get("samples") else "none"
    yield "independent client of the simulator", told.get("client", "none")
    if "note" in told:
        yield "note", told["note"]


def recorded(told: Mapping[str, Any]) -> str:
    """``3 files, 3,006 book messages``."""
    if not told.get("messages"):
        return "none"
    return f"{told['files']} file{'s' if told['files'] > 1 else ''}, {told['messages']:,} book messages"


def table(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """The page of all."""
    rows = [
        f"| {venue.number} | [{venue.name}]({name}.md) | `{name}` | {venue.quote} | {STARTS[venue.sync]} | "
        f"{rule(venue)} | {checksum(venue)} | {depth(venue)} | {venue.lifecycle.state} |"
        for name, venue in VENUES.items()
    ]
    proofs = [
        f"| [{venue.name}]({name}.md) | {recorded(told)} | {told.get('checksums', '')} | "
        f"{told.get('samples', '')} | {told.get('client', '')} | {venue.verified.date} |"
        for name, venue in VENUES.items()
        for told in (evidence[name],)
    ]
    gone = [
        f"- **{venue.name}**: {lifecycle(venue)}."
        for venue in VENUES.values()
        if venue.lifecycle.state != "active"
    ]
    head = (
        "",
        "exchange",
        "id",
        "quote",
        "a book starts from",
        "an update follows the last by",
        "checksum",
        "depth a side",
        "lifecycle",
    )
    return TABLE.format(
        head=f"| {' | '.join(head)} |\n|{'---|' * len(head)}",
        generated=GENERATED,
        count=len(VENUES),
        rows="\n".join(rows),
        proofs="\n".join(proofs),
        gone="\n".join(gone),
    )


TABLE = """# Exchanges

{generated}

{count} exchanges, a page each. The facts are `handlers/venues/<id>.py`; [adding one](../add-an-exchange.md)
takes two files.

{head}
{rows}

A checksum is a capability with a state, not a promise: `ABSENT`, `OK`, `NOT_SENT` (0 or missing),
`SUSPENDED` (wrong right after fresh snapshots: an alarm, and the feed goes on by sequence). `bookwire
status` and the metrics show it.

## Lifecycle

Only what is active is dialled by itself. The others are complete, simulated and tested like every other,
and run in live mode when they are named (`--exchanges`, or `exchanges.enabled`).

{gone}

## Evidence

What stands beside the documentation. *Recordings* are real messages, played through the native engine and
compared after every message (Binance's four long ones: each 25th) with a book that a few lines of the test
rebuild from them with exact decimals; where only another product or generation of the exchange was
recorded, its page says so. *Client*: an unmodified release of ccxt.pro, or of the exchange's own SDK, whose
book from our simulator equals the simulator's own; where it follows another feed of the exchange than we
do, its page says so. Nothing here was run against a live exchange.

| exchange | recordings | checksums | samples | client | last verified |
|---|---|---|---|---|---|
{proofs}

## Symbols

Symbols come from the exchange's own list at start. `BTC-USDT`, `BTC/USDT`, `btc-usdt` and the exchange's
own form name the same thing; a bare `BTC` is BTC in the exchange's usual quote and in USDT, whichever it
lists: `BTC-USD` and `BTC-USDT` at Coinbase. They stay books of their own, and merged channels never mix
them. Only what trades can be chosen; an unknown pair or pattern ends the process with code 64 and the nearest
names. A bare name that an exchange does not list is left out there and logged (`symbol_not_listed`), as long
as it lists any of the others.

`BTC-USDT` is spot. Perpetuals have names of their own: `BTC-USDC-PERPETUAL` is settled in USDC,
`BTC-PERPETUAL` in BTC (its quantities are US dollars). They are served under their exchange
(`deribit:BTC-PERPETUAL`) and are in no merged channel. At Deribit, which has no pair against USD, a bare
`BTC` is `BTC-PERPETUAL`.
"""


def pages(directory: Path) -> dict[str, str]:
    """File name -> text; ``directory`` holds the evidence."""
    evidence = tomllib.loads((directory / EVIDENCE).read_text(encoding="utf-8"))
    made = {f"{name}.md": page(venue, evidence[name]) for name, venue in VENUES.items()}
    return {"README.md": table(evidence), **made}


def main(directory: Path) -> int:
    """Writes them all."""
    for name, text in pages(directory).items():
        (directory / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
