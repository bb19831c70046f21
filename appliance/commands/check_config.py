"""Print the effective configuration (file, environment and defaults together), or what is wrong with it."""

from __future__ import annotations

import argparse
import json

import msgspec

from appliance import config_read
from appliance.commands import add_config, add_json, config_of
from appliance.commands import gateway as gateway_command
from appliance.commands import http as http_command
from appliance.commands.feed import settings as feed_settings

EXAMPLES = """
  bookwire check-config --config bookwire.toml
  bookwire check-config --json | jq .gateway.port
  bookwire check-config --schema > bookwire.schema.json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_json(parser)
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of the file instead")
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 and the configuration, or 64 or 78 and why not."""
    if arguments.schema:
        print(json.dumps(config_read.schema(), indent=2))
        return 0
    config = config_of(arguments)
    gateway_command.settings(config)  # each room's own rules too
    http_command.settings(config)
    for name in config.exchanges.enabled:
        feed_settings(config, name)
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(config, enc_hook=str), indent=2))
    else:
        print(config_read.to_toml(config), end="")
    return 0
