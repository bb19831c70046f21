"""Run the recorder: follow the rings of every exchange and append them to a journal on disk.

`bookwire up` starts it by itself (record.enabled). It maps shared memory read-only and slows nobody; it may
be stopped and started at any time and goes on where it stopped. See docs/recording.md.
"""

from __future__ import annotations

import argparse
import signal

import msgspec

from appliance.commands import add_config, config_of, words
from appliance.config import Config
from appliance.supervisor import command
from handlers.background import share_less
from handlers.errors import UnavailableError
from handlers.logs import Log
from handlers.recording.parquet import arrow, convert_waiting
from handlers.recording.recorder import Recorder, RecordSettings

EXAMPLES = """
  bookwire record
  bookwire record --convert              Parquet of all files that were ended
  bookwire record --exchanges okx,kraken --config bookwire.toml
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--convert", action="store_true", help="make Parquet of what was recorded, then end")
    parser.add_argument("--exchanges", metavar="LIST", help="instead of exchanges.enabled")
    add_config(parser)


def settings(config: Config) -> RecordSettings:
    """What the recorder is told."""
    return RecordSettings(
        shm_dir=config.box.shm_dir,
        run_dir=config.box.run_dir,
        dir=config.box.data_dir / "record",
        exchanges=config.exchanges.enabled,
        **msgspec.structs.asdict(config.record),
    )


def can_convert(told: RecordSettings, log: Log) -> bool:
    """Whether Parquet is wanted and can be made; the journal is kept either way."""
    if not told.parquet:
        return False
    try:
        arrow()
    except UnavailableError as error:
        log.detail("journal_only", why=error)
        return False
    return True


def run(arguments: argparse.Namespace) -> int:
    """Until a signal."""
    config = config_of(arguments, exchanges={"enabled": words(arguments.exchanges)})
    told = settings(config)
    told.dir.mkdir(parents=True, exist_ok=True)
    log = Log("record")
    if arguments.convert:
        share_less()  # the recorder that started it has put it back
        convert_waiting(told.dir, told.compression, log)
        return 0
    again = () if arguments.config is None else ("--config", str(arguments.config))
    convert = command("record", "--convert", *again) if can_convert(told, log) else ()
    recorder = Recorder(told, log, convert=convert)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: recorder.stop.set())
    recorder.run()
    return 0
