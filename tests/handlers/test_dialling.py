"""Where a connection goes: tokens, names, addresses, and what is said when there is none."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from handlers.dialling import DialError, Dialler
from handlers.errors import SetupError
from handlers.facts import Token
from handlers.registry import VENUES
from handlers.rest import RestError

TOKEN = Token(
    "/api/v1/bullet-public", lambda body: f"{body['data']['endpoint']}?token={body['data']['token']}"
)
VENUE = replace(VENUES["bybit"], token=TOKEN, websocket_url="wss://127.0.0.1/")


class Rest:
    def __init__(self, *bodies: object) -> None:
        self.bodies = list(bodies)
        self.paths: list[str] = []

    async def post(self, path: str, weight: float = 1) -> bytes:
        self.paths.append(path)
        body = self.bodies.pop(0)
        if isinstance(body, Exception):
            raise body
        return orjson.dumps(body)


def answer(token: str) -> dict[str, object]:
    return {"data": {"endpoint": "wss://127.0.0.1:8443/spot", "token": token}}


async def test_every_connection_gets_a_token_of_its_own() -> None:
    rest = Rest(answer("one"), answer("two"))
    dialler = Dialler(VENUE, None, rest)
    first, second = await dialler.next(), await dialler.next()
    assert (first.host, first.port, first.path) == ("127.0.0.1", 8443, "/spot?token=one")
    assert second.path == "/spot?token=two"
    assert rest.paths == [TOKEN.path] * 2


async def test_an_address_of_our_own_keeps_only_the_answers_query() -> None:
    dialler = Dialler(VENUE, "wss://localhost:9443/kucoin/ws?x=1", Rest(answer("one")))
    to = await dialler.next()
    assert (to.host, to.port, to.path) == ("localhost", 9443, "/kucoin/ws?token=one")
    assert to.secure


@pytest.mark.parametrize("body", [{"code": "400"}, {"data": {"endpoint": "gopher://x", "token": ""}}, []])
async def test_an_answer_without_a_token_is_told(body: object) -> None:
    with pytest.raises(DialError, match="no token in the answer") as caught:
        await Dialler(VENUE, None, Rest(body)).next()
    assert (caught.value.cause, caught.value.retry_s) == ("token", 0.0)


async def test_a_refused_token_is_waited_for_as_told() -> None:
    with pytest.raises(DialError, match="HTTP 429") as caught:
        await Dialler(VENUE, None, Rest(RestError("HTTP 429", 7.0))).next()
    assert caught.value.retry_s == 7.0


async def test_a_name_that_does_not_resolve_is_told() -> None:
    dialler = Dialler(replace(VENUE, token=None, websocket_url="wss://nowhere.invalid/"), None, Rest())
    with pytest.raises(DialError, match=r"nowhere\.invalid does not resolve") as caught:
        await dialler.next()
    assert caught.value.cause == "name"


def test_what_is_no_address_is_refused_at_start() -> None:
    with pytest.raises(SetupError, match="no WebSocket address"):
        Dialler(VENUE, "https://localhost", Rest())
