"""Audit a recording: every block's checksum, every book's sequence, every gap, told or not.

Exit code 0 when all that should be there is there, 1 when something is damaged or missing untold. A torn
end, as a crash leaves it, is told and is no damage: what was there is in the next file.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from appliance.commands import add_config, add_json, config_of
from appliance.lines import json_line
from handlers.errors import UsageError
from handlers.recording.audit import Report, audit

EXAMPLES = """
  bookwire verify                        the recording of the configured box.data_dir
  bookwire verify recordings/friday      another one
  bookwire verify --json | jq .findings
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "directory", nargs="?", type=Path, metavar="DIR", help="instead of box.data_dir/record"
    )
    add_json(parser)
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 and the sums, or 1 and what is wrong."""
    directory = arguments.directory or config_of(arguments).box.data_dir / "record"
    if not (directory / "journal").is_dir():
        raise UsageError(
            "no recording there", where=str(directory), do="name the directory that holds `journal`"
        )
    report = audit(directory)
    if arguments.json:
        print(json_line({**asdict(report), "clean": report.clean}))
    else:
        _print(report)
    return 0 if report.clean else 1


def _print(report: Report) -> None:
    for finding in report.findings:
        print(f"{finding.kind}: {finding.file} at {finding.at}: {finding.what}")
    print(
        f"{report.files} files, {report.blocks} blocks, {report.bytes} bytes; {report.updates} updates of "
        f"{report.books} books, {report.raw_records} raw records; {report.gaps} gaps told, "
        f"{report.torn} torn ends, {report.parquet} Parquet files; {'clean' if report.clean else 'NOT CLEAN'}"
    )
