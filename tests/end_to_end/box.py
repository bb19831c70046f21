"""A whole Bookwire of a test's own: ``bookwire up --simulate`` with directories and ports nobody else has."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from ports import free_ports

from appliance.observe import Observer

# Exchanges that run together where a test takes all of them in turn: two cores carry one such room well.
ROOMS = (
    ("binance", "coinbase", "okx", "bybit", "kraken"),
    ("gemini", "cryptocom", "gateio", "kucoin", "upbit", "bitget"),
    ("mexc", "htx", "bitfinex", "bingx", "phemex"),
    ("lbank", "bitmart", "coinex", "ascendex", "deribit"),
)
EXCHANGES = tuple(name for room in ROOMS for name in room)


class Box:
    """Started by start(); everything of it is gone after stop()."""

    def __init__(
        self, *arguments: str, config: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        self._environment = dict(environment or {})
        base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
        self.shm_dir = Path(tempfile.mkdtemp(prefix=f"bookwire-test-{os.getpid()}-", dir=base)) / "shm"
        self.run_dir = Path(tempfile.mkdtemp(prefix="bookwire-run-"))
        self.port, self.http_port = free_ports(2)
        self.ready: dict[str, Any] = {}
        self.config_path = self.run_dir / "test.toml"
        self.config_path.write_text(config)
        self.command = [
            *(sys.executable, "-m", "appliance.cli", "up", "--simulate", "--json", *arguments),
            *(
                "--config",
                str(self.config_path),
                "--shm-dir",
                str(self.shm_dir),
                "--run-dir",
                str(self.run_dir),
            ),
            *("--port", str(self.port), "--http-port", str(self.http_port)),
        ]
        self.process: subprocess.Popen[str] | None = None
        self.messages: list[str] = []
        self._reader: threading.Thread | None = None

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> Box:
        """Waits for the ready line. Raises AssertionError with the messages when none comes."""
        clean = {name: text for name, text in os.environ.items() if not name.startswith("BOOKWIRE_")}
        environment = {**clean, **self._environment}
        environment.setdefault("BOOKWIRE_BOX_DATA_DIR", str(self.run_dir / "data"))
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout
        assert self.process.stderr
        self._reader = threading.Thread(target=self.messages.extend, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        line = self.process.stdout.readline()
        assert line, f"no ready line (code {self.process.wait()}):\n{''.join(self.messages[-40:])}"
        self.ready = json.loads(line)
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit code. Kills what does not stop, then fails; takes the directories away in any case."""
        process = self.process
        try:
            if process is None:
                return 0
            if process.poll() is None:
                process.send_signal(number)
            return process.wait(timeout=60)
        finally:
            if process is not None:
                self._end(process)
            shutil.rmtree(self.shm_dir.parent, ignore_errors=True)
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _end(self, process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            for child in (*psutil.Process(process.pid).children(recursive=True), process):
                child.kill()
            process.wait()
        if self._reader:
            self._reader.join(timeout=5)
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()

    def status(self) -> dict[str, Any]:
        """What the supervisor says of its processes."""
        told: dict[str, Any] = json.loads((self.run_dir / "up.status.json").read_text())
        return told

    def pid(self, name: str) -> int | None:
        """Of a process as the supervisor names it: "feed okx", "gateway", "simulator kraken"."""
        return next((each["pid"] for each in self.status()["processes"] if each["name"] == name), None)

    def simulator(self, exchange: str) -> dict[str, Any]:
        """``control_url``, ``ca_file`` and the rest of what the exchange's simulator said."""
        told: dict[str, Any] = self.status()["simulators"][exchange]
        return told

    def tls(self) -> ssl.SSLContext:
        """Trusts the simulators' CA."""
        return ssl.create_default_context(cafile=self.simulator(self.ready["exchanges"][0])["ca_file"])

    def observer(self) -> Observer:
        return Observer(self.shm_dir, self.ready["exchanges"])

    def family(self) -> list[psutil.Process]:
        """The supervisor and all its children."""
        assert self.process
        supervisor = psutil.Process(self.process.pid)
        return [supervisor, *supervisor.children(recursive=True)]


@contextmanager
def running(*arguments: str, config: str = "", environment: Mapping[str, str] | None = None) -> Iterator[Box]:
    """A box for the length of a with block."""
    box = Box(*arguments, config=config, environment=environment)
    try:
        yield box.start()
    finally:
        box.stop()


def symbols_argument(symbols: Sequence[str]) -> tuple[str, str]:
    return ("--symbols", ",".join(symbols))
