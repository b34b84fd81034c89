"""The recorded agents: payload put in order, and what the manifest says of it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.utils import rdpcap

CAPTURES = Path(__file__).parents[2] / "pcaps"

Endpoint = tuple[str, int, str, int]


@dataclass
class Recording:
    """A capture's TCP directions put in order, its datagrams, and what its manifest says."""

    manifest: dict[str, Any]
    heads: dict[Endpoint, bytes] = field(default_factory=dict)
    datagrams: list[tuple[Endpoint, bytes]] = field(default_factory=list)

    def hellos(self, transport: str) -> set[tuple[str, tuple[str, ...], str]]:
        return {
            (hello["sni"], tuple(hello["alpn"]), hello["ja4"])
            for hello in self.manifest["client_hellos"]
            if hello["transport"] == transport
        }


def read_recording(name: str) -> Recording:
    recording = Recording(json.loads((CAPTURES / f"{name}.json").read_text()))
    segments: dict[Endpoint, dict[int, bytes]] = {}
    starts: dict[Endpoint, int] = {}
    for packet in rdpcap(str(CAPTURES / f"{name}.pcap")):
        network = packet.getlayer(IP) or packet.getlayer(IPv6)
        if network is None or not (TCP in packet or UDP in packet):
            continue
        if UDP in packet:
            flow = (network.src, packet[UDP].sport, network.dst, packet[UDP].dport)
            recording.datagrams.append((flow, bytes(packet[UDP].original)[8 : packet[UDP].len]))
            continue
        segment = packet[TCP]
        flow = (network.src, segment.sport, network.dst, segment.dport)
        if segment.flags.S:
            starts[flow] = segment.seq + 1
        elif flow in starts and segment.payload:
            end = network.len - network.ihl * 4 if network.version == 4 else network.plen
            payload = bytes(segment.original)[segment.dataofs * 4 : end]
            segments.setdefault(flow, {}).setdefault((segment.seq - starts[flow]) % 2**32, payload)
    recording.heads = {flow: in_order(pieces) for flow, pieces in segments.items()}
    return recording


def in_order(pieces: dict[int, bytes]) -> bytes:
    head = b""
    for offset in sorted(pieces):
        if offset > len(head):
            break
        head += pieces[offset][len(head) - offset :]
    return head


def recording_names() -> list[str]:
    return sorted(path.stem for path in CAPTURES.glob("*.pcap"))
