"""Taker fees: the dated table that is shipped, and what the configuration says instead."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from gateway.channels import ArbTerms
from gateway.settings import ArbSettings
from handlers.registry import EXCHANGES

PPM_PER_PERCENT = 10_000
EXCHANGES_MAX = 32  # BW_EXCHANGES_MAX
UNKNOWN_PPM = 1_000_000_000  # a thousand times the price: nothing pays where nobody knows the fee


@cache
def shipped() -> dict[str, float]:
    """Taker fee of every exchange in percent, from ``fees.toml``."""
    table = tomllib.loads((files("gateway") / "fees.toml").read_text(encoding="utf-8"))
    return {exchange: float(row["taker_percent"]) for exchange, row in table.items()}


def taker_ppm(instead: Mapping[str, float]) -> tuple[int, ...]:
    """Taker fees in millionths by exchange number; ``instead`` in percent by exchange id.

    An exchange of one's own has none until ``[arb.fees]`` names it, and takes no part until then.
    """
    fees = {**shipped(), **instead}
    by_number = [0] * EXCHANGES_MAX
    for row in EXCHANGES:
        known = row.id in fees
        by_number[row.number] = round(fees[row.id] * PPM_PER_PERCENT) if known else UNKNOWN_PPM
    return tuple(by_number)


def arb_terms(settings: ArbSettings) -> ArbTerms:
    """The configured thresholds with everybody's fees."""
    return ArbTerms(settings.min_net_bp, settings.min_notional, settings.capital, taker_ppm(settings.fees))
