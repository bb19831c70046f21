"""Tick to publish, stage by stage: a frame read from a TLS socket until subscribers' sockets are written.

Feed and gateway spin, so on two cores they take turns at having one alone: the feed's stages are measured
without a gateway, the gateway's with exchange, feed and subscribers together on the other core.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

from bench import frames
from bench.certificates import Certificates
from bench.cores import Cores
from bench.fanout import MEASURED_S, SETTLE_S
from bench.frames import Dataset
from bench.product import Histogram, Layout, Product, between, percentile_ns, running
from bench.programs import BUILD, build, start
from bench.report import Report, Row

VENUE = "bybit"
SUBSCRIBE = '{"op":"subscribe","channel":"bybit:BTC-USDT","depth":50,"mode":"inc","interval":0}'
TICKS = {1: 1000, 100: 200, 1000: 100}  # subscribers -> messages a second
Stages = dict[str, Histogram]
SECTION = "tick to publish, busy polling"


def subscribed(receivers: Path, cores: Cores, product: Product, count: int) -> Stages:
    """Every stage's histogram over the measured time, with ``count`` subscribers."""
    process = start(
        [str(receivers), str(product.gateway_port), str(count), "0", "/", SUBSCRIBE], cores.client
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the gateway did not take the subscribers")
        cores.rest(SETTLE_S)
        before = product.snapshot()
        cores.rest(MEASURED_S)
        after = product.snapshot()
        process.communicate("stop\n", timeout=10)
    finally:
        process.kill()
        process.wait()
    return {stage: between(before, after, stage) for stage in before}


def figures(rounds: list[Stages], *stages: str) -> tuple[float, float]:
    """p50 and p99 in us: medians over the rounds; of several stages the sum, an upper bound."""
    p50, p99 = (
        median(sum(percentile_ns(one[stage], part) for stage in stages) for one in rounds) / 1000
        for part in (0.5, 0.99)
    )
    return p50, p99


def row(
    what: str, rounds: list[Stages], stages: tuple[str, ...], p50_max: float, p99_max: float, note: str = ""
) -> Row:
    """A limit of 0 is none."""
    p50, p99 = figures(rounds, *stages)
    limits = [f"{name} < {limit:g}" for name, limit in (("p50", p50_max), ("p99", p99_max)) if limit]
    held = all(not limit or value < limit for value, limit in ((p50, p50_max), (p99, p99_max)))
    return Row(
        what,
        f"p50 {p50:,.2f}, p99 {p99:,.2f} us",
        ", ".join(limits) + (" us" if limits else ""),
        held if limits else None,
        note,
    )


def alone(server: Path, certificates: Certificates, dataset: Dataset, cores: Cores) -> Stages:
    """The feed's stages with the feed alone on the measured core and nobody subscribed."""
    layout = Layout(cores.client, cores.server, None, "busy", "busy")
    with running(server, certificates, dataset, TICKS[1], layout) as product:
        cores.rest(SETTLE_S)
        before = product.snapshot()
        cores.rest(MEASURED_S)
        after = product.snapshot()
    return {stage: between(before, after, stage) for stage in before}


def run(report: Report, cores: Cores, times: int) -> None:
    receivers, server = build("receivers.c"), build("tick_server.c", flags=("-lssl", "-lcrypto"))
    if receivers is None or server is None:
        report.add(
            SECTION, Row("tick to publish", "not measured", note="no C compiler or no OpenSSL headers")
        )
        return
    layout = Layout(cores.client, cores.client, cores.server, "busy", "busy")
    dataset = replace(frames.generated(VENUE, BUILD), name="chain")
    feed: list[Stages] = []
    seen: dict[int, list[Stages]] = {count: [] for count in TICKS}
    with tempfile.TemporaryDirectory() as directory:
        certificates = Certificates.make(Path(directory))
        for _ in range(times):
            feed.append(alone(server, certificates, dataset, cores))
            for count, rate in TICKS.items():
                with running(server, certificates, dataset, rate, layout) as product:
                    seen[count].append(subscribed(receivers, cores, product, count))
    one = seen[1]
    decode, publish = "PLAINTEXT_TO_DECODED", "DECODED_TO_PUBLISHED"
    pace = f"{TICKS[1]} ticks a second"
    shared = "feed, exchange and subscriber share a core here"
    report.add(
        SECTION,
        row(
            "socket read -> plaintext",
            feed,
            ("RECEIVE_TO_PLAINTEXT",),
            0,
            0,
            f"{pace}, feed alone on its core",
        ),
        row("plaintext -> ring visible", feed, (decode, publish), 1, 5, "two stages' percentiles added"),
        row("socket read -> ring visible", feed, ("RECEIVE_TO_PUBLISHED",), 3, 0),
        row(
            "ring visible -> seen by the gateway",
            one,
            ("published_to_seen",),
            0.45,
            0,
            f"{pace}, gateway alone",
        ),
        row("ring visible -> first socket written", one, ("published_to_first_sent",), 0, 0),
        row("socket read -> first socket written", one, ("received_to_first_sent",), 15, 50, shared),
        *(
            row(
                f"ring visible -> last of {count} sockets written",
                seen[count],
                ("published_to_last_sent",),
                0,
                0,
                f"{TICKS[count]} ticks a second",
            )
            for count in TICKS
            if count > 1
        ),
    )
