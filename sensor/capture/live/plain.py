"""Packets received from a packet socket: works wherever packet sockets do.

Where `_ring.c` was compiled, 64 of them with one system call, up to 16 KiB of each, which are then read as in a ring.

The kernel begins to stamp packets a moment after the first socket of the host asked for it (milliseconds, more under
load); those that came before have the time at which they are read.

Cost: bench/live.py. In Python a `recvmsg` a packet, 3.3 us of 100 octets, 3.9 us of 1400.
"""

import socket
import struct
import time
from operator import truediv
from typing import Final

from sensor.capture.filter import classic
from sensor.capture.filter.packet_filter import SocketFilter
from sensor.capture.live.tap import AMPLE, INTERFACE_GONE, SOL_PACKET, PacketSocket
from sensor.packet import Packet

try:
    from sensor.capture.compiled._ring import receive, take
except ImportError:  # there was no compiler
    IS_COMPILED = False
else:
    IS_COMPILED = True

KERNEL_BUFFER_OCTETS = 32 * 1024 * 1024
AT_ONCE = 64
SLOT_OCTETS = classic.HEAD_SNAP_OCTETS + 64  # and a packet's header
ROOM = 1 << 20  # in the batch: what was received has to be taken, with all that the screen held of the same flows
MOST_RECEIVED = 131_072  # a read; 64 MiB hold fewer

NAP_S = 0.01  # in which 32 MiB are not filled by what a core can send

SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
SO_MEMINFO = 55
PACKET_AUXDATA = 8

_TIMESPEC: Final = struct.Struct("@ll")
_MEMORY: Final = struct.Struct("@II")  # SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_RCVBUF (linux/sock_diag.h)


class PlainTap(PacketSocket):
    """A packet socket with a receive queue of up to `buffer_octets`.

    Raises:
        OSError: As `PacketSocket`.
    """

    def __init__(self, interface: str, packet_filter: SocketFilter, buffer_octets: int = KERNEL_BUFFER_OCTETS) -> None:
        self._buffer = bytearray(AT_ONCE * SLOT_OCTETS if IS_COMPILED else classic.SNAP_OCTETS)
        self._buffer_octets = buffer_octets
        super().__init__(interface, packet_filter, self._prepare)

    def drain(self, batch: list[Packet], at_most: int) -> None:
        """Append what waits in the socket and passes to `batch`, up to `at_most` packets.

        Raises:
            OSError: Something other than the end of the queue or of the interface.
        """
        try:
            (self._receive if IS_COMPILED else self._receive_in_python)(batch, at_most)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in INTERFACE_GONE:
                raise  # ENETDOWN is told once and clears itself; the link event decides what happens

    def _receive(self, batch: list[Packet], at_most: int) -> None:
        """Receive until `batch` has `at_most` more or nothing waits (which may be a BlockingIOError)."""
        full, descriptor, buffer = len(batch) + at_most, self.fileno(), self._buffer
        received = 0
        while len(batch) < full and received < MOST_RECEIVED:
            wanted = min(AT_ONCE, full - len(batch))
            packets = receive(descriptor, buffer, SLOT_OCTETS, wanted)
            ways = *self.cut_off, *self.screening
            take(buffer, 0, packets, ROOM, batch, Packet, self.link_type, self.interface, *ways)
            received += packets
            if packets < wanted:
                return

    def _receive_in_python(self, batch: list[Packet], at_most: int) -> None:
        """As `_receive`, one by one and without a cut-off."""
        ancillary_octets = socket.CMSG_SPACE(_TIMESPEC.size)
        flags = socket.MSG_DONTWAIT | socket.MSG_TRUNC
        buffer = memoryview(self._buffer)
        for _ in range(at_most):
            octets, ancillary, _, _ = self.sock.recvmsg_into([buffer], ancillary_octets, flags)
            batch.append(Packet(_stamp(ancillary), self.link_type, bytes(buffer[:octets]), octets, self.interface))

    def rest(self, until_s: float) -> None:
        """Wait for more packets, at most `NAP_S`: the socket would say of every few that they came."""
        nap_s = min(NAP_S, until_s - time.monotonic())
        if nap_s > 0 and self.fill() < AMPLE:
            time.sleep(nap_s)

    def fill(self) -> float:
        """Return the share of the receive queue's memory that is used; takes one system call."""
        memory = self.sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMORY.size)
        share: float = truediv(*_MEMORY.unpack(memory))
        return min(1.0, share)

    def _prepare(self, sock: socket.socket) -> None:
        """Ask for the receive queue; without CAP_NET_ADMIN net.core.rmem_max bounds it."""
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, self._buffer_octets)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_octets)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if IS_COMPILED:
            sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)  # how long a packet was before the filter cut it


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The kernel's time of a packet in nanoseconds, or the time now if it set none."""
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(value[: _TIMESPEC.size])
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return time.time_ns()
