"""Say how the box is: processes, books, ages, rates, restarts, and what an exchange's refusals hold up.

Exit code 0 when every book of every exchange that runs here is live, 75 when some are not, 69 when
nothing runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

from appliance import latency
from appliance.commands import add_config, add_json, config_of
from appliance.config import Config
from appliance.lines import json_line
from appliance.observe import ExchangeView, Observer, need_something
from gateway.observe import STATUS_PATIENCE_S, read_sink_statuses, read_status

EXAMPLES = """
  bookwire status
  bookwire status --latency
  bookwire status --json | jq '.exchanges[] | {exchange, live, books}'
"""

TRY_LATER = 75


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--latency", action="store_true", help="where a message's time goes, stage by stage")
    add_json(parser)
    add_config(parser)


def gather(config: Config, exchanges: list[ExchangeView], now_ns: int) -> dict[str, Any]:
    """Everything --json prints. Ages in ms, times of day in none: they are relative to now."""
    return {
        "up": read_status(config.box.run_dir, "up"),
        "recorder": _recorder(read_status(config.box.run_dir, "record"), now_ns / 1e9),
        "exchanges": [_exchange(config, exchange, now_ns) for exchange in exchanges],
        "sinks": read_sink_statuses(config.box.run_dir),
        "mirror": read_status(config.box.run_dir, "mirror"),
    }


def _recorder(told: dict[str, Any], now_s: float) -> dict[str, Any]:
    """The recorder's own words and their age; {} where none runs."""
    return {**told, "age_s": round(now_s - told["time"], 1)} if told else {}


def _exchange(config: Config, exchange: ExchangeView, now_ns: int) -> dict[str, Any]:
    feed = read_status(config.box.run_dir, exchange.exchange)
    ages = [(now_ns - book.last_data_ns) / 1e6 for book in exchange.books if book.last_data_ns]
    return {
        "exchange": exchange.exchange,
        "alive": exchange.alive,
        "pid": exchange.pid,
        "live": exchange.live,
        "books": len(exchange.books),
        "not_live": [
            {"symbol": book.symbol, "state": book.state, "reason": book.reason}
            for book in exchange.books
            if book.state != "live"
        ],
        "age_ms_max": round(max(ages), 1) if ages else None,
        "messages": exchange.counters.get("messages", 0),
        "bytes": exchange.counters.get("bytes", 0),
        "quarantined": exchange.counters.get("quarantined", 0),
        "gaps": sum(book.gaps for book in exchange.books),
        "resyncs": sum(book.resyncs for book in exchange.books),
        "reconnects": sum(feed.get("reconnects", {}).values()),
        "connections": exchange.counters.get("connections_open", 0),
        "uptime_s": round(exchange.uptime_s, 1),
        "breakers": breakers(feed, now_ns / 1e9),
        "path": feed.get("datapath", {}),
    }


def breakers(feed: Mapping[str, Any], now_s: float) -> list[dict[str, Any]]:
    """Those of a feed's status that are open: nothing is sent for ``seconds`` more, and why."""
    return [
        {"of": name, "seconds": round(breaker["open_until"] - now_s, 1), "reason": breaker["reason"]}
        for name, breaker in ((name, feed[name]["breaker"]) for name in ("rest", "connects") if name in feed)
        if breaker["open_until"] > now_s
    ]


def run(arguments: argparse.Namespace) -> int:
    """0, 69 or 75; see above."""
    config = config_of(arguments)
    with Observer(config.box.shm_dir) as observer:
        exchanges = list(need_something(observer.look(), config))
        told = gather(config, exchanges, time.time_ns())
        if arguments.latency:
            spent = latency.gather(observer, [exchange.exchange for exchange in exchanges])
            told["latency"] = spent
    if arguments.json:
        print(json_line(told))
    elif arguments.latency:
        print(latency.table(spent))
    else:
        _print(told)
    return 0 if all(exchange.all_live for exchange in exchanges) else TRY_LATER


def recorder_line(told: Mapping[str, Any]) -> str:
    """How the recording stands."""
    rows = told["exchanges"].values()
    total = {name: sum(row[name] for row in rows) for name in ("records", "gaps", "disk_errors", "lag_bytes")}
    silent = f"  SILENT for {told['age_s']:.0f} s" if told["age_s"] > STATUS_PATIENCE_S else ""
    return (
        f"recorder   {total['records']} updates  "
        f"{told['bytes'] / 1e6:.0f} of {told['budget_bytes'] / 1e6:.0f} MB  "
        f"{total['gaps']} gaps  {total['disk_errors']} disk errors  {total['lag_bytes']} bytes behind{silent}"
    )


def _print(told: dict[str, Any]) -> None:
    restarts = {each["name"]: each["restarts"] for each in told["up"].get("processes", [])}
    for row in told["exchanges"]:
        uptime_s = row["uptime_s"] or 1
        books = f"{row['live']:>4} of {row['books']} live" if row["alive"] else "   down"
        parts = [
            f"{row['exchange']:<10} {books}",
            f"{row['messages'] / max(uptime_s, 1):.0f} messages/s",
            f"oldest {row['age_ms_max']:.0f} ms" if row["age_ms_max"] is not None else "no data yet",
            f"{row['resyncs']} resyncs",
            f"{row['reconnects']} reconnects",
            f"{restarts.get('feed ' + row['exchange'], 0)} restarts",
            f"up {uptime_s:.0f} s",
        ]
        print("  ".join(parts))
        for breaker in row["breakers"]:
            of = {"rest": "REST", "connects": "connecting"}[breaker["of"]]
            print(f"          {of} stands still for {breaker['seconds']:.0f} s more: {breaker['reason']}")
        if "device" in (path := row["path"]):
            print(
                f"          {path['kind']}" + (f" {path['device']}" if path["kind"] == "dpdk" else ""), end=""
            )
            print(f" instead of {path['device']}: {path['reason']}" if "reason" in path else "", end="")
            print(f"; {path['measured']}" if "measured" in path else "")
        for book in row["not_live"]:
            print(f"          {book['symbol']} {book['state']}: {book['reason']}")
    for each in told["sinks"]:
        lost = {what: count for what, count in each["lost"].items() if count}
        print(
            f"sink {each['kind']:<10} {'connected' if each['connected'] else 'not connected'}  "
            f"{each['rows']} rows  {each['backlog_bytes'] / 1e6:.1f} MB waiting, {each['lag_s']:.1f} s behind"
            f"  {each['failures']} failures, {each['retries']} retries" + (f"  lost: {lost}" if lost else "")
        )
        if not each["connected"] and each["last_error"]:
            print(f"          {each['last_error']}")
    if mirror := told["mirror"]:
        ages = ", ".join(f"{name} {each['age_s']:.1f} s" for name, each in mirror["exchanges"].items())
        print(f"mirror of {mirror['topic']}  {mirror['records']} records  beats: {ages or 'none'}")
        if mirror["last_error"]:
            print(f"          {mirror['last_error']}")
    if told["recorder"]:
        print(recorder_line(told["recorder"]))
    for each in told["up"].get("processes", []):
        if not each["name"].startswith("feed "):
            state = f"pid {each['pid']}" if each["pid"] else "down"
            print(f"{each['name']:<20} {state}  {each['restarts']} restarts  up {each['seconds']:.0f} s")
