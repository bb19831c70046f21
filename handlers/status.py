"""The status file of an exchange process: what shared memory does not tell, for the HTTP process.

``run_dir/<exchange>.status.json``, one JSON object, replaced as a whole about once a second:

    exchange, pid, time (s since the epoch), websocket_url, rest_url
    books        {wanted, syncing, live, stale, resync, down}: counts
    subscriptions {requested, acknowledged, refused, standing}: requested and acknowledged count up
    refused      {symbol: the venue's words}
    connections  [{id, state, symbols, standing, messages, bytes, opened (s), last_message (s)}]
    reconnects   {reason: count}
    not_live     {reason: count}: times a live book stopped being live
    rest         {requests, failures, used, limit, venue_used, snapshots, waiting,
                  breaker: {open_until (s, 0 = closed), reason}}
    connects     {used, limit, breaker: ...}: connection attempts in the window, all processes
    datapath     {kind (sockets, dpdk), wanted (path), device, reason: why sockets where a device is named,
                  counters of the network past the kernel, {name: count}; drops by reason as drop_*}
    events_dropped: events the native loop could not hand over
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from handlers.budget import BudgetState
from handlers.lines import Line
from handlers.subscriptions import State

STATES = ("syncing", "live", "stale", "resync", "down")  # enum bw_book_state


def write(path: Path, status: dict[str, Any]) -> None:
    """Replaces the file, so that a reader sees the old one or the new one whole."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_bytes(orjson.dumps(status))
    temporary.replace(path)


def budget(state: BudgetState) -> dict[str, Any]:
    breaker = {"open_until": state.open_until, "reason": state.reason}
    return {"used": state.used, "limit": state.limit, "breaker": breaker}


def books(states: Sequence[int]) -> dict[str, int]:
    counts = Counter(states)
    return {"wanted": len(states), **{name: counts[at] for at, name in enumerate(STATES)}}


def sentence(states: Sequence[int], oldest_data_ns: int, now_ns: int) -> str:
    """For the service manager. ``oldest_data_ns``: last data of the live book that is silent longest."""
    live = sum(STATES[state] == "live" for state in states)
    said = f"{live} of {len(states)} books live"
    return f"{said}, oldest data {max(0, now_ns - oldest_data_ns) / 1e9:.1f} s" if live else said


def subscriptions(lines: Sequence[Line], refused: int) -> dict[str, int]:
    all_of = [line.subscriptions for line in lines]
    return {
        "requested": sum(one.requested for one in all_of),
        "acknowledged": sum(one.acknowledged for one in all_of),
        "refused": refused,
        "standing": sum(one.count(State.STANDING) for one in all_of),
    }


def connection(line: Line, view: Any) -> dict[str, Any]:
    """``view`` is a bw_connection_view."""
    return {
        "id": line.connection,
        "state": line.phase.value,
        "symbols": len(line.books),
        "standing": line.subscriptions.count(State.STANDING),
        "messages": view.messages,
        "bytes": view.bytes,
        "opened": view.opened_ns / 1e9,
        "last_message": view.last_message_ns / 1e9,
    }
