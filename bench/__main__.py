"""python -m bench: all measures in one run, one table at the end."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from bench import allocations, bypass, chain, decode, fanout, recording, wire
from bench.cores import Cores
from bench.programs import ROOT, prepare_peers
from bench.report import Report, Row

EXAMPLES = """examples:
  python -m bench                     everything, about eight minutes
  python -m bench --only decode       frame bytes to updated book, against the peers
  python -m bench --rounds 5          more rounds, steadier ratios
"""


def captures() -> Path | None:
    """The recordings beside the project; BOOKWIRE_SHARED names another place."""
    shared = os.environ.get("BOOKWIRE_SHARED")
    path = (Path(shared) if shared else ROOT.parent / "shared") / "captures"
    return path if path.is_dir() else None


def main() -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog=EXAMPLES, formatter_class=formatter
    )
    sections: dict[str, Callable[[Report, Cores], None]] = {
        "decode": lambda report, cores: decode.run(report, captures(), cores.server, arguments.rounds),
        "wire": lambda report, cores: wire.run(report, cores, arguments.rounds),
        "bypass": lambda report, cores: bypass.run(report, cores, arguments.rounds),
        "chain": lambda report, cores: chain.run(report, cores, arguments.rounds),
        "allocations": lambda report, cores: allocations.run(report, cores.client),
        "recording": lambda report, cores: recording.run(report, cores, arguments.rounds),
        "fanout": lambda report, cores: fanout.run(report, cores, arguments.rounds),
    }
    parser.add_argument("--only", action="append", choices=sections, help="a section, repeatable")
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds of every comparison (default: %(default)s)"
    )
    arguments = parser.parse_args()
    prepare_peers()
    cores, report, started = Cores.choose(), Report(), time.monotonic()
    for name in arguments.only or sections:
        print(f"bench: {name} ...", file=sys.stderr, flush=True)
        try:
            sections[name](report, cores)
        except RuntimeError as error:  # of this section alone; what others measured is not lost
            report.add(name, Row(name, "FAILED", held=False, note=str(error)))
    console = Console(width=None if sys.stdout.isatty() else 150)
    report.show(console)
    console.print(
        f"\n{report.missed} targets not held; core {cores.server} measured, core {cores.client} for the "
        f"rest; {arguments.rounds} rounds; {time.monotonic() - started:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
