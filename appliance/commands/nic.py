"""Take a network interface out of the kernel's hands for a poll-mode driver, and give it back.

``apply`` rolls back by itself unless ``confirm`` comes in time, also when it is killed half-way. It refuses
an interface that carries the default route or an SSH session unless --carries-my-connection and
--i-have-a-console are both given.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from appliance import nic, nic_record
from appliance.commands import add_json
from handlers.errors import UnavailableError, UsageError
from hw import addresses
from hw.machine import read

EXAMPLES = """
  bookwire nic status
  bookwire nic plan ens1f0 --driver vfio-pci
  bookwire nic apply ens1f0 --driver vfio-pci --confirm-within 60
  bookwire nic confirm ens1f0
  bookwire nic rollback ens1f0
"""

ACTIONS = ("status", "plan", "apply", "confirm", "rollback", "guard", "boot")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "action", choices=ACTIONS, help="guard and boot are what apply and the unit at boot start"
    )
    parser.add_argument("interface", nargs="?", help="name of the interface")
    parser.add_argument("--driver", metavar="NAME", help="user-space driver; without: prepared for AF_XDP")
    parser.add_argument("--confirm-within", type=float, default=60.0, metavar="SECONDS", help="default: 60")
    parser.add_argument("--carries-my-connection", action="store_true", help="take it although ...")
    parser.add_argument("--i-have-a-console", action="store_true", help="... and another way in is at hand")
    parser.add_argument(
        "--state-dir", type=Path, default=nic_record.STATE_DIR, metavar="DIR", help="records of what was done"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """0; 64 without an interface, 69 for one that cannot be taken."""
    if arguments.action == "status":
        return _status(arguments)
    if arguments.action == "boot":
        return _boot(arguments)
    if not arguments.interface:
        raise UsageError(f"nic {arguments.action} of which interface?", do="see `bookwire nic status`")
    action = {"plan": _plan, "apply": _apply, "confirm": _confirm, "rollback": _rollback, "guard": _guard}
    return action[arguments.action](arguments)


def _status(arguments: argparse.Namespace) -> int:
    machine = read()
    taken = {record.interface: record for record in nic_record.records(arguments.state_dir)}
    for one in machine.nics:
        record = taken.pop(one.name, None)
        reach = machine.reach(one)
        if arguments.json:
            told = {"interface": one.name, "driver": one.driver, "way": reach.way, "why": reach.why}
            print(json.dumps({**told, "applied": nic_record.as_json(record) if record else None}))
        else:
            print(f"{one.name:<12} {one.driver or '-':<12} {reach.way:<17} {_told(record)}")
    for record in taken.values():
        print(f"{record.interface:<12} {'-':<12} {'in user space':<17} {_told(record)}")
    return 0


def _told(record: nic_record.Record | None) -> str:
    if record is None:
        return "as the kernel has it"
    if record.confirmed:
        return f"applied and confirmed, {record.begun} steps"
    return f"applied, rolls back in {max(0.0, record.deadline - time.time()):.0f} s unless confirmed"


def _plan(arguments: argparse.Namespace) -> int:
    record = nic.plan(arguments.interface, arguments.state_dir, driver=arguments.driver)
    if arguments.json:
        print(json.dumps(nic_record.as_json(record)))
        return 0
    for danger in nic.dangers(addresses.read(arguments.interface)):
        print(f"DANGER: {danger}")
    for step in record.steps:
        print(step.told())
    for destination, gateway in record.routes:
        print(f"the route to {destination} by {gateway} goes with its address, and comes back on rollback")
    if not record.steps:
        print("nothing to do")
    return 0


def _apply(arguments: argparse.Namespace) -> int:
    with nic_record.alone(arguments.state_dir / f"{arguments.interface}.json"):
        record = nic.plan(arguments.interface, arguments.state_dir, driver=arguments.driver)
        if record.path.exists():
            raise UnavailableError(
                f"{record.interface} was taken already",
                where=str(record.path),
                do="`bookwire nic rollback` first",
            )
        found = nic.dangers(addresses.read(arguments.interface))
        if found and not (arguments.carries_my_connection and arguments.i_have_a_console):
            raise UnavailableError(
                f"{record.interface} is refused: {' and '.join(found)}",
                do="take another; or give --carries-my-connection and --i-have-a-console",
            )
        record.deadline = time.time() + arguments.confirm_within
        record.write()
        guard(record)
        nic.apply(record)
    print(
        f"{record.interface}: {record.begun} steps taken; `bookwire nic confirm {record.interface}` within "
        f"{arguments.confirm_within:g} s, or it is rolled back"
    )
    return 0


def guard(record: nic_record.Record) -> int:
    """A process of its own session that rolls back at the deadline, started before the first step.

    Returns its process id: SIGTERM ends it, and nothing is rolled back.
    """
    command = [
        *(sys.executable, "-P", "-m", "appliance.cli", "nic", "guard", record.interface),
        *("--state-dir", str(record.path.parent)),
    ]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, start_new_session=True, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"guarding\n":
            record.path.unlink()
            raise UnavailableError("the guard that would roll back does not start", where=record.interface)
        process.stdout.close()
        process.returncode = 0  # it outlives us, and nobody waits for it
        return process.pid


def _guard(arguments: argparse.Namespace) -> int:
    """Waits for the deadline and rolls back unless somebody confirmed, or rolled back, before it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    path = arguments.state_dir / f"{arguments.interface}.json"
    left = nic_record.Record.read(path).deadline - time.time()
    os.write(1, b"guarding\n")
    if signal.sigtimedwait({signal.SIGTERM}, max(0.0, left)) is not None:
        return 0  # the machine goes down, and with it what was done
    return _time_is_up(path)


def _time_is_up(path: Path) -> int:
    """Rolls back what is not confirmed, once nobody else works on it."""
    with nic_record.alone(path):
        if not path.exists():
            return 0
        record = nic_record.Record.read(path)
        return 1 if not record.confirmed and nic.rollback(record) else 0


def _confirm(arguments: argparse.Namespace) -> int:
    with nic_record.alone(arguments.state_dir / f"{arguments.interface}.json"):
        record = nic_record.find(arguments.state_dir, arguments.interface)
        if record.begun < len(record.steps):
            raise UnavailableError(
                f"{record.interface}: only {record.begun} of {len(record.steps)} steps were taken"
            )
        record.confirmed = True
        record.write()
    print(f"{record.interface}: stays as it is, also after a restart with bookwire-nic.service")
    return 0


def _rollback(arguments: argparse.Namespace) -> int:
    with nic_record.alone(arguments.state_dir / f"{arguments.interface}.json"):
        record = nic_record.find(arguments.state_dir, arguments.interface)
        failures = nic.rollback(record)
    for failure in failures:
        print(f"not undone: {failure}", file=sys.stderr)
    if failures:
        return 1
    print(f"{record.interface}: as it was")
    return 0


def _boot(arguments: argparse.Namespace) -> int:
    """What was confirmed is applied anew; the restart itself has undone the rest, which is forgotten."""
    failed = 0
    for record in nic_record.records(arguments.state_dir):
        if not record.confirmed:
            record.path.unlink()
            continue
        try:
            nic.apply(record)
        except UnavailableError as error:
            print(f"{record.interface}: {error}", file=sys.stderr)
            failed = 1
    return failed
