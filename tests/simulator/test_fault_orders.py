"""How faults are armed: by script and by order, until when, and what is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
import websockets

from appliance.simulator import SimulatorError


async def test_a_fault_can_end_by_itself(play: Any) -> None:
    played = await play("binance")
    path, query = "/api/v3/depth", {"symbol": "BTCUSDT"}
    await played.fault("rest_status", status=429, seconds=1.5)
    async with asyncio.timeout(5):
        while (await played.raw(path, **query))[0] == 429:
            await asyncio.sleep(0.05)
    assert (await played.control("/faults"))["fired"]["rest_status"] >= 1


async def test_a_script_arms_faults_at_updates_and_at_times(
    play: Any, follow: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "faults.json"
    lines = [
        {"at_update": 3, "symbol": "BTC-USDT", "fault": "drop"},
        {"at_update": 5, "exchange": "okx", "fault": "clock_jump", "by": 60},
        {"at_seconds": 0.1, "exchange": "binance", "fault": "close", "code": 4000},
    ]
    script.write_text(json.dumps(lines))
    played = await play("binance", faults=script)
    assert "fault_not_played" in capsys.readouterr().err  # okx is played elsewhere
    follower = await follow(played)
    await played.step(2)
    await follower.catch_up()
    assert await follower.is_right()
    await played.step(3)
    with pytest.raises((AssertionError, websockets.ConnectionClosed), match=r"gap|4000"):
        await follower.catch_up()
    with pytest.raises(websockets.ConnectionClosed, match="4000"):
        await asyncio.wait_for(follower.client.connection.recv(), 5)
    fired = (await played.control("/faults"))["fired"]
    assert fired == {"drop": 1, "close": 1}


async def test_an_update_that_nobody_sees_uses_no_fault_up(play: Any, follow: Any) -> None:
    """Bybit's top fifty do not change with every update: a drop waits for one that is sent."""
    played = await play("bybit")
    client = await played.connect()
    await client.send({"op": "subscribe", "args": ["orderbook.50.BTCUSDT"]})
    _, snapshot = await client.everything()
    await played.fault("drop", count=3)
    await played.step(40, "BTC-USDT")
    messages = await client.everything()
    assert messages[0]["data"]["u"] == snapshot["data"]["u"] + 4
    assert (await played.control("/faults"))["fired"] == {"drop": 3}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"at_update": 1, "fault": "explode"}], "unknown fault 'explode'"),
        ([{"fault": "drop"}], "at_update or at_seconds"),
        ([{"at_update": 1, "exchange": "binance", "fault": "wrong_checksum"}], "binance sends no checksum"),
        ([{"at_update": 1, "exchange": "binanse", "fault": "drop"}], "unknown exchange 'binanse'"),
        ({"fault": "drop"}, "a list of faults"),
    ],
)
async def test_a_bad_script_is_refused_before_anything_starts(
    play: Any, tmp_path: Any, lines: Any, message: str
) -> None:
    script = tmp_path / "faults.json"
    script.write_text(json.dumps(lines))
    with pytest.raises(SimulatorError, match=message) as refused:
        await play("binance", faults=script)
    assert refused.value.code == 78


async def test_a_flow_that_breaks_ends_the_run(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    played = await play("okx")

    def broken() -> None:
        raise ZeroDivisionError

    flow = played.host.exchange.books["BTC-USDT"].flow
    monkeypatch.setattr(flow, "step", broken)
    await played.control("/resume", {})
    await asyncio.wait_for(played.simulator.ended.wait(), 10)
    assert played.simulator.broken


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"fault": "explode"}, "unknown fault 'explode'"),
        ({}, "unknown fault None"),
        ({"fault": "drop", "symbol": "NO-SUCH"}, "'NO-SUCH' is not simulated"),
        ({"fault": "drop", "delay": 3}, "does not know delay"),
        ({"fault": "slow_rest", "delay": "long"}, "could not convert"),
    ],
)
async def test_bad_orders_are_refused_with_a_reason(play: Any, body: dict[str, Any], message: str) -> None:
    played = await play("binance")
    assert message in (await played.control("/fault", body, status=400))["error"]
    async with played.session.post(
        played.where["control_url"] + "/fault", data=b"{", ssl=played.context
    ) as answer:
        assert isinstance(answer, aiohttp.ClientResponse)
        assert answer.status == 400
