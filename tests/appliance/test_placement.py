"""Who gets which core, on machines that operators have."""

from __future__ import annotations

from pathlib import Path

import pytest
from shapes import SHAPES
from trees import build

from appliance.placement import GATEWAY, may_use, place, told, usable, weight
from handlers.registry import VENUES
from hw.machine import Machine, read

FIVE = {"binance": 50.0, "okx": 30.0, "kraken": 20.0, "bybit": 10.0, "coinbase": 5.0}


def on(tmp_path: Path, name: str) -> tuple[Machine, range]:
    machine = read(build(tmp_path, SHAPES[name]))
    return machine, range(len(machine.cpus.cpus))


def test_each_has_an_isolated_core_and_the_first_is_kept(tmp_path: Path) -> None:
    machine, allowed = on(tmp_path, "one socket, no SMT, tuned, E810")
    placement = place(machine, FIVE, allowed, node=0)
    cores = list(placement.cores.values())
    assert len(set(cores)) == 6
    assert set(cores) <= machine.cpus.isolated
    assert {0, 1} <= placement.housekeeping
    assert placement.cores["binance"] == 2  # the heaviest comes first


def test_siblings_stay_idle_and_the_nics_node_comes_first(tmp_path: Path) -> None:
    machine, allowed = on(tmp_path, "two sockets, SMT, ConnectX on node 1")
    placement = place(machine, FIVE, allowed, node=1)
    cores = {core for core in placement.cores.values() if core is not None}
    assert {machine.cpus.of(core).node for core in cores} == {1}
    used = {sibling for core in cores for sibling in machine.cpus.of(core).siblings}
    assert len(used) == 2 * len(cores)
    assert used.isdisjoint(placement.housekeeping)


def test_the_quiet_share_isolated_cores(tmp_path: Path) -> None:
    machine, _ = on(tmp_path, "one socket, no SMT, tuned, E810")
    placement = place(machine, FIVE, range(6))  # 0-1 for the rest, 2-5 isolated
    assert placement.cores[GATEWAY] == 5
    alone = placement.cores["binance"]
    assert [name for name, core in placement.cores.items() if core == alone] == ["binance"]
    assert {frozenset(names) for names in placement.shared().values()} == {
        frozenset({"okx", "coinbase"}),
        frozenset({"kraken", "bybit"}),
    }
    assert "share" in told(placement)


@pytest.mark.parametrize("name", ["small VM, virtio", "container without sysfs", "laptop, Wi-Fi"])
def test_too_few_cores_are_left_to_the_scheduler(tmp_path: Path, name: str) -> None:
    machine, allowed = on(tmp_path, name)
    placement = place(machine, FIVE, allowed)
    assert set(placement.cores.values()) == {None}
    assert placement.housekeeping == frozenset(allowed)


def test_what_the_configuration_says_stands(tmp_path: Path) -> None:
    machine, allowed = on(tmp_path, "two sockets, SMT off, X710, no IOMMU")
    placement = place(machine, FIVE, allowed, fixed={"kraken": 7, GATEWAY: 20})
    assert (placement.cores["kraken"], placement.cores[GATEWAY]) == (7, 20)
    assert sorted(placement.cores.values(), key=str).count(7) == 1
    few = place(machine, FIVE, range(2), fixed={"kraken": 1})
    assert few.cores["kraken"] == 1
    assert few.cores["binance"] is None


def test_only_allowed_cores_are_used(tmp_path: Path) -> None:
    machine, _ = on(tmp_path, "ARM server, ConnectX")
    assert [cpu.number for cpu in usable(machine, range(8, 12))] == [9, 10, 11]
    assert usable(machine, []) == []


def test_a_faster_cadence_and_more_books_weigh_more() -> None:
    okx, binance = VENUES["okx"], VENUES["binance"]
    assert weight(okx, 20) == 2 * weight(okx, 10)
    assert weight(binance, 1) == 10.0


def test_isolated_cores_are_used_though_they_are_in_nobodys_mask(tmp_path: Path) -> None:
    machine, everything = on(tmp_path, "one socket, no SMT, tuned, E810")
    as_started = frozenset(everything) - machine.cpus.isolated  # what Linux gives to the first process
    assert may_use(machine.cpus, as_started) == frozenset(everything)
    assert may_use(machine.cpus, {0}) == {0}  # somebody's wish
    assert may_use(machine.cpus, {0, 3}) == {0, 3}
