"""What an exchange's refusing HTTP status means: how long to stay away, and in words for people.

The same for REST requests and for the upgrade of a connection. A venue's own Retry-After goes first.
"""

from __future__ import annotations

from typing import NamedTuple


class Refusal(NamedTuple):
    stay_away_s: float  # where the venue names no time
    words: str


REFUSALS = {
    403: Refusal(600.0, "the address is banned or not served"),  # Bybit bans for ten minutes
    418: Refusal(120.0, "the address is banned for going on after 429"),  # two minutes at first, growing
    429: Refusal(10.0, "too many requests"),
    451: Refusal(3600.0, "not served in this country"),
}
UPGRADE_S = 60.0  # a connection is worth waiting longer for than a request


def stay_away_s(status: int, told_s: float, *, upgrade: bool = False) -> float:
    """Seconds until the venue may be asked again; 0 if the status is no refusal."""
    if status not in REFUSALS:
        return 0.0
    usual = REFUSALS[status].stay_away_s
    return told_s or (max(usual, UPGRADE_S) if upgrade else usual)


def words(status: int) -> str:
    """``HTTP 451: not served in this country``: the reason a breaker shows."""
    return f"HTTP {status}: {REFUSALS[status].words}" if status in REFUSALS else f"HTTP {status}"
