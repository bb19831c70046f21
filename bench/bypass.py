"""Cycles of the way past the kernel, by stage, over rings in one process: no kernel, no NIC, one core."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench.certificates import Certificates
from bench.cores import Cores
from bench.programs import ROOT, start
from bench.report import Report, Row, at_most
from dpdk_bindings import dpdk

RECORDS = 100_000
TOGETHER = 6  # records a segment when the venue's sends are joined: what fits
# A prototype's figures (libssl 3.0, lwIP, a Xeon of 2.6 GHz): to be at or below.
SEGMENT, TLS, WEBSOCKET = 573, 1390, 120
MESON_DIR = ROOT / "build" / "dev"
PROGRAM = MESON_DIR / "handlers" / "bench-burst"


def run(report: Report, cores: Cores, times: int) -> None:
    section = f"past the kernel, cycles, Bybit updates of 201 bytes and two levels, best of {3 * times}"
    if reason := dpdk.why_not():
        report.add(section, Row("cycles a segment", "not measured", note=reason))
        return
    subprocess.run(
        [sys.executable, "-m", "mesonbuild.mesonmain", "compile", "-C", str(MESON_DIR), "bench-burst"],
        check=True,
        capture_output=True,
    )
    with tempfile.TemporaryDirectory() as directory:
        pem = Certificates.make(Path(directory))
        arguments = [str(PROGRAM), pem.leaf, pem.key, pem.authority, str(RECORDS)]
        alone = _best([*arguments, "1"], cores.server, 3 * times)
        joined = _best([*arguments, str(TOGETHER)], cores.server, 3 * times)
    report.add(
        section,
        at_most("burst to stream, a segment of one record", alone["segment"], SEGMENT, "", "driver and TCP"),
        at_most("stream to plaintext, a record", alone["tls"], TLS, "", "its copy out of TCP included"),
        at_most("plaintext to message, a frame", alone["websocket"], WEBSOCKET, ""),
        Row("message to ring, an update", f"{alone['message']:,.0f}", note="decode, book, publish"),
        at_most("burst to ring, a record", alone["record"], alone["recv"], "", "one recv() in the same run"),
        Row("the same, of that recv()", f"{alone['of_recv']:.2f}", note="within a run, the median of them"),
        Row("burst to ring, six records a segment", f"{joined['record']:,.0f}"),
        Row("the same", f"{joined['hz'] / joined['record'] / 1e6:,.2f} M/s"),
    )


def _best(command: list[str], cpu: int, times: int) -> dict[str, float]:
    """The least of each figure: what others on the machine took away only ever adds.

    ``of_recv`` is a ratio: the median of the runs'.
    """
    runs = []
    for _ in range(times):
        output, _ = start(command, cpu).communicate()
        runs.append(json.loads(output))
    best = {name: min(run[name] for run in runs) for name in runs[0]}
    return best | {"of_recv": median(run["record"] / run["recv"] for run in runs)}
