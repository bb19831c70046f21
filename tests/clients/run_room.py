"""Runs one room as the process it is in the product: ``run_room.py feed|gateway JSON``.

The JSON object holds the room's settings by name; a path is given as text. The exit code is the room's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from gateway.settings import GatewaySettings
from handlers.settings import FeedSettings

PATHS = ("shm_dir", "run_dir", "ca_file")


def main(room: str, given: dict[str, Any]) -> int:
    settings = {key: Path(value) if key in PATHS else value for key, value in given.items()}
    if room == "feed":
        from handlers import feed

        return feed.run(FeedSettings(**{**settings, "symbols": tuple(settings["symbols"])}))
    from gateway import server

    return server.run(GatewaySettings(**settings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], json.loads(sys.argv[2])))
