"""Tick to publish, stage by stage: a frame read from a TLS socket until subscribers' sockets are written.

Feed and gateway spin, so on two cores they take turns at having one alone: the feed's stages are measured
without a gateway, the gateway's with exchange, feed and subscribers together on the other core.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from bench import frames
from bench.certificates import Certificates
from bench.cores import Cores, waited_ns
from bench.fanout import MEASURED_S, SETTLE_S
from bench.frames import Dataset
from bench.product import Histogram, Layout, Product, between, percentile_ns, running
from bench.programs import BUILD, build
from bench.relay import Programs, process, relayed, said, tell
from bench.report import Report, Row, paired

VENUE = "bybit"
SUBSCRIBE = '{"op":"subscribe","channel":"bybit:BTC-USDT","depth":50,"mode":"inc","interval":0}'
TICKS = {1: 1000, 100: 200, 1000: 100}  # subscribers -> messages a second
LOOK_US = 5000  # of subscribers that do not sleep on their sockets
Stages = dict[str, Histogram]
SECTION = "tick to publish, busy polling"


@dataclass(frozen=True)
class Seen:
    """Every stage's histogram over the measured time, and what the messages were like."""

    stages: Stages
    message_bytes: int
    waited: float  # part of the time that the gateway's loop stood ready while others had its core


def subscribed(receivers: Path, cores: Cores, product: Product, count: int, look_us: int = 0) -> Seen:
    """With ``count`` subscribers, asleep on their sockets or (``look_us``) looking from time to time."""
    order = [str(product.gateway_port), str(count), "0", "/", SUBSCRIBE, str(look_us)]
    with process([str(receivers), *order], cores.client) as clients:
        if said(clients) != "ready":
            raise RuntimeError("the gateway did not take the subscribers")
        cores.rest(SETTLE_S)
        waited = waited_ns(product.gateway_pid, "bw-gateway")
        before = product.snapshot()
        cores.rest(MEASURED_S)
        after = product.snapshot()
        waited = waited_ns(product.gateway_pid, "bw-gateway") - waited
        tell(clients, "stop")
        clients.wait(timeout=10)
    stages = {stage: between(before, after, stage) for stage in before}
    return Seen(stages, product.message_bytes(), waited / MEASURED_S / 1e9)


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


def beside_floor(seen: list[Stages], floor: list[dict[str, float]], how: str) -> list[Row]:
    """What the bare relay takes with subscribers of the same kind, and how often that we take."""
    p50, p99 = (median(one[f"first_{part}_ns"] for one in floor) / 1000 for part in ("p50", "p99"))
    ours = [percentile_ns(one["received_to_first_sent"], 0.5) for one in seen]
    value = paired([one["first_p50_ns"] for one in floor], ours)
    return [
        Row(
            f"bare recv(), hop, send(): first socket written, {how}",
            f"p50 {p50:,.2f}, p99 {p99:,.2f} us",
            note="the kernel's part: as many bytes, no TLS, nothing decided",
        ),
        Row(f"first socket written, {how}, of the bare relay's", f"{value:,.2f} x", note="p50"),
    ]


def run(report: Report, cores: Cores, times: int) -> None:
    receivers, server = build("receivers.c"), build("tick_server.c", flags=("-lssl", "-lcrypto"))
    relay = build("relay_floor.c", flags=("-pthread",))
    if receivers is None or server is None or relay is None:
        report.add(
            SECTION, Row("tick to publish", "not measured", note="no C compiler or no OpenSSL headers")
        )
        return
    layout = Layout(cores.client, cores.client, cores.server, "busy", "busy")
    dataset = replace(frames.generated(VENUE, BUILD), name="chain")
    programs = Programs(server, relay, receivers)
    feed: list[Stages] = []
    seen: dict[int, list[Seen]] = {count: [] for count in TICKS}
    awake: list[Seen] = []
    floor: dict[int, list[dict[str, float]]] = {0: [], LOOK_US: []}
    with tempfile.TemporaryDirectory() as directory:
        certificates = Certificates.make(Path(directory))
        for _ in range(times):
            feed.append(alone(server, certificates, dataset, cores))
            for count, rate in TICKS.items():
                with running(server, certificates, dataset, rate, layout) as product:
                    seen[count].append(subscribed(receivers, cores, product, count))
            with running(server, certificates, dataset, TICKS[1], layout) as product:
                awake.append(subscribed(receivers, cores, product, 1, LOOK_US))
            for look_us, found in floor.items():
                sent = seen[1][-1].message_bytes
                found.append(relayed(programs, cores, dataset.path, TICKS[1], sent, look_us))
    one, looking = [found.stages for found in seen[1]], [found.stages for found in awake]
    waited = median(found.waited for found in seen[1])
    decode, publish = "PLAINTEXT_TO_DECODED", "DECODED_TO_PUBLISHED"
    pace = f"{TICKS[1]} ticks a second"
    shared = f"feed, exchange and subscriber share a core; others had the gateway's for {100 * waited:.1f} %"
    report.add(
        SECTION,
        row("socket read -> plaintext", feed, ("RECEIVE_TO_PLAINTEXT",), 0, 0, f"{pace}, feed alone"),
        row("plaintext -> ring visible", feed, (decode, publish), 1, 5, "two stages' percentiles added"),
        row("socket read -> ring visible", feed, ("RECEIVE_TO_PUBLISHED",), 3, 0),
        row("ring visible -> seen by the gateway", one, ("published_to_seen",), 0.45, 0, "gateway alone"),
        row("ring visible -> first socket written", one, ("published_to_first_sent",), 0, 0),
        row("socket read -> first socket written", one, ("received_to_first_sent",), 15, 50, shared),
        *beside_floor(one, floor[0], "it sleeps"),
        row(
            "socket read -> first socket written, it does not sleep",
            looking,
            ("received_to_first_sent",),
            15,
            50,
            f"it looks every {LOOK_US / 1000:g} ms: send() wakes nobody",
        ),
        *beside_floor(looking, floor[LOOK_US], "it does not sleep"),
        *(
            row(
                f"ring visible -> last of {count} sockets written",
                [found.stages for found in seen[count]],
                ("published_to_last_sent",),
                0,
                0,
                f"{TICKS[count]} ticks a second",
            )
            for count in TICKS
            if count > 1
        ),
    )
