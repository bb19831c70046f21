"""Push recorded raw frames through the same engine and compare every book with the recording, bit for bit.

FILE is a .bwj file of a journal (those of the same process before it are taken too) or a recording's
directory. Needs a recording made with [record] raw = true. Exit code 1 when anything differs.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from appliance.commands import add_json
from appliance.lines import json_line
from handlers.errors import UsageError
from handlers.recording.journal import files_of
from handlers.recording.replay import Outcome, processes, replay, siblings

EXAMPLES = """
  bookwire replay ~/.local/state/bookwire/record
  bookwire replay record/journal/okx/01795624557986092920.bwj --json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a file of the journal, or a recording")
    parser.add_argument("--exchange", metavar="ID", help="this one only")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 when every book came out equal, 1 when not, 64 when there is nothing to replay."""
    path: Path = arguments.file
    files = files_of(path, arguments.exchange) if path.is_dir() else siblings(path)
    if not files:
        raise UsageError(
            "no journal there", where=str(path), do="name a .bwj file or the directory above `journal`"
        )
    equal = True
    for (exchange, generation), paths in processes(files).items():
        outcome = replay(exchange, generation, paths)
        equal &= outcome.equal
        print(json_line({**asdict(outcome), "equal": outcome.equal}) if arguments.json else _line(outcome))
    return 0 if equal else 1


def _line(outcome: Outcome) -> str:
    verdict = "equal" if outcome.equal else "NOT EQUAL"
    text = (
        f"{outcome.exchange}: {outcome.raw_records} raw records give {outcome.records} updates of "
        f"{len(outcome.sequences)} books and {outcome.copies} whole books: {verdict}"
    )
    more = [*outcome.differences]
    if outcome.missing:
        more.append(f"{outcome.missing} recorded updates did not come out")
    if outcome.unrecorded:
        more.append(f"{outcome.unrecorded} updates came out that were not recorded")
    if outcome.broken:
        more.append(f"frames are missing: {outcome.broken}")
    return "\n  ".join([text, *more])
