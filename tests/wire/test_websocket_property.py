"""Whatever frames come, however they are cut: the native parser says what ``websockets`` says."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side

from dpdk_bindings.websocket import EventType, Parser, Role, utf8_valid

MESSAGE_BYTES_MAX = 300
KINDS = {Opcode.TEXT: EventType.TEXT, Opcode.BINARY: EventType.BINARY}
CONTROLS = {Opcode.PING: EventType.PING, Opcode.PONG: EventType.PONG}

Outcome = tuple[EventType, int, bytes]


@dataclass(frozen=True)
class Wire:
    """One frame as it is sent: any first byte, any payload, the length in the shortest form."""

    first: int
    payload: bytes
    masked: bool

    def bytes(self) -> bytes:
        size, bit = len(self.payload), 0x80 if self.masked else 0
        head = bytes([self.first, bit | min(size, 126)])
        if size >= 126:
            head += size.to_bytes(2, "big")
        mask = b"\x12\x34\x56\x78" if self.masked else b""
        body = bytes(b ^ mask[i % 4] for i, b in enumerate(self.payload)) if self.masked else self.payload
        return head + mask + body


texts = st.one_of(st.text(max_size=60).map(str.encode), st.binary(max_size=200))
closes = st.one_of(
    st.just(b""),
    st.binary(max_size=3),
    st.tuples(st.integers(990, 5010), texts).map(lambda pair: pair[0].to_bytes(2, "big") + pair[1][:123]),
)


@st.composite
def sequences(draw: st.DrawFn, role: Role) -> list[Wire]:
    """Mostly well-formed conversations: messages in fragments, control frames between them."""
    masked = role is Role.SERVER
    frames: list[Wire] = []
    for _ in range(draw(st.integers(0, 6))):
        parts = draw(st.lists(texts, min_size=1, max_size=4))
        opcode = draw(st.sampled_from([Opcode.TEXT, Opcode.TEXT, Opcode.BINARY]))
        for at, part in enumerate(parts):
            if draw(st.booleans()):
                control = draw(st.sampled_from([Opcode.PING, Opcode.PONG]))
                frames.append(Wire(0x80 | control, draw(st.binary(max_size=125)), masked))
            last = 0x80 if at == len(parts) - 1 else 0
            frames.append(Wire(last | (opcode if at == 0 else 0), part, masked))
    ending = draw(st.sampled_from(["none", "close", "violation", "mask"]))
    if ending == "close":
        frames.append(Wire(0x88, draw(closes), masked))
    if ending == "violation":
        frames.append(Wire(draw(st.integers(0, 255)), draw(st.binary(max_size=200)), masked))
    if ending == "mask":
        frames.append(Wire(0x81, b"abc", not masked))
    return frames


def reference(role: Role, data: bytes, deflate: bool = False) -> list[Outcome]:
    """What the ``websockets`` library's protocol, and a reader of its frames, make of the bytes."""
    protocol = Protocol(Side(int(role is Role.CLIENT)), state=OPEN, max_size=MESSAGE_BYTES_MAX)
    if deflate:
        protocol.extensions = [PerMessageDeflate(False, False, 15, 15)]
    protocol.receive_data(data)
    return list(outcomes(protocol))


def outcomes(protocol: Protocol) -> Iterator[Outcome]:
    opcode, parts = Opcode.TEXT, b""
    for frame in protocol.events_received():
        assert isinstance(frame, Frame)
        data = bytes(frame.data)
        if frame.opcode in CONTROLS:
            yield CONTROLS[frame.opcode], 0, data
        elif frame.opcode is not Opcode.CLOSE:
            if frame.opcode is not Opcode.CONT:
                opcode, parts = frame.opcode, b""
            parts += data
            if frame.fin and opcode is Opcode.TEXT and not decodes(parts):
                yield EventType.FAILED, 1007, b""
                return
            if frame.fin:
                yield KINDS[opcode], 0, parts
    if protocol.close_rcvd is not None:  # also inside a message: the library objects, RFC 6455 allows it
        yield EventType.CLOSED, protocol.close_rcvd.code, protocol.close_rcvd.reason.encode()
    elif protocol.parser_exc is not None:
        yield EventType.FAILED, failure_code(protocol.parser_exc), b""


def failure_code(error: Exception) -> int:
    if isinstance(error, PayloadTooBig):
        return 1009
    return 1007 if isinstance(error, UnicodeDecodeError) else 1002


def decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def native(role: Role, pieces: Sequence[bytes], inflate: bool = False) -> list[Outcome]:
    parser = Parser(role, MESSAGE_BYTES_MAX, inflate)
    events = [event for piece in pieces for event in parser.feed(piece)]
    return [(e.type, e.close_code, b"" if e.type is EventType.FAILED else e.payload) for e in events]


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("role", list(Role))
@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_any_split_of_any_frames_decodes_as_the_library_decodes_them(role: Role, data: st.DataObject) -> None:
    frames = data.draw(sequences(role))
    wire = b"".join(frame.bytes() for frame in frames)
    pieces = cut(wire, data.draw(st.lists(st.integers(0, 10_000), max_size=12)))
    assert native(role, pieces) == reference(role, wire)


@pytest.mark.parametrize("role", list(Role))
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_byte_by_byte_is_the_same_as_at_once(role: Role, data: st.DataObject) -> None:
    wire = b"".join(frame.bytes() for frame in data.draw(sequences(role)))
    assert native(role, [wire[i : i + 1] for i in range(len(wire))]) == native(role, [wire])


@settings(max_examples=200, deadline=None)
@given(
    messages=st.lists(texts, max_size=8),
    places=st.lists(st.integers(0, 10_000), max_size=8),
    keep=st.booleans(),
)
def test_deflated_messages_inflate_as_the_library_inflates_them(
    messages: list[bytes], places: list[int], keep: bool
) -> None:
    sender = PerMessageDeflate(False, not keep, 15, 15)
    frames = [Frame(Opcode.BINARY, message) for message in messages]
    wire = b"".join(bytes(frame.serialize(mask=False, extensions=[sender])) for frame in frames)
    expected = reference(Role.CLIENT, wire, deflate=True)
    assert native(Role.CLIENT, cut(wire, places), inflate=True) == expected
    assert [payload for _, _, payload in expected] == messages


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)), st.integers(0, 80))
def test_utf8_is_what_python_says_it_is(data: bytes, before: int) -> None:
    padded = b"x" * before + data
    assert utf8_valid(padded) is decodes(padded)
