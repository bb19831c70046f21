"""TLS receive, one frame a record: ``bw_tls`` against a bare C loop over OpenSSL, taking turns."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from statistics import median

import trustme

from bench.cores import Cores
from bench.programs import ROOT, build
from bench.report import Report, Row, at_least, paired

FRAME_BYTES = 450  # what the generated updates have on average
BURSTS = 1500
BARE_TIMES = 0.95


def certificates(directory: Path) -> tuple[str, str, str]:
    """A test CA and a leaf for localhost: certificate, key and CA, as PEM files."""
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    names = [directory / name for name in ("certificate.pem", "key.pem", "ca.pem")]
    names[0].write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(names[1])
    authority.cert_pem.write_to_path(names[2])
    return str(names[0]), str(names[1]), str(names[2])


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
        arguments = [*certificates(Path(directory)), str(FRAME_BYTES), str(BURSTS)]
        for _ in range(times):
            command = ["taskset", "-c", str(cores.server), str(program), *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seen.append(json.loads(done.stdout))
    for name, what in (
        ("bare", "bare OpenSSL"),
        ("bw_tls", "bw_tls"),
        ("bw_tls_websocket", "bw_tls + bw_websocket"),
    ):
        ns = median(one[name] for one in seen)
        report.add(section, Row(f"{what}", f"{1000 / ns:,.2f} M/s", note=f"{ns:,.0f} ns CPU a record"))
    value = paired([one["bw_tls"] for one in seen], [one["bare"] for one in seen])
    report.add(section, at_least("records/s of bw_tls, of bare OpenSSL", value, BARE_TIMES, "x"))
