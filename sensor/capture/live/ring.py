"""Packets read in place from a ring that is shared with the kernel (TPACKET_V3, linux/if_packet.h).

The kernel fills blocks with packets and hands a block over when it is full or `RETIRE_MS` after its first packet; the
reader hands it back once it is read. Only what passed the filter is in the ring. That is copied, since decoded parts
outlive the block; where the filter passes everything, only flow heads are (sensor.capture.filter.program_heads).

Cost: bench/live.py. A packet takes a quarter of a microsecond where `_ring.c` was compiled, a whole one in Python.
"""

import errno
import math
import mmap
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from sensor.capture.filter.flow_table import CountRow
from sensor.capture.filter.packet_filter import SocketFilter
from sensor.capture.live.plain import PlainTap
from sensor.capture.live.tap import AMPLE, INTERFACE_GONE, SOL_PACKET, PacketSocket, Tap
from sensor.capture.screening.screen import Ask, is_always
from sensor.packet import Packet

BLOCK_OCTETS = 128 * 1024  # one takes the largest packet, 64 KiB
LARGE = 4  # large rings have blocks of so many in one: a wake-up costs as much as a hundred packets
BLOCKS = 64
RING_SIZES: Final = (BLOCKS, 16, 4)
UNFILTERED_BLOCKS = 4 * BLOCKS  # where the kernel cuts nothing off, all has to wait there while the program is busy
RETIRE_MS = 50
LATE_MS = 20  # that the kernel's clock may be
MOST_AT_ONCE_S = 86_400.0  # epoll takes 24 days

PACKET_RX_RING = 5
PACKET_VERSION = 10
TPACKET_V3 = 2
TP_STATUS_KERNEL = 0
TP_STATUS_USER = 1

_log = structlog.get_logger(__name__)

_REQUEST: Final = struct.Struct("@7I")  # struct tpacket_req3
_STATUS: Final = struct.Struct("@I")
_STATUS_AT = 8  # struct tpacket_block_desc: version, offset of private area, then struct tpacket_hdr_v1
_BLOCK: Final = struct.Struct("@II")  # packets, offset of the first
_BLOCK_AT = 12
_HEADER: Final = struct.Struct("@6IH")  # struct tpacket3_hdr: next, s, ns, captured, on the wire, status, offset


def take_in_python(  # noqa: PLR0917 - as the compiled one
    ring: mmap.mmap | bytes | bytearray,
    at: int,
    packets: int,
    room: int,
    found: list[Packet],
    make: Callable[[int, int, bytes, int, str], Packet],
    link_type: int,
    interface: str,
    table: bytearray | None,  # noqa: ARG001 - without compiled code there is none
    socket: int,  # noqa: ARG001
    counts: list[CountRow],  # noqa: ARG001
    screen: mmap.mmap | None = None,  # noqa: ARG001
    ask: Ask = is_always,  # noqa: ARG001
) -> tuple[int, int]:
    """Return where the next packet begins and how many were taken, appended to `found` (`_ring.c`).

    Raises:
        ValueError: One lies outside the ring.
    """
    packets = min(packets, room)
    for _ in range(packets):
        if not 0 <= at <= len(ring) - _HEADER.size:
            raise ValueError("a packet lies outside the ring")
        following, seconds, nanoseconds, captured, octets, _, offset = _HEADER.unpack_from(ring, at)
        data = bytes(ring[at + offset : at + offset + captured])
        if len(data) < captured:
            raise ValueError("a packet lies outside the ring")
        found.append(make(seconds * 1_000_000_000 + nanoseconds, link_type, data, octets, interface))
        at += following
    return at, packets


def rest_in_python(  # noqa: PLR0917 - as the compiled one
    ring: mmap.mmap, block: int, count: int, octets: int, filled: select.epoll, most: int, until_ns: int
) -> None:
    """Wait until more than `most` blocks are filled, or until a time (`_ring.c`)."""
    while (left_ns := until_ns - time.monotonic_ns()) > 0 and count_filled(ring, block, count, octets) <= most:
        filled.poll(min(left_ns / 1e9, MOST_AT_ONCE_S))


def count_filled(ring: mmap.mmap, block: int, count: int, octets: int) -> int:
    """Return how many blocks of a ring of `count`, from the one to read next on, are filled."""
    for number in range(count):
        status: int = _STATUS.unpack_from(ring, (block + number) % count * octets + _STATUS_AT)[0]
        if not status & TP_STATUS_USER:
            return number  # the kernel fills them in turn
    return count


try:
    from sensor.capture.compiled._ring import rest, take
except ImportError:  # there was no compiler
    rest, take = rest_in_python, take_in_python


class RingTap(PacketSocket):
    """A packet socket with a ring of `blocks` blocks of 128 KiB, or as many octets in larger ones; 8 MiB unless told.

    Raises:
        OSError: As `PacketSocket`; ENOMEM without the memory for the ring.
    """

    def __init__(self, interface: str, packet_filter: SocketFilter, blocks: int = BLOCKS) -> None:
        in_one = LARGE if blocks >= BLOCKS else 1
        self._blocks, self._block_octets = blocks // in_one, BLOCK_OCTETS * in_one
        self._block = 0  # the one to read next
        self._left = 0  # packets in it that were not read yet
        self._at = 0  # where the next of these begins
        super().__init__(interface, packet_filter, self._prepare)
        self.lag_s = (2 * RETIRE_MS + LATE_MS) / 1000  # the kernel looks that often whether a block has packets
        try:
            self._ring = mmap.mmap(self.sock.fileno(), self._blocks * self._block_octets)
            self._words = memoryview(self._ring).cast("I")
            self._filled = select.epoll()
            self._filled.register(self.sock, select.EPOLLIN | select.EPOLLET)  # once for each block
        except OSError:
            self.sock.close()
            raise

    def drain(self, batch: list[Packet], at_most: int) -> None:
        """Append what waits in the ring and passes to `batch`, up to `at_most` packets; once around the ring at most.

        Raises:
            OSError: The socket failed for a reason other than its interface.
        """
        full, blocks = len(batch) + at_most, self._blocks
        if not self._left and not self._is_filled(self._block):
            self._clear_error()
            self._find_place()
        while len(batch) < full and blocks > 0 and (self._left or self._enter_block()):
            self._at, taken = take(
                self._ring,
                self._at,
                self._left,
                full - len(batch),
                batch,
                Packet,
                self.link_type,
                self.interface,
                *self.cut_off,
                *self.screening,
            )
            self._left -= taken
            if not self._left:
                self._leave_block()
                blocks -= 1

    def rest(self, until_s: float) -> None:
        """Wait for more packets until `until_s` by the monotonic clock, or until half of the blocks wait."""
        most, until_ns = math.ceil(self._blocks * AMPLE) - 1, int(until_s * 1e9)
        rest(self._ring, self._block, self._blocks, self._block_octets, self._filled, most, until_ns)

    def waiting_blocks(self) -> int:
        """Return how many blocks of the ring are filled and not read to their end; takes 0.15 us for each of them."""
        return count_filled(self._ring, self._block, self._blocks, self._block_octets)

    def fill(self) -> float:
        """Return the share of the blocks that wait to be read."""
        return self.waiting_blocks() / self._blocks

    def close(self) -> None:
        """Give ring and socket back."""
        self._words.release()
        self._ring.close()
        self._filled.close()
        super().close()

    def _prepare(self, sock: socket.socket) -> None:
        sock.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        sock.setsockopt(SOL_PACKET, PACKET_RX_RING, ring_request(self._blocks, self._block_octets))

    def _is_filled(self, number: int) -> bool:
        status: int = _STATUS.unpack_from(self._ring, number * self._block_octets + _STATUS_AT)[0]
        return bool(status & TP_STATUS_USER)

    def _enter_block(self) -> bool:
        """Begin with the next block if the kernel handed it over."""
        while self._is_filled(self._block):
            base = self._block * self._block_octets
            self._left, offset = _BLOCK.unpack_from(self._ring, base + _BLOCK_AT)
            self._at = base + offset
            if self._left:
                return True
            self._leave_block()
        return False

    def _leave_block(self) -> None:
        """Hand the block back in a single write: of two (struct.pack_into) the second may take it from the kernel.

        By then that may have filled it. It tells by its newest block whether a ring is readable, and would say no more.
        """
        self._words[(self._block * self._block_octets + _STATUS_AT) // self._words.itemsize] = TP_STATUS_KERNEL
        self._block = (self._block + 1) % self._blocks

    def _find_place(self) -> None:
        """Go on with the first block that is filled if the kernel has passed over this one.

        It fills blocks in turn, and none while the one that it comes to is filled: a reader who waits for another would
        wait for ever, while every packet is dropped.
        """
        for ahead in range(1, self._blocks):
            number = (self._block + ahead) % self._blocks
            if self._is_filled(number) and not self._is_filled(self._block):  # or both were filled just now
                _log.warning("ring_out_of_step", interface=self.interface, waited_for=self._block, goes_on_with=number)
                self._block = number
                return

    def _clear_error(self) -> None:
        """Take the news that the interface went down, which keeps the socket readable until somebody does."""
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code and code not in INTERFACE_GONE:
            raise OSError(code, "packet ring")


def open_ring(interface: str, packet_filter: SocketFilter, sizes: Sequence[int] = RING_SIZES) -> Tap:
    """Return a tap with the largest ring that there is memory for, of `sizes` in blocks; without a ring if for none.

    Raises:
        OSError: As `PacketSocket`.
    """
    for blocks in sizes:
        try:
            tap: Tap = RingTap(interface, packet_filter, blocks)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
        else:
            if blocks < sizes[0]:
                tap.shortfall = f"a ring of {blocks * BLOCK_OCTETS >> 10} KiB for want of memory"
            return tap
    tap = PlainTap(interface, packet_filter)
    tap.shortfall = "no ring for want of memory"
    return tap


def ring_sizes(interfaces: int, blocks: int = BLOCKS) -> tuple[int, ...]:
    """Return the sizes to try where so many interfaces share the memory of `blocks`, a smallest ring each at least."""
    largest = max(blocks // max(1, interfaces), RING_SIZES[-1])
    return (largest, *(size for size in RING_SIZES if size < largest))


def ring_request(blocks: int, block_octets: int = BLOCK_OCTETS) -> bytes:
    """Return `struct tpacket_req3` of a ring; frames have no fixed size in version 3."""
    return _REQUEST.pack(block_octets, blocks, block_octets, blocks, RETIRE_MS, 0, 0)
