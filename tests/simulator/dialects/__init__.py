"""What the common tests must know of an exchange to speak with it: one file each, found by being there.

Written from the exchange's documentation alone; the simulator's files are not read here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

Json = dict[str, Any]


def nothing(*_: Any) -> bool:
    """Never."""
    return False


def as_sent(frame: str | bytes) -> str:
    """A text frame."""
    assert isinstance(frame, str)
    return frame


async def no_load(follower: Any) -> None:
    """The snapshot comes by itself."""


@dataclass(frozen=True)
class Dialect:
    """`question` is what the exchange always answers, `is_answer` knows the answer. `apply(book, message)`
    puts a message into a `Rebuilt`. `order_of` a book message rises from one to the next. `refusal` is a word
    of the error that refuses a subscription (empty: there is no error). Usually a lost message shows
    (`shows_gaps`) or the next one `heals` it, messages are numbered (`counts`), a subscription `adds` to
    those before, and the end of one is acknowledged (`acknowledges`). `checks_sums`: a wrong book shows in
    the checksum of its next message."""

    question: str
    is_answer: Callable[[Any], bool]
    native: Callable[[str], str]
    subscribe: Callable[[str], Any]
    unsubscribe: Callable[[Any], Any]
    apply: Callable[[Any, Any], None]
    is_book: Callable[[Any], bool]
    order_of: Callable[[Any], Any]
    rest: tuple[str, dict[str, str]]
    depth: int | None = None  # levels of each side that are known
    windowed: bool = True  # no others are shown
    before: tuple[Json, ...] = ()
    text: Callable[[str | bytes], str] = as_sent
    is_heartbeat: Callable[[Any], bool] = nothing
    load: Callable[[Any], Any] = no_load
    refusal: str = '"error"'
    one_frame_per_update: bool = True
    one_count_per_connection: bool = False
    has_checksum: bool = False
    checks_sums: bool = False
    shows_gaps: bool = True
    heals: bool = True
    counts: bool = True
    adds: bool = True
    acknowledges: bool = True

    def flat(self, message: Any) -> str:
        """A message as text to look for words in."""
        return json.dumps(message)


DIALECTS: dict[str, Dialect] = {
    found.name: import_module(f"{__name__}.{found.name}").DIALECT for found in iter_modules(__path__)
}
