"""Read a Kafka topic of `bookwire sink kafka` and write its books to this machine's shared memory.

`bookwire gateway --from kafka://...` starts it by itself. See docs/sinks.md.
"""

from __future__ import annotations

import argparse
import signal

from appliance.commands import add_config, config_of, words
from handlers.logs import Log
from handlers.mirror import Mirror, MirrorSettings
from handlers.sinks.kafka import Address

EXAMPLES = """
  bookwire mirror kafka://broker:9092/bookwire
  bookwire mirror kafka://broker:9092/bookwire --exchanges okx,kraken
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("url", help="kafka://host:9092,other:9092/topic")
    parser.add_argument("--exchanges", metavar="LIST", help="instead of all that are in the topic")
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Until a signal."""
    config = config_of(arguments)
    told = MirrorSettings(
        config.box.shm_dir, config.box.run_dir, exchanges=tuple(words(arguments.exchanges) or ())
    )
    mirror = Mirror(told, Address.of(arguments.url, config.sinks.kafka.properties), Log("mirror"))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: mirror.stop.set())
    mirror.run()
    return 0
