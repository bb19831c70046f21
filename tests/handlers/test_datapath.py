"""The way to the exchange: what is taken, what is noted for the next process, what ends this one."""

from __future__ import annotations

import asyncio
import io
import os
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from dpdk_bindings import dpdk
from dpdk_bindings.errors import BypassError
from handlers import datapath
from handlers.datapath import NOTE_S, Datapath, network_settings, note_path
from handlers.errors import FallBackError, SetupError, UnavailableError
from handlers.logs import Log
from handlers.settings import FeedSettings
from hw.errors import InterfaceError

WITH_ADDRESS: dict[str, Any] = {"device": "pci:0000:08:00.0", "addresses": ("192.0.2.2/24",)}


def settings(directory: Path, **changes: Any) -> FeedSettings:
    return FeedSettings("okx", shm_dir=directory, run_dir=directory, **changes)


def opened(told: FeedSettings) -> tuple[Datapath, str]:
    stream = io.StringIO()
    return Datapath(told, Log("feed", stream=stream, as_json=False)), stream.getvalue()


@pytest.mark.parametrize("path", ["auto", "sockets"])
def test_without_a_device_it_is_sockets_and_nothing_is_said(tmp_path: Path, path: str) -> None:
    way, said = opened(settings(tmp_path, path=path, source_address="192.0.2.9"))
    assert (way.kind, way.handle, way.reason, said) == ("sockets", None, None, "")
    assert way.source_address == "192.0.2.9"
    assert way.status() == {"kind": "sockets", "wanted": path}


def test_dpdk_without_a_device_is_a_wrong_configuration(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as refused:
        opened(settings(tmp_path, path="dpdk"))
    assert refused.value.exit_code == 78
    assert "af_xdp:eth1" in refused.value.do


def test_what_cannot_be_opened_falls_back_at_once_or_ends_the_process(tmp_path: Path) -> None:
    device = {"device": "af_packet:bwnosuch0"}
    way, said = opened(settings(tmp_path, **device))
    assert way.kind == "sockets"
    assert "bwnosuch0" in str(way.reason)
    assert said.startswith("datapath_fell_back ")
    assert way.status()["reason"] == way.reason
    with pytest.raises(UnavailableError) as refused:
        opened(settings(tmp_path, path="dpdk", **device))
    assert refused.value.exit_code == 69
    assert datapath.failure(tmp_path, "okx") is not None


def test_a_note_of_the_last_process_holds_for_an_hour_where_nothing_is_demanded(tmp_path: Path) -> None:
    note = note_path(tmp_path, "okx")
    note.write_text("the cable is out")
    way, _ = opened(settings(tmp_path, **WITH_ADDRESS))
    assert (way.kind, way.reason) == ("sockets", "the cable is out")
    past = note.stat().st_mtime - NOTE_S - 1
    os.utime(note, (past, past))
    assert datapath.failure(tmp_path, "okx") is None


@pytest.mark.skipif(dpdk.why_not() is not None, reason=str(dpdk.why_not()))
async def test_a_network_without_a_connection_in_time_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(datapath, "PROOF_S", 0.05)
    for path, error in (("auto", FallBackError), ("dpdk", UnavailableError)):
        note_path(tmp_path, "okx").unlink(missing_ok=True)
        way, _ = opened(settings(tmp_path, path=path, **WITH_ADDRESS))
        assert way.kind == "dpdk"
        way.dialled()
        never = asyncio.Event()

        async def work(never: asyncio.Event = never) -> None:
            await never.wait()

        with pytest.raises(error, match="no connection in 0 s through pci:"):
            await way.guarded(work())
        assert "no frame came" in str(datapath.failure(tmp_path, "okx"))
        way.connected()
        assert datapath.failure(tmp_path, "okx") is None
        way.close()


def test_addresses_of_the_settings_bring_their_own_networks_as_routes(tmp_path: Path) -> None:
    told = network_settings(settings(tmp_path, **WITH_ADDRESS, routes=(("0.0.0.0/0", "192.0.2.1"),)))
    assert told.addresses == (ip_interface("192.0.2.2/24"),)
    assert [route.destination for route in told.routes] == [
        ip_network("0.0.0.0/0"),
        ip_network("192.0.2.0/24"),
    ]
    with pytest.raises(BypassError, match="no IP address"):
        network_settings(settings(tmp_path, device="pci:0000:08:00.0"))
    with pytest.raises(InterfaceError, match="bwnosuch0"):
        network_settings(settings(tmp_path, device="af_xdp:bwnosuch0"))
    with pytest.raises(BypassError, match="would reset"):
        network_settings(settings(tmp_path, device="af_packet:lo0", interface=_with_an_address()))


def _with_an_address() -> str:
    """An interface of this machine to which the kernel has given an address."""
    from hw import addresses

    for path in sorted(Path("/sys/class/net").iterdir()):
        if any(not one.is_link_local for one in addresses.read(path.name).addresses):
            return path.name
    pytest.skip("no interface here has an address")
