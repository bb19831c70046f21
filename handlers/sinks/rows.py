"""Rows of a batch for people's databases: names instead of numbers, exact decimals instead of mantissas."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from handlers.recording.rows import TYPES
from handlers.shm_layout import BookState, Reason
from handlers.sinks.tail import Batch, Span

STATES = tuple(state.name.lower() for state in BookState)
REASONS = tuple(reason.name.lower() for reason in Reason)
Level = tuple[str, str, int]  # price, quantity, orders


class Told(NamedTuple):
    """One row. Prices and quantities are decimals without loss, as text; None where not known."""

    symbol: str
    type: str  # update, state, reset, snapshot
    epoch: int
    sequence: int
    venue_sequence: int
    state: str
    reason: str
    flags: int
    exchange_ns: int
    receive_ns: int
    published_ns: int
    bid_price: str | None
    bid_quantity: str | None
    ask_price: str | None
    ask_quantity: str | None
    bids: list[Level]
    asks: list[Level]


@lru_cache(1 << 16)
def decimal(mantissa: int, exponent: int) -> str:
    """mantissa / 10^exponent without loss: ``decimal(6400011, 2)`` is ``64000.11``."""
    if exponent == 0:
        return str(mantissa)
    digits = str(abs(mantissa)).rjust(exponent + 1, "0")
    return f"{'-' if mantissa < 0 else ''}{digits[:-exponent]}.{digits[-exponent:]}"


def told(batch: Batch) -> Iterator[Told]:
    """Its rows in order."""
    names = batch.names()
    for span in batch.spans:
        yield from _span(span, names)


def _span(span: Span, names: list[str]) -> Iterator[Told]:
    levels, at = span.levels.tolist(), 0
    for row in span.rows.tolist():
        (
            sequence, venue_sequence, exchange_ns, receive_ns, published_ns, book, epoch,
            bid_count, ask_count, kind, state, reason, flags, price_exponent, quantity_exponent, sides, _,
            bid_price, bid_quantity, ask_price, ask_quantity,
        ) = row  # fmt: skip
        changes = [
            (decimal(price, price_exponent), decimal(quantity, quantity_exponent), orders)
            for price, quantity, orders, _ in levels[at : at + bid_count + ask_count]
        ]
        at += bid_count + ask_count
        bid, ask = sides & 1, sides & 2
        yield Told(
            names[book], TYPES[kind], epoch, sequence, venue_sequence, STATES[state], REASONS[reason], flags,
            exchange_ns, receive_ns, published_ns,
            decimal(bid_price, price_exponent) if bid else None,
            decimal(bid_quantity, quantity_exponent) if bid else None,
            decimal(ask_price, price_exponent) if ask else None,
            decimal(ask_quantity, quantity_exponent) if ask else None,
            changes[:bid_count], changes[bid_count:],
        )  # fmt: skip
