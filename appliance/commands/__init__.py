"""The commands of ``bookwire``, a module each: EXAMPLES, arguments(parser), run(arguments) -> exit code."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance import config_read
from appliance.config import Config


def add_config(parser: argparse.ArgumentParser) -> None:
    """The options of every command that reads the configuration."""
    group = parser.add_argument_group("configuration")
    group.add_argument("--config", type=Path, metavar="FILE", help="TOML file (default: $BOOKWIRE_CONFIG)")
    group.add_argument("--shm-dir", metavar="DIR", help="instead of box.shm_dir")
    group.add_argument("--run-dir", metavar="DIR", help="instead of box.run_dir")


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json, where a command can speak to machines."""
    parser.add_argument("--json", action="store_true", help="for machines: JSON on stdout")


def config_of(
    arguments: argparse.Namespace, usual: Sequence[str] | None = None, **tables: Mapping[str, Any]
) -> Config:
    """The effective configuration of a command line; a flag that is None was not given.

    ``usual``: the exchanges where nothing names any, None: the configuration's own default.
    """
    box = {"shm_dir": arguments.shm_dir, "run_dir": arguments.run_dir}
    flags = {
        table: {key: value for key, value in values.items() if value is not None}
        for table, values in {"box": box, **tables}.items()
    }
    return config_read.load(
        arguments.config,
        flags={table: values for table, values in flags.items() if values},
        exchanges=usual,
    )


def words(text: str | None) -> list[str] | None:
    """``a, b`` as a list; None stays None."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]
