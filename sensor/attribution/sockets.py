"""The socket of a flow that begins on this host, asked of the kernel by its five-tuple (sock_diag(7)).

No capability is needed. A socket of another network namespace is found only from inside that namespace.
"""

import socket
import struct
from typing import Final, NamedTuple

from pyroute2.netlink import NETLINK_SOCK_DIAG, NLM_F_REQUEST
from pyroute2.netlink.diag import SOCK_DIAG_BY_FAMILY, SS_ALL, SS_LISTEN

from rules.values.observation import FiveTuple, Transport

ANY_COOKIE: Final = (1 << 64) - 1
REPLY_OCTETS: Final = 8192
TIMEOUT_S: Final = 1.0
IPV4_OCTETS: Final = 4
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=IHHIIBBBxI2s2s16s16sIQ")
_REPLY = struct.Struct("=16xxBxx2s58xII")
_PROTOCOLS = {Transport.TCP: socket.IPPROTO_TCP, Transport.UDP: socket.IPPROTO_UDP}


class Socket(NamedTuple):
    """A socket: its inode, a number that holds in all network namespaces, and the user who made it."""

    inode: int
    uid: int


class SocketTable:
    """The sockets of the network namespace that this is made in. One thread at a time may ask; it costs some 15 us."""

    def __init__(self) -> None:
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)
        self._netlink.settimeout(TIMEOUT_S)
        self._sequence = 0

    def find(self, flow: FiveTuple) -> Socket | None:
        """Return the socket that `flow` was begun with; None if it is gone, or was never here.

        Raises:
            OSError: The kernel did not answer.
        """
        self._sequence += 1
        self._netlink.send(_request(flow, self._sequence))
        while True:
            reply = self._netlink.recv(REPLY_OCTETS)
            _, kind, _, sequence, _ = _HEADER.unpack_from(reply)
            if sequence == self._sequence:  # an earlier one came after its time
                return _socket(reply, flow) if kind == SOCK_DIAG_BY_FAMILY else None

    def close(self) -> None:
        """Close the netlink socket."""
        self._netlink.close()


def _request(flow: FiveTuple, sequence: int) -> bytes:
    """Return a `struct inet_diag_req_v2` for one socket; of UDP the kernel wants the ends the other way round.

    Behind the netlink header: family, protocol, extensions, padding, states; then `struct inet_diag_sockid`: ports and
    addresses in network order, interface, cookie.
    """
    src, dst = (flow.src, flow.src_port), (flow.dst, flow.dst_port)
    if flow.transport is Transport.UDP:
        src, dst = dst, src
    return _REQUEST.pack(
        *(_REQUEST.size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, sequence, 0),
        *(socket.AF_INET if len(flow.src) == IPV4_OCTETS else socket.AF_INET6, _PROTOCOLS[flow.transport], 0, SS_ALL),
        *(src[1].to_bytes(2, "big"), dst[1].to_bytes(2, "big"), src[0], dst[0], 0, ANY_COOKIE),
    )


def _socket(reply: bytes, flow: FiveTuple) -> Socket | None:
    """Return the socket of a `struct inet_diag_msg`: state, source port, user and inode of it are read.

    The kernel falls back to one that listens on the port, whatever the address. Without an inode nobody holds it.
    """
    state, port, uid, inode = _REPLY.unpack_from(reply)
    is_listening = flow.transport is Transport.TCP and state == SS_LISTEN
    if is_listening or int.from_bytes(port, "big") != flow.src_port or not inode:
        return None
    return Socket(inode, uid)
