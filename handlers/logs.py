"""Log lines on stderr: the event's name, then key=value, or one JSON object (BOOKWIRE_LOG=json).

Every event has a budget of its own, so that a misbehaving feed cannot fill a disk; what was left out
is told with the event's next line (``left_out``). Details, the steps of good running, can be left out
as a whole (BOOKWIRE_LOG_DETAIL=0).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

BURST = 20
PER_SECOND = 2.0
DETAIL_VARIABLE = "BOOKWIRE_LOG_DETAIL"


class Log:
    """Writes events of one ``source`` ("feed", "gateway", ...). ``clock`` is monotonic seconds.

    ``details``: whether detail() writes; None: as the environment says, by default yes.
    """

    def __init__(
        self,
        source: str,
        *,
        stream: TextIO | None = None,
        as_json: bool | None = None,
        details: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        **context: object,
    ) -> None:
        self._source = source
        self._stream = stream
        self._json = os.environ.get("BOOKWIRE_LOG") == "json" if as_json is None else as_json
        self._details = os.environ.get(DETAIL_VARIABLE) != "0" if details is None else details
        self._clock = clock
        self._context = context
        self._budgets: dict[str, tuple[float, float, int]] = {}  # tokens, since, left out

    def __call__(self, event: str, **fields: object) -> None:
        """Writes one line, or counts it where the event's budget is used up."""
        now = self._clock()
        tokens, since, left_out = self._budgets.get(event, (float(BURST), now, 0))
        tokens = min(float(BURST), tokens + (now - since) * PER_SECOND)
        if tokens < 1:
            self._budgets[event] = (tokens, now, left_out + 1)
            return
        self._budgets[event] = (tokens - 1, now, 0)
        if left_out:
            fields["left_out"] = left_out
        values = {**self._context, **{key: value for key, value in fields.items() if value is not None}}
        stream = self._stream or sys.stderr
        # at once: all processes write to it, and it may be unbuffered
        stream.write(f"{self._line(event, values)}\n")
        stream.flush()

    def detail(self, event: str, **fields: object) -> None:
        """Writes a step of good running, where details are wanted."""
        if self._details:
            self(event, **fields)

    def _line(self, event: str, values: dict[str, object]) -> str:
        if self._json:
            stamp = round(time.time(), 3)
            return json.dumps({"event": event, "time": stamp, "source": self._source, **values}, default=str)
        stamp_text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        head = f"{event} time={stamp_text} source={self._source}"
        return " ".join([head, *(f"{key}={_quoted(value)}" for key, value in values.items())])


def _quoted(value: object) -> str:
    text = str(value)
    if text and not any(character in text for character in ' "=\n\r\t'):
        return text
    return json.dumps(text, ensure_ascii=False)
