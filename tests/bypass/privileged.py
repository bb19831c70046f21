"""What tests in namespaces, of a network past the kernel, cannot do without."""

from __future__ import annotations

import os
import shutil

import pytest

from dpdk_bindings import dpdk


def need(*tools: str) -> None:
    """Skips the test with what is missing: DPDK, root, or one of these programs."""
    if reason := dpdk.why_not():
        pytest.skip(reason)
    if os.geteuid() != 0:
        pytest.skip("namespaces and packet sockets need root")
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on this system")
