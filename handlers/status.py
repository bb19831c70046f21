"""The status file of an exchange process: what shared memory does not tell, for the HTTP process.

``run_dir/<exchange>.status.json``, one JSON object, replaced as a whole about once a second:

    exchange, pid, time (s since the epoch), websocket_url, rest_url
    books        {wanted, syncing, live, stale, resync, down}: counts
    subscriptions {requested, acknowledged, refused, standing}: requested and acknowledged count up
    refused      {symbol: the venue's words}
    connections  [{id, state, symbols, standing, messages, bytes, opened (s), last_message (s)}]
    reconnects   {reason: count}
    rest         {requests, failures, used, limit, venue_used, snapshots, waiting,
                  breaker: {open_until (s, 0 = closed), reason}}
    connects     {used, limit, breaker: ...}: connection attempts in the window, all processes
    events_dropped: events the native loop could not hand over
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

from handlers.budget import BudgetState


def write(path: Path, status: dict[str, Any]) -> None:
    """Replaces the file, so that a reader sees the old one or the new one whole."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_bytes(orjson.dumps(status))
    temporary.replace(path)


def budget(state: BudgetState) -> dict[str, Any]:
    breaker = {"open_until": state.open_until, "reason": state.reason}
    return {"used": state.used, "limit": state.limit, "breaker": breaker}
