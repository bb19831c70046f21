"""``bookwire up``: one process an exchange, the gateway, HTTP, and with --simulate the exchanges themselves.

The supervisor moves no data. It starts processes, starts them again when they fall, looks into shared memory
to say how far they are, and leaves nothing behind. A fall of one process touches no other.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from appliance import config_read, preflight, wires
from appliance.config import Config, Exchange
from appliance.observe import Observer
from appliance.probe import answers
from appliance.processes import Child
from appliance.progress import Progress
from appliance.wires import Driver, Wires
from handlers import datapath
from handlers.errors import SetupError, UnavailableError
from handlers.logs import DETAIL_VARIABLE, Log

EFFECTIVE_NAME = "up.toml"
STATUS_NAME = "up.status.json"
SIMULATOR_PATIENCE_S = 60.0
# Budgets count by source address: what is spent on simulated exchanges is not spent on the real ones.
SIMULATED_SOURCE = "127.0.0.1"
LOOK_S = 0.1  # between two looks into shared memory while warming up
STATUS_S = 1.0


@dataclass(frozen=True)
class Options:
    """What the command line adds to the configuration."""

    simulate: bool = False
    seconds: float | None = None  # stop so long after being ready
    as_json: bool = False
    table: bool = False  # the live table
    interval_s: float | None = None  # without a terminal: a table so often instead of once
    verbose: bool = False  # log lines of good running too
    wires: Driver | None = None  # simulated exchanges are reached past the kernel, by this driver


def command(*arguments: str) -> list[str]:
    """How this same installation is started again, whatever the working directory holds."""
    return [sys.executable, "-P", "-m", "appliance.cli", *arguments]


def child_environment(environment: Mapping[str, str], *, verbose: bool = False) -> dict[str, str]:
    """Without what has gone into the effective configuration already; details of the log if wanted."""
    tables = tuple(f"{config_read.PREFIX}{table.upper()}_" for table in Config.__struct_fields__)
    mine = {**environment}
    mine.pop(config_read.FILE_VARIABLE, None)
    mine.setdefault(DETAIL_VARIABLE, "0")
    if verbose:
        mine[DETAIL_VARIABLE] = "1"
    return {name: value for name, value in mine.items() if not name.startswith(tables)}


class Supervisor:
    """One run of ``bookwire up``."""

    def __init__(
        self,
        config: Config,
        options: Options,
        log: Log | None = None,
        reread: Callable[[], Config] | None = None,
    ) -> None:
        """``reread`` gives the configuration anew when SIGHUP asks for it."""
        self.config = config
        self.options = options
        self.children: list[Child] = []
        self.ready = False
        self._log = log or Log("up")
        self._given = config  # what it was told; addresses of simulated exchanges come on top
        self._reread = reread or (lambda: config)
        self._simulators: dict[str, dict[str, Any]] = {}
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        # Where a table moves on the terminal that would show their lines too, they come by us.
        self._heard = self._hear if options.table and sys.stderr.isatty() else None
        self._observer = Observer(config.box.shm_dir, config.exchanges.enabled)
        self._started_s = time.monotonic()
        self._progress = Progress(sys.stderr)
        self._exit_code = 0
        self._wires = (
            Wires(config.box.run_dir, config.exchanges.enabled, options.wires) if options.wires else None
        )

    async def run(self) -> int:
        """Until a signal, ``seconds``, or a process that cannot be started. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        with preflight.only_one(self.config.box.run_dir):
            try:
                await self._start()
                await self._warm_up()
                if not self._stop.is_set():
                    await self._serve()
            finally:
                await self._end()
        return self._exit_code

    # Starting

    async def _start(self) -> None:
        for name in self.config.exchanges.enabled:  # a new run tries again what failed in the last one
            datapath.note_path(self.config.box.run_dir, name).unlink(missing_ok=True)
        if self._wires:
            self._wires.make()
        if self.options.simulate:
            await self._start_simulators()
        given = ("--config", str(self._write_effective()))
        for name in self.config.exchanges.enabled:
            self._launch(f"feed {name}", command("feed", name, *given), partial(self._without_path, name))
        self._launch("gateway", command("gateway", *given))
        self._launch("http", command("http", *given))
        if self.config.record.enabled:
            self._launch("record", command("record", *given), vital=False)
        for kind in self.config.sinks.wanted():
            self._launch(f"sink {kind}", command("sink", kind, *given), vital=False)

    def _write_effective(self) -> Path:
        """What the processes read; whole at every moment."""
        path = self.config.box.run_dir / EFFECTIVE_NAME
        fresh = path.with_suffix(".new")
        fresh.write_text(config_read.to_toml(self.config), encoding="utf-8")
        return fresh.replace(path)

    def _launch(
        self,
        name: str,
        arguments: Sequence[str],
        given_up: Callable[[int], bool] | None = None,
        *,
        vital: bool = True,
    ) -> None:
        child = Child(
            name,
            lambda: arguments,
            log=self._log,
            environment=self._environment(),
            given_up=given_up,
            heard=self._heard,
        )
        self._supervise(child, vital=vital)

    def _without_path(self, exchange: str, code: int) -> bool:
        """Whether its process ended because the demanded way past the kernel cannot be had, at the start."""
        demanded = self.config.of(exchange).path == "dpdk" and code == UnavailableError.exit_code
        return demanded and not self.ready and datapath.failure(self.config.box.run_dir, exchange) is not None

    def _environment(self) -> dict[str, str]:
        return child_environment(os.environ, verbose=self.options.verbose)

    def _supervise(self, child: Child, *, vital: bool = True) -> None:
        """Keeps it running. A full disk stops the recorder (not ``vital``), never the books."""
        self.children.append(child)
        self._tasks.append(asyncio.create_task(child.run(), name=child.name))
        if vital:
            self._tasks.append(asyncio.create_task(self._give_up_with(child), name=f"hope for {child.name}"))

    async def _give_up_with(self, child: Child) -> None:
        """A process that cannot work as configured ends the run: its own message says why."""
        await child.hopeless.wait()
        if not self.ready:
            self._exit_code = child.exit_code or 1
            self._stop.set()

    async def _start_simulators(self) -> None:
        simulate = self.config.simulate
        state_dir = self.config.box.run_dir / "simulator"
        state_dir.mkdir(mode=0o700, exist_ok=True)
        base = [
            *("--symbols", ",".join(simulate.symbols), "--rate", str(simulate.rate)),
            *("--seed", str(simulate.seed), "--levels", str(simulate.levels), "--state-dir", str(state_dir)),
            *(part for name, points in simulate.skew.items() for part in ("--skew", f"{name}={points:g}")),
        ]
        names = self.config.exchanges.enabled
        troupes = [names[at :: simulate.processes] for at in range(min(simulate.processes, len(names)))]
        spoken = {", ".join(troupe): asyncio.Event() for troupe in troupes}
        for troupe, heard in zip(troupes, spoken.values(), strict=True):
            self._supervise(self._simulator(troupe, base, heard))
        stopped = asyncio.create_task(self._stop.wait())
        heard_all = asyncio.create_task(_all(spoken.values()))
        await asyncio.wait(
            {stopped, heard_all}, timeout=SIMULATOR_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
        )
        stopped.cancel()
        heard_all.cancel()
        if self._stop.is_set():
            return
        silent = [name for name, heard in spoken.items() if not heard.is_set()]
        if silent:
            raise UnavailableError(
                f"no word from simulator {', '.join(silent)} in {SIMULATOR_PATIENCE_S:.0f} s",
                do="look at its messages above",
            )
        self.config = self._with_simulated_addresses()

    def _simulator(self, names: Sequence[str], base: Sequence[str], heard: asyncio.Event) -> Child:
        """One process that plays ``names``."""

        def said(line: bytes) -> None:
            told = json.loads(line)
            for name in names:
                row = {**told["exchanges"][name], "ca_file": told["ca_file"]}
                self._simulators[name] = self._wires.reached(row) if self._wires else row
            heard.set()

        def arguments() -> list[str]:
            played = [part for name in names for part in ("--exchange", name)]
            ports: list[str] = []
            if heard.is_set():  # again on the same ports: the feeds know those
                known = (urlsplit(self._simulators[name]["rest_url"]).port for name in names)
                ports = ["--ports", ",".join(map(str, known))]
            play = command("simulate", *played, *base, *ports)
            return self._wires.inside(play, names) if self._wires else play

        return Child(
            f"simulator {names[0]}" if len(names) == 1 else f"simulator of {len(names)}",
            arguments,
            log=self._log,
            said=said,
            heard=self._heard,
            environment=self._environment(),
        )

    def _with_simulated_addresses(self) -> Config:
        tables = dict(self.config.exchange)
        for name, told in self._simulators.items():
            table = tables.get(name, Exchange())
            if self._wires:
                tables[name] = self._wires.table(name, table, told)
                continue
            tables[name] = msgspec.structs.replace(
                table,
                websocket_url=told["websocket_url"],
                rest_url=told["rest_url"],
                ca_file=Path(told["ca_file"]),
                source_address=SIMULATED_SOURCE,
            )
        data_dir = self.config.box.data_dir / "simulated"  # never among recordings of the real exchanges
        box = msgspec.structs.replace(self.config.box, data_dir=data_dir)
        return msgspec.structs.replace(self.config, box=box, exchange=tables)

    def _hear(self, line: bytes) -> None:
        """A process's log line, whole, above what moves: the table takes what is written to our stderr."""
        self._progress.step_aside()
        sys.stderr.write(line.decode(errors="replace"))
        sys.stderr.flush()

    # Running

    async def _warm_up(self) -> None:
        """Until every configured book is live and the gateway answers."""
        while not self._stop.is_set():
            exchanges = self._observer.look()
            self._progress.show(exchanges)
            self._write_status()
            if all(exchange.all_live for exchange in exchanges) and await answers(self.config):
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), LOOK_S)
        self._progress.end()
        if self._stop.is_set():
            return
        self.ready = True
        self._write_status()
        self._say_ready()

    def _say_ready(self) -> None:
        exchanges = self._observer.look()
        books = sum(len(exchange.books) for exchange in exchanges)
        took_s = time.monotonic() - self._started_s
        gateway, http = self.config.gateway, self.config.http
        scheme = "wss" if gateway.tls_certificate else "ws"
        told = {
            "event": "ready",
            "books_live": sum(exchange.live for exchange in exchanges),
            "books": books,
            "exchanges": [exchange.exchange for exchange in exchanges],
            "websocket": f"{scheme}://{gateway.host}:{gateway.port}/",
            "http": f"http://{http.host}:{http.port}/",
            "seconds": round(took_s, 2),
        }
        if self.options.as_json:
            print(json.dumps(told), flush=True)
            return
        live = f"{told['books_live']} of {books} books live on {len(exchanges)} exchanges"
        print(f"ready: {live} in {took_s:.1f} s; {told['websocket']} and {told['http']}", flush=True)

    async def _serve(self) -> None:
        """The table and the status file until it is time to stop."""
        from appliance.top import show  # rich is only loaded where a table is shown

        table = asyncio.create_task(show(self._observer, self.options.table, self.options.interval_s))
        self._tasks.append(table)
        table.add_done_callback(self._reader_gone)
        until = time.monotonic() + self.options.seconds if self.options.seconds else None
        while not self._stop.is_set():
            self._write_status()
            left_s = STATUS_S if until is None else min(STATUS_S, until - time.monotonic())
            if left_s <= 0:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), left_s)
        table.cancel()  # its last picture is of a box that runs

    def _reader_gone(self, table: asyncio.Task[None]) -> None:
        """``bookwire up | head``: when nobody reads the output any more, the run is over."""
        if not table.cancelled() and table.exception() is not None:
            if not isinstance(table.exception(), BrokenPipeError):
                self._log("table_failed", error=table.exception())
                self._exit_code = 1
            self._stop.set()

    def _reload(self) -> None:
        """Other symbols for the running exchanges: each process reads the effective configuration anew."""
        try:
            fresh = self._reread()
        except SetupError as error:
            self._log("reload_refused", what=error.what, where=error.where or None, do=error.do or None)
            return
        self._given = with_symbols(self._given, fresh)
        tables = Config.__struct_fields__
        rest = [table for table in tables if getattr(fresh, table) != getattr(self._given, table)]
        self.config = with_symbols(self.config, fresh)
        self._write_effective()
        self._log("reloaded", restart_for=",".join(rest) or None)
        for child in self.children:
            if child.name.split()[0] in ("feed", "gateway"):
                child.hang_up()

    def _write_status(self) -> None:
        status = {
            "pid": os.getpid(),
            "simulate": self.options.simulate,
            "seconds": round(time.monotonic() - self._started_s, 1),
            "processes": [
                {
                    "name": child.name,
                    "pid": child.pid,
                    "restarts": child.restarts,
                    "seconds": round(time.monotonic() - child.started_s, 1),
                }
                for child in self.children
            ],
            "simulators": self._simulators,
        }
        path = self.config.box.run_dir / STATUS_NAME
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(status), encoding="utf-8")
        fresh.replace(path)

    # Ending

    async def _end(self) -> None:
        """Stops all processes, each before those it listens to, and takes away what killed ones leave."""
        for kinds in (("gateway", "http"), ("feed",), ("record",), ("sink",), ("simulator",)):
            leaving = [child for child in self.children if child.name.split()[0] in kinds]
            await asyncio.gather(*(child.stop() for child in leaving))
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, BrokenPipeError):
                self._log("task_failed", error=repr(result))
        self._observer.close()
        clean(self.config, self._wires.source_address if self._wires else SIMULATED_SOURCE)
        if self._wires:
            self._wires.remove()
        if self.ready:
            ran_s = time.monotonic() - self._started_s
            print(f"stopped after {ran_s:.0f} s; nothing is left running", file=sys.stderr, flush=True)


async def _all(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        await event.wait()


def clean(config: Config, source: str = SIMULATED_SOURCE) -> None:
    """Removes what killed processes of this run left; what was spent of an exchange's limits stays known,
    except by ``source``, from which only simulated ones are asked.
    """
    box = config.box
    simulated = re.sub(r"[^0-9A-Za-z]", "_", source)
    for name in config.exchanges.enabled:
        for path in (
            *box.shm_dir.glob(f"{name}.shm*"),
            *box.shm_dir.glob(f"{name}.raw*"),
            *box.run_dir.glob(f"{name}.*.{simulated}.budget"),
        ):
            path.unlink(missing_ok=True)
        (box.run_dir / f"{name}.status.json").unlink(missing_ok=True)
        datapath.note_path(box.run_dir, name).unlink(missing_ok=True)
    sinks = (f"sink.{kind}.status.json" for kind in config.sinks.wanted())
    for name in (EFFECTIVE_NAME, STATUS_NAME, "gateway.bell", "gateway.fifo", "record.status.json", *sinks):
        (box.run_dir / name).unlink(missing_ok=True)
    with suppress(OSError):
        box.shm_dir.rmdir()


def with_symbols(config: Config, of: Config) -> Config:
    """The configuration with the symbols of another one."""
    names = {*config.exchange, *(name for name, own in of.exchange.items() if own.symbols)}
    tables = {
        name: msgspec.structs.replace(
            config.exchange.get(name, Exchange()), symbols=of.exchange.get(name, Exchange()).symbols
        )
        for name in sorted(names)
    }
    tables = {name: own for name, own in tables.items() if own != Exchange()}
    exchanges = msgspec.structs.replace(config.exchanges, symbols=of.exchanges.symbols)
    return msgspec.structs.replace(config, exchanges=exchanges, exchange=tables)


def up(config: Config, options: Options, reread: Callable[[], Config]) -> int:
    """Runs everything in the foreground; see Supervisor."""
    preflight.check(config)
    if options.wires:
        wires.check()
    return asyncio.run(Supervisor(config, options, reread=reread).run())
