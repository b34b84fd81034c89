"""Reading what one side of a flow sends, as far as its head goes."""

from typing import Final

import msgspec

from rules.values.observation import Evidence, Indicator, Kind
from sensor.decode import Datagram, Segment, TcpFlag
from sensor.errors import NeedMoreData
from sensor.extract.handshake import read_handshake
from sensor.extract.quic import QuicInitialReader, is_long_initial, is_quic_initial
from sensor.extract.stream import StreamFacts, hello_indicators, read_stream
from sensor.flow import Side
from sensor.reassembly import StreamHead

_SYN: Final = int(TcpFlag.SYN)
_DNS_PREFIX: Final = 2
UDP_HEAD_OCTETS: Final = 1500
QUIC_HEAD_OCTETS: Final = 12_000


def take_segment(side: Side, segment: Segment) -> bool:
    """Put the segment's payload into the side's head and read it; return whether the head grew."""
    if side.stream is None:
        side.stream = StreamHead()
    stream = side.stream
    seq = segment.seq
    if segment.flags & _SYN:  # data may come with it: TCP Fast Open (RFC 7413)
        seq = (seq + 1) & 0xFFFFFFFF
        stream.start_at(seq)
    if not stream.add(seq, segment.payload):
        return False
    _read_on(side, stream)
    return True


def start_stream(side: Side, segment: Segment) -> None:
    """Note where the side's stream begins; `segment` is its SYN."""
    if side.stream is None:
        side.stream = StreamHead()
    side.stream.start_at((segment.seq + 1) & 0xFFFFFFFF)
    if len(side.stream):
        _read_on(side, side.stream)


def _read_on(side: Side, stream: StreamHead) -> None:
    """Read what came. A full head is all there will be, unless it holds messages of DNS that will make room."""
    if not side.is_read:
        read_side(side, stream, is_final=False)
    if stream.is_full and not side.is_read and not side.facts.dns:
        read_side(side, stream, is_final=True)


def forget_dns(side: Side) -> bool:
    """Let messages of DNS over TCP go that were handed on; return whether there were any.

    A connection may carry any number of them (RFC 7766 section 6.2.1), and its head has room for the next.
    """
    stream, octets = side.stream, 0
    if stream is None or side.facts.protocol != "dns" or not side.dns_seen:
        return False
    for _ in range(side.dns_seen):
        octets += _DNS_PREFIX + int.from_bytes(stream.head[octets : octets + _DNS_PREFIX], "big")
    if octets > len(stream):  # the last one is longer than a head, or something stands before the first
        return False
    stream.forget(octets)
    side.learn(msgspec.structs.replace(side.facts, dns=()))
    side.dns_seen = 0
    return True


def read_side(side: Side, stream: StreamHead, *, is_final: bool) -> None:
    """Read the head so far. Without the stream's start, what was read stays open to what may yet come in front."""
    try:
        facts = read_stream(stream.head, is_final=is_final)
    except NeedMoreData:
        return
    side.learn(facts)
    side.is_read = facts.is_complete and (is_final or stream.is_start_known)


def take_datagram(side: Side, other: Side, datagram: Datagram) -> None:
    """Read a datagram of `side` that is not DNS. Once the other side's hello was read, this one is the server.

    Raises:
        MalformedQuic: an Initial that cannot be.
    """
    is_initial = is_quic_initial(datagram.payload)
    if is_initial and side.quic is None:
        side.quic = QuicInitialReader()
    has_hello = other.facts.hello is not None
    budget = QUIC_HEAD_OCTETS if side.quic is not None else UDP_HEAD_OCTETS
    if has_hello or side.payload_octets >= budget:
        side.is_read = True
    if has_hello:
        return
    if side.quic is None:
        _take_handshake(side, other, datagram)
    elif is_initial or is_long_initial(datagram.payload):
        _take_initial(side, side.quic, datagram)


def _take_handshake(side: Side, other: Side, datagram: Datagram) -> None:
    if not datagram.payload:  # the snap length cut all of it off
        return
    found = read_handshake(datagram.payload, datagram.dst, datagram.dst_port, other.facts.token)
    if found is not None:
        tells = (Indicator(Evidence.PROTOCOL, found.protocol),) if found.protocol else ()
        side.learn(StreamFacts(tells, protocol=found.protocol, token=found.token))
        side.is_read = bool(found.protocol)


def _take_initial(side: Side, quic: QuicInitialReader, datagram: Datagram) -> None:
    try:
        hello = quic.feed(datagram.payload)
    except NeedMoreData:
        return
    side.learn(StreamFacts(hello_indicators(hello, Evidence.QUIC_SNI), hello, Kind.TLS, protocol="quic"))
    side.is_read = True
    side.quic = None


def read_rest(side: Side) -> None:
    """Read what there is of a side that will send nothing more.

    Raises:
        MalformedQuic: a hello that cannot be.
    """
    if side.is_read:
        return
    side.is_read = True
    if side.stream is not None:
        read_side(side, side.stream, is_final=True)
    if side.quic is None:
        return
    try:
        hello = side.quic.read_partial()
    except NeedMoreData:
        return
    side.learn(StreamFacts(hello_indicators(hello, Evidence.QUIC_SNI), hello, Kind.TLS, protocol="quic"))
