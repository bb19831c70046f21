"""The process of one exchange: symbols, shared memory, the native loop, and a keeper for its books.

``run`` blocks until SIGTERM or SIGINT and returns the process's exit code. The asyncio thread decides;
the native loop has a thread of its own. What the process needs at its start and cannot get ends it
with what, where, what to do; what goes wrong later is repaired, never given up.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace

import orjson

from handlers.background import go_first
from handlers.backoff import Backoff
from handlers.budget import SharedBudget
from handlers.datapath import Datapath
from handlers.errors import SetupError, UnavailableError
from handlers.facts import Instrument, Venue
from handlers.keeper import Keeper
from handlers.lines import Line
from handlers.logs import Log
from handlers.native_feed import NativeFeed
from handlers.planning import CONNECTIONS_MAX, SPARE_BOOKS, WARM_UP_S, affordable_snapshot
from handlers.registry import venue as venue_of
from handlers.reload import Reload
from handlers.rest import Rest, RestError
from handlers.service import Service
from handlers.settings import FeedSettings
from handlers.subscriptions import shard
from handlers.symbols import choose

SYMBOLS_TRIES = 4
FIRST_TURN_S = 0.01


def run(settings: FeedSettings, reread: Callable[[], FeedSettings] | None = None) -> int:
    """Keeps the exchange's books until told to stop. Returns 0, or the code of what prevented it.

    ``reread`` gives the settings anew when SIGHUP asks for it: symbols that changed come and go.
    """
    log = Log("feed", exchange=settings.exchange)
    if settings.poll == "epoll":  # who spins would have the core from everybody
        go_first()
    try:
        datapath = Datapath(settings, log)
        try:
            return asyncio.run(_main(settings, reread or (lambda: settings), datapath, log))
        finally:
            datapath.close()
    except SetupError as error:
        log("cannot_start", what=error.what, where=error.where or None, do=error.do or None)
        return error.exit_code


async def _main(
    settings: FeedSettings, reread: Callable[[], FeedSettings], datapath: Datapath, log: Log
) -> int:
    venue = venue_of(settings.exchange)
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        settings.run_dir.mkdir(parents=True, exist_ok=True)
        async with Rest(venue, settings) as rest:

            async def chosen(by: FeedSettings) -> list[Instrument]:
                listed = await list_symbols(venue, rest, log)
                return choose(venue, listed, by.symbols, lambda name: log("symbol_not_listed", symbol=name))

            reload = Reload(settings, reread, chosen, log)
            loop.add_signal_handler(signal.SIGHUP, reload.asked.set)
            books = await chosen(settings)
            return await _keep(affordable(venue, len(books)), settings, datapath, rest, books, reload, log)
    except OSError as error:
        raise UnavailableError(str(error), where=str(settings.run_dir), do="make it writable") from error
    except asyncio.CancelledError:
        datapath.stopped()
        log.detail("stopped")
        return 0
    finally:
        settings.status_path.unlink(missing_ok=True)


async def list_symbols(venue: Venue, rest: Rest, log: Log) -> list[Instrument]:
    """The exchange's own list of what trades. Raises UnavailableError after a few tries."""
    backoff = Backoff(cap_s=8.0)
    while True:
        try:
            body = await rest.get(venue.symbols_path, venue.limits.symbols_weight)
            return list(venue.instruments(orjson.loads(body)))
        except (RestError, ValueError, KeyError, TypeError) as error:
            where = rest.base + venue.symbols_path
            wanted_s = error.retry_s if isinstance(error, RestError) else 0.0
            if backoff.failures + 1 >= SYMBOLS_TRIES or wanted_s > WARM_UP_S:
                do = "check the network, rest_url and ca_file; the process can be started again at any time"
                raise UnavailableError(f"no symbol list: {error}", where=where, do=do) from error
            delay = max(wanted_s, backoff.fail())
            log("symbols_failed", where=where, reason=error, retry_s=round(delay, 1))
            await asyncio.sleep(delay)


def affordable(venue: Venue, books: int) -> Venue:
    """The venue with the deepest REST snapshot that all books can have within the warm-up."""
    if not venue.snapshots:
        return venue
    return replace(venue, snapshots=(venue.snapshots[affordable_snapshot(venue, books)],))


def address_permit(venue: Venue, settings: FeedSettings) -> Callable[[], bool]:
    """Spends a message of the address's budget, where the venue limits addresses and not connections."""
    rate = venue.limits.address_requests
    if rate is None:
        return lambda: True
    budget = SharedBudget(settings.run_dir, venue.id, "messages", rate, settings.source_address)
    return lambda: budget.take() == 0


async def _keep(
    venue: Venue,
    settings: FeedSettings,
    datapath: Datapath,
    rest: Rest,
    books: list[Instrument],
    reload: Reload,
    log: Log,
) -> int:
    service = Service()
    shards = shard(venue, [row.native for row in books], CONNECTIONS_MAX)
    native = NativeFeed(venue, settings, len(books) + SPARE_BOOKS, len(shards) + 1, datapath.handle)
    try:
        index = {row.native: native.add_book(row) for row in books}
        permit = address_permit(venue, settings)
        lines = []
        for connection, symbols in enumerate(shards):
            lines.append(
                Line(venue, connection, {name: index[name] for name in symbols}, native, log, permit)
            )
            for name in symbols:
                native.bind(index[name], connection)
        keeper = Keeper(venue, settings, native, rest, books, lines, datapath, log)
        await datapath.start(native)
        attending = [
            asyncio.create_task(_attend(service, native, keeper)),
            asyncio.create_task(reload.run(keeper.wanted, service)),
        ]
        log.detail(
            "started",
            books=len(books),
            connections=len(lines),
            segment=settings.segment_path,
            pid=os.getpid(),
            path=datapath.kind,
        )
        try:
            await datapath.guarded(keeper.run())
        finally:
            for task in attending:
                task.cancel()
            service.tell("STOPPING=1")
        log("native_loop_ended", code=native.result)
        return 1
    finally:
        native.close()


async def _attend(service: Service, native: NativeFeed, keeper: Keeper) -> None:
    """READY once the loop turns, then a sign of life for as long as it does, whatever the exchange sends."""
    while not native.turns:
        await asyncio.sleep(FIRST_TURN_S)
    service.tell("READY=1")
    await service.attend(lambda: native.turns, keeper.sentence)
