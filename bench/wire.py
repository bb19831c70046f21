"""TLS receive, one frame a record: ``bw_tls`` against a bare C loop over OpenSSL, taking turns."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from statistics import median

from bench.certificates import Certificates
from bench.cores import Cores
from bench.programs import ROOT, build, start
from bench.report import Report, Row, at_least, paired

FRAME_BYTES = 450  # what the generated updates have on average
BURSTS = 1500
BARE_TIMES = 0.95


def run(report: Report, cores: Cores, times: int) -> None:
    section = "TLS receive, one frame a record"
    native = ROOT / "dpdk_bindings" / "native"
    sources = [str(path) for path in sorted(native.glob("*.c")) if path.name != "wire_version.c"]
    flags = ("-std=gnu17", "-D_GNU_SOURCE", f"-I{native}", "-lssl", "-lcrypto", "-lz")
    program = build("tls_receive.c", *sources, flags=flags)
    if program is None:
        report.add(section, Row("TLS receive", "not measured", note="no C compiler or no OpenSSL headers"))
        return
    seen: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as directory:
        pem = Certificates.make(Path(directory))
        arguments = [pem.leaf, pem.key, pem.authority, str(FRAME_BYTES), str(BURSTS)]
        for _ in range(times):
            output, _ = start([str(program), *arguments], cores.server).communicate()
            seen.append(json.loads(output))
    for name, what in (
        ("bare", "bare OpenSSL"),
        ("bw_tls", "bw_tls"),
        ("bw_tls_websocket", "bw_tls + bw_websocket"),
    ):
        ns = median(one[name] for one in seen)
        report.add(section, Row(f"{what}", f"{1000 / ns:,.2f} M/s", note=f"{ns:,.0f} ns CPU a record"))
    value = paired([one["bw_tls"] for one in seen], [one["bare"] for one in seen])
    report.add(section, at_least("records/s of bw_tls, of bare OpenSSL", value, BARE_TIMES, "x"))
