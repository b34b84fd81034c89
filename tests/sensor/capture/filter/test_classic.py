"""How much of a packet the classic filter lets through, on real frames over a cable."""

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from cable import Wire, open_wire
from frames import ACK, tcp, udp
from netns import needs_root

from sensor.capture.filter import classic
from sensor.capture.filter.packet_filter import NOTHING_CUT, CutOff
from sensor.capture.live.ring import RingTap
from sensor.packet import Packet

pytestmark = needs_root

OCTETS, TCP_OCTETS = 2000, 1000
V4, V6 = ("10.0.0.2", 40000, "192.0.2.10", 443), ("2001:db8::2", 40000, "2001:db8::10", 443)
TAG = b"\x81\x00\x00\x0a"
BODY = bytes(3000)


@dataclass(frozen=True)
class Bounded:
    """A filter that lets little of each packet through."""

    def attach(self, sock: socket.socket, *, has_ethernet: bool) -> None:
        assert has_ethernet
        classic.attach(sock, classic.ethernet_program(OCTETS, TCP_OCTETS))

    def cut_off(self) -> CutOff:
        return NOTHING_CUT


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with open_wire() as cable:
        yield cable


def in_pppoe(data: bytes) -> bytes:
    return data[:12] + b"\x88\x64\x11\x00\x00\x01" + struct.pack(">H", len(data) - 12) + b"\x00\x21" + data[14:]


@pytest.mark.parametrize("tags", range(5))
def test_less_of_tcp_passes_and_nothing_that_is_not_ip(wire: Wire, tags: int) -> None:
    plain = [tcp(0, V4, (1, 1, ACK), BODY), tcp(0, V6, (1, 1, ACK), BODY), udp(0, V4, BODY), udp(0, V6, BODY)]
    frames = [row.data for row in plain]
    frames += [in_pppoe(frames[0]), frames[0][:12] + b"\x08\x06" + frames[0][14:]]
    tap = RingTap("eth0", Bounded())
    wire.send(*(data[:12] + TAG * tags + data[12:] for data in frames))
    found = list[Packet]()
    deadline_s = time.monotonic() + 60
    while len(found) < 5 and time.monotonic() < deadline_s:
        time.sleep(0.05)  # until the clock hands the block over
        tap.drain(found, 10)
    tap.close()
    outer = 4 * max(0, tags - 1)  # the kernel takes the first one off
    assert [len(row.data) for row in found] == [TCP_OCTETS, TCP_OCTETS, OCTETS, OCTETS, OCTETS]
    assert [row.wire_octets for row in found] == [len(data) + outer for data in frames[:5]]
