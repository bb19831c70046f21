"""List the exchanges: number, id, name, customary quote, and whether they still serve.

Those that do not are simulated like every other, but dialled only when named (--exchanges, or enabled in the
configuration).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from appliance.commands import add_json
from handlers.facts import Venue
from handlers.registry import VENUES

EXAMPLES = """
  bookwire exchanges
  bookwire exchanges --json | jq -r '.[] | select(.lifecycle.state == "active") | .id'
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_json(parser)


def row(venue: Venue) -> dict[str, Any]:
    """What --json prints of one."""
    return {
        "number": venue.number,
        "id": venue.id,
        "name": venue.name,
        "quote": venue.quote,
        "lifecycle": asdict(venue.lifecycle),
        "verified": venue.verified.date,
    }


def lifecycle(venue: Venue) -> str:
    """``ceased 2026-09-29: the exchange's notice``, or ``active``."""
    life = venue.lifecycle
    return f"{life.state} {life.date}: {life.source}" if life.date else life.state


def run(arguments: argparse.Namespace) -> int:
    """Always 0."""
    if arguments.json:
        print(json.dumps([row(venue) for venue in VENUES.values()]))
        return 0
    for venue in VENUES.values():
        print(f"{venue.number:>2}  {venue.id:<10} {venue.name:<11} {venue.quote:<5} {lifecycle(venue)}")
    return 0
