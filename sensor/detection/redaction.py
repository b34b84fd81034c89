"""Secrets in clear text, blanked in packets that are kept: what decided stays, with the same lengths.

Blanked with `x`: the values of HTTP headers whose names speak of authorisation, cookies, tokens, keys or where the
client came from; user names and queries in request targets; HTTP bodies that are not TLS; SOCKS passwords (RFC 1929);
the values of members of JSON whose names speak of secrets. A TCP direction is put in order first, so that a secret
split over segments, or sent twice, is blanked in each. Names that decide (hosts, DNS names, SNI) are never blanked, and
what is encrypted stays as it is. Not seen: secrets of protocols that are not named here.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from sensor.decoding.decode import Datagram, Segment, TcpFlag, decode
from sensor.decoding.link import ETHERTYPE_IPV4, find_network_layer
from sensor.errors import MalformedInput, NeedMoreData
from sensor.flows.reassembly import sequence_distance
from sensor.packet import Packet

_SECRET_NAME = rb"[\w-]*(?:auth|cookie|token|secret|passw|credential|session|api-?key|signature|referer|jwt)[\w-]*"
_HEADER = re.compile(rb"(?im)^" + _SECRET_NAME + rb"[ \t]*:[ \t]*([^\r\n]+)")
_JSON_SECRET = rb"[\w-]*(?:auth|cookie|token|secret|passw|credential|session|_key|apikey|jwt)[\w-]*"
_JSON = re.compile(rb'(?i)"' + _JSON_SECRET + rb'"\s*:\s*"((?:[^"\\]|\\.)*)')
_REQUEST = re.compile(rb"^[A-Z]{3,12} (\S*)")
_USER = re.compile(rb"^\w+://([^/@?\s]+)@")
_RESPONSE = re.compile(rb"^HTTP/1\.\d ")
_HEADERS_END = re.compile(rb"\r?\n\r?\n")
_TLS_HANDSHAKE = b"\x16\x03"
_HELLOS = (b"\x01", b"\x02")  # of a client, of a server
_CHANGE_CIPHER_SPEC, _APPLICATION_DATA = 20, 23  # the first and the last of TLS's content types
_SOCKS5 = 5
_SOCKS_LOGIN = 1  # the version of RFC 1929
_SYN = int(TcpFlag.SYN)
MAX_STREAM = 65_536  # what lies further into a stream is blanked whole

_Placed = tuple[int, int, int, bytes]  # the packet's place, where its payload begins, offset in the stream, payload
_Direction = tuple[bytes, int, bytes, int]


def redact(packets: Sequence[Packet]) -> list[Packet]:
    """Return `packets` without secrets, copies where there were some; what cannot be decoded stays as it is."""
    blanked = list(packets)
    for pieces in _directions(packets).values():
        spans = [*_secrets(_in_order(pieces)), (MAX_STREAM, 1 << 32)]
        for place, at, offset, payload in pieces:
            found = [(low - offset, high - offset) for low, high in _within(spans, offset, offset + len(payload))]
            if found:
                blanked[place] = _without(blanked[place], at, found)
    return blanked


def _without(packet: Packet, at: int, spans: Iterable[tuple[int, int]]) -> Packet:
    """Return a copy with `spans` of its payload, which begins `at`, blanked."""
    copy = bytearray(packet.data)
    for low, high in spans:
        copy[at + low : at + high] = b"x" * (high - low)
    return Packet(packet.ts_ns, packet.link_type, bytes(copy), packet.wire_octets, packet.interface)


def _within(spans: Iterable[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield what of the spans lies between `start` and `end`."""
    cut = ((max(low, start), min(high, end)) for low, high in spans)
    return ((low, high) for low, high in cut if low < high)


def _directions(packets: Sequence[Packet]) -> dict[_Direction, list[_Placed]]:
    """Return the TCP payloads of each direction, by offset in its stream."""
    found: dict[_Direction, list[_Placed]] = {}
    for place, packet in enumerate(packets):
        try:
            decoded = decode(packet)
        except (MalformedInput, NeedMoreData):
            continue
        if not isinstance(decoded, Segment) or not decoded.payload:
            continue
        ends = decoded.ends
        seq = decoded.seq + bool(decoded.flags & _SYN)
        found.setdefault(ends, []).append((place, _payload_at(packet, decoded), seq, decoded.payload))
    return {ends: _relative(rows) for ends, rows in found.items()}


def _relative(rows: list[_Placed]) -> list[_Placed]:
    base = rows[0][2]
    first = min(sequence_distance(base, row[2]) for row in rows)
    return [(place, at, sequence_distance(base, seq) - first, payload) for place, at, seq, payload in rows]


def _payload_at(packet: Packet, decoded: Segment | Datagram) -> int:
    """Return where the payload begins in the frame: it ends where the IP header says, or the frame does."""
    offset, ethertype = find_network_layer(packet)
    data = packet.data
    if ethertype == ETHERTYPE_IPV4:
        total = int.from_bytes(data[offset + 2 : offset + 4])
    else:
        total = int.from_bytes(data[offset + 4 : offset + 6])
        total += 40 if total else 0
    end = min(offset + total, len(data)) if total else len(data)
    return end - len(decoded.payload)


def _in_order(pieces: list[_Placed]) -> bytes:
    """Return the stream as far as it is there, zeros where nothing is; no longer than `MAX_STREAM`."""
    size = min(MAX_STREAM, max(offset + len(payload) for _, _, offset, payload in pieces))
    stream = bytearray(size)
    for _, _, offset, payload in pieces:
        if offset < MAX_STREAM:
            stream[offset : offset + len(payload)] = payload[: MAX_STREAM - offset]
    return bytes(stream)


def _secrets(stream: bytes) -> Iterator[tuple[int, int]]:
    """Yield where secrets stand in what one side sent."""
    if _is_tls(stream):
        return
    yield from (match.span(1) for match in _HEADER.finditer(stream))
    yield from (match.span(1) for match in _JSON.finditer(stream))
    yield from _of_target(stream)
    yield from _of_body(stream)
    yield from _of_socks(stream)


def _is_tls(stream: bytes) -> bool:
    """Tell whether a side begins with a TLS hello and sends nothing but TLS records (RFC 8446 section 5.1).

    That nothing is searched is what it is for: a search takes longer than all else that is done to a packet.
    """
    if stream[5:6] not in _HELLOS:
        return False
    at = 0
    while at < len(stream):
        if not _CHANGE_CIPHER_SPEC <= stream[at] <= _APPLICATION_DATA or stream[at + 1 : at + 2] not in (b"\x03", b""):
            return False
        at += 5 + int.from_bytes(stream[at + 3 : at + 5])
    return True


def _of_target(stream: bytes) -> Iterator[tuple[int, int]]:
    request = _REQUEST.match(stream)
    if request is None:
        return
    target, at = request.group(1), request.start(1)
    query = target.find(b"?")
    if query >= 0:
        yield at + query + 1, request.end(1)
    user = _USER.match(target)
    if user is not None:
        yield at + user.start(1), at + user.end(1)


def _of_body(stream: bytes) -> Iterator[tuple[int, int]]:
    """Yield what follows the first HTTP message's headers, unless that is TLS in a tunnel."""
    if _REQUEST.match(stream) is None and _RESPONSE.match(stream) is None:
        return
    end = _HEADERS_END.search(stream)
    if end is not None and not stream.startswith(_TLS_HANDSHAKE, end.end()):
        yield end.end(), len(stream)


def _of_socks(stream: bytes) -> Iterator[tuple[int, int]]:
    """Yield user name and password that follow a greeting which offers them."""
    if len(stream) < 2 or stream[0] != _SOCKS5:  # noqa: PLR2004 - version and count of methods
        return
    at = 2 + stream[1]
    if stream[at : at + 1] != bytes((_SOCKS_LOGIN,)):
        return
    user = stream[at + 1 : at + 2]
    password_at = at + 2 + (user[0] if user else 0)
    password = stream[password_at : password_at + 1]
    yield at + 2, password_at
    yield password_at + 1, password_at + 1 + (password[0] if password else 0)
