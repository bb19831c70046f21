"""The one door to this room's C: nobody else imports ``handlers._native``."""

from handlers._native import ffi, lib

__all__ = ["ffi", "lib"]
