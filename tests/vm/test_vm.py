"""A bare Debian 12 becomes a box past the kernel by ``site.yml``, and is given back by ``uninstall.yml``.

One machine, one story, told in order: provisioned with one reboot, isolated cores and hugepages, five NICs
with vfio-pci, five feeds on DPDK's virtio driver, a subscriber outside, a second run without a change. Every
instruction may be interpreted (QEMU's TCG): this shows that it works, never how fast. With $BOOKWIRE_VM_KEEP
the machine outlives a failure, and the tests after it can go on with it (-k), when it is mended.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import lab
import machine
import pytest
from bookwire_client import BookChanged, Client
from lab import EXCHANGES, HUGEPAGES, SYMBOL, Simulators
from machine import BOOT_ID, ISOLATED, DataNic, Vm
from ports import free_ports

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.timeout(5400)]
PARAMETERS = ("isolcpus=", "nohz_full=", "rcu_nocbs=", "intel_iommu=on")
LIVE_S = 600.0


def told(what: str, seconds: float) -> None:
    print(f"\n{time.strftime('%H:%M:%S')} {what}: {seconds:.0f} s", flush=True)


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vm]:
    for tool in ("qemu-system-x86_64", "debootstrap", "ssh", "setpriv"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} here (scripts/system vm)")
    if os.geteuid() != 0:
        pytest.skip("debootstrap needs root")
    for step, seconds in machine.make_image().items():
        told(step, seconds)
    made = machine.kept(len(EXCHANGES))
    try:
        if made is None:
            directory = machine.KEPT if machine.KEEP else tmp_path_factory.mktemp("vm")
            ssh, gateway = free_ports(2)
            made = machine.new(directory, len(EXCHANGES), ssh, {gateway: 8081})
            told("boot by its own GRUB, to SSH", made.start())
        yield made
    finally:
        if made is not None:
            made.stop()
            if not made.keep:
                (made.directory / "disk.img").unlink()


@pytest.fixture(scope="module")
def simulators(vm: Vm) -> Iterator[Simulators]:
    started = Simulators(vm.directory / "simulators")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def variables(vm: Vm, simulators: Simulators) -> dict[str, object]:
    lab.prepare(vm, simulators)
    return lab.facts(simulators)


def test_it_is_provisioned_with_one_reboot(vm: Vm, variables: dict[str, object]) -> None:
    before = vm.said(f"cat {BOOT_ID}")
    done = lab.play(vm, "site.yml", variables)
    told("site.yml, the reboot included", done.seconds)
    assert before != vm.said(f"cat {BOOT_ID}")
    assert done.output.count("RUNNING HANDLER [kernel : Reboot into the parameters]") == 1


def test_cores_are_isolated_and_hugepages_there(vm: Vm) -> None:
    assert vm.said("cat /sys/devices/system/cpu/isolated") == ISOLATED
    assert vm.said("cat /proc/sys/vm/nr_hugepages") == str(HUGEPAGES)
    line = vm.said("cat /proc/cmdline")
    assert all(parameter in line for parameter in PARAMETERS), line


def test_nics_are_the_poll_mode_drivers(vm: Vm) -> None:
    for at in range(len(EXCHANGES)):
        driver = vm.said(f"readlink /sys/bus/pci/devices/{DataNic(at).pci}/driver")
        assert Path(driver).name == "vfio-pci"


def test_all_books_are_live_past_the_kernel(vm: Vm) -> None:
    began = time.monotonic()
    states: dict[str, str] = {}
    while time.monotonic() - began < LIVE_S:
        units = " ".join(f"bookwire-feed@{name}" for name in EXCHANGES)
        said = vm.ssh(f"for unit in {units}; do systemctl show -P StatusText $unit; done") or ""
        states = dict(zip(EXCHANGES, said.splitlines(), strict=True))
        if all(text.startswith("1 of 1 books live") for text in states.values()):
            break
        time.sleep(5)
    told("until all books are live", time.monotonic() - began)
    status = {name: json.loads(vm.said(f"cat /run/bookwire/{name}.status.json")) for name in EXCHANGES}
    assert {row["datapath"]["kind"] for row in status.values()} == {"dpdk"}
    assert all(row["datapath"]["counters"]["segments"] for row in status.values())
    assert all(text.startswith("1 of 1 books live") for text in states.values()), states


async def test_a_subscriber_outside_gets_five_books(vm: Vm) -> None:
    port = next(mine for mine, its in vm.forwards.items() if its == 8081)
    changed: dict[str, int] = {}
    async with asyncio.timeout(LIVE_S), Client(f"ws://127.0.0.1:{port}/", idle_s=60.0) as client:
        for name in EXCHANGES:
            await client.subscribe(f"{name}:{SYMBOL}", depth=20)
        async for event in client.events():
            if isinstance(event, BookChanged) and event.book.live and event.book.bids and event.book.asks:
                changed[event.book.channel] = changed.get(event.book.channel, 0) + 1
            if len(changed) == len(EXCHANGES) and min(changed.values()) >= 3:
                break
    assert set(changed) == {f"{name}:{SYMBOL}" for name in EXCHANGES}


def test_verify_passes(vm: Vm, variables: dict[str, object]) -> None:
    done = lab.play(vm, "verify.yml", variables)
    told("verify.yml", done.seconds)
    assert done.counts["failed"] == 0


def test_its_metrics_have_the_clock(vm: Vm) -> None:
    """The unit's sandbox lets the clock be read: not to be seen in a container, which forbids it anyway."""
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/metrics').read().decode())"
    told = vm.said(f'python3 -c "{ask}"')
    assert "\nbookwire_clock_synchronised " in told
    assert re.findall('^bookwire_feed_up{exchange="(.*)"} 1$', told, re.MULTILINE) == list(EXCHANGES)


def test_doctor_sees_the_box_as_it_is(vm: Vm) -> None:
    lines = vm.said("bookwire doctor --no-distance --json --config /etc/bookwire/bookwire.toml").splitlines()
    rows = [json.loads(line) for line in lines]
    by_area: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_area.setdefault(row["area"], []).append(row)
    assert not [row for row in rows if row["level"] == "failure"]
    assert [row["level"] for row in by_area["hugepages"]] == ["ok"]
    assert any("are isolated" in row["what"] and row["level"] == "ok" for row in by_area["isolation"])
    taken = [row for row in by_area["nic"] if "vfio-pci, bound to user space" in row["what"]]
    assert len(taken) == len(EXCHANGES)


def test_a_second_run_changes_nothing(vm: Vm, variables: dict[str, object]) -> None:
    done = lab.play(vm, "site.yml", variables)
    told("site.yml again", done.seconds)
    assert done.counts["changed"] == 0, done.changed


def test_it_is_given_back(vm: Vm, variables: dict[str, object]) -> None:
    done = lab.play(vm, "uninstall.yml", variables)
    told("uninstall.yml", done.seconds)
    for at in range(len(EXCHANGES)):
        driver = vm.said(f"readlink /sys/bus/pci/devices/{DataNic(at).pci}/driver")
        assert Path(driver).name == "virtio-pci"
        assert vm.said(f"ls /sys/bus/pci/devices/{DataNic(at).pci}/virtio*/net")
    left = vm.said("find /etc /opt /usr/bin /run /dev/shm -name '*bookwire*' -not -path '/etc/ssl/*'")
    assert left == ""
    began, before = time.monotonic(), vm.said(f"cat {BOOT_ID}")
    vm.ssh("systemctl reboot", check=False, timeout=30.0)
    vm.wait_for_reboot(before, began + machine.START_S)
    told("reboot", time.monotonic() - began)
    line = vm.said("cat /proc/cmdline")
    assert not any(parameter in line for parameter in PARAMETERS), line
    assert vm.said("cat /sys/devices/system/cpu/isolated") == ""
    assert vm.said("cat /proc/sys/vm/nr_hugepages") == "0"
