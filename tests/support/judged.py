"""Recorded frames, whole and damaged, in a file; and which of them pass by the policy in Python."""

import random
import struct

from frames import S, read_packets
from head_policy import HeadPolicy
from recordings import CAPTURES

from sensor.packet import LinkType, Packet


def capture(packets: list[Packet]) -> bytes:
    rows = [struct.pack("<IIII", *divmod(row.ts_ns, S), len(row.data), row.wire_octets) + row.data for row in packets]
    return struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1) + b"".join(rows)


def by_policy(packets: list[Packet]) -> list[Packet]:
    policy = HeadPolicy()
    judged = [(row, policy.octets(row.ts_ns, row.data, row.wire_octets)) for row in packets]
    return [
        Packet(row.ts_ns, row.link_type, row.data[:octets], row.wire_octets) for row, octets in judged if octets != 0
    ]


def recorded() -> list[Packet]:
    rows: list[Packet] = []
    for name in (
        "benign-dns-udp-tcp",
        "link-qinq-ngrok-py-sanctioned",
        "ipv6-ngrok2",
        "cf2025-token-quic",
        "ssh-serveo",
    ):
        rows += read_packets(str(CAPTURES / f"{name}.pcap"))[:60]
    return [row for row in rows if row.link_type == LinkType.ETHERNET]


RECORDED = recorded()


def mutated(chance: random.Random, row: Packet) -> Packet:
    data = bytearray(row.data)
    for _ in range(chance.randrange(4)):
        data[chance.randrange(min(len(data), 90))] = chance.choice((0, 1, 6, 17, 43, 44, 51, 0x45, 0x60, 0x81, 0xFF))
    cut = bytes(data[: chance.choice((len(data), len(data), chance.randrange(len(data) + 1)))])
    return Packet(
        row.ts_ns, LinkType.ETHERNET, cut, len(cut) if chance.random() < 0.5 else max(row.wire_octets, len(cut))
    )
