"""Five simulated exchanges' messages between two processes over memif: no kernel, full rate, no loss.

A generator plays them as TCP segments over and over, as fast as the other end takes them; that one checks
each frame as the product does, finds every byte of each stream in order and counts its WebSocket messages.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import websockets

from appliance.simulator.connection import text_frame
from dpdk_bindings import dpdk
from handlers.registry import venue

REPOSITORY = Path(__file__).parents[2]
BUILD = REPOSITORY / "build" / "dev"
PROGRAM = BUILD / "dpdk_bindings" / "native" / "bypass" / "memif-end"
FIVE = {
    "binance": "BTCUSDT",
    "coinbase": "BTC-USD",
    "okx": "BTC-USDT",
    "bybit": "BTCUSDT",
    "kraken": "BTC/USDT",
}
MESSAGES = 40  # of each exchange
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def program() -> Path:
    if reason := dpdk.why_not():
        pytest.skip(reason)
    if not list(Path("/usr/lib").glob("*/dpdk/pmds-*/librte_net_memif.so*")):
        pytest.skip("this libdpdk has no net_memif (Debian: librte-net-memif)")
    compile_it = [sys.executable, "-m", "mesonbuild.mesonmain", "compile", "-C", str(BUILD), "memif-end"]
    subprocess.run(compile_it, check=True, capture_output=True)
    return PROGRAM


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What five simulators send to one subscription each, as memif-end reads it."""
    directory = tmp_path_factory.mktemp("messages")
    path = directory / "messages.bin"
    with simulators(directory) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        context = ssl.create_default_context(cafile=told["ca_file"])

        async def all_of_them() -> list[list[bytes]]:
            tasks = [listen(name, told["exchanges"][name]["websocket_url"], context) for name in FIVE]
            return await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)

        heard = asyncio.run(all_of_them())
    with path.open("wb") as file:
        for row in zip(*heard, strict=True):
            for stream, message in enumerate(row):
                whole = text_frame(message)
                file.write(struct.pack("<BI", stream, len(whole)) + whole)
    return path


@contextmanager
def simulators(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """All five in one process, gone with the block."""
    command = [sys.executable, "-m", "appliance.simulator", "--state-dir", str(directory), "--rate", "400"]
    command += ["--symbols", "BTC-USDT,coinbase:BTC-USD", "--levels", "200"]
    for name in FIVE:
        command += ["--exchange", name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


async def listen(name: str, url: str, context: ssl.SSLContext) -> list[bytes]:
    about = venue(name)
    path = urlsplit(about.websocket_url).path
    place = urlsplit(url)._replace(path=path or "/").geturl()
    async with websockets.connect(place, ssl=context, max_size=None) as socket:
        await socket.send(about.subscribe([FIVE[name]], 1))
        found = [await socket.recv() for _ in range(MESSAGES)]
    return [each.encode() if isinstance(each, str) else each for each in found]


def play(
    program: Path, messages: Path, directory: Path, seconds: float
) -> tuple[dict[str, float], dict[str, int]]:
    """What both ends say."""
    place = str(directory / "memif")
    pipe = subprocess.PIPE
    sender = subprocess.Popen(
        [program, "send", place, messages, str(seconds)], stdout=pipe, stderr=pipe, text=True
    )
    try:
        assert sender.stdout is not None
        assert sender.stdout.readline() == "ready\n", sender.communicate()
        receiver = subprocess.run(
            [program, "receive", place],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + PATIENCE_S,
        )
        out, errors = sender.communicate(timeout=PATIENCE_S)
    finally:
        sender.kill()
        sender.wait()
    assert receiver.returncode == 0, receiver.stderr
    assert sender.returncode == 0, errors
    return json.loads(out), json.loads(receiver.stdout.splitlines()[-1])


def check(sent: dict[str, float], received: dict[str, int], streams: int = len(FIVE)) -> None:
    assert received.pop("frames") == sent["frames"] + streams  # each stream's end is a frame
    assert received.pop("messages") == sent["messages"]
    assert received.pop("grown_pages") < 256  # 1 MiB: libc's own
    assert set(received.values()) == {0}, received
    rate = sent["frames"] / sent["seconds"]
    print(f"{sent['frames']:,.0f} frames in {sent['seconds']:.1f} s: {rate:,.0f} a second")


def test_what_one_process_sends_another_has_in_order(program: Path, messages: Path, run_dir: Path) -> None:
    check(*play(program, messages, run_dir, 3.0))


@pytest.mark.long
def test_a_minute_at_the_highest_rate_without_loss_or_growth(
    program: Path, messages: Path, run_dir: Path
) -> None:
    check(*play(program, messages, run_dir, 60.0))
