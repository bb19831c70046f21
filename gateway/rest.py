"""The HTTP process: health, metrics, directory and one-off snapshots. It reads shared memory only.

Errors are RFC 9457 problem documents; their ``code`` is that of the stream's error of the same name.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing, suppress
from importlib.resources import files
from itertools import count
from typing import Any

import orjson
from aiohttp import web

from gateway.arb import ArbTable, terms_of
from gateway.channels import Options, View, parse_channel, parse_depth
from gateway.directory import LOOK_AGAIN_S, SegmentDirectory
from gateway.errors import HTTP_STATUS, Refusal, RequestError, problem_document
from gateway.fees import arb_terms
from gateway.health import Check, book_checks, gateway_check
from gateway.history import HistoryRoutes
from gateway.history_pool import HistoryPool
from gateway.interruptions import Interruptions
from gateway.metrics import exposition, product_version
from gateway.openapi import document
from gateway.overview import overview
from gateway.server import listen
from gateway.settings import HttpSettings, SettingsError
from gateway.snapshots import snapshot
from handlers.errors import SetupError
from handlers.logs import Log
from handlers.service import Service

LEVEL_BYTES_MAX = 160
ASSET_KINDS = {"css": "text/css", "js": "text/javascript"}
FRESH = {"Cache-Control": "no-cache"}
# The dashboard loads nothing from elsewhere and talks to this box only.
PAGE_HEADERS = {
    **FRESH,
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}

Ready = Callable[[str, int], None]


def problem(status: int, title: str, detail: str, code: int | None = None) -> web.Response:
    """An RFC 9457 problem document."""
    body = problem_document(status, title, detail, code)
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/problem+json")


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def choice(request: web.Request, name: str, values: Sequence[str], refusal: Refusal) -> str:
    """A query's value, the first where it has none. Raises RequestError for another, or for several."""
    given = request.query.getall(name, [values[0]])
    if len(given) != 1 or given[0] not in values:
        raise RequestError(refusal)
    return given[0]


def strings(request: web.Request) -> bool:
    """Whether numbers are asked for as exact decimal strings. Raises RequestError(invalid numbers)."""
    return choice(request, "numbers", ("number", "string"), Refusal.INVALID_NUMBERS) == "string"


class Routes:
    """The handlers; one directory for all, on the event loop's thread."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._terms = arb_terms(settings.arb)
        self.directory = SegmentDirectory(settings.shm_dir, settings.writer_patience_ms)
        self._interruptions = Interruptions()
        self._arb = ArbTable(settings, self.directory)
        dashboard = files("gateway") / "dashboard"
        self._assets = {path.name: path.read_bytes() for path in dashboard.iterdir() if path.is_file()}
        page = self._assets.pop("index.html").decode()
        self._page = page.replace("{{PORT}}", str(settings.websocket_port))

    def table(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.page),
            web.get("/assets/{name}", self.asset),
            web.get("/livez", self.livez),
            web.get("/readyz", self.readyz),
            web.get("/health", self.health),
            web.get("/metrics", self.metrics),
            web.get("/version", self.version),
            web.get("/v1/exchanges", self.exchanges),
            web.get("/v1/symbols", self.symbols),
            web.get("/v1/status", self.status),
            web.get("/v1/book/{channel:.+}", self.book),
            web.get("/v1/arb", self.arb),
            web.get("/openapi.json", self.openapi),
        ]

    async def page(self, request: web.Request) -> web.Response:
        return web.Response(text=self._page, content_type="text/html", headers=PAGE_HEADERS)

    async def asset(self, request: web.Request) -> web.Response:
        """A file of the dashboard; all were read at start, so a name is only ever a key."""
        name = request.match_info["name"]
        if name not in self._assets:
            raise web.HTTPNotFound(reason="no such file")
        kind = ASSET_KINDS[name.rpartition(".")[2]]
        return web.Response(body=self._assets[name], content_type=kind, charset="utf-8", headers=FRESH)

    async def livez(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.Response:
        return self._checked(request, book_checks(self._settings, self.directory))

    async def health(self, request: web.Request) -> web.Response:
        checks = book_checks(self._settings, self.directory)
        return self._checked(request, [*checks, gateway_check(self._settings)])

    @staticmethod
    def _checked(request: web.Request, checks: list[Check]) -> web.Response:
        bad = [check for check in checks if not check.good]
        if "verbose" in request.query:
            lines = "\n".join([*(check.line() for check in checks), ""])
            return web.Response(status=503 if bad else 200, text=lines)
        if bad:
            return problem(503, "not ready", "; ".join(f"{check.name}: {check.detail}" for check in bad))
        return web.Response(text="ok\n")

    async def metrics(self, request: web.Request) -> web.Response:
        text = exposition(self._settings, self.directory)
        return web.Response(
            body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def version(self, request: web.Request) -> web.Response:
        return _json({"version": product_version()})

    async def exchanges(self, request: web.Request) -> web.Response:
        return _json({"data": self.directory.exchanges(self._settings.depth_max)})

    async def symbols(self, request: web.Request) -> web.Response:
        exchange = request.query.get("exchange")
        if exchange is not None:
            exchange = exchange.strip().lower()
            if self.directory.exchange_number(exchange) is None:
                raise RequestError(Refusal.UNKNOWN_EXCHANGE)
        return _json({"data": self.directory.symbols(request.query.get("quote"), exchange)})

    async def status(self, request: web.Request) -> web.Response:
        self._interruptions.look(self.directory.now())
        return _json(overview(self._settings, self.directory, self._interruptions))

    async def book(self, request: web.Request) -> web.Response:
        channel = parse_channel(request.match_info["channel"], self.directory)
        if channel.view in (View.STATUS, View.ARB):
            raise RequestError(Refusal.UNKNOWN_CHANNEL, channel.name)
        text = request.query.get("depth", str(self._settings.depth_default))
        asked = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
        depth = parse_depth(asked, channel, self._settings.depth_max)
        stamps = choice(request, "stamps", ("false", "true"), Refusal.INVALID_STAMPS) == "true"
        options = Options(depth, False, 0, strings=strings(request), stamps=stamps)
        made = await asyncio.to_thread(
            snapshot, self.directory, channel, options, self._settings.writer_patience_ms
        )
        headers = {"X-Books-Live": str(made.live), "X-Books-Known": str(made.known)}
        return web.Response(body=made.body, content_type="application/json", headers=headers)

    async def arb(self, request: web.Request) -> web.Response:
        symbol = request.query.get("symbol")
        if symbol is not None:
            symbol = parse_channel(f"arb:{symbol}", self.directory).symbol
        options = Options(
            self._settings.depth_default, False, 0, strings=strings(request),
            arb=terms_of(request.query, self._terms),
        )  # fmt: skip
        body = await self._arb.rows(symbol, options)
        return web.Response(body=body, content_type="application/json")

    async def watch(self) -> None:
        """Until cancelled: looks at every exchange as often as the directory does."""
        while True:
            self._interruptions.look(self.directory.now())
            await asyncio.sleep(LOOK_AGAIN_S)

    async def openapi(self, request: web.Request) -> web.Response:
        return _json(document(self._settings.depth_default, self._settings.depth_max))


@web.middleware
async def problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turns what handlers raise into problem documents."""
    try:
        return await handler(request)
    except RequestError as error:
        status, _ = HTTP_STATUS.get(error.refusal, (400, ""))
        return problem(status, error.refusal.text, error.channel or request.path, error.refusal.code)
    except web.HTTPException as error:
        answer = problem(error.status, error.reason, f"{request.method} {request.path}")
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except MemoryError as error:
        return problem(503, "no room", str(error))


def application(settings: HttpSettings) -> web.Application:
    """The aiohttp application, for ``run`` and for tests."""
    app = web.Application(middlewares=[problems])
    routes = Routes(settings)
    app.add_routes(routes.table())
    pool = HistoryPool(settings.history_processes, settings.history_waiting_max)
    app.add_routes(HistoryRoutes(settings.record_dir, pool, problem).table())

    async def life(_: web.Application) -> AsyncIterator[None]:
        watching = asyncio.create_task(routes.watch())
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        pool.close()
        routes.directory.close()

    app.cleanup_ctx.append(life)
    return app


async def _serve(settings: HttpSettings, log: Log, ready: Ready | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    runner = web.AppRunner(application(settings), access_log=None, handle_signals=False)
    await runner.setup()
    with closing(listen(settings.host, settings.port)) as listener:
        await web.SockSite(runner, listener, shutdown_timeout=1.0).start()
        port = listener.getsockname()[1]
        log.detail("listening", host=settings.host, port=port)
        if ready:
            ready(settings.host, port)
        service, turns = Service(), count()
        service.tell("READY=1")
        attending = loop.create_task(
            service.attend(lambda: next(turns), lambda: f"serving on {settings.host}:{port}")
        )
        await stopped.wait()
        attending.cancel()
        service.tell("STOPPING=1")
        await runner.cleanup()
    log.detail("stopped")


def run(settings: HttpSettings, ready: Ready | None = None) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code. ``ready`` is told host and port."""
    log = Log("http")
    try:
        settings.check()
        asyncio.run(_serve(settings, log, ready))
    except SettingsError as error:
        log("cannot_start", why=error)
        return SetupError.exit_code
    except SetupError as error:
        log("cannot_start", why=error)
        return error.exit_code
    return 0
