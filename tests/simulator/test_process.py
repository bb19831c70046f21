"""The simulator as a process: ready line, certificates, end, and what it says when it cannot start."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from appliance.simulator.certificates import open_authority
from appliance.simulator.exchanges import EXCHANGES

COMMAND = (sys.executable, "-m", "appliance.simulator")


async def start(*arguments: str) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    return process, json.loads(await asyncio.wait_for(process.stdout.readline(), 30))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_ready_line_strict_tls_and_clean_end(tmp_path: Path, number: signal.Signals) -> None:
    process, ready = await start("--symbols", "BTC", "--state-dir", str(tmp_path), "--levels", "50")
    try:
        assert set(ready["exchanges"]) == set(EXCHANGES)
        context = ssl.create_default_context(cafile=ready["ca_file"])
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        for where in ready["exchanges"].values():
            assert set(where) == {"websocket_url", "rest_url", "control_url"}
            port = int(where["rest_url"].rsplit(":", 1)[1])
            for host in ("localhost", "127.0.0.1"):
                _, writer = await asyncio.open_connection(
                    "127.0.0.1", port, ssl=context, server_hostname=host
                )
                writer.close()
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="example.com")
    finally:
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    mode = stat.S_IMODE((tmp_path / "ca.key").stat().st_mode)
    assert mode == 0o600


async def test_openssl_itself_verifies_strictly(tmp_path: Path) -> None:
    process, ready = await start("--exchange", "okx", "--symbols", "BTC", "--state-dir", str(tmp_path))
    try:
        port = ready["exchanges"]["okx"]["rest_url"].rsplit(":", 1)[1]
        client = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-connect", f"localhost:{port}", "-CAfile", ready["ca_file"]),
            *("-x509_strict", "-verify_return_error", "-verify_hostname", "localhost"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(client.communicate(), 15)
        assert b"Verify return code: 0 (ok)" in output, errors.decode()
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 10)


def test_the_authority_is_kept_and_replaced_when_it_expires(tmp_path: Path) -> None:
    _, path = open_authority(tmp_path)
    first = path.read_bytes()
    assert open_authority(tmp_path)[1].read_bytes() == first
    assert isinstance(open_authority(tmp_path)[0], trustme.CA)


def test_several_processes_make_one_authority(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from appliance.simulator.certificates import open_authority; "
        "print(open_authority(pathlib.Path(sys.argv[1]))[1].read_text())"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert len({process.communicate(timeout=30)[0] for process in started}) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--exchange", "nosuch"), 64, "unknown exchange 'nosuch'"),
        (("--symbols", "BTC-USDT-SWAP"), 64, "BASE-QUOTE"),
        (("--faults", "nosuch.json"), 78, "nosuch.json"),
        (("--rate", "fast"), 2, "--rate"),
        (("--option", "bitget.form=1999"), 64, "bitget.form=2026-09|"),
    ],
)
def test_it_says_why_it_cannot_start(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    command = [*COMMAND, "--state-dir", str(tmp_path), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == code
    assert message in ended.stderr
    assert ended.stdout == ""


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [*COMMAND, "--state-dir", str(tmp_path), "--exchange", "kraken", "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 69
    assert f"127.0.0.1:{port}" in ended.stderr


def test_it_shares_nothing_with_the_handlers() -> None:
    script = (
        "import sys, appliance.simulator.__main__; "
        "print([each for each in sys.modules if each.split('.')[0] in ('handlers', 'dpdk_bindings')])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert ended.stdout.strip() == "[]"
