"""What the native loop's events are called in the log, and their fields by name."""

from __future__ import annotations

from handlers._ffi import lib
from handlers.native_feed import Event
from handlers.shm_layout import BookState, Reason, VerifierState


def told(event: Event) -> tuple[str, dict[str, object]]:
    """Name and fields of an event that needs no action; its book and connection are not among them."""
    text = event.text.decode(errors="replace") or None
    if event.type == lib.BW_EVENT_GAP:
        return "gap", {"expected": event.a, "got": event.b}
    if event.type == lib.BW_EVENT_CHECKSUM:
        return "checksum_wrong", {"expected": event.a, "computed": event.b}
    if event.type == lib.BW_EVENT_VERIFIER:
        return "verifier", {"state": VerifierState(event.a).name.lower()}
    if event.type == lib.BW_EVENT_QUARANTINE:
        return "quarantine", {"bytes": event.a, "text": text}
    if event.type == lib.BW_EVENT_REFUSED:
        return "command_refused", {"text": text}
    return f"event_{event.type}", {"a": event.a, "b": event.b, "text": text}


def routine(event: Event) -> bool:
    """Whether it belongs to good running: the venue's checksum matches, or it sends none."""
    return event.type == lib.BW_EVENT_VERIFIER and event.a != VerifierState.SUSPENDED


def standing(state: int, reason: int) -> dict[str, str]:
    """State and reason of a book, by name."""
    return {"state": BookState(state).name.lower(), "reason": Reason(reason).name.lower()}
