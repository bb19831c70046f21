"""What was planned for a network interface and how far it came: records that outlive who wrote them."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from handlers.errors import UnavailableError

STATE_DIR = Path("/var/lib/bookwire/nic")
Kind = Literal["offload", "address", "ipv6", "driver"]


@dataclass(frozen=True)
class Step:
    """One change. ``after`` is what it sets, ``before`` what stood there and comes back."""

    kind: Kind
    name: str  # the feature, the address, the PCI device; empty where the interface has only one
    before: str
    after: str

    def told(self) -> str:
        return {
            "offload": f"switch {self.name} {self.after}",
            "address": f"take {self.name} from the kernel",
            "ipv6": "switch the kernel's IPv6 off on it",
            "driver": f"bind {self.name} to {self.after} instead of {self.before or 'no driver'}",
        }[self.kind]


@dataclass
class Record:
    """What was planned for an interface and how far it came; a file, replaced as a whole."""

    interface: str
    mac: str
    steps: list[Step]
    routes: list[tuple[str, str | None]]  # destination, gateway: they go with the addresses
    begun: int = 0  # steps that may have been taken
    confirmed: bool = False
    deadline: float = 0.0  # wall clock: not confirmed by then, it is rolled back
    path: Path = field(default_factory=Path, compare=False)

    def write(self) -> None:
        """Durable before anything is done: a machine that loses power must find it."""
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w") as file:
            json.dump(as_json(self), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)

    @classmethod
    def read(cls, path: Path) -> Record:
        told = json.loads(path.read_text())
        told["steps"] = [Step(**step) for step in told["steps"]]
        told["routes"] = [tuple(route) for route in told["routes"]]
        return cls(**told, path=path)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Holds the record at ``path`` for this process: a guard whose time is up waits for steps that are under
    way. The kernel lets go of it when the holder dies.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def records(state_dir: Path) -> Iterator[Record]:
    """Of all interfaces that were taken."""
    for path in sorted(state_dir.glob("*.json")):
        yield Record.read(path)


def find(state_dir: Path, interface: str) -> Record:
    """Raises UnavailableError where nothing was done to it."""
    path = state_dir / f"{interface}.json"
    if not path.exists():
        raise UnavailableError(f"nothing was applied to {interface}", where=str(path))
    return Record.read(path)


def as_json(record: Record) -> dict[str, Any]:
    told = asdict(record)
    del told["path"]
    return told
