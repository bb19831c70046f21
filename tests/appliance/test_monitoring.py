"""Alert rules and dashboards speak of metrics that are really exposed, and are what Prometheus takes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway import metrics
from gateway.directory import SegmentDirectory
from gateway.settings import HttpSettings

MONITORING = Path(__file__).parents[2] / "appliance" / "monitoring"
RULES = MONITORING / "bookwire.rules.yml"
DASHBOARDS = sorted((MONITORING / "grafana").glob("*.json"))
# What operators of market data ask for, and by which name (and labels) they have it here.
ASKED_FOR = {
    "build_info": "build_info", "feed_up": "feed_up", "feed_state": "feed_state exchange state",
    "feed_messages": "feed_messages_total", "feed_bytes": "feed_bytes_total",
    "feed_last_data": "feed_last_data_timestamp_seconds", "reconnects": "feed_reconnects_total reason",
    "receive_queue": "feed_receive_queue_bytes", "largest_frame": "feed_largest_frame_bytes",
    "subscriptions": "subscriptions exchange state", "books": "books exchange state",
    "resyncs": "book_resyncs_total", "resyncs by reason": "books_not_live_total exchange reason",
    "sequence gaps": "sequence_gaps_total", "gap seconds": "gap_seconds exchange",
    "checksum failures": "checksum_failures_total", "verifier": "checksum_verifier_state exchange state",
    "crossed": "books_crossed_total", "crossed seconds": "crossed_seconds_total exchange",
    "audit mismatches": "book_audit_mismatches_total",
    "stage latency": "stage_latency_seconds exchange stage", "apply": "budget_seconds exchange stage",
    "exchange delay": "exchange_delay_seconds", "clock offset": "clock_offset_seconds",
    "clock synchronised": "clock_synchronised", "rest weight": "rest_weight_used_ratio",
    "connection attempts": "feed_connects_total", "failed attempts": "feed_connect_failures_total",
    "ring overruns": "ring_overruns_total", "ring lag": "gateway_ring_lag_bytes",
    "ring lag in seconds": "gateway_latency_seconds stage", "clients": "gateway_clients",
    "client subscriptions": "gateway_subscriptions type", "sent": "gateway_sent_bytes_total",
    "slow clients": "gateway_slow_clients_total policy", "sink lag": "sink_lag_seconds sink",
    "journal": "recorder_bytes_total", "datapath": "datapath_info kind",
}  # fmt: skip
NAME = re.compile(r"\bbookwire_[a-z_]+")


def exposed() -> set[str]:
    """Every metric there can be."""
    return {name for name, *_ in metrics.described()}


def spoken(text: str) -> set[str]:
    return {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in NAME.findall(text)}


def test_the_exposition_of_an_empty_box_is_named_so_too(tmp_path: Path) -> None:
    settings = HttpSettings(tmp_path, tmp_path)
    text = metrics.exposition(settings, SegmentDirectory(tmp_path, 1000))
    assert spoken(text) <= exposed()


@pytest.mark.parametrize("wanted", ASKED_FOR)
def test_what_operators_ask_for_is_exposed(wanted: str) -> None:
    name, *labels = ASKED_FOR[wanted].split()
    known = {row[0]: set(row[2]) for row in metrics.described()}
    assert set(labels) <= known[f"bookwire_{name}"]


@pytest.mark.parametrize("path", [RULES, *DASHBOARDS], ids=lambda path: path.name)
def test_only_metrics_that_exist_are_asked_for(path: Path) -> None:
    asked = spoken(path.read_text())
    assert asked
    assert asked - exposed() == set()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_can_be_provisioned(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["uid"] == f"bookwire-{path.stem}"
    assert board["templating"]["list"][0]["type"] == "datasource"
    places = [panel["gridPos"] for panel in board["panels"]]
    taken = {
        (x, y)
        for at in places
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    }
    assert len(taken) == sum(at["w"] * at["h"] for at in places), "panels overlap"
    assert all(at["x"] + at["w"] <= 24 for at in places)
    for panel in board["panels"]:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
        assert all(target["expr"].count("(") == target["expr"].count(")") for target in panel["targets"])


def test_prometheus_takes_the_rules() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool here (Debian: prometheus)")
    done = subprocess.run(
        ["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_its_runbook() -> None:
    alerts = re.findall(r"^\s+- alert: (\w+)", RULES.read_text(), re.MULTILINE)
    runbooks = (MONITORING.parents[1] / "docs" / "runbooks.md").read_text()
    assert re.findall(r"^\| `(Bookwire\w+)` \|", runbooks, re.MULTILINE) == alerts
