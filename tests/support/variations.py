"""Recorded packets told otherwise: other addresses, ports, names, links and times. Checksums are left as they were."""

import ipaddress
import struct
from collections.abc import Callable, Iterable

import msgspec
from frames import packet
from tricks import fragments

from sensor.decoding.decode import Datagram, Segment, decode
from sensor.decoding.link import ETHERTYPE_IPV4, find_network_layer
from sensor.errors import MalformedInput, NeedMoreData
from sensor.packet import LinkType, Packet

SSH_PORT = 22
SYN, ACK = 2, 16
_IP_OCTETS = {0x0800: 20, 0x86DD: 40}
_FRAGMENTED_FROM = 200

Change = Callable[[list[Packet]], list[Packet]]


def transports(rows: Iterable[Packet]) -> list[Segment | Datagram]:
    """The segments and datagrams among the packets."""
    found = []
    for row in rows:
        try:
            decoded = decode(row)
        except (MalformedInput, NeedMoreData):
            continue
        if isinstance(decoded, Segment | Datagram):
            found.append(decoded)
    return found


def clients(rows: Iterable[Packet]) -> set[bytes]:
    """Who opened connections or asked a resolver."""
    return {
        row.ends[0]
        for row in transports(rows)
        if (row.flags & (SYN | ACK) == SYN if isinstance(row, Segment) else row.dst_port == 53)
    }


def replaced(rows: Iterable[Packet], pairs: Iterable[tuple[bytes, bytes]]) -> list[Packet]:
    """The packets with octets of the same length put in place of others, wherever they stand."""
    pairs = list(pairs)
    changed = []
    for row in rows:
        data = row.data
        for old, new in pairs:
            data = data.replace(old, new)
        changed.append(msgspec.structs.replace(row, data=data))
    return changed


def moved(rows: list[Packet]) -> list[Packet]:
    """Every unicast address that sends or receives becomes another, in answers too."""
    seen = {address for row in transports(rows) for address in row.ends[::2]}
    return replaced(rows, [(old, _other(old)) for old in seen if _is_host(old)])


def _is_host(address: bytes) -> bool:
    read = ipaddress.ip_address(address)
    return not (
        read.is_multicast or read.is_loopback or read.is_unspecified or read == ipaddress.ip_address("255.255.255.255")
    )


def _other(address: bytes) -> bytes:
    """An address whose octets occur in no capture, one for each."""
    return bytes([address[0] ^ 0x40]) + address[1:-2] + bytes([address[-2] ^ 0xA5, address[-1]])


def of_client(rows: list[Packet], last: int) -> list[Packet]:
    """The packets of other clients: the last octet of each client's address is another."""
    return replaced(rows, [(old, old[:-1] + bytes([last ^ old[-1]])) for old in clients(rows)])


def as_client(rows: list[Packet], client: bytes) -> list[Packet]:
    """The packets of the one client as those of another."""
    return replaced(rows, [(old, client) for old in clients(rows)])


def servers(rows: Iterable[Packet]) -> set[bytes]:
    """Whom connections were opened to."""
    return {row.ends[2] for row in transports(rows) if isinstance(row, Segment) and row.flags & (SYN | ACK) == SYN}


def on_other_ports(rows: list[Packet]) -> list[Packet]:
    """Every port but SSH's becomes another; SSH elsewhere would be a tell."""
    return [_with_ports(row) for row in rows]


def _with_ports(row: Packet) -> Packet:
    try:
        decoded = decode(row)
    except (MalformedInput, NeedMoreData):
        return row
    if not isinstance(decoded, Segment | Datagram):
        return row
    at, ethertype = find_network_layer(row)
    at += (row.data[at] & 0x0F) * 4 if ethertype == ETHERTYPE_IPV4 else 40
    ports = [port if port == SSH_PORT else port ^ 0x2000 for port in decoded.ends[1::2]]
    return msgspec.structs.replace(row, data=row.data[:at] + struct.pack(">HH", *ports) + row.data[at + 4 :])


def tagged(rows: list[Packet]) -> list[Packet]:
    """With a VLAN tag."""
    return [_with_tag(row) if row.link_type == LinkType.ETHERNET else row for row in rows]


def _with_tag(row: Packet) -> Packet:
    data = row.data[:12] + b"\x81\x00\x00\x2a" + row.data[12:]
    return Packet(row.ts_ns, row.link_type, data, row.wire_octets + 4)


def in_fragments(rows: list[Packet]) -> list[Packet]:
    """IPv4 packets of 200 octets and more in fragments of 104."""
    return [piece for number, row in enumerate(rows) for piece in _cut(row, number + 1)]


def _cut(row: Packet, identification: int) -> list[Packet]:
    is_plain = row.link_type == LinkType.ETHERNET and row.data[12:15] == b"\x08\x00\x45"
    is_whole = is_plain and not int.from_bytes(row.data[20:22]) & 0x3FFF and row.wire_octets == len(row.data)
    octets = int.from_bytes(row.data[16:18]) if is_whole else 0
    if octets < _FRAGMENTED_FROM:
        return [row]
    return fragments(
        packet(row.ts_ns, row.data[: 14 + octets]), *range(104, octets - 20, 104), identification=identification
    )


def copied(rows: list[Packet]) -> list[Packet]:
    """Every packet twice."""
    return [row for row in rows for _ in range(2)]


def a_year_later(rows: list[Packet]) -> list[Packet]:
    """The same at another time."""
    return [msgspec.structs.replace(row, ts_ns=row.ts_ns + 31_536_000_000_000_000) for row in rows]


def side_by_side(*captures: list[Packet]) -> list[Packet]:
    """Captures as if they had begun together."""
    start = captures[0][0].ts_ns
    together = [
        msgspec.structs.replace(row, ts_ns=row.ts_ns - rows[0].ts_ns + start) for rows in captures for row in rows
    ]
    return sorted(together, key=lambda row: row.ts_ns)
