"""Every message of a session that uses everything, held against the published schemas.

The published objects are open, so that clients ignore what they do not know. Here they are closed first: a
field that is sent and not written down fails.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import websockets
from gateway_support import LIVE, STALE, RandomFlow

from gateway import asyncapi, schemas
from gateway.errors import Refusal

DOCS = Path(__file__).resolve().parents[2] / "docs"
HEAD = struct.Struct("<BBBBHHIIQqqqqQII")
STATES = ("syncing", "live", "stale", "resync", "down")
CHANNELS = ("top:BTC-USDT", "consbook:BTC-USDT", "fullbook:BTC-USDT", "binance:BTC-USDT")


def closed(schema: Any, part: bool = False) -> Any:
    """The schema with no further properties allowed; ``part``: it is one of several of the same object."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value, key in ("if", "then", "else", "not")) for key, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict) and not part:
        found["additionalProperties"] = False
    return found


PUBLISHED = json.loads((DOCS / "messages.schema.json").read_text())
CLOSED = closed(PUBLISHED)


def validator(name: str) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(
        {"$ref": f"#/definitions/{name}", "definitions": CLOSED["definitions"]},
    )


VALIDATORS = {name: validator(name) for name in (*schemas.SENT, "request")}


def decoded(frame: bytes) -> dict[str, Any]:
    """A binary frame as the message it stands for."""
    _, kind, price_exponent, quantity_exponent, name_bytes, flags, bids, asks, *rest = HEAD.unpack_from(frame)
    sequence, ts, exchange_ns, receive_ns, published_ns, conflated, state, _ = rest
    channel = frame[HEAD.size : HEAD.size + name_bytes].decode()
    at = HEAD.size + (name_bytes + 7) // 8 * 8
    levels = []
    for _ in range(bids + asks):
        price, quantity, orders, exchange = struct.unpack_from("<qqII", frame, at)
        levels.append([price / 10**price_exponent, quantity / 10**quantity_exponent, orders])
        if channel.startswith("fullbook:"):
            levels[-1].append(schemas.EXCHANGES[exchange].id)
        at += 24
    assert (at, flags) == (len(frame), 0)
    stamps = {"seq": sequence, "exch_ts": exchange_ns // 10**6, "recv_ns": receive_ns, "pub_ns": published_ns}
    data = {"bids": levels[:bids], "asks": levels[bids:], "ts": ts, **stamps, "state": STATES[state]}
    message = {"type": ("", "snapshot", "delta")[kind], "channel": channel, "data": data}
    return {**message, "conflated": conflated} if conflated else message


class Seen:
    """Validates what comes and remembers which kinds of message, errors and options it saw."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.codes: set[int] = set()
        self.messages = 0

    def take(self, raw: str | bytes) -> dict[str, Any]:
        message: dict[str, Any] = decoded(raw) if isinstance(raw, bytes) else json.loads(raw)
        fits = [name for name in schemas.SENT if VALIDATORS[name].is_valid(message)]
        wrong = [error.message for error in validator_of(message).iter_errors(message)]
        assert len(fits) == 1, (fits, wrong, message)
        self.kinds.add(fits[0])
        if message["type"] == "error":
            self.codes.add(message["code"])
        self.messages += 1
        return message


def validator_of(message: dict[str, Any]) -> jsonschema.Draft7Validator:
    names = {
        "orderbook_snapshot": "orderbookSnapshot", "orderbook_update": "orderbookUpdate",
    }  # fmt: skip
    whole = {"status": "statusSnapshot", "arb": "arbitrage"}
    if message["type"] == "snapshot":
        return VALIDATORS[whole.get(str(message["channel"]).partition(":")[0], "snapshot")]
    return VALIDATORS[names.get(message["type"], message["type"])]


async def hear(client: Any, seen: Seen, kind: str) -> dict[str, Any]:
    """Validates everything up to a message of the kind."""
    while True:
        message = seen.take(await asyncio.wait_for(client.socket.recv(), 10))
        if message["type"] == kind:
            return message


async def ask(client: Any, seen: Seen, answer: str, **request: Any) -> dict[str, Any]:
    """A valid request and its answer."""
    errors = [error.message for error in VALIDATORS["request"].iter_errors(request)]
    assert errors == [], request
    await client.send(**request)
    return await hear(client, seen, answer)


@pytest.fixture
def seen() -> Seen:
    return Seen()


def market(gateway: Any) -> tuple[Any, Any]:
    """BTC-USDT on two exchanges and a book that never became live."""
    writer = gateway.writer("binance")
    book = writer.add("BTC-USDT", 2, 8)
    writer.add("ETH-USDT")
    writer.reset(book, [(4500050, 123400000, 5)], [(4500100, 78900000, 2)])
    other = gateway.writer("okx").add("BTC-USDT", native="BTC-USDT")
    gateway.writers["okx"].reset(other, [(4500000, 5, 1)], [(4500200, 5, 1)])
    return writer, book


def combinations() -> list[dict[str, Any]]:
    """Every channel in every mode and format, with three sets of the other options."""
    others = (
        {"numbers": "number", "stamps": False, "slow": "conflate"},
        {"numbers": "string", "stamps": True, "slow": "resnapshot"},
        {"numbers": "number", "stamps": True, "slow": "disconnect"},
    )
    always = {"depth": 5, "interval": 0, "heartbeat": 3600}
    return [
        {"channel": channel, "mode": mode, "format": form, **always, **other}
        for channel, mode, form, other in itertools.product(
            CHANNELS, ("snapshot", "inc"), ("json", "binary", "tardis"), others
        )
        if form != "tardis" or channel.startswith("binance")
    ]


async def test_every_channel_mode_format_and_option(gateway: Any, seen: Seen) -> None:
    writer, book = market(gateway)
    changes = {"snapshot": {"json": "snapshot", "binary": "snapshot", "tardis": "orderbook_snapshot"},
               "inc": {"json": "delta", "binary": "delta", "tardis": "orderbook_update"}}  # fmt: skip
    async with gateway.client() as client:
        for number, options in enumerate(combinations()):
            await ask(client, seen, "subscribed", op="subscribe", id=number, **options)
            form = options["format"]
            await hear(client, seen, changes["snapshot"][form])
            writer.change(
                book, bids=[(4500050, 123400001 + number, 5)], asks=[(4500300 + number % 2, number, 2)]
            )
            await hear(client, seen, changes[options["mode"]][form])
            rows = (await ask(client, seen, "subscriptions", op="list"))["data"]
            assert rows == [{"channel": rows[0]["channel"], **options} | {"depth": rows[0]["depth"]}]
            await ask(client, seen, "unsubscribed", op="unsubscribe", channel=options["channel"], id="bye")
    assert seen.kinds == {
        "subscribed", "unsubscribed", "subscriptions", "snapshot", "delta", "orderbookSnapshot",
        "orderbookUpdate",
    }  # fmt: skip
    assert seen.messages >= 5 * len(combinations())


async def test_the_other_messages(gateway: Any, seen: Seen) -> None:
    writer, book = market(gateway)
    async with gateway.client() as client:
        await ask(client, seen, "pong", op="ping", id=1.5)
        await ask(client, seen, "exchanges", op="exchanges")
        await ask(client, seen, "symbols", op="symbols", quote="USDT", exchange="okx")
        await ask(client, seen, "authorised", op="auth", token="none needed")
        await ask(client, seen, "subscribed", op="subscribe", channel="status")
        await hear(client, seen, "snapshot")
        arb = {"op": "subscribe", "channel": "arb:BTC-USDT", "min_bp": 0, "capital": 500}
        await ask(client, seen, "subscribed", **arb)
        await hear(client, seen, "snapshot")
        await ask(client, seen, "subscriptions", op="list")
        await ask(client, seen, "unsubscribed", op="unsubscribe", channel=arb["channel"])
        pair = {"exchange": "binance", "symbol": "BTC/USDT"}
        await ask(client, seen, "subscribed", action="subscribe", heartbeat=0.1, depth=25, **pair)
        await hear(client, seen, "heartbeat")
        writer.state(book, STALE)
        assert (await hear(client, seen, "status"))["data"]["symbol"] == "BTC-USDT"
        assert (await hear(client, seen, "snapshot"))["data"]["bids"] == []
        writer.state(book, LIVE)
        await hear(client, seen, "status")
        writer.close()
        while "symbol" in (await hear(client, seen, "status"))["data"]:
            pass
        await ask(client, seen, "unsubscribed", action="unsubscribe", **pair)
        gateway.server.stop("the test is over")
        await hear(client, seen, "reconnect")
    assert seen.kinds >= set(schemas.SENT) - {
        "delta", "orderbookSnapshot", "orderbookUpdate", "subscriptions", "error", "replayed", "closed",
    }  # fmt: skip


async def test_every_error(make_gateway: Any, seen: Seen, tmp_path: Path) -> None:
    gateway = await make_gateway(subscriptions_per_client=1)
    market(gateway)
    on = {"op": "subscribe", "channel": "binance:BTC-USDT"}
    requests: list[Any] = [
        {}, {"op": "fly"}, {"op": "subscribe"}, {"op": "subscribe", "channel": "nonsense"},
        {"op": "subscribe", "channel": "top:NO-SUCH"}, {"op": "subscribe", "channel": "nowhere:BTC-USDT"},
        [1], {"op": "unsubscribe", "channel": "top:BTC-USDT"}, {**on, "depth": 0}, {**on, "mode": "fast"},
        {**on, "interval": -1}, {**on, "format": "xml"}, {**on, "numbers": 1}, {**on, "slow": "drop"},
        {**on, "heartbeat": -3}, {**on, "stamps": 1}, {**on, "channel": "arb:BTC-USDT", "min_bp": -1},
        {**on, "channel": "arb:BTC-USDT", "capital": 0}, {**on, "from": 0}, {**on, "from": "yesterday"},
        {"op": "ping", "x": "y" * 20_000},
    ]  # fmt: skip
    async with gateway.client() as client:
        for number, request in enumerate(requests):
            await client.socket.send(
                json.dumps(request | {"id": number} if isinstance(request, dict) else request)
            )
            await hear(client, seen, "error")
        await ask(client, seen, "subscribed", **on)
        for request in (on, {"op": "subscribe", "channel": "top:BTC-USDT"}):
            await client.send(**request)
            await hear(client, seen, "error")
        while not (await ask(client, seen, "error", **on))["fatal"]:
            pass  # a flood of them ends the connection
    tokens = tmp_path / "tokens"
    tokens.write_text("secret\n")
    guarded = await make_gateway(token_file=tokens)
    async with guarded.client() as client:
        await ask(client, seen, "error", op="ping")
        await ask(client, seen, "error", op="auth", token="wrong")
        await ask(client, seen, "authorised", op="auth", token="secret")
    assert seen.codes == {refusal.code for refusal in Refusal} - {
        Refusal.NO_ROOM.code,
        Refusal.REPLAY_FAILED.code,
    }  # memory was not short, and no process fell


async def test_pages(make_gateway: Any, seen: Seen) -> None:
    gateway = await make_gateway(frame_bytes_max=4096, depth_max=1000)
    writer = gateway.writer("binance")
    book = writer.add("BTC-USDT")
    writer.reset(book, [(10_000 - i, 5, 1) for i in range(900)], [(10_001 + i, 5, 1) for i in range(900)])
    async with gateway.client() as client:
        request = {"op": "subscribe", "channel": "binance:BTC-USDT", "depth": 900, "mode": "inc"}
        await ask(client, seen, "subscribed", **request)
        assert (await hear(client, seen, "snapshot"))["more"] is True
        while "more" in await hear(client, seen, "delta"):
            pass


@pytest.mark.parametrize("form", ["json", "tardis", "binary"])
async def test_what_a_slow_client_is_sent(make_gateway: Any, seen: Seen, form: str) -> None:
    gateway = await make_gateway(send_buffer_bytes=8192, queue_bytes_max=64 << 10)
    writer, book = market(gateway)
    flow = RandomFlow(3, 4_500_050)
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", gateway.server.port))
        plain.setblocking(False)
        url = gateway.url.replace("localhost", "127.0.0.1")
        async with websockets.connect(
            url, sock=plain, compression=None, max_queue=1, close_timeout=0.1
        ) as slow:
            request = {"op": "subscribe", "channel": "binance:BTC-USDT", "interval": 0, "stamps": True}
            await slow.send(json.dumps({**request, "mode": "inc", "format": form}))
            async with asyncio.timeout(30):
                while True:
                    for _ in range(200):
                        flow.step(writer, book, most=60)
                    await asyncio.sleep(0)
                    if "conflated" in seen.take(await slow.recv()):
                        break


@pytest.mark.parametrize(
    "message",
    [
        {"type": "pong", "extra": 1},
        {"type": "error", "msg": "unknown op", "code": 3, "fatal": False},
        {"type": "delta", "channel": "top:A-B", "data": {"bids": [[1, 2, 3, "okx"]], "asks": [], "ts": 1}},
        {"type": "delta", "channel": "fullbook:A-B", "data": {"bids": [[1, 2, 3]], "asks": [], "ts": 1}},
        {"type": "snapshot", "channel": "status", "data": {"bids": [], "asks": [], "ts": 1}},
        {"type": "snapshot", "channel": "top:A-B", "data": {"bids": [["1e5", 2, 3]], "asks": [], "ts": 1}},
        {"type": "heartbeat", "channel": "nowhere:A-B", "ts": 1},
    ],
)
def test_a_message_that_is_wrong_fits_no_schema(message: dict[str, Any]) -> None:
    assert [name for name in schemas.SENT if VALIDATORS[name].is_valid(message)] == []


def test_the_published_documents_are_the_code() -> None:
    assert schemas.message_schemas() == PUBLISHED, "run `make schema`"
    assert asyncapi.document() == json.loads((DOCS / "asyncapi.json").read_text()), "run `make schema`"
    jsonschema.Draft7Validator.check_schema(PUBLISHED)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi.document()

    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if "$ref" in part else []
            return own + [found for value in part.values() for found in references(value)]
        return [found for value in part for found in references(value)] if isinstance(part, list) else []

    found = set(references(document))
    assert len(found) > 2 * len(schemas.SENT)
    for reference in found:
        at: Any = document
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]
    told = {name for operation in document["operations"].values() for name in map(str, references(operation))}
    assert {f"#/channels/stream/messages/{name}" for name in schemas.SENT} <= told
