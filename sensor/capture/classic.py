"""A classic BPF filter: IPv4, IPv6 and PPPoE sessions, also inside VLAN and QinQ tags, and nothing else.

The kernel strips the outermost tag of a frame before a packet socket sees it, so what the filter finds in the frame are
the tags below that one. Up to `MAX_TAGS` are walked. A load beyond the end of a short frame drops the frame.
"""

import ctypes
import socket
import struct
from itertools import chain

SO_ATTACH_FILTER = 26
SNAP_OCTETS = 262_144  # whole frames, 64 KiB GSO giants and most of BIG TCP
HEAD_SNAP_OCTETS = 16 * 1024  # where no flow is cut in the kernel: the longest head is 12,000 octets of QUIC

MAX_TAGS = 3
ETHERTYPE_OFFSET = 12
TAG_OCTETS = 4
IP_ETHERTYPES = (0x0800, 0x86DD, 0x8864)  # the last is a PPPoE session (RFC 2516)
TAG_ETHERTYPES = (0x8100, 0x88A8, 0x9100)

LOAD_HALF = 0x28  # BPF_LD | BPF_H | BPF_ABS
JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K
PROTOCOL_OFFSET = 0xFFFFF000  # SKF_AD_OFF + SKF_AD_PROTOCOL: the EtherType that the kernel keeps beside the packet

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def ethernet_program(snap_octets: int = SNAP_OCTETS) -> list[Instruction]:
    """Return the filter for frames that begin with an Ethernet header; at most `snap_octets` of a frame pass."""
    offsets = [ETHERTYPE_OFFSET + TAG_OCTETS * depth for depth in range(MAX_TAGS + 1)]
    tagged = chain.from_iterable(_tag_block(offset, snap_octets) for offset in offsets[:-1])
    return [*tagged, *_accept_or_reject(offsets[-1], snap_octets)]


def network_program(snap_octets: int = SNAP_OCTETS) -> list[Instruction]:
    """Return the filter for packets that begin with the network header (tun, WireGuard, PPP)."""
    return _accept_or_reject(PROTOCOL_OFFSET, snap_octets)


def attach(sock: socket.socket, program: list[Instruction]) -> None:
    """Attach `program` to `sock`; do it before bind, or unfiltered packets queue first.

    Raises:
        OSError: The kernel refused it.
    """
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code)))


def _tag_block(offset: int, snap_octets: int) -> list[Instruction]:
    """One level of tags: accept IP, go on in the next block behind a tag, reject the rest."""
    ipv4, ipv6, pppoe = IP_ETHERTYPES
    customer, service, old_service = TAG_ETHERTYPES
    return [
        (LOAD_HALF, 0, 0, offset),
        (JUMP_EQUAL, 6, 0, ipv4),
        (JUMP_EQUAL, 5, 0, ipv6),
        (JUMP_EQUAL, 4, 0, pppoe),
        (JUMP_EQUAL, 4, 0, customer),
        (JUMP_EQUAL, 3, 0, service),
        (JUMP_EQUAL, 2, 0, old_service),
        (RETURN, 0, 0, 0),
        (RETURN, 0, 0, snap_octets),
    ]


def _accept_or_reject(offset: int, snap_octets: int) -> list[Instruction]:
    """Accept if the EtherType at `offset` is an IP one."""
    ipv4, ipv6, pppoe = IP_ETHERTYPES
    return [
        (LOAD_HALF, 0, 0, offset),
        (JUMP_EQUAL, 2, 0, ipv4),
        (JUMP_EQUAL, 1, 0, ipv6),
        (JUMP_EQUAL, 0, 1, pppoe),
        (RETURN, 0, 0, snap_octets),
        (RETURN, 0, 0, 0),
    ]
