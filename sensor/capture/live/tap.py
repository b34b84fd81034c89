"""A packet socket on one interface: what all ways of reading it have in common."""

import contextlib
import errno
import fcntl
import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol

from sensor.capture.filter import classic
from sensor.capture.filter.packet_filter import CutOff, SocketFilter
from sensor.capture.screening.compiled import NOTHING_SCREENED, Screening
from sensor.errors import CaptureError
from sensor.packet import LinkType, Packet

ETH_P_ALL = 0x0003
ARPHRD_ETHER = 1
ARPHRD_LOOPBACK = 772
SIOCGIFHWADDR = 0x8927
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_IGNORE_OUTGOING = 23

HANDED_ON_S = 0.001  # long after a packet was stamped it lies in its socket
AMPLE = 0.5  # as long as no more waits than this share of what there is room for

INTERFACE_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENETDOWN})

_INTERFACE_REQUEST: Final = struct.Struct("@16sH22x")  # struct ifreq: name, sa_family of the hardware address
_STATISTICS: Final = struct.Struct("@II")  # struct tpacket_stats: packets, drops


class Tap(Protocol):
    """One packet socket and the interface that it is bound to."""

    interface: str
    link_type: LinkType
    shortfall: str  # what it has not got of what it was to have, as a clause; empty if it has everything
    lag_s: float  # a packet that came longer ago can be read
    cut_off: CutOff
    screening: Screening

    def fileno(self) -> int:
        """The descriptor that is readable when packets wait, or when the interface went down."""

    def bound_to(self) -> str:
        """The name that the interface has now, the empty string if it is gone."""

    def drain(self, batch: list[Packet], at_most: int) -> None:
        """Append what waits to `batch`, up to `at_most` packets.

        Raises:
            OSError: Something other than the end of the queue or of the interface.
        """

    def rest(self, until_s: float) -> None:
        """Wait for more packets until `until_s` by the monotonic clock, or as long as there is ample room for them."""

    def stop(self) -> None:
        """Let no more packets come; those that did can still be read."""

    def count_drops(self) -> int:
        """The drops of this socket since it was opened."""

    def fill(self) -> float:
        """The share of its ring or receive queue that waits to be read, 0 to 1; 1 is when the kernel drops."""

    def close(self) -> None:
        """Give the socket back."""


TapOpener = Callable[[str, SocketFilter], Tap]


class PacketSocket:
    """A packet socket that is bound to `interface` and filtered from its first packet on.

    `shortfall` may be set to what the socket has not got of what it was to have, as a clause, `lag_s` to the time after
    which a packet can be read.

    `prepare(sock)` is called before the filter is attached: ring and buffers are set up there.

    Raises:
        OSError: No such interface, no permission, or the kernel refused the filter or what `prepare` wanted.
    """

    def __init__(self, interface: str, packet_filter: SocketFilter, prepare: Callable[[socket.socket], None]) -> None:
        hardware = _hardware_type(interface)
        has_ethernet = hardware in {ARPHRD_ETHER, ARPHRD_LOOPBACK}
        kind = socket.SOCK_RAW if has_ethernet else socket.SOCK_DGRAM  # DGRAM leaves out link headers of any other sort
        self.interface = interface
        self.link_type = LinkType.ETHERNET if has_ethernet else LinkType.RAW
        self.sock = socket.socket(socket.AF_PACKET, kind, 0)  # protocol 0: nothing is received before bind
        self.shortfall = ""
        self.lag_s = HANDED_ON_S
        self.cut_off = packet_filter.cut_off()
        self.screening: Screening = NOTHING_SCREENED
        self._kernel_drops = 0
        try:
            prepare(self.sock)
            if hardware == ARPHRD_LOOPBACK:
                self.sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)  # else every packet on it comes twice
            packet_filter.attach(self.sock, has_ethernet=has_ethernet)
            self.sock.bind((interface, ETH_P_ALL))
        except OSError:
            self.sock.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor that is readable when packets wait, or when the interface went down."""
        return self.sock.fileno()

    def bound_to(self) -> str:
        """Return the name that the interface has now, the empty string if it is gone."""
        name: str = self.sock.getsockname()[0]
        return name

    def stop(self) -> None:
        """Let no more packets come, unless the kernel has no memory for that; those that did can still be read."""
        with contextlib.suppress(OSError):
            classic.attach(self.sock, classic.REJECT_ALL)

    def count_drops(self) -> int:
        """Return the drops of this socket since it was opened; the kernel's own counter restarts when it is read."""
        _, drops = _STATISTICS.unpack(self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, _STATISTICS.size))
        self._kernel_drops += drops
        return self._kernel_drops

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


def check_permission() -> None:
    """Return if packet sockets may be opened here.

    Raises:
        CaptureError: They may not; the message says what to do.
    """
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError as error:
        raise CaptureError("live capture needs CAP_NET_RAW: start it as root or with systemd/") from error
    except OSError as error:
        raise CaptureError(f"this kernel opens no packet sockets: {error.strerror}") from error


def _hardware_type(name: str) -> int:
    """The ARPHRD number of an interface. Raises OSError (ENODEV) if there is none of that name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        reply = fcntl.ioctl(sock, SIOCGIFHWADDR, _INTERFACE_REQUEST.pack(name.encode(), 0))
    hardware: int = _INTERFACE_REQUEST.unpack(reply)[1]
    return hardware
