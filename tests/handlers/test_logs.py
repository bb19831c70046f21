"""Log lines: one an event, names instead of numbers, details only where they are wanted."""

from __future__ import annotations

import io

import pytest

from handlers._ffi import lib
from handlers.logs import Log
from handlers.native_feed import Event
from handlers.shm_layout import BookState, Reason, VerifierState
from handlers.telling import routine, standing, told


def event(kind: int, a: int = 0, b: int = 0, text: bytes = b"") -> Event:
    return Event(kind, 0, 0, 0, a, b, 0, text)


@pytest.mark.parametrize(
    ("happened", "line"),
    [
        (event(lib.BW_EVENT_GAP, 7, 9), "gap expected=7 got=9"),
        (event(lib.BW_EVENT_CHECKSUM, -5, 3), "checksum_wrong expected=-5 computed=3"),
        (event(lib.BW_EVENT_VERIFIER, lib.BW_VERIFIER_OK), "verifier state=ok"),
        (event(lib.BW_EVENT_VERIFIER, lib.BW_VERIFIER_SUSPENDED), "verifier state=suspended"),
        (event(lib.BW_EVENT_QUARANTINE, 99, text=b'no: {"a"'), 'quarantine bytes=99 text="no: {\\"a\\""'),
        (event(lib.BW_EVENT_REFUSED, text=b"connect: busy"), 'command_refused text="connect: busy"'),
    ],
)
def test_events_are_told_by_name(happened: Event, line: str) -> None:
    stream = io.StringIO()
    name, fields = told(happened)
    Log("feed", stream=stream, as_json=False)(name, **fields)
    said, _time, _source, *rest = stream.getvalue().rstrip("\n").split(" ", 3)
    assert " ".join([said, *rest]) == line


def test_a_line_is_written_at_once() -> None:
    """Processes share the stream, and where it is unbuffered a second write may come after another's line."""
    written: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    Log("feed", stream=Stream(), as_json=False)("gap", expected=7)
    assert len(written) == 1
    assert written[0].endswith(" expected=7\n")


def test_states_and_reasons_have_the_names_of_shared_memory() -> None:
    told_state = standing(lib.BW_BOOK_DOWN, lib.BW_REASON_DISCONNECTED)
    assert told_state == {"state": "down", "reason": "disconnected"}
    assert [standing(int(state), 0)["state"] for state in BookState] == [
        "syncing", "live", "stale", "resync", "down",
    ]  # fmt: skip
    assert len(Reason) == lib.BW_REASON_COUNT


def test_only_a_suspended_verifier_is_out_of_the_ordinary() -> None:
    ordinary = [state for state in VerifierState if routine(event(lib.BW_EVENT_VERIFIER, state))]
    assert ordinary == [VerifierState.ABSENT, VerifierState.OK, VerifierState.NOT_SENT]
    assert not routine(event(lib.BW_EVENT_GAP, 1))


@pytest.mark.parametrize(("variable", "lines"), [(None, 2), ("1", 2), ("0", 1)])
def test_details_can_be_left_out(variable: str | None, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if variable is None:
        monkeypatch.delenv("BOOKWIRE_LOG_DETAIL", raising=False)
    else:
        monkeypatch.setenv("BOOKWIRE_LOG_DETAIL", variable)
    stream = io.StringIO()
    log = Log("feed", stream=stream)
    log.detail("connected", connection=0)
    log("gap", expected=1, got=3)
    assert len(stream.getvalue().splitlines()) == lines
