"""Which of an exchange's symbols are wanted: names, patterns, or all.

``BTC/USDT``, ``btc-usdt``, ``BTC-USDT`` and the exchange's own form name the same symbol. Only
symbols the exchange lists as tradable can be chosen. A bare ``BTC`` is BTC against the exchange's usual
quote and against USDT, whichever of them it lists; where the usual quote has no spot pair it is the
perpetual against it (deribit's ``BTC-PERPETUAL``).
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Mapping, Sequence

from handlers.errors import UsageError
from handlers.facts import Instrument, Kind, Venue

CANONICAL_BYTES = 31
NATIVE_BYTES = 39
ASSET_BYTES = 15


def publishable(row: Instrument) -> bool:
    """Whether the names fit a shared-memory directory row (bw_symbol)."""
    assets = all(0 < len(asset.encode()) <= ASSET_BYTES for asset in (row.base, row.quote))
    return assets and len(row.canonical) <= CANONICAL_BYTES and len(row.native.encode()) <= NATIVE_BYTES


def choose(venue: Venue, listed: Iterable[Instrument], wanted: Sequence[str]) -> list[Instrument]:
    """Rows to make books of, in the order wanted, each once; none wanted means all of the venue's quote:
    its spot pairs, or its perpetuals where there are no such pairs.

    An alias (a name for another symbol's book) answers to its own name, but no pattern brings it in.
    Raises UsageError for a name or pattern that matches nothing.
    """
    rows = [row for row in listed if publishable(row)]
    by_native = {row.native: row for row in rows}
    by_name = {row.canonical: row for row in reversed(rows)}  # of doubles the first listed counts
    books = {row.canonical: row for row in rows if not row.alias_of and by_name[row.canonical] is row}
    usual = [row for row in books.values() if row.quote.upper() == venue.quote]
    spot = [row for row in usual if row.kind is Kind.SPOT]
    chosen: dict[str, Instrument] = {}
    for text in wanted or [row.canonical for row in spot or usual] or (f"*-{venue.quote}",):
        name = text.upper().replace("/", "-")
        if "*" in name or "?" in name:
            found = [row for key, row in books.items() if fnmatch.fnmatchcase(key, name)]
        else:
            one = by_native.get(text) or by_name.get(name)
            perpetual = next((row for row in usual if row.base.upper() == name), None)
            pairs = [by_name.get(f"{name}-{venue.quote}") or perpetual, by_name.get(f"{name}-USDT")]
            pairs = [] if one or "-" in name else pairs
            found = [row for row in (_meant(row, by_native) for row in pairs or [one]) if row]
        if not found:
            raise _unknown(venue, text, name, by_name)
        chosen.update((row.native, row) for row in found)
    return list(chosen.values())


def _meant(row: Instrument | None, by_native: Mapping[str, Instrument]) -> Instrument | None:
    """The row whose book an alias stands for; other rows as they are."""
    while row is not None and row.alias_of:
        row = by_native.get(row.alias_of)
    return row


def _unknown(venue: Venue, text: str, name: str, known: Iterable[str]) -> UsageError:
    near = difflib.get_close_matches(name, list(known), n=3)
    hint = f"; near it: {', '.join(near)}" if near else ""
    return UsageError(
        f"{venue.name} lists no tradable symbol {text!r}{hint}",
        where="symbols",
        do=f"see `bookwire symbols {venue.id}`, or use a pattern such as *-{venue.quote}",
    )
