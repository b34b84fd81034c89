"""What the kernel knows of addresses: which are this host's, and its neighbours' hardware addresses (rtnetlink(7)).

A plain netlink socket: a dump of the neighbours by pyroute2 takes 1.5 ms, forty times as long.
"""

import socket
import struct
from collections.abc import Iterator
from typing import Final

from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR
from pyroute2.netlink.rtnl import RTM_GETADDR, RTM_GETNEIGH, RTM_GETROUTE, RTM_NEWADDR, RTM_NEWNEIGH, RTM_NEWROUTE

from rules.values.event import address_text

MAX_NEIGHBOURS: Final = 65_536
TIMEOUT_S: Final = 1.0
REPLY_OCTETS: Final = 65_536
IPV4_OCTETS: Final = 4
RTN_LOCAL: Final = 2
RTA_DST: Final = 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
NDA_DST, NDA_LLADDR = 1, 2
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ROUTE = struct.Struct("=8BI")  # struct rtmsg: family, lengths, tos, table, protocol, scope, type; flags
_ADDRESS = struct.Struct("=4BI")  # struct ifaddrmsg: family, prefix length, flags, scope; index
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # struct ndmsg: family; index, state, flags, type
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
_ROUTE_TYPE_AT = 7


class Routing:
    """Addresses and routes of the network namespace that this is made in. One thread at a time may ask.

    Each method raises OSError where the kernel does not answer.
    """

    def __init__(self) -> None:
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._netlink.settimeout(TIMEOUT_S)
        self._sequence = 0

    def is_local(self, address: bytes) -> bool:
        """Tell whether packets to a packed address stay in this namespace; costs some 10 us."""
        family = socket.AF_INET if len(address) == IPV4_OCTETS else socket.AF_INET6
        wanted = _ROUTE.pack(family, len(address) * 8, *(0,) * 7)
        destination = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address), RTA_DST) + address
        replies = self._ask(RTM_GETROUTE, NLM_F_REQUEST, wanted + destination)
        return any(kind == RTM_NEWROUTE and body[_ROUTE_TYPE_AT] == RTN_LOCAL for kind, body in replies)

    def addresses(self) -> frozenset[bytes]:
        """Return the packed addresses of all interfaces."""
        found = set()
        for kind, body in self._ask(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, bytes(_ADDRESS.size)):
            if kind == RTM_NEWADDR:
                attributes = dict(_attributes(body[_ADDRESS.size :]))
                found.add(attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS, b""))
        return frozenset(found)

    def neighbours(self) -> dict[str, str]:
        """Return the hardware addresses of neighbours, by address; at most 65,536."""
        found: dict[str, str] = {}
        for kind, body in self._ask(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, bytes(_NEIGHBOUR.size)):
            attributes = dict(_attributes(body[_NEIGHBOUR.size :])) if kind == RTM_NEWNEIGH else {}
            address, hardware = attributes.get(NDA_DST), attributes.get(NDA_LLADDR)
            if address and hardware and len(found) < MAX_NEIGHBOURS:
                found[address_text(address)] = hardware.hex(":")
        return found

    def close(self) -> None:
        """Close the netlink socket."""
        self._netlink.close()

    def _ask(self, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield type and body of what the kernel answers; of a dump until it is done."""
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0)
        self._netlink.send(header + body)
        while True:
            reply = self._netlink.recv(REPLY_OCTETS)
            for message, sequence, content in _messages(reply):
                if sequence != self._sequence:  # an earlier one came after its time
                    continue
                if message in (NLMSG_DONE, NLMSG_ERROR):
                    return
                yield message, content
                if not flags & NLM_F_DUMP:
                    return


def _messages(reply: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, sequence and body of each message in what was received at once."""
    at = 0
    while at + _HEADER.size <= len(reply):
        length, kind, _, sequence, _ = _HEADER.unpack_from(reply, at)
        if length < _HEADER.size:
            return
        yield kind, sequence, reply[at + _HEADER.size : at + length]
        at += _aligned(length)


def _attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, body[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _aligned(length: int) -> int:
    """Return `length` up to the next multiple of four."""
    return -(-length // 4) * 4
