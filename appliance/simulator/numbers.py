"""Decimal text of scaled integers: the simulator's books never hold a binary float.

A number is an integer of units, each worth 10**-decimals.
"""

from __future__ import annotations


def fixed(units: int, decimals: int) -> str:
    """The number with exactly `decimals` digits after the point (no point when decimals is 0)."""
    if decimals == 0:
        return str(units)
    digits = str(units)
    if len(digits) <= decimals:
        digits = digits.rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def shortest(units: int, decimals: int) -> str:
    """The number without trailing zeros and without a bare point: 10, 0.5, 0."""
    if decimals == 0 or units == 0:
        return str(units)
    return fixed(units, decimals).rstrip("0").rstrip(".")


def step_text(decimals: int, units: int = 1) -> str:
    """A tick or step as exchanges print it: 0.01, 1, 0.5."""
    return shortest(units, decimals)
