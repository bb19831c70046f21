"""The doctor's verdict on machines that operators have, and that its measures measure."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from shapes import SHAPES
from trees import build

from appliance.doctor import Finding, Needs, examine, of_clock, of_distance, of_jitter, of_lifecycles, verdict
from appliance.measure import Distance, Jitter, distances, jitter
from appliance.placement import place
from handlers.registry import VENUES, active
from hw.clock import Synchronisation
from hw.machine import read

FIVE = dict.fromkeys(("binance", "coinbase", "okx", "bybit", "kraken"), 10.0)
NEEDS = Needs(shared_bytes=110 << 20, busy=())
BYPASS = Needs(shared_bytes=110 << 20, busy=("binance",), bypass=True)

# shape, what is asked: the verdict, and the areas that are more than a note
TABLE: list[tuple[str, Needs, str, list[str]]] = [
    ("one socket, no SMT, tuned, E810", NEEDS, "ok", []),
    ("one socket, no SMT, tuned, E810", BYPASS, "ok", []),
    (
        "two sockets, SMT, ConnectX on node 1", BYPASS, "warning",
        ["cpu", "cpu", "isolation", "interrupts", "limits"],
    ),
    ("two sockets, SMT, ConnectX on node 1", NEEDS, "warning", ["cpu", "cpu", "interrupts"]),
    ("two sockets, SMT off, X710, no IOMMU", NEEDS, "warning", ["clock"]),
    ("two sockets, SMT off, X710, no IOMMU", BYPASS, "warning", ["isolation", "limits", "clock"]),
    (
        "AMD desktop, SMT, 82599, AF_XDP only", BYPASS, "failure",
        ["cpu", "cpu", "cpu", "hugepages", "limits", "clock"],
    ),
    ("cloud VM, ENA, hypervisor", NEEDS, "warning", ["clock", "clock"]),
    ("small VM, virtio", NEEDS, "failure", ["cpu", "memory", "clock", "clock"]),
    ("laptop, Wi-Fi", NEEDS, "warning", ["cpu", "cpu", "clock"]),
    ("ARM server, ConnectX", NEEDS, "warning", ["clock"]),
    ("ARM server, ConnectX", BYPASS, "warning", ["isolation", "limits", "clock"]),
    ("container without sysfs", NEEDS, "failure", ["cpu", "cpu", "memory", "clock"]),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "needs", "level", "areas"), TABLE)
def test_verdicts(tmp_path: Path, shape: str, needs: Needs, level: str, areas: list[str]) -> None:
    machine = read(build(tmp_path, SHAPES[shape]))
    findings = examine(machine, place(machine, FIVE, range(len(machine.cpus.cpus))), needs)
    wrong = [row for row in findings if row.level in ("warning", "failure")]
    assert [row.area for row in wrong] == areas
    assert verdict(findings) == level
    assert all(row.do for row in wrong), "what is wrong comes with what to do"


def test_hugepages_must_do_for_all_feeds_though_running_ones_have_taken_them(tmp_path: Path) -> None:
    machine = read(build(tmp_path, SHAPES["one socket, no SMT, tuned, E810"]))
    total = sum(row.total * row.page_bytes for row in machine.memory.hugepages)
    placement = place(machine, FIVE, range(len(machine.cpus.cpus)))
    for needed, level in ((total, "ok"), (total + 1, "failure")):
        needs = Needs(110 << 20, (), bypass=True, hugepage_bytes=needed)
        found = [row.level for row in examine(machine, placement, needs) if row.area == "hugepages"]
        assert found[0] == level


def test_a_spinning_process_without_a_core_of_its_own_is_a_failure(tmp_path: Path) -> None:
    machine = read(build(tmp_path, SHAPES["laptop, Wi-Fi"]))
    findings = examine(machine, place(machine, FIVE, range(8)), Needs(1 << 20, ("okx",)))
    assert [row.what for row in findings if row.level == "failure"] == [
        "okx shall spin but has no core of its own"
    ]


def test_a_core_is_watched_for_so_long() -> None:
    core = min(os.sched_getaffinity(0))
    seen = jitter(core, 0.05)
    assert seen.core == core
    assert 50e6 <= seen.spun_ns < 5e9
    assert 0 <= seen.worst_ns <= seen.lost_ns <= seen.spun_ns or seen.lost_ns == seen.worst_ns == 0
    assert (
        os.sched_getaffinity(0) != {core} or len(os.sched_getaffinity(0)) == 1
    )  # this thread is where it was


def test_a_core_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        jitter(4000, 0.01)


async def test_a_distance_is_a_handshake() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        near, none = await distances({"near": f"wss://127.0.0.1:{port}/ws", "none": "wss://127.0.0.1:1/ws"})
    assert near.milliseconds is not None
    assert 0 < near.milliseconds < 3000
    assert (none.milliseconds, none.host) == (None, "127.0.0.1")
    assert none.reason


def test_what_was_measured_becomes_findings() -> None:
    assert of_clock(Synchronisation(True, 400_000, 0)).level == "ok"
    assert of_clock(Synchronisation(True, 5_000_000, 0)).level == "note"
    assert of_clock(Synchronisation(False, 16_000_000_000, 0)).level == "warning"
    quiet, torn = of_jitter([Jitter(2, 8_000, 0, 10**8), Jitter(3, 2_000_000, 5_000_000, 10**8)])
    assert (quiet.level, torn.level) == ("ok", "warning")
    assert "5.0% of the time" in torn.what
    rows = of_distance(
        [Distance("okx", "h", 3.0), Distance("okx", "h", 180.0), Distance("okx", "h", None, "no")]
    )
    assert [row.level for row in rows] == ["ok", "note", "warning"]
    assert verdict([]) == "ok"
    assert verdict([Finding("note", "a", "b"), Finding("failure", "a", "b", "c")]) == "failure"


def test_the_command_on_this_machine(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "appliance.cli", "doctor", "--no-distance", "--no-spin", "--json"),
            *("--shm-dir", str(tmp_path / "shm"), "--run-dir", str(tmp_path / "run")),
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"cpu", "placement", "memory", "clock"} <= {row["area"] for row in rows}
    assert done.returncode == (69 if any(row["level"] == "failure" for row in rows) else 0)


def test_exchanges_that_no_longer_serve_are_told_with_the_reason() -> None:
    notes = list(of_lifecycles(VENUES.values(), active()))
    assert {row.what.split()[0] for row in notes} == {"bitmart", "coinex", "ascendex"}
    assert all(row.level == "note" and "not dialled unless named" in row.what for row in notes)
    (warning,) = (row for row in of_lifecycles(VENUES.values(), ["coinex", "okx"]) if row.level == "warning")
    assert "2026-09-29" in warning.what
    assert "take coinex out" in warning.do
