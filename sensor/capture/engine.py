"""Which way of taking packets this host allows, the best one first.

| engine | in the kernel | needs |
|---|---|---|
| `flow-heads-ring` | eBPF passes flow heads and counts the rest; packets are read in place | CAP_BPF, libbpf |
| `ring` | every IP packet, read in place; the flow table cuts off what is not a head | CAP_NET_RAW |
| `flow-heads`, `af-packet` | the same two without a ring: one system call a packet | |
"""

import socket
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import structlog

from sensor.capture.flow_heads import FlowHeads
from sensor.capture.limits import Limits
from sensor.capture.live import Engine, LiveSource
from sensor.capture.namespaces import Namespaces
from sensor.capture.packet_filter import EveryIpPacket, PacketFilter
from sensor.capture.plain import PlainTap
from sensor.capture.ring import PACKET_RX_RING, PACKET_VERSION, TPACKET_V3, open_ring, ring_request, ring_sizes
from sensor.capture.tap import SOL_PACKET, TapOpener, check_permission
from sensor.errors import BpfUnavailable, CaptureError
from sensor.share import ALL, Share

BEST_ENGINE = "flow-heads-ring"
RING_SNAP_OCTETS = 16 * 1024  # of packets that no flow table cut: the longest head is 12,000 octets of QUIC

_log = structlog.get_logger(__name__)


def open_source(
    interfaces: Iterable[str],
    limits: Limits | None = None,
    namespaces: Namespaces | None = None,
    share: Share = ALL,
) -> LiveSource:
    """Return a source on `interfaces` that takes packets in the best way that this host allows, and log which.

    `namespaces` are those of interfaces `NETNS/NAME`; whoever entered them closes them. `share` is the part of the
    clients whose packets are taken.

    Raises:
        CaptureError: Packet sockets may not be opened here at all, or the kernel cannot tell whose share a packet is.
    """
    check_permission()
    engine = choose_engine(limits, share)
    _log.info("capture_engine", engine=engine.name, reason=engine.reason)
    wanted = tuple(interfaces)
    if engine.open_tap is open_ring:
        engine = replace(engine, open_tap=partial(open_ring, sizes=ring_sizes(len(wanted))))
    return LiveSource(wanted, engine, namespaces if namespaces is not None else Namespaces())


def choose_engine(limits: Limits | None = None, share: Share = ALL) -> Engine:
    """Return the best engine; whoever gets it closes its filter.

    Raises:
        CaptureError: Packet sockets may not be opened here, or only a share is wanted and eBPF cannot be had.
    """
    open_tap, without_ring = _choose_tap()
    has_ring = not without_ring
    try:
        packet_filter: PacketFilter = FlowHeads(limits, share=share)
    except BpfUnavailable as error:
        if share != ALL:
            raise CaptureError(f"{error}: without it there can be one worker only, start with --workers 1") from error
        every = EveryIpPacket(RING_SNAP_OCTETS) if has_ring else EveryIpPacket()
        reason = f"every IP packet is read and cut off in the program, since {error}"
        return Engine("ring" if has_ring else "af-packet", reason + without_ring, every, open_tap)
    reason = "flow heads are cut in the kernel" + without_ring
    return Engine(BEST_ENGINE if has_ring else "flow-heads", reason, packet_filter, open_tap)


def _choose_tap() -> tuple[TapOpener, str]:
    """Return what opens sockets, and why it is not a ring (empty if it is one)."""
    check_permission()
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
            sock.setsockopt(SOL_PACKET, PACKET_RX_RING, ring_request(1))
    except OSError as error:
        return PlainTap, f", without a ring: {error.strerror}"
    return open_ring, ""
