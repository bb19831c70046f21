"""A peer made of scapy's frames, in front of the user-space stack on a net_ring port.

No kernel, no root, no clock: ``Stack`` is the program ``stack-end``, to which time passes when it is told so.
``Peer`` is the other end of one connection; what it sends is right except where a test bends it.
"""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scapy.config import conf
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

OUR_MAC, PEER_MAC = "02:00:00:00:00:02", "02:00:00:00:00:01"
OURS = {False: "10.9.0.2", True: "fd00::2"}
PEERS = {False: "10.9.0.1", True: "fd00::1"}
EOF = -4096  # BW_TRANSPORT_EOF
WORD = 1 << 32
conf.use_pcap = False


class Stack:
    """The stack's process. ``sent`` is what it sent and nobody has taken yet."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.sent: list[bytes] = []

    def _ask(self, what: str, data: bytes = b"") -> tuple[int, bytes]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(what.encode() + struct.pack("<I", len(data)) + data)
        self.process.stdin.flush()
        head = self.process.stdout.read(16)
        assert len(head) == 16, "the stack's process has died"
        result, text_bytes, _count, out_bytes = struct.unpack("<iIII", head)
        text, out = self.process.stdout.read(text_bytes), self.process.stdout.read(out_bytes)
        at = 0
        while at < len(out):
            (size,) = struct.unpack_from("<H", out, at)
            self.sent.append(out[at + 2 : at + 2 + size])
            at += 2 + size
        return result, text

    def new(self) -> None:
        self._ask("n")
        self.sent.clear()

    def connect(self, slot: int, six: bool) -> int:
        return self._ask("c", bytes((slot, six)))[0]

    def receive(self, frames: Sequence[bytes]) -> int:
        """How many of them found no buffer."""
        return self._ask("f", b"".join(struct.pack("<H", len(frame)) + frame for frame in frames))[0]

    def wait(self, seconds: float) -> None:
        self._ask("t", struct.pack("<q", round(seconds * 1e9)))

    def read(self, slot: int) -> tuple[int, bytes]:
        return self._ask("r", bytes((slot,)))

    def write(self, slot: int, data: bytes) -> int:
        return self._ask("w", bytes((slot,)) + data)[0]

    def close(self, slot: int) -> None:
        self._ask("x", bytes((slot,)))

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._ask("s")[1])
        return found

    def take(self) -> list[Packet]:
        frames, self.sent = self.sent, []
        return [Ether(frame) for frame in frames]


@dataclass
class Peer:
    """One connection's other end. Sequence numbers in calls count from what is due."""

    stack: Stack
    six: bool
    slot: int = 0
    port: int = 443
    isn: int = 1000
    syn_options: tuple[Any, ...] = (("MSS", 1460), ("SAckOK", b""), ("WScale", 7), ("Timestamp", (1000, 0)))
    window: int = 512
    due: int = 0  # the next byte to us
    ours: int = 0  # the next byte from us
    local: int = 0
    stamp: int = 1000
    their_stamp: int = 0
    answers: list[Packet] = field(default_factory=list)

    def network(self, **fields: Any) -> Packet:
        ether = Ether(src=PEER_MAC, dst=OUR_MAC)
        layer = IPv6 if self.six else IP
        return ether / layer(**({"src": PEERS[self.six], "dst": OURS[self.six]} | fields))

    def segment(
        self, at: int = 0, data: bytes = b"", flags: str = "A", ack: int = 0, **fields: Any
    ) -> Packet:
        """``stamp``: from the latest, None leaves the option away; ``options`` go before it."""
        stamp = fields.pop("stamp", 0)
        options = list(fields.pop("options", ()))
        if stamp is not None:
            options += [("Timestamp", ((self.stamp + stamp) % WORD, self.their_stamp))]
        tcp = {
            "sport": self.port,
            "dport": self.local,
            "seq": (self.due + at) % WORD,
            "ack": (self.ours + ack) % WORD if "A" in flags else 0,
            "flags": flags,
            "window": self.window,
            "options": options,
        } | fields
        return self.network() / TCP(**tcp) / data

    def send(self, *packets: Packet | bytes) -> int:
        return self.stack.receive([bytes(packet) for packet in packets])

    def answer_neighbours(self) -> list[Packet]:
        """Takes what the stack sent; its questions about us are answered, TCP's segments are returned."""
        found = []
        for packet in self.stack.take():
            if ARP in packet and packet[ARP].op == 1 and packet[ARP].pdst == PEERS[False]:
                reply = ARP(op=2, hwsrc=PEER_MAC, psrc=PEERS[False], hwdst=OUR_MAC, pdst=OURS[False])
                self.send(Ether(src=PEER_MAC, dst=OUR_MAC) / reply)
                found += self.answer_neighbours()
            elif ICMPv6ND_NS in packet and packet[ICMPv6ND_NS].tgt == PEERS[True]:
                ip = IPv6(src=PEERS[True], dst=packet[IPv6].src, hlim=255)
                reply = ip / ICMPv6ND_NA(tgt=PEERS[True], S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=PEER_MAC)
                self.send(Ether(src=PEER_MAC, dst=OUR_MAC) / reply)
                found += self.answer_neighbours()
            elif TCP in packet:
                found.append(packet)
        return found

    def take(self) -> list[Packet]:
        """TCP segments that the stack sent to us since."""
        found = [packet for packet in self.answer_neighbours() if packet[TCP].dport == self.port]
        for packet in found:
            stamps = dict(packet[TCP].options).get("Timestamp")
            if stamps:
                self.their_stamp = stamps[0]
        return found

    def meet_syn(self) -> Packet:
        """Connects; the SYN has come here and is not answered yet."""
        assert self.stack.connect(self.slot, self.six) == 0
        syn = self.take()[-1]
        assert syn[TCP].flags == "S"
        self.local, self.ours, self.due = syn[TCP].sport, (syn[TCP].seq + 1) % WORD, self.isn
        return syn

    def syn_ack(self, **fields: Any) -> Packet:
        fields = {"flags": "SA", "options": self.syn_options, "window": 65535} | fields
        return self.segment(stamp=None, **fields)

    def open(self) -> None:
        self.meet_syn()
        self.send(self.syn_ack())
        self.due = (self.isn + 1) % WORD
        assert self.take()[-1][TCP].ack == self.due

    def read(self) -> tuple[int, bytes]:
        return self.stack.read(self.slot)

    def is_alive(self) -> bool:
        """Bytes still go both ways, exactly."""
        self.stamp += 10
        self.take()
        self.send(self.segment(data=b"alive"))
        self.due = (self.due + 5) % WORD
        if self.read() != (0, b"alive") or self.stack.write(self.slot, b"pong") != 4:
            return False
        sent = [bytes(packet[TCP].payload)[:4] for packet in self.take() if packet[TCP].seq == self.ours]
        self.ours = (self.ours + 4) % WORD
        self.send(self.segment())
        return b"pong" in sent


def payload(packet: Packet) -> bytes:
    """Without the padding of a short frame."""
    tcp = packet[TCP]
    if IP in packet:
        return bytes(tcp.payload)[: packet[IP].len - 20 - tcp.dataofs * 4]
    return bytes(tcp.payload)[: packet[IPv6].plen - tcp.dataofs * 4]
