"""A hostile TCP peer, made by scapy: each case with the section that says what must come of it.

What is delivered is compared byte by byte, then the connection proves that it is alive, or how it ended; each
buffer comes back. Frames go through a net_ring port: no kernel, no root, and the time is the test's.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hostile_peer import EOF, WORD, Peer, Stack
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

ALIVE, RESET, ENDED = 0, -errno.ECONNRESET, EOF
ACK, NONE, ANY = "ack", "none", "any"
WINDOW = 4 << 20


def seg(*arguments: Any, **fields: Any) -> Callable[[Peer], Packet]:
    return lambda peer: peer.segment(*arguments, **fields)


@dataclass(frozen=True)
class Case:
    """``answer``: ACK acknowledges what was delivered, NONE is silence. ``drop``: counted at least once."""

    name: str
    rfc: str
    segments: tuple[Callable[[Peer], Packet], ...]
    delivered: bytes = b""
    answer: str = ANY
    end: int = ALIVE
    drop: str | None = None


ESTABLISHED = (
    Case("in order", "9293 3.10.7.4", (seg(0, b"abc"), seg(3, b"def")), b"abcdef", ACK),
    Case("out of order", "9293 3.10.7.4", (seg(3, b"def"), seg(0, b"abc")), b"abcdef", ACK),
    Case("holes", "2018 4", (seg(6, b"gh"), seg(3, b"d"), seg(0, b"abc"), seg(4, b"ef")), b"abcdefgh", ACK),
    Case("the whole window in reverse", "5681 4.2",
         tuple(seg(i, bytes((65 + i,))) for i in range(25, -1, -1)),
         b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", ACK),
    Case("overlap at the end", "9293 3.10.7.4", (seg(0, b"abcd"), seg(2, b"cdef")), b"abcdef", ACK),
    Case("conflict with what was delivered", "9293 3.10.7.4", (seg(0, b"abcd"), seg(0, b"XXXXef")),
         b"abcdef"),
    Case("conflict with what waits", "9293 3.10.7.4", (seg(2, b"cd"), seg(2, b"cd"), seg(0, b"ab")), b"abcd",
         ACK),
    Case("what waits inside what comes", "9293 3.10.7.4", (seg(2, b"c"), seg(4, b"e"), seg(0, b"abcdef")),
         b"abcdef", ACK),
    Case("what comes inside what waits", "9293 3.10.7.4", (seg(2, b"cdefgh"), seg(4, b"ef"), seg(0, b"ab")),
         b"abcdefgh", ACK),
    Case("across two that wait", "9293 3.10.7.4",
         (seg(2, b"cd"), seg(6, b"gh"), seg(3, b"defg"), seg(0, b"ab")),
         b"abcdefgh", ACK),
    Case("one byte at a time, each twice", "9293 3.10.7.4",
         tuple(seg(i // 2, b"abcdefgh"[i // 2 : i // 2 + 1]) for i in range(16)), b"abcdefgh", ACK),
    Case("old duplicate", "9293 3.10.7.4", (seg(0, b"abc"), seg(0, b"abc")), b"abc", ACK),
    Case("long ago", "9293 3.10.7.4", (seg(-100, b"zz"),), b"", ACK),
    Case("old with a new end", "9293 3.10.7.4", (seg(-3, b"zzzabc"),), b"abc", ACK),
    Case("keep-alive with a byte of garbage", "9293 3.8.4", (seg(-1, b"z"),), b"", ACK),
    Case("keep-alive without", "9293 3.8.4", (seg(-1),), b"", ACK),
    Case("beyond the window", "9293 3.10.7.4", (seg(WINDOW + 10, b"zz"),), b"", ACK),
    Case("empty, beyond the window", "9293 3.10.7.4", (seg(WINDOW + 10),), b"", ACK),
    Case("across the right edge, then what is due", "9293 3.10.7.4",
         (seg(WINDOW - 2, b"zzzz"), seg(0, b"abc")),
         b"abc", ACK),
    Case("half around", "9293 3.4", (seg(1 << 31, b"zz"),)),
    Case("FIN out of order", "9293 3.10.7.4", (seg(3, b"", "FA"), seg(0, b"abc")), b"abc", ANY, ENDED),
    Case("FIN with data, doubled", "9293 3.10.7.4", (seg(0, b"abc", "FA"), seg(0, b"abc", "FA")), b"abc",
         ANY, ENDED),
    Case("data after FIN", "9293 3.10.7.4", (seg(0, b"abc", "FA"), seg(4, b"zz")), b"abc", ANY, ENDED),
    Case("data where the FIN was", "9293 3.10.7.4", (seg(0, b"abc", "FA"), seg(3, b"zzz")), b"abc", ANY,
         ENDED),
    Case("data that was beyond a waiting FIN", "9293 3.10.7.4",
         (seg(3, b"", "FA"), seg(3, b"zz"), seg(0, b"abc")), b"abc", ANY, ENDED),
    Case("FIN beyond the window", "9293 3.10.7.4", (seg(WINDOW + 10, b"", "FA"),), b"", ACK),
    Case("urgent", "6093 6", (seg(0, b"abc", "AU", urgptr=2),), b"abc", ACK),
    Case("urgent beyond everything", "6093 3.4", (seg(0, b"abc", "AU", urgptr=65535),), b"abc", ACK),
    Case("ECN's flags", "3168 6.1", (seg(0, b"abc", "ECA"),), b"abc", ACK),
    Case("reserved bits", "9293 3.1", (seg(0, b"abc", "A", reserved=7),), b"abc", ACK),
    Case("pushed, empty", "9293 3.10.7.4", (seg(0, b"", "PA"),), b"", NONE),
    Case("reset at the next byte", "5961 3.2", (seg(0, b"", "R"),), b"", NONE, RESET),
    Case("reset with data", "5961 3.2", (seg(0, b"why", "RA"),), b"", NONE, RESET),
    Case("reset one further", "5961 3.2", (seg(1, b"", "R"),), b"", ACK, drop="tcp_bad_reset"),
    Case("reset far inside", "5961 3.2", (seg(WINDOW - 1, b"", "RA"),), b"", ACK, drop="tcp_bad_reset"),
    Case("reset before", "5961 3.2", (seg(-1, b"", "R"),), b"", NONE, drop="tcp_bad_reset"),
    Case("reset behind the window", "5961 3.2", (seg(WINDOW + 9, b"", "R"),), b"", NONE,
         drop="tcp_bad_reset"),
    Case("reset by the acknowledged number", "5961 3.2", (seg(99, b"", "RA", ack=0),), b"", ACK,
         drop="tcp_bad_reset"),
    Case("SYN at the next byte", "5961 4.2", (seg(0, b"", "S"),), b"", ANY, drop="tcp_syn_unasked"),
    Case("SYN-ACK again", "5961 4.2", (seg(-1, b"", "SA"),), b"", ACK, drop="tcp_bad_syn"),
    Case("SYN-ACK inside the window", "5961 4.2", (seg(50, b"zz", "SA"),), b"", ACK, drop="tcp_bad_syn"),
    Case("acknowledges the future", "5961 5.2", (seg(0, b"zz", ack=1),), b"", ACK, drop="tcp_bad_ack"),
    Case("acknowledges the far future", "5961 5.2", (seg(0, b"zz", ack=1 << 30),), b"", ACK,
         drop="tcp_bad_ack"),
    Case("acknowledges ages ago", "5961 5.2", (seg(0, b"zz", ack=-(1 << 30)),), b"", ACK, drop="tcp_bad_ack"),
    Case("no ACK", "9293 3.10.7.4", (seg(0, b"zz", "P"),), b"", NONE, drop="tcp_flags"),
    Case("FIN alone", "9293 3.10.7.4", (seg(0, b"", "F"),), b"", NONE, drop="tcp_flags"),
    Case("no flag", "9293 3.10.7.4", (seg(0, b"zz", ""),), b"", NONE, drop="tcp_flags"),
    Case("every flag", "9293 3.1", (seg(0, b"zz", "FSRPAUEC"),), b"", NONE, drop="tcp_flags"),
    Case("SYN and FIN", "9293 3.1", (seg(0, b"zz", "SFA"),), b"", NONE, drop="tcp_flags"),
    Case("old by its timestamp", "7323 5.3", (seg(0, b"zz", stamp=-5000),), b"", ACK,
         drop="tcp_old_timestamp"),
    Case("half around by its timestamp", "7323 5.3", (seg(0, b"zz", stamp=(1 << 31) + 9),), b"", ACK,
         drop="tcp_old_timestamp"),
    Case("without its timestamp", "7323 3.2", (seg(0, b"abc", stamp=None),), b"abc", ACK),
    Case("echoes a stamp of the future", "7323 4.1",
         (seg(0, b"abc", stamp=None, options=[("Timestamp", (1000, 0x7FFFFFFF))]),), b"abc", ACK),
    Case("two timestamps", "9293 3.2", (seg(0, b"abc", options=[("Timestamp", (1000, 0))]),), b"abc", ACK),
    Case("MSS in an ordinary segment", "9293 3.7.1", (seg(0, b"abc", options=[("MSS", 1)]),), b"abc", ACK),
    Case("window scale in one", "7323 2.2", (seg(0, b"abc", options=[("WScale", 14)]),), b"abc", ACK),
    Case("unknown options", "9293 3.2", (seg(0, b"abc", options=[(253, b"zzzz"), (254, b"")]),), b"abc", ACK),
    Case("SACK blocks of nothing", "2018 5", (seg(0, b"abc", options=[("SAck", (7, 3, 9, 9))]),), b"abc",
         ACK),
    Case("options that end early", "9293 3.2", (seg(0, b"abc", stamp=None, options=[("EOL", None)] * 8),),
         b"abc", ACK),
)  # fmt: skip


@pytest.fixture
def peer(stack_end: Stack, family: str) -> Any:
    stack_end.new()
    yield Peer(stack_end, family == "IPv6")
    stack_end.new()
    assert stack_end.state()["held"] == 0  # every buffer has come back


def check_answers(case: Case, peer: Peer, due: int) -> None:
    answers = peer.take()
    assert len(answers) <= len(case.segments) + 1  # no amplifier
    assert not any("R" in packet[TCP].flags for packet in answers)
    acknowledged = [packet[TCP].ack for packet in answers if packet[TCP].flags == "A"]
    if case.answer == NONE:
        assert answers == []
    if case.answer == ACK:
        assert due in acknowledged
    over = 1 if case.end == ENDED else 0
    assert all((due + over - ack) % WORD < 1 << 16 for ack in acknowledged)  # and never what did not come


@pytest.mark.parametrize("case", ESTABLISHED, ids=lambda case: f"{case.name} ({case.rfc})")
def test_an_established_connection(peer: Peer, case: Case) -> None:
    if peer.six:
        peer.isn = WORD - 4  # sequence numbers go through zero
    peer.open()
    for make in case.segments:
        peer.send(make(peer))
    result, got = peer.read()
    assert got == case.delivered
    assert result == case.end
    peer.stack.wait(0.3)  # a delayed acknowledgement is out by then: RFC 9293 3.8.6.3
    due = (peer.due + len(case.delivered)) % WORD
    check_answers(case, peer, due)
    if case.drop:
        assert peer.stack.state()["drops"][case.drop] >= 1
    peer.due = due
    if case.end == ALIVE:
        assert peer.is_alive()
    else:
        peer.stack.close(peer.slot)
        closing = {str(packet[TCP].flags) for packet in peer.take()}
        assert closing <= ({"FA"} if case.end == ENDED else set())


def refuse(peer: Peer, **fields: Any) -> Packet:
    return peer.segment(stamp=None, **fields)


# name, RFC, what is sent for a SYN-ACK, how many resets answer it, what read() says then, what is dropped
SYN_SENT: tuple[tuple[str, str, Callable[[Peer], Packet], int, int, str | None], ...] = (
    ("acknowledges what was not sent", "9293 3.10.7.3", lambda p: p.syn_ack(ack=1), 1, 0, None),
    ("acknowledges too little", "9293 3.10.7.3", lambda p: p.syn_ack(ack=-1), 1, 0, None),
    ("bare ACK of the SYN", "9293 3.10.7.3", lambda p: refuse(p), 0, 0, "tcp_bad_ack"),
    ("bare ACK of something else", "9293 3.10.7.3", lambda p: refuse(p, ack=77), 1, 0, None),
    ("data before the SYN-ACK", "9293 3.10.7.3", lambda p: refuse(p, data=b"zz"), 0, 0, "tcp_bad_ack"),
    ("refused", "9293 3.10.7.3", lambda p: refuse(p, flags="RA"), 0, -errno.ECONNREFUSED, None),
    ("refused by somebody who guesses", "9293 3.10.7.3", lambda p: refuse(p, flags="RA", ack=5), 0, 0, None),
    ("reset without ACK", "9293 3.10.7.3", lambda p: refuse(p, flags="R", seq=p.isn), 0, 0, "tcp_bad_reset"),
    ("SYN alone: we never listen", "9293 3.5", lambda p: refuse(p, flags="S"), 0, 0, "tcp_syn_unasked"),
    ("SYN-ACK with FIN", "9293 3.1", lambda p: p.syn_ack(flags="SFA"), 0, 0, "tcp_flags"),
    ("MSS of 1", "9293 3.7.1", lambda p: p.syn_ack(options=[("MSS", 1)]), 0, 0, "tcp_mss"),
    ("MSS of 47", "9293 3.7.1", lambda p: p.syn_ack(options=[("MSS", 47)]), 0, 0, "tcp_mss"),
    ("half an option", "9293 3.2", lambda p: p.syn_ack(options=[("EOL", None)], dataofs=5), 0, 0, None),
)  # fmt: skip


@pytest.mark.parametrize("case", SYN_SENT, ids=lambda case: f"{case[0]} ({case[1]})")
def test_what_answers_a_syn(peer: Peer, case: tuple[Any, ...]) -> None:
    _name, _rfc, make, resets, result, drop = case
    peer.meet_syn()
    peer.send(make(peer))
    answers = peer.take()
    assert sum("R" in packet[TCP].flags for packet in answers) == resets
    assert peer.read() == (result, b"")
    if drop:
        assert peer.stack.state()["drops"][drop] >= 1
    if result == 0:
        peer.send(peer.syn_ack())
        peer.due = (peer.isn + 1) % WORD
        assert peer.is_alive()


# what the SYN-ACK says, how large a segment of ours may be, options included (RFC 9293 3.7.1, RFC 6691 2)
SIZES = {
    "48": ([("MSS", 48)], 48),
    "536": ([("MSS", 536), ("Timestamp", (1000, 0))], 536),
    "huge": ([("MSS", 65535)], 1460),
    "zero counts as none": ([("MSS", 0)], 536),
    "none": ([], 536),
    "scale of 255": ([("MSS", 1000), ("WScale", 255)], 1000),
}


@pytest.mark.parametrize("size", SIZES)
def test_our_segments_are_no_larger_than_the_peer_can_take(peer: Peer, size: str) -> None:
    options, most = SIZES[size]
    peer.syn_options = tuple(options)
    peer.window = 65535
    peer.meet_syn()
    peer.send(peer.syn_ack())
    peer.due = (peer.isn + 1) % WORD
    sent = b""
    assert peer.stack.write(peer.slot, bytes(range(256)) * 40) == 10240
    for _ in range(400):
        packets = [packet for packet in peer.take() if len(packet[TCP].payload)]
        for packet in packets:
            length = packet[IP].len - 20 if IP in packet else packet[IPv6].plen
            assert length - 20 <= most - (20 if peer.six and size == "huge" else 0)
            at = (packet[TCP].seq - peer.ours) % WORD
            if at == len(sent):
                sent += bytes(packet[TCP].payload)[: length - packet[TCP].dataofs * 4]
        if len(sent) >= 10240:
            break
        stamp = None if size != "536" else 0
        peer.send(peer.segment(ack=len(sent), stamp=stamp))
        peer.stack.wait(0.05)
    assert sent == bytes(range(256)) * 40
