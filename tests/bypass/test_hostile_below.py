"""Hostile frames below TCP, made by scapy: each with the section that says what must come of it.

The connection beside them is not touched, nobody is answered, and every buffer comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hostile_peer import OUR_MAC, OURS, PEER_MAC, PEERS, WORD, Peer, Stack
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6MLQuery,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

EVIL_MAC, EVIL_FOUR, EVIL_SIX = "02:00:00:00:00:66", "10.9.0.66", "fd00::66"
Frames = Packet | bytes | Sequence[Packet | bytes]


def ip(peer: Peer, **fields: Any) -> Packet:
    """A good segment with a bent IP header."""
    packet = peer.segment(data=b"zz")
    for name, value in fields.items():
        setattr(packet[IP if not peer.six else IPv6], name, value)
    return packet


def tcp(peer: Peer, **fields: Any) -> Packet:
    packet = peer.segment(data=b"zz")
    for name, value in fields.items():
        setattr(packet[TCP], name, value)
    return packet


def options(peer: Peer, raw: bytes) -> Packet:
    """As they stand: a list of options in bytes."""
    raw = raw.ljust(-(-len(raw) // 4) * 4, b"\0")
    packet = peer.segment(data=raw + b"zz", stamp=None)
    packet[TCP].dataofs = 5 + len(raw) // 4
    return packet


def ether(peer: Peer, **fields: Any) -> Packet:
    packet = peer.segment(data=b"zz")
    for name, value in fields.items():
        setattr(packet[Ether], name, value)
    return packet


def tagged(peer: Peer) -> Packet:
    packet = peer.segment(data=b"zz")
    return Ether(src=PEER_MAC, dst=OUR_MAC) / Dot1Q(vlan=1) / packet[IP]


def quoted(peer: Peer, at: int = 0, **fields: Any) -> Packet:
    """What we sent, as a router sees it."""
    header = {"sport": peer.local, "dport": peer.port, "seq": (peer.ours + at) % WORD} | fields
    layer = IPv6(src=OURS[True], dst=PEERS[True]) if peer.six else IP(src=OURS[False], dst=PEERS[False])
    return layer / TCP(**header)


def icmp(peer: Peer, what: Packet, inner: Packet | None = None, **fields: Any) -> Packet:
    return peer.network() / what / (inner if inner is not None else quoted(peer, **fields))


def arp(**fields: Any) -> Packet:
    defaults = {"op": 2, "hwsrc": EVIL_MAC, "psrc": PEERS[False], "hwdst": OUR_MAC, "pdst": OURS[False]}
    return Ether(src=EVIL_MAC, dst=OUR_MAC) / ARP(**(defaults | fields))


def nd(what: Packet, **fields: Any) -> Packet:
    header = {"src": PEERS[True], "dst": OURS[True], "hlim": 255} | fields
    return Ether(src=EVIL_MAC, dst=OUR_MAC) / IPv6(**header) / what


def na() -> Packet:
    return ICMPv6ND_NA(tgt=PEERS[True], S=1, O=1, R=1) / ICMPv6NDOptDstLLAddr(lladdr=EVIL_MAC)


def ext(peer: Peer, header: Packet) -> Packet:
    packet = peer.segment(data=b"zz")
    return peer.network() / header / packet[TCP]


# name, RFC, families, what is sent, why it is dropped
BOTH, FOUR, SIX = (False, True), (False,), (True,)
CASES: tuple[tuple[str, str, tuple[bool, ...], Callable[[Peer], Frames], str], ...] = (
    ("ten bytes", "894", BOTH, lambda p: bytes(p.segment())[:10], "frame_short"),
    ("another station's", "894", BOTH, lambda p: ether(p, dst="02:00:00:00:00:99"), "frame_not_ours"),
    ("to all stations", "1122 3.3.6", BOTH, lambda p: ether(p, dst="ff:ff:ff:ff:ff:ff"), "frame_not_ours"),
    ("from a group", "1112 6.4", BOTH, lambda p: ether(p, src="01:00:5e:00:00:01"), "frame_source"),
    ("a VLAN we are not in", "802.1Q", FOUR, tagged, "frame_type"),
    ("a type unheard of", "894", BOTH, lambda p: ether(p, type=0x88B5), "frame_type"),
    ("version 6 in IPv4", "791 3.1", FOUR, lambda p: ip(p, version=6), "ip_bad"),
    ("a header of 16 bytes", "791 3.1", FOUR, lambda p: ip(p, ihl=4), "ip_bad"),
    ("longer than its frame", "1122 3.2.1", FOUR, lambda p: ip(p, len=1400), "ip_bad"),
    ("shorter than its header", "791 3.1", FOUR, lambda p: ip(p, len=19), "ip_bad"),
    ("longer than its frame", "8200 3", SIX, lambda p: ip(p, plen=1400), "ip_bad"),
    ("wrong IP checksum", "1122 3.2.1.2", FOUR, lambda p: ip(p, chksum=1), "ip_checksum"),
    ("source route", "7126 4.3", FOUR, lambda p: ip(p, options=[IPOption_LSRR(routers=[EVIL_FOUR])]),
     "ip_options"),
    ("first fragment", "815", FOUR, lambda p: ip(p, flags="MF"), "ip_fragment"),
    ("later fragment", "815", FOUR, lambda p: ip(p, frag=2), "ip_fragment"),
    ("tiny overlapping fragments", "1858 3",
     FOUR, lambda p: [ip(p, flags="MF"), ip(p, frag=1, flags="MF"), ip(p, frag=1)], "ip_fragment"),
    ("from the loopback", "1122 3.2.1.3", FOUR, lambda p: ip(p, src="127.0.0.1"), "ip_source"),
    ("from nobody", "1122 3.2.1.3", FOUR, lambda p: ip(p, src="0.0.0.0"), "ip_source"),
    ("from everybody", "1122 3.2.1.3", FOUR, lambda p: ip(p, src="255.255.255.255"), "ip_source"),
    ("from a group", "1122 3.2.1.3", FOUR, lambda p: ip(p, src="224.0.0.5"), "ip_source"),
    ("from ourselves", "9293 3.10.7", BOTH, lambda p: ip(p, src=OURS[p.six]), "ip_source"),
    ("from a group", "4291 2.7", SIX, lambda p: ip(p, src="ff02::1"), "ip_source"),
    ("from the loopback", "4291 2.5.3", SIX, lambda p: ip(p, src="::1"), "ip_source"),
    ("from nobody", "4291 2.5.2", SIX, lambda p: ip(p, src="::"), "ip_source"),
    ("from a mapped address", "4942 2.2", SIX, lambda p: ip(p, src="::ffff:10.9.0.1"), "ip_source"),
    ("to a group", "1122 4.2.3.10", FOUR, lambda p: ip(p, dst="224.0.0.1"), "ip_not_ours"),
    ("to everybody", "1122 4.2.3.10", FOUR, lambda p: ip(p, dst="255.255.255.255"), "ip_not_ours"),
    ("to another host", "1122 3.2.1.3", FOUR, lambda p: ip(p, dst=EVIL_FOUR), "ip_not_ours"),
    ("to all nodes", "4291 2.7", SIX, lambda p: ip(p, dst="ff02::1"), "ip_not_ours"),
    ("to another host", "8200 3", SIX, lambda p: ip(p, dst=EVIL_SIX), "ip_not_ours"),
    ("UDP", "768", BOTH, lambda p: p.network() / UDP(sport=53, dport=53) / b"zz", "ip_protocol"),
    ("a protocol unheard of", "1122 3.2.2.1", FOUR, lambda p: ip(p, proto=253), "ip_protocol"),
    ("hop by hop", "8200 4.3", SIX, lambda p: ext(p, IPv6ExtHdrHopByHop()), "ip_options"),
    ("routing", "5095 3", SIX, lambda p: ext(p, IPv6ExtHdrRouting(addresses=[EVIL_SIX])), "ip_options"),
    ("destination options", "8200 4.6", SIX, lambda p: ext(p, IPv6ExtHdrDestOpt()), "ip_options"),
    ("a fragment", "8200 4.5", SIX, lambda p: ext(p, IPv6ExtHdrFragment(m=1, id=7)), "ip_fragment"),
    ("the only fragment", "6946 4", SIX, lambda p: ext(p, IPv6ExtHdrFragment(id=7)), "ip_fragment"),
    ("wrong TCP checksum", "9293 3.1", BOTH, lambda p: tcp(p, chksum=1), "tcp_checksum"),
    ("no TCP checksum", "9293 3.1", BOTH, lambda p: tcp(p, chksum=0), "tcp_checksum"),
    ("a TCP header of 16 bytes", "9293 3.1", BOTH, lambda p: tcp(p, dataofs=4), "tcp_bad"),
    ("a TCP header beyond the end", "9293 3.1", BOTH, lambda p: tcp(p, dataofs=15, options=[]), "tcp_bad"),
    ("half a TCP header", "9293 3.1", BOTH,
     lambda p: p.network(**{"nh" if p.six else "proto": 6}) / Raw(b"\0" * 10), "tcp_bad"),
    ("from port 0", "6335 6", BOTH, lambda p: tcp(p, sport=0), "tcp_bad"),
    ("an option of length 0", "9293 3.2", BOTH, lambda p: options(p, b"\xfd\0zz"), "tcp_options"),
    ("an option of length 1", "9293 3.2", BOTH, lambda p: options(p, b"\xfd\1zz"), "tcp_options"),
    ("an option beyond the header", "9293 3.2", BOTH, lambda p: options(p, b"\1\xfd\x09z"), "tcp_options"),
    ("an option cut after its kind", "9293 3.2", BOTH, lambda p: options(p, b"\1\1\1\xfd"), "tcp_options"),
    ("a timestamp of 9 bytes", "7323 3.2", BOTH, lambda p: options(p, b"\x08\x09zzzzzzz"), "tcp_options"),
    ("SACK blocks of 7 bytes", "2018 3", BOTH, lambda p: options(p, b"\x05\x09zzzzzzz"), "tcp_options"),
    ("an MSS of 3 bytes", "9293 3.2", BOTH, lambda p: options(p, b"\x02\x03z"), "tcp_options"),
    ("a SYN flood", "4987 3", BOTH,
     lambda p: [tcp(p, flags="S", sport=1000 + i, seq=i, options=[]) for i in range(300)], "tcp_syn_unasked"),
    ("host unreachable", "5927 5.2", FOUR, lambda p: icmp(p, ICMP(type=3, code=1)), "icmp_error"),
    ("port unreachable", "5927 5.2", FOUR, lambda p: icmp(p, ICMP(type=3, code=3)), "icmp_error"),
    ("time exceeded", "5927 5.2", FOUR, lambda p: icmp(p, ICMP(type=11)), "icmp_error"),
    ("parameter problem", "5927 5.2", FOUR, lambda p: icmp(p, ICMP(type=12)), "icmp_error"),
    ("source quench", "6633 3", FOUR, lambda p: icmp(p, ICMP(type=4)), "icmp_error"),
    ("redirect", "1122 3.2.2.2", FOUR, lambda p: icmp(p, ICMP(type=5, code=1, gw=EVIL_FOUR)),
     "icmp_redirect"),
    ("timestamp request", "1122 3.2.2.8", FOUR, lambda p: p.network() / ICMP(type=13), "icmp_type"),
    ("address mask request", "1122 3.2.2.9", FOUR, lambda p: p.network() / ICMP(type=17), "icmp_type"),
    ("wrong ICMP checksum", "792", FOUR, lambda p: p.network() / ICMP(type=8, chksum=1), "icmp_checksum"),
    ("MTU of what is not in flight", "5927 7.2", FOUR,
     lambda p: icmp(p, ICMP(type=3, code=4, nexthopmtu=600), at=-9), "icmp_mtu_unproven"),
    ("MTU of the future", "5927 7.2", FOUR,
     lambda p: icmp(p, ICMP(type=3, code=4, nexthopmtu=600), at=1 << 20), "icmp_mtu_unproven"),
    ("MTU of another connection", "5927 4.1", FOUR,
     lambda p: icmp(p, ICMP(type=3, code=4, nexthopmtu=600), sport=99), "icmp_mtu_unproven"),
    ("MTU that quotes nothing", "1191 4", FOUR,
     lambda p: icmp(p, ICMP(type=3, code=4, nexthopmtu=600), Raw(b"E")), "icmp_mtu_unproven"),
    ("unreachable", "5927 5.2", SIX, lambda p: icmp(p, ICMPv6DestUnreach(code=4)), "icmp_error"),
    ("hop limit exceeded", "5927 5.2", SIX, lambda p: icmp(p, ICMPv6TimeExceeded()), "icmp_error"),
    ("parameter problem", "5927 5.2", SIX, lambda p: icmp(p, ICMPv6ParamProblem()), "icmp_error"),
    ("too big, not in flight", "5927 7.2", SIX,
     lambda p: icmp(p, ICMPv6PacketTooBig(mtu=1280), at=-9), "icmp_mtu_unproven"),
    ("too big, quotes nothing", "8201 4", SIX,
     lambda p: icmp(p, ICMPv6PacketTooBig(mtu=1280), Raw(b"`")), "icmp_mtu_unproven"),
    ("ping of a group", "4443 4.2", SIX,
     lambda p: nd(ICMPv6EchoRequest(), dst="ff02::1") , "icmp_type"),
    ("wrong ICMP checksum", "4443 2.3", SIX,
     lambda p: p.network() / ICMPv6EchoRequest(cksum=1), "icmp_checksum"),
    ("a listener query without its option", "3810 5.1", SIX, lambda p: nd(ICMPv6MLQuery(), hlim=1),
     "icmp_bad"),
    ("router advertisement", "6104 3", SIX, lambda p: nd(ICMPv6ND_RA(), src="fe80::66"), "nd_router"),
    ("redirect", "4861 8.1", SIX,
     lambda p: nd(ICMPv6ND_Redirect(tgt=EVIL_SIX, dst=PEERS[True]), src="fe80::66"), "icmp_redirect"),
    ("advertisement nobody asked for", "4861 7.2.5", SIX, lambda p: nd(na()), "nd_unasked"),
    ("advertisement from afar", "4861 7.1.2", SIX, lambda p: nd(na(), hlim=64), "nd_bad"),
    ("advertisement with code 1", "4861 7.1.2", SIX,
     lambda p: nd(ICMPv6ND_NA(tgt=PEERS[True], code=1) / ICMPv6NDOptDstLLAddr(lladdr=EVIL_MAC)), "nd_bad"),
    ("an option of no length", "4861 7.1.1", SIX,
     lambda p: nd(ICMPv6ND_NS(tgt=OURS[True]) / ICMPv6NDOptSrcLLAddr(lladdr=EVIL_MAC, len=0)), "nd_bad"),
    ("answer nobody asked for", "826", FOUR, lambda p: arp(), "arp_unasked"),
    ("announcement of the peer's address", "5227 2.3", FOUR, lambda p: arp(op=1, pdst=PEERS[False]),
     "arp_unasked"),
    ("claims our address", "5227 2.4", FOUR, lambda p: arp(psrc=OURS[False]), "arp_conflict"),
    ("about others", "826", FOUR, lambda p: arp(pdst="10.9.0.9"), "arp_not_ours"),
    ("a group's hardware address", "1812 3.3.2", FOUR, lambda p: arp(hwsrc="ff:ff:ff:ff:ff:ff"), "arp_bad"),
    ("for another kind of address", "826", FOUR, lambda p: arp(ptype=0x86DD), "arp_bad"),
    ("cut short", "826", FOUR, lambda p: bytes(arp())[:40], "arp_bad"),
)  # fmt: skip


@pytest.fixture
def peer(stack_end: Stack, request: pytest.FixtureRequest) -> Any:
    stack_end.new()
    peer = Peer(stack_end, request.param)
    peer.open()
    yield peer
    stack_end.new()
    assert stack_end.state()["held"] == 0


GRID = [
    pytest.param(six, case, id=f"{'IPv6' if six else 'IPv4'}-{case[0]} ({case[1]})")
    for case in CASES
    for six in case[2]
]


@pytest.mark.parametrize(("peer", "case"), GRID, indirect=["peer"])
def test_a_frame_below_tcp(peer: Peer, case: tuple[Any, ...]) -> None:
    _name, _rfc, _families, make, drop = case
    made = make(peer)
    frames = [made] if isinstance(made, (Packet, bytes)) else made
    before = peer.stack.state()["drops"][drop]
    peer.take()
    peer.send(*frames)
    assert [packet.summary() for packet in peer.stack.take() if not question(packet)] == []
    assert peer.stack.state()["drops"][drop] == before + len(frames)
    assert peer.stack.state()["held"] == 0
    assert peer.is_alive()
    peer.send(peer.segment(data=b"z"))
    assert {packet.dst for packet in peer.take()} <= {PEER_MAC}  # nobody has drawn it to himself


def question(packet: Packet) -> bool:
    """ARP: who is it really?"""
    return ARP in packet and packet[ARP].op == 1
