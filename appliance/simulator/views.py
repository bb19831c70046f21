"""The windows of one book that somebody looks at, each with the id its last message left its readers at."""

from __future__ import annotations

from collections.abc import Container, Iterator

from .book import Change, TrueBook, Window
from .connection import Topic


class View:
    """What the readers of one topic see. `last` is the id they were left at, `sent_at` belongs to protocols
    that send at intervals (monotonic seconds)."""

    __slots__ = ("last", "sent_at", "window")

    def __init__(self, window: Window, last: int) -> None:
        self.window = window
        self.last = last
        self.sent_at = 0.0


class Views:
    """Views of a book by topic."""

    def __init__(self, book: TrueBook) -> None:
        self._book = book
        self._views: dict[Topic, View] = {}

    def open(self, topic: Topic, depth: int, last: int, *, tell_leaving: bool = True) -> View:
        """The view of a topic, made as of now, at id `last`, when nobody looked until now.

        `tell_leaving`: a level that leaves the window is told as deleted.
        """
        if topic not in self._views:
            self._views[topic] = View(Window(self._book, depth, tell_leaving=tell_leaving), last)
        return self._views[topic]

    def items(self) -> list[tuple[Topic, View]]:
        """All views with their topics."""
        return list(self._views.items())

    def find(self, topic: Topic) -> View | None:
        """The view of a topic that somebody looks at."""
        return self._views.get(topic)

    def shift(
        self, changes: list[Change], live: Container[Topic]
    ) -> Iterator[tuple[Topic, View, list[Change]]]:
        """Move all views past changes that the book has already made; those without readers are closed.

        Yields what the readers of each must be told, which may be nothing.
        """
        for topic in [each for each in self._views if each not in live]:
            del self._views[topic]
        for topic, view in self._views.items():
            yield topic, view, view.window.shift(changes)
