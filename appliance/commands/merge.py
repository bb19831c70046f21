"""Merge two recordings of the same exchanges, made at the same time, into one without the gaps of either.

A leads: what it has is taken from it; where it has a gap, B's stretch is put in, until A has the book again.
Every seam begins with the whole book, so any reader of recordings reads the new one. A gap remains only where
both have one. Raw frames are left out. OUT must be new, or empty; A and B are only read.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from appliance.commands import add_json, words
from appliance.lines import json_line
from handlers.logs import Log
from handlers.recording.merge import Merged, merge
from handlers.recording.parquet import arrow, convert_waiting

EXAMPLES = """
  bookwire merge box-1/record box-2/record -o merged
  bookwire merge box-1/record box-2/record -o merged --exchanges okx,kraken
  bookwire merge box-1/record box-2/record -o whole/record --parquet
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    for name, what in (("a", "the recording that leads"), ("b", "the one that fills its gaps")):
        parser.add_argument(name, type=Path, metavar=name.upper(), help=f"{what}: it holds `journal`")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT", help="directory of the new recording"
    )
    parser.add_argument("--exchanges", metavar="LIST", help="these only")
    parser.add_argument("--parquet", action="store_true", help="make Parquet of it as well")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 when it is written."""

    def tell(merged: Merged) -> None:
        print(json_line(asdict(merged)) if arguments.json else _line(merged))
        for text in () if arguments.json else merged.damage:
            print(f"damage, taken for a gap: {text}", file=sys.stderr)

    if arguments.parquet:
        arrow()  # rather before than after
    merge([arguments.a, arguments.b], arguments.out, words(arguments.exchanges) or (), tell=tell)
    if arguments.parquet:
        convert_waiting(arguments.out, "zstd", Log("merge"))
    return 0


def _line(merged: Merged) -> str:
    holes = " and ".join(str(count) for count in merged.holes)
    text = (
        f"{merged.exchange}: {merged.records} updates of {merged.books} books; gaps {holes}, "
        f"now {merged.gaps}; {merged.seams} seams"
    )
    if merged.differing:
        text += f", at {merged.differing} of them the books differ"
    if merged.raw_records:
        text += f"; {merged.raw_records} raw records left out"
    speed = merged.bytes_read / 1e6 / max(merged.seconds, 1e-9)
    return f"{text}; {merged.bytes_read / 1e6:.0f} MB read, {merged.seconds:.1f} s, {speed:.0f} MB/s"
