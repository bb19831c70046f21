"""List the exchanges: number, id, name, customary quote, and whether this version speaks to them."""

from __future__ import annotations

import argparse
import json

from appliance.commands import add_json
from handlers.registry import EXCHANGES, VENUES

EXAMPLES = """
  bookwire exchanges
  bookwire exchanges --json | jq -r '.[] | select(.implemented) | .id'
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_json(parser)
    parser.add_argument("--all", action="store_true", help="also those this version does not speak to yet")


def run(arguments: argparse.Namespace) -> int:
    """Always 0."""
    rows = [row for row in EXCHANGES if arguments.all or arguments.json or row.id in VENUES]
    if arguments.json:
        print(json.dumps([{**row._asdict(), "implemented": row.id in VENUES} for row in rows]))
        return 0
    for row in rows:
        later = "" if row.id in VENUES else "  (not yet)"
        print(f"{row.number:>2}  {row.id:<10} {row.name:<11} {row.quote}{later}")
    return 0
