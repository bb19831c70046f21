"""/openapi.json against the server: schemathesis makes requests of it, good and bad, and holds each answer to
what the document says of it.
"""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from gateway_support import RandomFlow
from test_history import Recorded

from gateway.rest import application
from gateway.settings import HttpSettings
from handlers.logs import Log
from handlers.recording.parquet import convert_waiting

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
SCHEMATHESIS = ROOT / ".schemathesis" / "bin" / "st"


@pytest_asyncio.fixture
async def served(shm_dir: Path, run_dir: Path, tmp_path: Path, make_gateway):
    """A server over books and a recording of them; its address."""
    pytest.importorskip("pyarrow")
    pytest.importorskip("duckdb")
    recorded = Recorded(shm_dir, run_dir, tmp_path / "record")
    convert_waiting(recorded.dir, "zstd", Log("record", stream=io.StringIO()))
    gateway = await make_gateway()
    for name in ("binance", "kraken"):
        writer = gateway.writer(name)
        RandomFlow(5, 4_500_000).fill(writer, writer.add("BTC-USDT", 2, 5))
    settings = HttpSettings(shm_dir, run_dir, record_dir=recorded.dir, writer_patience_ms=600_000)
    async with TestServer(application(settings)) as server:
        yield str(server.make_url("/openapi.json"))


async def schemathesis(url: str, *options: str, patience_s: float) -> None:
    """Fails with what it found."""
    if not SCHEMATHESIS.exists():
        pytest.skip("no schemathesis here: make peers")
    process = await asyncio.create_subprocess_exec(
        *(str(SCHEMATHESIS), "--config-file", str(CONFIG), "run", url, "--checks", "all", "--no-color"),
        *("--generation-deterministic", "--warnings", "off", "--request-timeout", "60"),
        *("--max-response-time", "60"),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await asyncio.wait_for(process.communicate(), patience_s)
    assert process.returncode == 0, told.decode()[-30000:]


async def test_a_few_requests_of_every_kind(served: str) -> None:
    await schemathesis(served, "--phases", "examples,coverage", patience_s=170)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_many_requests_of_every_kind(served: str) -> None:
    await schemathesis(served, "-n", "200", patience_s=1100)
