"""A classic BPF filter: IPv4, IPv6 and PPPoE sessions, also inside VLAN and QinQ tags, and nothing else.

The kernel strips the outermost tag of a frame before a packet socket sees it, so what the filter finds in the frame are
the tags below that one. Up to `MAX_TAGS` are walked. A load beyond the end of a short frame drops the frame. Less may
be taken of TCP, whose offloaded giants of 64 KiB would otherwise be copied for a head of 4096 octets.
"""

import ctypes
import socket
import struct
from itertools import chain
from typing import Final

SO_ATTACH_FILTER = 26
SNAP_OCTETS = 262_144  # whole frames, 64 KiB GSO giants and most of BIG TCP
HEAD_SNAP_OCTETS = 16 * 1024  # where no flow is cut in the kernel: the longest head is 12,000 octets of QUIC

MAX_TAGS = 3
ETHERTYPE_OFFSET = 12
TAG_OCTETS = 4
IP_ETHERTYPES = (0x0800, 0x86DD, 0x8864)  # the last is a PPPoE session (RFC 2516)
TAG_ETHERTYPES = (0x8100, 0x88A8, 0x9100)

TCP = 6
IPV4_PROTOCOL, IPV6_NEXT_HEADER = 9, 6  # where in the header

LOAD_HALF = 0x28  # BPF_LD | BPF_H | BPF_ABS
LOAD_OCTET = 0x30  # BPF_LD | BPF_B | BPF_ABS
JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K
PROTOCOL_OFFSET = 0xFFFFF000  # SKF_AD_OFF + SKF_AD_PROTOCOL: the EtherType that the kernel keeps beside the packet

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand
REJECT_ALL: Final[list[Instruction]] = [(RETURN, 0, 0, 0)]


def ethernet_program(octets: int = SNAP_OCTETS, tcp_octets: int = SNAP_OCTETS) -> list[Instruction]:
    """Return the filter for frames that begin with an Ethernet header; so many octets pass of each, of one with TCP."""
    offsets = [ETHERTYPE_OFFSET + TAG_OCTETS * depth for depth in range(MAX_TAGS + 1)]
    tagged = chain.from_iterable(_tag_block(offset, octets, tcp_octets) for offset in offsets[:-1])
    return [*tagged, *_accept_or_reject(offsets[-1], offsets[-1] + 2, octets, tcp_octets)]


def network_program(octets: int = SNAP_OCTETS, tcp_octets: int = SNAP_OCTETS) -> list[Instruction]:
    """Return the same for packets that begin with the network header (tun, WireGuard, PPP)."""
    return _accept_or_reject(PROTOCOL_OFFSET, 0, octets, tcp_octets)


def attach(sock: socket.socket, program: list[Instruction]) -> None:
    """Attach `program` to `sock`; do it before bind, or unfiltered packets queue first.

    Raises:
        OSError: The kernel refused it.
    """
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code)))


def _tag_block(offset: int, octets: int, tcp_octets: int) -> list[Instruction]:
    """One level of tags: accept IP, go on in the next block behind a tag, reject the rest."""
    ipv4, ipv6, pppoe = IP_ETHERTYPES
    customer, service, old_service = TAG_ETHERTYPES
    return [
        (LOAD_HALF, 0, 0, offset),
        (JUMP_EQUAL, 6, 0, ipv4),
        (JUMP_EQUAL, 7, 0, ipv6),
        (JUMP_EQUAL, 8, 0, pppoe),
        (JUMP_EQUAL, 9, 0, customer),
        (JUMP_EQUAL, 8, 0, service),
        (JUMP_EQUAL, 7, 0, old_service),
        (RETURN, 0, 0, 0),
        *_accept(offset + 2, octets, tcp_octets),
    ]


def _accept_or_reject(offset: int, ip_offset: int, octets: int, tcp_octets: int) -> list[Instruction]:
    """Accept if the EtherType at `offset` is an IP one."""
    ipv4, ipv6, pppoe = IP_ETHERTYPES
    return [
        (LOAD_HALF, 0, 0, offset),
        (JUMP_EQUAL, 3, 0, ipv4),
        (JUMP_EQUAL, 4, 0, ipv6),
        (JUMP_EQUAL, 5, 0, pppoe),
        (RETURN, 0, 0, 0),
        *_accept(ip_offset, octets, tcp_octets),
    ]


def _accept(ip_offset: int, octets: int, tcp_octets: int) -> list[Instruction]:
    """Accept IPv4 (enter at the first instruction), IPv6 (at the third) and anything else (at the fifth)."""
    return [
        (LOAD_OCTET, 0, 0, ip_offset + IPV4_PROTOCOL),
        (JUMP_EQUAL, 3, 2, TCP),
        (LOAD_OCTET, 0, 0, ip_offset + IPV6_NEXT_HEADER),
        (JUMP_EQUAL, 1, 0, TCP),
        (RETURN, 0, 0, octets),
        (RETURN, 0, 0, tcp_octets),
    ]
