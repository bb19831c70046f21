"""The one door to this room's C: nobody else imports ``dpdk_bindings._native``."""

from dpdk_bindings._native import ffi, lib

__all__ = ["ffi", "lib"]
