"""Warm-up on stderr: how many books are live. One line that moves; without terminal one an exchange."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TextIO

from appliance.observe import ExchangeView

REMIND_S = 10.0


class Progress:
    """Shows what changed since the last look."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._started_s = time.monotonic()
        self._reminded_s = self._started_s
        self._told: set[str] = set()
        self._line = ""

    def show(self, exchanges: Sequence[ExchangeView]) -> None:
        """Call as often as one likes."""
        live = sum(exchange.live for exchange in exchanges)
        books = sum(len(exchange.books) for exchange in exchanges)
        waiting = [
            f"{exchange.exchange} {exchange.live} of {len(exchange.books)}"
            for exchange in exchanges
            if not exchange.all_live
        ]
        head = f"{live} of {books} books live"
        line = f"{head}; waiting for {', '.join(waiting)}" if waiting else head
        if self._terminal:
            if line != self._line:
                self._stream.write(f"\r\x1b[K{line}")
                self._stream.flush()
                self._line = line
            return
        now_s = time.monotonic()
        for exchange in exchanges:
            if exchange.all_live and exchange.exchange not in self._told:
                self._told.add(exchange.exchange)
                self._say(f"{exchange.exchange}: {exchange.live} of {len(exchange.books)} books live", now_s)
        if waiting and now_s - self._reminded_s > REMIND_S:
            self._reminded_s = now_s
            self._say(line, now_s)

    def step_aside(self) -> None:
        """Gives the line away for a moment: the next show() takes it again."""
        if self._terminal and self._line:
            self._stream.write("\r\x1b[K")
            self._line = ""

    def end(self) -> None:
        """Gives the terminal its line back."""
        if self._terminal and self._line:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _say(self, text: str, now_s: float) -> None:
        self._stream.write(f"{text} ({now_s - self._started_s:.1f} s)\n")  # at once: children write here too
        self._stream.flush()
