"""Which exchanges there are: one for each file in ``handlers/venues``, in the order subscribers know them.

A new file is a new exchange, also one in a directory that $BOOKWIRE_ADD_EXCHANGES names (see
docs/add-an-exchange.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

from handlers import venues
from handlers.errors import SetupError, UsageError
from handlers.facts import Venue

NUMBER_MAX = 31  # BW_EXCHANGES_MAX of the gateway's C, less one
ID_CHARS_MAX = 15  # of its tables' names


class Exchange(NamedTuple):
    """A row of the public list; ``number`` is the exchange's id in binary formats."""

    number: int
    id: str
    name: str
    quote: str


def ordered(facts: Iterable[tuple[str, Venue]]) -> dict[str, Venue]:
    """Venues by id in order of their numbers, from (file, facts). Raises SetupError where two clash."""
    by_number: dict[int, tuple[str, Venue]] = {}
    for file, venue in facts:
        if not 0 <= venue.number <= NUMBER_MAX:
            raise SetupError(
                f"exchange number {venue.number}", where=file, do=f"take one of 21 to {NUMBER_MAX}"
            )
        if not venue.id.isalnum() or not venue.id.islower() or len(venue.id) > ID_CHARS_MAX:
            raise SetupError(
                f"exchange id {venue.id!r}", where=file, do=f"up to {ID_CHARS_MAX} lower-case letters, digits"
            )
        other, same = by_number.get(venue.number, ("", None))
        if same is not None:
            raise SetupError(
                f"exchange number {venue.number} is {same.id}'s ({other})", where=file, do="take a free one"
            )
        by_number[venue.number] = (file, venue)
    found = {venue.id: venue for _, (_, venue) in sorted(by_number.items())}
    if len(found) < len(by_number):
        raise SetupError(
            "two exchanges have one id", where=", ".join(file for file, _ in by_number.values()), do="rename"
        )
    return found


def _found() -> dict[str, Venue]:
    modules = [import_module(f"{venues.__name__}.{found.name}") for found in iter_modules(venues.__path__)]
    return ordered((str(module.__file__), module.VENUE) for module in modules)


VENUES = _found()
EXCHANGES: tuple[Exchange, ...] = tuple(
    Exchange(venue.number, venue.id, venue.name, venue.quote) for venue in VENUES.values()
)


def venue(exchange: str) -> Venue:
    """Facts of an exchange by its id. Raises UsageError for one nobody knows."""
    if exchange in VENUES:
        return VENUES[exchange]
    raise UsageError(f"exchange {exchange!r} is unknown", do=f"use one of: {', '.join(VENUES)}")


def active() -> tuple[str, ...]:
    """Ids of the exchanges that are dialled without being asked for by name."""
    return tuple(name for name, facts in VENUES.items() if facts.lifecycle.state == "active")
