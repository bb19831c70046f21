"""The one door to this room's C: nobody else imports ``gateway._native``."""

from gateway._native import ffi, lib

__all__ = ["ffi", "lib"]
