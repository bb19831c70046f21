"""A simulator in the test's own loop, clients of the `websockets` library, books rebuilt in a few lines."""

from __future__ import annotations

import json
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets
from dialects import DIALECTS

from appliance.simulator import Simulator, SimulatorSettings

Json = dict[str, Any]


def loads(text: str | bytes) -> Any:
    """JSON whose numbers with a point stay text."""
    return json.loads(text, parse_float=str)


# a question the exchange always answers, and how to know the answer: everything sent before it is in
QUESTIONS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "binance": ('{"method":"LIST_SUBSCRIPTIONS","id":987654}', lambda m: m.get("id") == 987654),
    "coinbase": ('{"type":"nonsense"}', lambda m: m.get("message") == "Unknown message type"),
    "okx": ("ping", lambda m: m == "pong"),
    "bybit": ('{"op":"ping","req_id":"mark"}', lambda m: m.get("ret_msg") == "pong"),
    "kraken": ('{"method":"ping","req_id":987654}', lambda m: m.get("method") == "pong"),
}
QUESTIONS.update({name: (each.question, each.is_answer) for name, each in DIALECTS.items()})


class Client:
    """One WebSocket connection of a simulated exchange."""

    def __init__(self, exchange: str, connection: websockets.ClientConnection) -> None:
        self.exchange = exchange
        self.connection = connection

    async def send(self, message: Any) -> None:
        """Send text, or an object as JSON."""
        await self.connection.send(message if isinstance(message, str) else json.dumps(message))

    async def text(self) -> str:
        """The next message as it came."""
        received = await self.connection.recv()
        if self.exchange in DIALECTS:
            return DIALECTS[self.exchange].text(received)
        assert isinstance(received, str)
        return received

    async def receive(self) -> Any:
        """The next message, decoded."""
        text = await self.text()
        return text if text == "pong" else loads(text)

    async def everything(self) -> list[Any]:
        """All messages sent up to now (heartbeats left out)."""
        question, is_answer = QUESTIONS[self.exchange]
        await self.send(question)
        messages: list[Any] = []
        while True:
            message = await self.receive()
            if is_answer(message):
                return messages
            if self.exchange in DIALECTS and DIALECTS[self.exchange].is_heartbeat(message):
                continue
            if not (isinstance(message, dict) and message.get("channel") in ("heartbeat", "heartbeats")):
                messages.append(message)


class Played:
    """One simulated exchange, over the network."""

    def __init__(self, simulator: Simulator, exchange: str, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.exchange = exchange
        self.session = session
        self.where = simulator.ready()["exchanges"][exchange]
        self.host = simulator.hosts[exchange]
        self.context = ssl.create_default_context(cafile=simulator.ready()["ca_file"])
        self.stack = AsyncExitStack()

    async def connect(self, path: str | None = None) -> Client:
        """Open a WebSocket; `path` replaces the usual one."""
        url = self.where["websocket_url"]
        if path is not None:
            url = "/".join(url.split("/")[:3]) + path
        opened = websockets.connect(url, ssl=self.context, max_size=128 << 20, max_queue=None)
        return Client(self.exchange, await self.stack.enter_async_context(opened))

    async def get(self, path: str, **query: str) -> Any:
        """A REST answer that must be 200, numbers with a point kept as text."""
        async with self.session.get(self.where["rest_url"] + path, params=query, ssl=self.context) as answer:
            assert answer.status == 200, await answer.text()
            return loads(await answer.text())

    async def raw(self, path: str, **query: str) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of a REST answer."""
        async with self.session.get(self.where["rest_url"] + path, params=query, ssl=self.context) as answer:
            return answer.status, dict(answer.headers), await answer.text()

    async def control(self, path: str, body: Json | None = None, status: int = 200) -> Any:
        """Ask (no body) or order (body) the control API."""
        url = self.where["control_url"] + path
        method = "GET" if body is None else "POST"
        async with self.session.request(method, url, json=body, ssl=self.context) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()

    async def step(self, count: int, symbol: str | None = None) -> None:
        """Exactly so many updates."""
        await self.control("/step", {"n": count} if symbol is None else {"n": count, "symbol": symbol})

    async def fault(self, name: str, **options: Any) -> Json:
        """Order a fault."""
        return dict(await self.control("/fault", {"fault": name, **options}))

    async def true_book(self, symbol: str, depth: int | None = None) -> tuple[dict[str, str], dict[str, str]]:
        """Bids and asks of the true book, price to quantity, as plain decimal text."""
        book = await self.control(f"/book/{symbol}" + (f"?depth={depth}" if depth else ""))
        bids, asks = ({plain(row[0]): plain(row[1]) for row in book[side]} for side in ("bids", "asks"))
        return bids, asks


def plain(number: str) -> str:
    """One way to write each decimal."""
    text = format(Decimal(number).normalize(), "f")
    return text if text else "0"


class Rebuilt:
    """A book put together from messages by each exchange's own rule; raises AssertionError on a gap."""

    def __init__(self, exchange: str, name: str, depth: int | None = None) -> None:
        self.exchange = exchange
        self.name = name  # the exchange's name of the symbol
        self.depth = depth
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.last: int | None = None
        self.applied = 0

    def put(self, side: dict[str, str], price: str, quantity: str) -> None:
        """One level."""
        if Decimal(quantity) == 0:
            side.pop(price, None)
        else:
            side[price] = quantity

    def put_all(self, bids: list[list[str]], asks: list[list[str]]) -> None:
        """Several levels, then cut to the depth."""
        for side, rows in ((self.bids, bids), (self.asks, asks)):
            for row in rows:
                self.put(side, row[0], row[1])
        if self.depth is not None:
            self.bids = dict(sorted(self.bids.items(), key=lambda each: -Decimal(each[0]))[: self.depth])
            self.asks = dict(sorted(self.asks.items(), key=lambda each: Decimal(each[0]))[: self.depth])

    def clear(self) -> None:
        """Forget everything."""
        self.bids, self.asks = {}, {}

    def apply(self, message: Json) -> None:
        """One message of the book; others are passed over."""
        if self.exchange in DIALECTS:
            DIALECTS[self.exchange].apply(self, message)
            return
        getattr(self, f"_{self.exchange}")(message)

    def _binance(self, message: Json) -> None:
        event = message.get("data", message)
        if event.get("e") != "depthUpdate" or event["s"] != self.name:
            return
        assert self.last is not None, "no snapshot loaded"
        if event["u"] <= self.last:
            return
        assert event["U"] <= self.last + 1, f"gap: {event['U']} after {self.last}"
        self.put_all(event["b"], event["a"])
        self.last = event["u"]
        self.applied += 1

    def _coinbase(self, message: Json) -> None:
        if "sequence_num" in message:
            expected = 0 if self.last is None else self.last + 1
            assert message["sequence_num"] == expected, f"gap: {message['sequence_num']} for {expected}"
            self.last = message["sequence_num"]
        if message.get("channel") != "l2_data":
            return
        for event in [each for each in message["events"] if each["product_id"] == self.name]:
            if event["type"] == "snapshot":
                self.clear()
            for row in event["updates"]:
                side = self.bids if row["side"] == "bid" else self.asks
                self.put(side, row["price_level"], row["new_quantity"])
            self.applied += 1

    def _okx(self, message: Json) -> None:
        if "data" not in message or message["arg"]["instId"] != self.name:
            return
        for data in message["data"]:
            if message["action"] == "snapshot":
                self.clear()
            else:
                assert data["prevSeqId"] == self.last, f"gap: {data['prevSeqId']} for {self.last}"
            self.put_all(data["bids"], data["asks"])
            self.last = data["seqId"]
            self.applied += 1

    def _bybit(self, message: Json) -> None:
        if "topic" not in message or message["data"]["s"] != self.name:
            return
        data = message["data"]
        if message["type"] == "snapshot":
            self.clear()
        else:
            assert self.last is not None
            assert data["u"] == self.last + 1, f"gap: {data['u']} after {self.last}"
        self.put_all(data["b"], data["a"])
        self.last = data["u"]
        self.applied += 1

    def _kraken(self, message: Json) -> None:
        if message.get("channel") != "book":
            return
        for data in [each for each in message["data"] if each["symbol"] == self.name]:
            if message["type"] == "snapshot":
                self.clear()
            rows = [[[each["price"], each["qty"]] for each in data[side]] for side in ("bids", "asks")]
            self.put_all(*rows)
            self.applied += 1
            best = [*self.asks.items()][:10] + [*self.bids.items()][:10]
            digits = "".join(number.replace(".", "").lstrip("0") for level in best for number in level)
            assert zlib.crc32(digits.encode()) == data["checksum"], "gap: checksum"


def native(exchange: str, symbol: str) -> str:
    """The exchange's name of a canonical symbol."""
    if exchange in DIALECTS:
        return DIALECTS[exchange].native(symbol)
    return symbol.replace("-", {"binance": "", "bybit": "", "kraken": "/"}.get(exchange, "-"))


# what to send to follow books of these native names
SUBSCRIBE: dict[str, Callable[[list[str]], Json]] = {
    "binance": lambda names: {
        "method": "SUBSCRIBE",
        "params": [f"{name.lower()}@depth@100ms" for name in names],
        "id": 1,
    },
    "coinbase": lambda names: {"type": "subscribe", "product_ids": names, "channel": "level2"},
    "okx": lambda names: {
        "op": "subscribe",
        "args": [{"channel": "books", "instId": name} for name in names],
    },
    "bybit": lambda names: {"op": "subscribe", "args": [f"orderbook.200.{name}" for name in names]},
    "kraken": lambda names: {
        "method": "subscribe",
        "params": {"channel": "book", "symbol": names, "depth": 100},
    },
}


def subscription(exchange: str, symbol: str) -> Json:
    """The request that follows a symbol."""
    if exchange in DIALECTS:
        return DIALECTS[exchange].subscribe(native(exchange, symbol))
    return SUBSCRIBE[exchange]([native(exchange, symbol)])


DEPTH = {"binance": None, "coinbase": None, "okx": 400, "bybit": 200, "kraken": 100}
DEPTH.update({name: each.depth for name, each in DIALECTS.items()})


class Follower:
    """A client that follows one symbol."""

    def __init__(self, played: Played, client: Client, symbol: str) -> None:
        self.played, self.client, self.symbol = played, client, symbol
        exchange = played.exchange
        self.name = native(exchange, symbol)
        self.book = Rebuilt(exchange, self.name, DEPTH[exchange] if exchange == "kraken" else None)
        self.seen: list[Any] = []

    async def load(self) -> None:
        """Binance: the snapshot over REST, all 5000 levels; others in their own way, or not at all."""
        if self.played.exchange in DIALECTS:
            await DIALECTS[self.played.exchange].load(self)
        if self.played.exchange == "binance":
            snapshot = await self.played.get("/api/v3/depth", symbol=self.name, limit="5000")
            self.book.clear()
            self.book.put_all(snapshot["bids"], snapshot["asks"])
            self.book.last = snapshot["lastUpdateId"]

    async def request(self) -> None:
        """Subscribe, without reading what comes."""
        if self.played.exchange in DIALECTS:
            for message in DIALECTS[self.played.exchange].before:
                await self.client.send(message)
        await self.client.send(subscription(self.played.exchange, self.symbol))
        await self.load()

    async def subscribe(self) -> None:
        """Subscribe and take everything that comes."""
        await self.request()
        await self.catch_up()

    async def catch_up(self) -> list[Any]:
        """Apply what has been sent up to now and return it."""
        messages = await self.client.everything()
        self.seen += messages
        for message in messages:
            self.book.apply(message)
        return messages

    async def is_right(self) -> bool:
        """Is the rebuilt book the true one, to the depth the exchange shows?"""
        bids, asks = await self.played.true_book(self.symbol, DEPTH[self.played.exchange])
        mine = [
            {plain(key): plain(value) for key, value in each.items()}
            for each in (self.book.bids, self.book.asks)
        ]
        if self.played.exchange in DIALECTS and not DIALECTS[self.played.exchange].windowed:
            mine = [
                dict(sorted(side.items(), key=lambda each: sign * Decimal(each[0]))[: len(true)])
                for side, true, sign in zip(mine, (bids, asks), (-1, 1), strict=True)
            ]
        return mine == [bids, asks]


Play = Callable[..., Awaitable[Played]]


@pytest.fixture(scope="session")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One test CA for all tests."""
    return tmp_path_factory.mktemp("simulator")


@pytest.fixture
async def play(state_dir: Path) -> AsyncIterator[Play]:
    """Start one exchange, its flow frozen; further settings by keyword."""
    async with AsyncExitStack() as stack:

        async def start(exchange: str, **settings: Any) -> Played:
            chosen = SimulatorSettings(
                exchanges=(exchange,),
                symbols=("BTC-USDT", "ETH-USDT"),
                levels=600,
                paused=True,
                limits=False,
                state_dir=state_dir,
            )
            chosen = replace(chosen, **settings)
            simulator = await stack.enter_async_context(Simulator(chosen))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            if chosen.paused:
                # tests that step want the first message now
                simulator.hosts[exchange].exchange.snapshot_seconds = 0.0
            played = Played(simulator, exchange, session)
            await stack.enter_async_context(played.stack)
            return played

        yield start


@pytest.fixture
def follow() -> Callable[..., Awaitable[Follower]]:
    """Open a connection and follow a symbol."""

    async def start(
        played: Played, symbol: str = "BTC-USDT", client: Client | None = None, *, read: bool = True
    ) -> Follower:
        follower = Follower(played, client or await played.connect(), symbol)
        await follower.request()
        if read:
            await follower.catch_up()
        return follower

    return start


@pytest.fixture
def rebuild() -> type[Rebuilt]:
    """A book out of messages that come from elsewhere than the simulator."""
    return Rebuilt
