"""Starts and stops simulated exchanges: behind `python -m appliance.simulator` and `bookwire simulate`."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import sys
from typing import Any

from .certificates import open_authority, server_context
from .exchanges import EXCHANGES
from .exchanges.okx import Okx
from .faults import FaultError, ScriptLine, load_script
from .flow import Flow
from .host import Host
from .instruments import make_instrument, skewed
from .settings import SimulatorSettings, skew_of, symbols_for

OK, FAILURE, BAD_NAME, UNAVAILABLE, BAD_CONFIGURATION = 0, 1, 64, 69, 78


class SimulatorError(Exception):
    """A simulator that cannot start: the message says what and where; `code` is the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Simulator:
    """Several simulated exchanges in this process, as a context manager; `ready` says where they are."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.hosts: dict[str, Host] = {}
        self.ca_file = settings.state_dir / "ca.pem"
        script: tuple[ScriptLine, ...] = ()
        if settings.faults is not None:
            try:
                script = load_script(settings.faults)
            except (FaultError, OSError) as error:
                raise SimulatorError(f"fault script: {error}", BAD_CONFIGURATION) from error
        self.ended = asyncio.Event()
        self.broken = False
        if settings.ports and len(settings.ports) != len(set(settings.exchanges)):
            raise SimulatorError(
                f"{len(settings.ports)} ports for {len(set(settings.exchanges))} exchanges", BAD_NAME
            )
        for name in dict.fromkeys(settings.exchanges):
            try:
                self.hosts[name] = self._make(name, script)
            except FaultError as error:
                raise SimulatorError(f"fault script: {error}", BAD_CONFIGURATION) from error
        for option in settings.options:
            if option.partition(".")[0] not in EXCHANGES:
                raise SimulatorError(f"option {option!r} is not of the form EXCHANGE.NAME=VALUE", BAD_NAME)
        for line in script:
            if line.exchange is not None and line.exchange not in EXCHANGES:
                raise SimulatorError(f"fault script: unknown exchange {line.exchange!r}", BAD_CONFIGURATION)
            if not any(line in host.scripted for host in self.hosts.values()):
                # not an error: one script may serve several simulators, each with some of the exchanges
                print(f"fault_not_played fault={json.dumps(line.request)}", file=sys.stderr)

    def _make(self, name: str, script: tuple[ScriptLine, ...]) -> Host:
        settings = self.settings
        if name not in EXCHANGES:
            raise SimulatorError(
                f"unknown exchange {name!r}; simulated are: {', '.join(EXCHANGES)}", BAD_NAME
            )
        kind = EXCHANGES[name]
        try:
            instruments = [
                skewed(kind.adapt(make_instrument(symbol, settings.levels)), skew_of(settings, name))
                for symbol in symbols_for(settings, name, kind.default_quote)
            ]
        except ValueError as error:
            raise SimulatorError(str(error), BAD_NAME) from error
        for each in instruments:
            if each.kind not in kind.kinds:
                raise SimulatorError(f"{name} lists no {each.kind} perpetuals: {each.symbol}", BAD_NAME)
        flows = [Flow(each, settings.levels, f"{settings.seed}:{name}:{each.symbol}") for each in instruments]
        exchange = kind(flows, settings.seed, limits=settings.limits)
        for option in settings.options:
            owner, _, rest = option.partition(".")
            if owner == name:
                option_name, _, value = rest.partition("=")
                try:
                    exchange.choose(option_name, value)
                except ValueError as error:
                    raise SimulatorError(str(error), BAD_NAME) from error
        if isinstance(exchange, Okx):
            exchange.real_checksums = settings.okx_checksums
        return Host(
            exchange,
            rate=settings.rate,
            burst=settings.burst,
            seed=settings.seed,
            script=script,
            age_limit=settings.age_limit,
            paused=settings.paused,
            on_failure=self._break,
        )

    def _break(self) -> None:
        """Part of the simulator failed: what it plays is no exchange any more, so the run ends."""
        self.broken = True
        self.ended.set()

    async def start(self) -> None:
        """Make or open the test CA and listen. Raises SimulatorError."""
        try:
            authority, self.ca_file = open_authority(self.settings.state_dir)
            context = server_context(authority, self.settings.names)
        except OSError as error:
            raise SimulatorError(
                f"state directory {self.settings.state_dir}: {error}", BAD_CONFIGURATION
            ) from error
        for offset, (name, host) in enumerate(self.hosts.items()):
            port = self._port(offset)
            try:
                await host.start(context, self.settings.host, port)
            except OSError as error:
                await self.stop()
                raise SimulatorError(
                    f"{name}: cannot listen on {self.settings.host}:{port}: {error}", UNAVAILABLE
                ) from error

    def _port(self, offset: int) -> int:
        settings = self.settings
        if settings.ports:
            return settings.ports[offset]
        return settings.port + offset if settings.port else 0

    async def stop(self) -> None:
        """Close everything."""
        await asyncio.gather(*(host.stop() for host in self.hosts.values()))

    def ready(self) -> dict[str, Any]:
        """Where the exchanges are, as printed on stdout."""
        return {
            "ca_file": str(self.ca_file.resolve()),
            "exchanges": {
                name: {
                    "websocket_url": f"wss://localhost:{host.port}{host.exchange.websocket_path}",
                    "rest_url": f"https://localhost:{host.port}",
                    "control_url": f"https://localhost:{host.port}/_control",
                }
                for name, host in self.hosts.items()
            },
        }

    async def __aenter__(self) -> Simulator:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()


async def _serve(settings: SimulatorSettings) -> None:
    async with Simulator(settings) as simulator:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, simulator.ended.set)
        # deep books are a million objects that live as long as we do: not worth looking through
        gc.collect()
        gc.freeze()
        # asyncio has no word for a peer that went while its frames were being written; nothing is amiss
        logging.getLogger("asyncio").addFilter(lambda record: record.msg != "socket.send() raised exception.")
        print(json.dumps(simulator.ready()), flush=True)
        await simulator.ended.wait()
    if simulator.broken:
        raise SimulatorError("an exchange failed while playing; the log above says where", FAILURE)


def run(settings: SimulatorSettings) -> int:
    """Serve until SIGTERM or SIGINT; prints one JSON line on stdout when ready. Returns the exit code."""
    try:
        asyncio.run(_serve(settings))
    except SimulatorError as error:
        print(f"simulator_failed error={str(error)!r}", file=sys.stderr)
        return error.code
    return OK
