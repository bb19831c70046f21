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


def _scientific(units: int, decimals: int) -> tuple[str, int]:
    """Significant digits, and how many of the number's digits stand before the point (0.05: -1)."""
    digits = str(units)
    return digits.rstrip("0"), len(digits) - decimals


def javascript(units: int, decimals: int) -> str:
    """As JavaScript prints a number (ECMA-262, Number::toString): shortest, with an exponent below 1e-6."""
    if units == 0:
        return "0"
    digits, point = _scientific(units, decimals)
    if point > -6:
        return shortest(units, decimals)
    mantissa = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    return f"{mantissa}e{point - 1}"


def java_double(units: int, decimals: int) -> str:
    """As Java prints a double: always with a point, with an exponent below 1E-3 and from 1E7 on."""
    if units == 0:
        return "0.0"
    digits, point = _scientific(units, decimals)
    if not -3 < point <= 7:
        return f"{digits[0]}.{digits[1:] or '0'}E{point - 1}"
    text = shortest(units, decimals)
    return text if "." in text else f"{text}.0"
