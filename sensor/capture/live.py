"""Live capture with AF_PACKET sockets, one an interface.

Needs CAP_NET_RAW and nothing else. Sockets stay in the network namespace of the thread that made them, so the thread
that opened a `LiveSource` reads it.

An interface that goes down, disappears, is renamed or is made again is no error: interfaces are known by name, and a
wanted name that exists is captured, from the link event that says so. A socket survives down and up, not its interface.

Cost: one `recvmsg` a packet (3.3 us of 100 octets, 3.9 us of 1400) and one selector call a `read` (0.8 us). A `read`
hands out at most `BATCH_PACKETS`, shared evenly among the interfaces that have something, so one cannot starve another.
"""

import errno
import fcntl
import selectors
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import structlog

from sensor.capture import classic
from sensor.capture.link_watcher import LinkWatcher
from sensor.capture.source import SourceCounters
from sensor.errors import CaptureError
from sensor.packet import LinkType, Packet

BATCH_PACKETS = 512
KERNEL_BUFFER_OCTETS = 32 * 1024 * 1024

ETH_P_ALL = 0x0003
ARPHRD_ETHER = 1
ARPHRD_LOOPBACK = 772
SIOCGIFHWADDR = 0x8927
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_IGNORE_OUTGOING = 23

INTERFACE_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENETDOWN})

_TIMESPEC: Final = struct.Struct("@ll")
_INTERFACE_REQUEST: Final = struct.Struct("@16sH22x")  # struct ifreq: name, sa_family of the hardware address
_STATISTICS: Final = struct.Struct("@II")  # struct tpacket_stats: packets, drops

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Tap:
    """One packet socket and the interface that it is bound to."""

    interface: str
    link_type: LinkType
    sock: socket.socket
    kernel_drops: int = 0

    def bound_to(self) -> str:
        """Return the name that the interface has now, the empty string if it is gone."""
        name: str = self.sock.getsockname()[0]
        return name

    def drain(self, batch: list[Packet], at_most: int, buffer: memoryview) -> None:
        """Append what waits in the socket to `batch`, up to `at_most` packets.

        Raises:
            OSError: Something other than the end of the queue or of the interface.
        """
        ancillary_octets = socket.CMSG_SPACE(_TIMESPEC.size)
        flags = socket.MSG_DONTWAIT | socket.MSG_TRUNC
        try:
            for _ in range(at_most):
                octets, ancillary, _, _ = self.sock.recvmsg_into([buffer], ancillary_octets, flags)
                batch.append(Packet(_stamp(ancillary), self.link_type, bytes(buffer[:octets]), octets, self.interface))
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in INTERFACE_GONE:
                raise  # ENETDOWN is told once and clears itself; the link event decides what happens

    def count_drops(self) -> int:
        """Return the drops of this socket since it was opened; the kernel's own counter restarts when it is read."""
        _, drops = _STATISTICS.unpack(self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, _STATISTICS.size))
        self.kernel_drops += drops
        return self.kernel_drops


@dataclass(slots=True)
class _Totals:
    """What was counted on sockets that are closed, and packets on all."""

    packets: int = 0
    closed_drops: int = 0


@dataclass(slots=True)
class LiveSource:
    """A source of packets from the interfaces named in `wanted`; use it in a `with` statement or call `close`.

    Raises:
        CaptureError: AF_PACKET sockets may not be opened here.
    """

    wanted: tuple[str, ...]
    buffer_octets: int = KERNEL_BUFFER_OCTETS
    engine: str = field(default="af-packet", init=False)
    engine_reason: str = field(default="every IPv4 and IPv6 packet is copied by a plain packet socket", init=False)
    _taps: dict[str, _Tap] = field(default_factory=dict, init=False)
    _totals: _Totals = field(default_factory=_Totals, init=False)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector, init=False)
    _links: LinkWatcher = field(init=False)
    _buffer: memoryview = field(init=False)
    _is_open: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self._buffer = memoryview(bytearray(classic.SNAP_OCTETS))
        try:
            check_permission()
        except CaptureError:
            self._selector.close()
            raise
        self._links = LinkWatcher()
        self._selector.register(self._links, selectors.EVENT_READ)
        try:
            self.listen_on(self.wanted)
        except CaptureError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Return the interfaces that are captured now; a wanted one is missing while it does not exist."""
        return tuple(self._taps)

    def listen_on(self, interfaces: Iterable[str]) -> None:
        """Capture on `interfaces` from now on. Those captured already go on without a gap.

        Raises:
            CaptureError: A socket could not be opened for a reason other than a missing interface.
        """
        self.wanted = tuple(dict.fromkeys(interfaces))
        self._follow_links()
        for name in self.wanted:
            if name not in self._taps:
                _log.warning("interface_missing", interface=name)

    def read(self, timeout_s: float) -> list[Packet] | None:
        """Return packets that came within `timeout_s` seconds, at most `BATCH_PACKETS`; None once closed.

        Raises:
            CaptureError: A socket failed for a reason other than its interface.
        """
        if not self._is_open:
            return None
        ready = self._selector.select(timeout_s)
        taps = [key.data for key, _ in ready if key.data is not None]
        batch = self._drain(taps)
        if len(taps) < len(ready) and self._links.has_changed():
            self._follow_links()
        self._totals.packets += len(batch)
        return batch

    def counters(self) -> SourceCounters:
        """Return packets handed out and drops by the kernel since the source was opened, on all interfaces."""
        drops = sum(tap.count_drops() for tap in self._taps.values())
        return SourceCounters(self._totals.packets, self._totals.closed_drops + drops)

    def filenos(self) -> tuple[int, ...]:
        """Return the descriptors to wait on: one an interface, and one for link events."""
        return (self._links.fileno(), *(tap.sock.fileno() for tap in self._taps.values()))

    def close(self) -> None:
        """Close every socket; the counters stay readable. Closing twice does nothing."""
        if not self._is_open:
            return
        self._is_open = False
        for tap in self._taps.values():
            self._close_tap(tap)
        self._taps = {}
        self._selector.close()
        self._links.close()

    def _drain(self, taps: list[_Tap]) -> list[Packet]:
        """Collect from `taps`, each up to its share of the batch."""
        batch: list[Packet] = []
        for tap in taps:
            try:
                tap.drain(batch, max(1, BATCH_PACKETS // len(taps)), self._buffer)
            except OSError as error:
                raise CaptureError(f"cannot read packets from {tap.interface}: {error.strerror}") from error
        return batch

    def _follow_links(self) -> None:
        """Make the sockets those of the wanted interfaces that exist, keeping a socket whose interface was renamed."""
        taps = list(self._taps.values())
        self._taps = {}
        for tap in taps:
            tap.interface = tap.bound_to() or tap.interface
            if tap.bound_to() in self.wanted:
                self._taps[tap.interface] = tap
            else:
                self._close_tap(tap)
        for name in self.wanted:
            if name not in self._taps:
                self._open_tap(name)

    def _open_tap(self, name: str) -> None:
        """Open the socket of an interface if it exists."""
        try:
            tap = _open_tap(name, self.buffer_octets)
        except OSError as error:
            if error.errno in INTERFACE_GONE:
                return  # the link event of its return brings us back
            raise CaptureError(f"cannot capture on {name}: {error.strerror}; see `molecatcher doctor`") from error
        self._taps[name] = tap
        self._selector.register(tap.sock, selectors.EVENT_READ, tap)
        _log.info("interface_opened", interface=name, link_type=tap.link_type.name)

    def _close_tap(self, tap: _Tap) -> None:
        """Close one socket and keep its counter."""
        self._totals.closed_drops += tap.count_drops()
        self._selector.unregister(tap.sock)
        tap.sock.close()
        _log.info("interface_closed", interface=tap.interface)


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


def _open_tap(name: str, buffer_octets: int) -> _Tap:
    """A socket bound to `name`, filtered from its first packet on."""
    hardware = _hardware_type(name)
    has_ethernet = hardware in {ARPHRD_ETHER, ARPHRD_LOOPBACK}
    kind = socket.SOCK_RAW if has_ethernet else socket.SOCK_DGRAM  # DGRAM leaves out link headers of any other sort
    sock = socket.socket(socket.AF_PACKET, kind, 0)  # protocol 0: nothing is received before bind
    try:
        _set_buffer(sock, buffer_octets)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if hardware == ARPHRD_LOOPBACK:
            sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)  # else every packet on it comes twice
        classic.attach(sock, classic.ethernet_program() if has_ethernet else classic.network_program())
        sock.bind((name, ETH_P_ALL))
    except OSError:
        sock.close()
        raise
    return _Tap(name, LinkType.ETHERNET if has_ethernet else LinkType.RAW, sock)


def _set_buffer(sock: socket.socket, octets: int) -> None:
    """Ask for a receive buffer of `octets`; without CAP_NET_ADMIN net.core.rmem_max bounds it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, octets)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)


def _hardware_type(name: str) -> int:
    """The ARPHRD number of an interface. Raises OSError (ENODEV) if there is none of that name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        reply = fcntl.ioctl(sock, SIOCGIFHWADDR, _INTERFACE_REQUEST.pack(name.encode(), 0))
    hardware: int = _INTERFACE_REQUEST.unpack(reply)[1]
    return hardware


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The kernel's time of a packet in nanoseconds, or the time now if it set none."""
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(value[: _TIMESPEC.size])
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return time.time_ns()
