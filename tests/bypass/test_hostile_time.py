"""A hostile peer and time: timers, closed windows, floods, and what all of it may cost in memory."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hostile_peer import EOF, OUR_MAC, OURS, PEERS, WORD, Peer, Stack, payload
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

LIMIT = 100  # challenges, resets, pings and probes a second, each: BW_LIMITED_A_SECOND
PIECES_MOST = 3072  # PIECES_MAX of stack_segment.c
BUFFERS = 16383  # of stack_end.c
WINDOW = 4 << 20
GROWTH_KIB_MOST = 2048


@pytest.fixture
def peer(stack_end: Stack, family: str) -> Iterator[Peer]:
    stack_end.new()
    peer = Peer(stack_end, family == "IPv6")
    yield peer
    stack_end.new()
    state = stack_end.state()
    assert state["held"] == 0
    assert state["send_failed"] == 0


@pytest.fixture
def opened(peer: Peer) -> Peer:
    peer.open()
    return peer


def resident_kib(stack: Stack) -> int:
    status = Path(f"/proc/{stack.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def moved(frame: bytes, six: bool, by: int) -> bytes:
    """With another sequence number, and the checksum for it (RFC 1624)."""
    at = 54 if six else 34
    old = frame[at + 4 : at + 8]
    new = struct.pack(">I", (struct.unpack(">I", old)[0] + by) % WORD)
    total = ~struct.unpack_from(">H", frame, at + 16)[0] & 0xFFFF
    for before, after in zip(struct.unpack(">HH", old), struct.unpack(">HH", new), strict=True):
        total += (~before & 0xFFFF) + after
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    checksum = struct.pack(">H", ~total & 0xFFFF)
    return frame[: at + 4] + new + frame[at + 8 : at + 16] + checksum + frame[at + 18 :]


def times_of_data(peer: Peer, seconds: float, step: float = 0.02) -> list[float]:
    """When segments with data or a SYN came while time passes."""
    found = []
    for i in range(round(seconds / step)):
        peer.stack.wait(step)
        sent = [p for p in peer.take() if payload(p) or "S" in p[TCP].flags]
        found += [i * step] * len(sent)
    return found


def test_a_silent_peer_is_asked_less_and_less_often_and_then_given_up(opened: Peer) -> None:
    """RFC 6298 5.5 and 5.7; RFC 9293 3.8.3."""
    assert opened.stack.write(0, b"hello") == 5
    times = times_of_data(opened, 25)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) >= 5
    assert gaps[1] >= 0.15
    assert all(1.6 <= after / before <= 2.5 for before, after in pairwise(gaps[1:]))
    assert opened.read() == (-errno.ETIMEDOUT, b"")
    assert opened.stack.state()["connections"] == 0


def test_a_syn_that_nobody_answers(peer: Peer) -> None:
    """RFC 6298 2.1: one second at first; RFC 9293 3.8.3: R2 of a SYN."""
    peer.meet_syn()
    times = times_of_data(peer, 140, step=0.1)
    assert 0.8 <= times[0] <= 1.3
    assert 1.5 <= times[1] - times[0] <= 2.5
    assert len(times) <= 7
    assert peer.read() == (-errno.ETIMEDOUT, b"")
    assert peer.stack.state()["connections"] == 0


def test_a_closed_window_is_probed_and_never_given_up_while_answers_come(opened: Peer) -> None:
    """RFC 9293 3.8.6.1 and 3.10.7.4: closed by nothing new, probed by one byte, opened."""
    opened.send(opened.segment(window=0))
    assert opened.stack.write(0, b"hello") == 5
    probes = 0
    for _ in range(900):  # 45 s: longer than a peer that says nothing is waited for
        opened.stack.wait(0.05)
        for packet in opened.take():
            assert len(payload(packet)) <= 1
            probes += 1
            opened.send(opened.segment(window=0))
    assert 5 <= probes <= 200
    assert opened.read() == (0, b"")
    opened.send(opened.segment())
    opened.stack.wait(0.5)
    assert b"hello" in {payload(packet) for packet in opened.take()}


def test_a_closed_window_of_a_silent_peer_ends(opened: Peer) -> None:
    """RFC 9293 3.8.6.1: probes that nobody answers."""
    opened.send(opened.segment(window=0))
    assert opened.stack.write(0, b"hello") == 5
    opened.stack.wait(90)
    assert opened.read() == (-errno.ETIMEDOUT, b"")


@pytest.mark.parametrize("window", [1, 3])
def test_a_window_of_a_few_bytes(peer: Peer, window: int) -> None:
    """RFC 9293 3.8.6.2.1: silly windows are slow, or the end; never a loop, nor wrong bytes."""
    peer.syn_options = ()
    peer.open()
    peer.send(peer.segment(window=0))
    assert peer.stack.write(0, bytes(range(8))) == 8
    got, segments = b"", 0
    while peer.read() == (0, b"") and len(got) < 8:
        peer.stack.wait(0.2)
        for packet in peer.take():
            segments += 1
            at = (packet[TCP].seq - peer.ours) % WORD
            got += payload(packet)[len(got) - at :][:window] if at <= len(got) else b""
        peer.send(peer.segment(ack=len(got), window=window))
        assert segments < 200
    assert got == bytes(range(len(got)))
    assert len(got) == 8 or peer.read() == (-errno.ETIMEDOUT, b"")


def test_what_makes_us_answer_is_limited(opened: Peer) -> None:
    """RFC 5961 7, 9293 3.10.7.1, 4443 2.4: by kind and second; the next second is a new one."""
    six, stack = opened.six, opened.stack
    inside, outside = bytes(opened.segment(1, flags="R")), bytes(opened.segment(-1000))
    stranger = bytes(opened.segment(0, b"z", sport=9))
    ping = ICMPv6EchoRequest(data=b"zz") if six else ICMP() / b"zz"
    floods = {
        "tcp_bad_reset": [moved(inside, six, i) for i in range(1000)],
        "tcp_limit": [moved(outside, six, i) for i in range(900)],
        "tcp_unknown": [moved(stranger, six, i) for i in range(1000)],
        "icmp_limit": [bytes(opened.network() / ping)] * 1000,
    }
    opened.take()
    for reason, frames in floods.items():
        stack.wait(1.1)
        opened.answer_neighbours()
        stack.receive(frames)
        assert 1 <= len(stack.take()) <= LIMIT, reason
        stack.wait(1.1)
        stack.take()
        stack.receive(frames[:10])
        assert len(stack.take()) == 10, reason
    drops = stack.state()["drops"]
    assert {reason: drops[reason] >= 800 for reason in floods} == dict.fromkeys(floods, True)
    assert opened.is_alive()


def test_holes_without_end_cost_a_bounded_number_of_buffers(opened: Peer) -> None:
    """A byte in each second place: what waits is no more than a window of full segments would be."""
    first = bytes(opened.segment(1, b"z"))
    before = resident_kib(opened.stack)
    opened.stack.receive([moved(first, opened.six, 2 * i) for i in range(4000)])
    state = opened.stack.state()
    assert state["held"] == PIECES_MOST
    assert state["drops"]["tcp_pieces"] == 4000 - PIECES_MOST
    assert resident_kib(opened.stack) - before < GROWTH_KIB_MOST
    opened.take()
    opened.send(opened.segment(0, b"a"))
    assert opened.read() == (0, b"az")
    opened.stack.wait(200)  # what waits for a hole that never closes is thrown away
    assert opened.stack.state()["held"] == 0


def test_a_reader_that_sleeps_closes_the_window_and_opens_it_again(opened: Peer) -> None:
    """RFC 9293 3.8.6.2.2; nothing beyond the window is kept."""
    body = bytes(range(256)) * 5
    first = bytes(opened.segment(0, body))
    count = WINDOW // len(body) + 20
    opened.stack.receive([moved(first, opened.six, i * len(body)) for i in range(count)])
    answers = [packet[TCP] for packet in opened.take()]
    assert answers[-1].window == 0
    assert (answers[-1].ack - opened.due) % WORD <= WINDOW
    assert opened.stack.state()["held"] <= WINDOW // len(body) + 1
    result, got = opened.read()
    assert result == 0
    assert got == (body * count)[: len(got)]
    assert len(got) >= WINDOW - 2 * len(body)
    opened.due = (opened.due + len(got)) % WORD
    assert opened.take()[-1][TCP].window << 7 >= WINDOW // 2
    assert opened.stack.state()["held"] == 0
    assert opened.is_alive()


def test_single_bytes_that_nobody_reads_can_take_the_pool_and_give_it_back(opened: Peer) -> None:
    """A window of single bytes is more buffers than there are: what finds none is lost, as on a NIC."""
    first = bytes(opened.segment(0, b"z"))
    lost = opened.stack.receive([moved(first, opened.six, i) for i in range(BUFFERS + 1000)])
    assert lost == 1000
    opened.stack.sent.clear()  # thousands of acknowledgements
    result, got = opened.read()
    assert (result, got) == (0, b"z" * BUFFERS)
    assert opened.stack.state()["held"] == 0
    opened.due = (opened.due + BUFFERS) % WORD
    assert opened.is_alive()


def test_acknowledgements_cut_in_pieces_do_not_hurry_us(opened: Peer) -> None:
    """RFC 5681 3.1 (2) and 3465 2.2: the window grows by what was acknowledged, however often."""
    opened.window = 512
    data = bytes(200_000)
    opened.stack.write(0, data[:60_000])
    first = sum(len(payload(packet)) for packet in opened.take())
    assert first <= 14600  # RFC 6928: ten segments
    for at in range(1, 101):
        opened.send(opened.segment(ack=at))
    more = sum(len(payload(packet)) for packet in opened.take())
    assert more <= 100 + 100 + 1460


def test_three_duplicates_send_what_is_missing_at_once(opened: Peer) -> None:
    """RFC 5681 3.2; and a flood of them does not send it again and again."""
    opened.send(opened.segment())  # the window as it will be said from now on
    opened.stack.write(0, bytes(6000))
    opened.take()
    for _ in range(3):
        opened.send(opened.segment())
    again = [packet for packet in opened.take() if packet[TCP].seq == opened.ours]
    assert len(again) == 1
    for _ in range(300):
        opened.send(opened.segment())
    assert not [packet for packet in opened.take() if packet[TCP].seq == opened.ours]


def blocks(packet: Packet, peer: Peer) -> list[tuple[int, int]]:
    """Of selective acknowledgement, from what is due."""
    edges = [(edge - peer.due) % WORD for edge in dict(packet[TCP].options)["SAck"]]
    return list(zip(edges[::2], edges[1::2], strict=True))


def test_what_came_twice_is_reported_once(opened: Peer) -> None:
    """RFC 2883 4: the first block; the second encloses it where it waits. RFC 2018 4: then the latest."""
    opened.send(opened.segment(0, b"abcd"), opened.segment(8, b"ijkl"), opened.segment(20, b"uvwx"))
    opened.take()
    opened.send(opened.segment(1, b"bc"))
    assert blocks(opened.take()[-1], opened) == [(1, 3), (20, 24), (8, 12)]
    opened.send(opened.segment(9, b"jk"))
    assert blocks(opened.take()[-1], opened) == [(9, 11), (8, 12), (20, 24)]
    opened.send(opened.segment(8, b"ijkl"))
    assert blocks(opened.take()[-1], opened) == [(8, 12), (8, 12), (20, 24)]
    opened.send(opened.segment(30, b"z"))
    assert blocks(opened.take()[-1], opened) == [(30, 31), (20, 24), (8, 12)]
    opened.send(opened.segment(0, b"abcdefghijklmnopqrstuvwxyzABCDz"))
    assert opened.read() == (0, b"abcdefghijklmnopqrstuvwxyzABCDz")
    opened.due = (opened.due + 31) % WORD
    assert opened.is_alive()


@pytest.mark.parametrize(("told", "most"), [(1300, 1300), (68, None), (0, None), (65535, 1500)])
def test_a_proven_path_mtu_is_believed_within_reason(opened: Peer, told: int, most: int | None) -> None:
    """RFC 1191 4 and 8201 4, never below what every path carries: 552 here, 1280 of IPv6."""
    opened.stack.write(0, bytes(5000))
    opened.take()
    quote = {"sport": opened.local, "dport": opened.port, "seq": opened.ours}
    if opened.six:
        inner = IPv6(src=OURS[True], dst=PEERS[True]) / TCP(**quote)
        opened.send(opened.network() / ICMPv6PacketTooBig(mtu=told) / inner)
    else:
        message = ICMP(type=3, code=4, nexthopmtu=told)
        opened.send(opened.network() / message / IP(src=OURS[False], dst=PEERS[False]) / TCP(**quote))
    opened.stack.wait(1)
    opened.send(opened.segment(ack=1))  # whoever lost it gets it again
    opened.stack.wait(1)
    sizes = [packet[IPv6].plen + 40 if opened.six else packet[IP].len for packet in opened.take()]
    assert max(sizes) <= (most or (1280 if opened.six else 552))


def test_after_our_close_nothing_more_is_delivered(opened: Peer) -> None:
    """RFC 9293 3.6.1 and 3.10.7.4: FIN-WAIT and TIME-WAIT; resets do not end the latter (RFC 1337 3)."""
    opened.stack.close(0)
    assert any("F" in packet[TCP].flags for packet in opened.take())
    opened.send(opened.segment(0, b"late", ack=1), opened.segment(4, flags="FA", ack=1))
    opened.take()
    state = opened.stack.state()
    assert (state["connections"], state["held"]) == (0, 0)
    if state["time_waits"]:
        opened.send(opened.segment(5, flags="R"), opened.segment(0, b"late", flags="FA", ack=1))
        assert opened.stack.state()["time_waits"] == 1
        opened.stack.wait(70)
    assert opened.stack.state()["time_waits"] == 0


def test_hundreds_of_connections_leave_nothing_behind(peer: Peer) -> None:
    for ending in range(100):
        peer.isn = 1000 + ending * 100_000
        peer.open()
        peer.send(peer.segment(7, b"waits"), peer.segment(0, b"abc"))
        if ending % 4 == 0:
            peer.send(peer.segment(3, flags="R"))
        elif ending % 4 == 1:
            peer.send(peer.segment(3, b"defgwaits", "FA"))
            assert peer.read() == (EOF, b"abcdefgwaits")
        peer.stack.close(0)
        peer.take()
        if ending == 50:
            before = resident_kib(peer.stack)
    assert peer.stack.state()["connections"] < 256
    assert resident_kib(peer.stack) - before < GROWTH_KIB_MOST
    peer.stack.wait(140)
    state = peer.stack.state()
    assert (state["connections"], state["time_waits"], state["held"]) == (0, 0, 0)


def test_who_answers_arp_unasked_draws_nothing_to_himself(stack_end: Stack) -> None:
    """RFC 826 and 5227: a flood of claims costs a question a second."""
    stack_end.new()
    peer = Peer(stack_end, six=False)
    peer.open()
    for i in range(300):
        claim = ARP(op=2, hwsrc=f"02:00:00:00:01:{i % 256:02x}", psrc=PEERS[False], pdst=OURS[False])
        peer.send(Ether(src="02:00:00:00:01:00", dst=OUR_MAC) / claim)
    assert len(stack_end.take()) <= 2
    assert peer.is_alive()
