"""Which way of taking packets this host allows, the best one first.

| engine | in the kernel | needs |
|---|---|---|
| `flow-heads-ring` | eBPF passes flow heads and counts the rest; packets are read in place | CAP_BPF, libbpf |
| `ring` | every IP packet; the program picks flow heads and counts the rest in place | CAP_NET_RAW |
| `flow-heads`, `af-packet` | the same two without a ring: a system call for 64 packets | |

Without a C compiler at install a packet is a system call, and where eBPF is missing, too, every one is read in Python.
"""

import socket
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import structlog

from sensor.capture.filter.classic import HEAD_SNAP_OCTETS
from sensor.capture.filter.flow_heads import FlowHeads
from sensor.capture.filter.limits import Limits
from sensor.capture.filter.packet_filter import EveryIpPacket, PacketFilter
from sensor.capture.filter.program_heads import IS_COMPILED, ProgramHeads
from sensor.capture.live.live import LiveSource
from sensor.capture.live.namespaces import Namespaces
from sensor.capture.live.plain import PlainTap
from sensor.capture.live.ring import (
    BLOCKS,
    PACKET_RX_RING,
    PACKET_VERSION,
    TPACKET_V3,
    UNFILTERED_BLOCKS,
    open_ring,
    ring_request,
    ring_sizes,
)
from sensor.capture.live.sockets import Engine
from sensor.capture.live.tap import SOL_PACKET, TapOpener, check_permission
from sensor.capture.screening.screen import Screen
from sensor.errors import BpfUnavailable, CaptureError
from sensor.share import ALL, Share

BEST_ENGINE = "flow-heads-ring"

_log = structlog.get_logger(__name__)


def open_source(
    interfaces: Iterable[str],
    limits: Limits | None = None,
    namespaces: Namespaces | None = None,
    share: Share = ALL,
    screen: Screen | None = None,
) -> LiveSource:
    """Return a source on `interfaces` that takes packets in the best way that this host allows, and log which.

    `namespaces` are those of interfaces `NETNS/NAME`; whoever entered them closes them. `share` is the part of the
    clients whose packets are taken. `screen` holds back what nothing can come of.

    Raises:
        CaptureError: Packet sockets may not be opened here at all, or the kernel cannot tell whose share a packet is.
    """
    check_permission()
    engine = choose_engine(limits, share)
    _log.info("capture_engine", engine=engine.name, reason=engine.reason)
    wanted = tuple(interfaces)
    if engine.open_tap is open_ring:
        blocks = BLOCKS if engine.name == BEST_ENGINE else UNFILTERED_BLOCKS
        engine = replace(engine, open_tap=partial(open_ring, sizes=ring_sizes(len(wanted), blocks)))
    return LiveSource(wanted, engine, namespaces if namespaces is not None else Namespaces(), screen)


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
        name = "ring" if has_ring else "af-packet"
        if IS_COMPILED:
            reason = f"every IP packet is taken and flow heads are cut in the program, since {error}"
            return Engine(name, reason + without_ring, ProgramHeads(limits), open_tap)
        reason = f"every IP packet is read in Python (there was no C compiler at install), since {error}"
        return Engine(name, reason + without_ring, EveryIpPacket(HEAD_SNAP_OCTETS), open_tap)
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
