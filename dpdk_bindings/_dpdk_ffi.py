"""The one door to the DPDK module: nobody else imports ``dpdk_bindings._dpdk``. It may not be there."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dpdk_bindings._dpdk_build import WHY_NOT

ffi: Any = None
lib: Any = None
why_not = WHY_NOT
if not why_not:
    try:
        _module = import_module("dpdk_bindings._dpdk")
        ffi, lib = _module.ffi, _module.lib
    except ImportError as error:  # built here, but DPDK's libraries are gone or of another year
        why_not = f"its libraries do not load: {error}"
