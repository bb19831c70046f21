"""The gateway process as it is; argument: its settings as one JSON object."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gateway import server
from gateway.settings import GatewaySettings

PATHS = ("shm_dir", "run_dir")

if __name__ == "__main__":
    given = {key: Path(value) if key in PATHS else value for key, value in json.loads(sys.argv[1]).items()}
    sys.exit(server.run(GatewaySettings(**given)))
