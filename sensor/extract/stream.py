"""What the head of one direction of a TCP flow carries, recognised by content on any port.

`read_stream` is a pure function of the octets. It is called again as the head grows; how the head came in segments
cannot change the answer, and a later answer holds every indicator of an earlier one. To keep that so, at most one
protocol can claim a given beginning, and none is claimed before the octets rule the others out.
"""

import re
from contextlib import suppress
from typing import Final

import msgspec

from rules.values.observation import ClientHello, Evidence, Indicator, Kind
from rules.values.value import Value
from sensor.errors import MalformedDns, MalformedInput, NeedMoreData
from sensor.extract.dns import DnsMessage, is_likely_dns, may_become_dns, parse_message
from sensor.extract.http import HttpRequest, read_request
from sensor.extract.socks import read_socks
from sensor.extract.ssh import read_banner
from sensor.extract.tls import ALERT_RECORD, CLIENT_HELLO, HANDSHAKE_RECORD, RECORD_HEADER, read_client_hello
from sensor.extract.tunnel_stream import (
    read_bore,
    read_frp_login,
    read_gsocket,
    read_jprq,
    read_openvpn,
    read_zero_first,
    read_zerotier,
)

MAX_LAYERS: Final = 16

# Members of enumerations, bound once: looking one up costs a multiple.
_ALPN: Final = Evidence.ALPN
_JA4: Final = Evidence.JA4
_TLS: Final = Kind.TLS
_FRP_FIRST_OCTET: Final = 0x17  # frp's `transport.tls.disableCustomTLSFirstByte = false`
_TLS_MAJOR_VERSION: Final = 3
_TLS_MAJOR: Final = b"\x03"
_DNS_PREFIX: Final = 2
# Paths with what they upgrade to, and the tell.
_HTTP_TELLS: Final = {
    "/~!frp": ("websocket", "frp-websocket"),
    "/ts2021": ("tailscale-control-protocol", "tailscale-control"),
    "/derp": ("derp", "tailscale-derp"),
    "/v1/events": ("websocket", "wstunnel"),
}
_LINE_ENDS: Final = b"\r\n"
_PROXY_V1: Final = re.compile(rb"PROXY (?:TCP4|TCP6|UNKNOWN)[ -~]{0,92}\r\n")
_PROXY_V1_START: Final = b"PROXY "
_PROXY_V1_MOST_OCTETS: Final = 107
_PROXY_V2_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_PROXY_V2_HEADER: Final = 16
_HTTP_RESPONSE: Final = re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9][ \r\n]")
_HTTP_RESPONSE_START: Final = b"HTTP/1."
_HTTP_RESPONSE_OCTETS: Final = 13


class StreamFacts(Value, frozen=True):
    """What is known of one direction.

    `protocol` is the outermost one (`tls`, `http`, `http-proxy` (a request that a proxy is to make), `http-response`,
    `connect`, `socks`, `ssh`, `dns`, or the name of a tunnel's tell; empty: none of ours), `kind` the innermost.
    `indicators` stand in the order of their octets. `is_complete`: nothing more of this direction's head can add facts.
    `token`: what an answer to this handshake repeats; only who begins one has it. `asked_port`: where a proxy is asked
    to dial.
    """

    indicators: tuple[Indicator, ...] = ()
    hello: ClientHello | None = None
    kind: Kind = Kind.CONNECTION
    dns: tuple[DnsMessage, ...] = ()
    protocol: str = ""
    is_complete: bool = True
    token: bytes = b""
    asked_port: int = 0

    @property
    def held_octets(self) -> int:
        """Return about how much memory the facts take, however hostile what they were read from."""
        octets = 0 if self.hello is None else 512
        for indicator in self.indicators:
            octets += 128 + len(indicator.value)
        for message in self.dns:
            octets += 512 + len(message.qname) + 128 * len(message.addresses) + 320 * len(message.cnames)
        return octets


class _Layer(Value, frozen=True):
    """One protocol's facts, and how many octets it takes before the next may start; None where nothing follows."""

    facts: StreamFacts
    octets: int | None = None


_NOTHING: Final = _Layer(StreamFacts())


def read_stream(head: bytes, *, is_final: bool = False) -> StreamFacts:
    """Return what `head`, the payload of one direction from its first octet on, says.

    Args:
        head: the octets so far, in order.
        is_final: nothing more will come; the best partial facts are returned, at worst none.

    Raises:
        NeedMoreData: nothing can be said yet (never with `is_final`).
    """
    facts = StreamFacts()
    at = 0
    for _ in range(MAX_LAYERS):
        try:
            layer = _read_layer(head[at:], is_final=is_final)
        except MalformedInput:
            break
        except NeedMoreData:
            if is_final:
                break
            if facts.protocol:
                return msgspec.structs.replace(facts, is_complete=False)
            raise
        facts = _join(facts, layer.facts) if facts.protocol else layer.facts
        if layer.octets is None:
            break
        at += layer.octets
    return facts


def hello_indicators(hello: ClientHello, sni_evidence: Evidence = Evidence.TLS_SNI) -> tuple[Indicator, ...]:
    """Return a hello's server name, protocol names and fingerprint as indicators."""
    found = [Indicator(sni_evidence, hello.sni)] if hello.sni else []
    found += [Indicator(_ALPN, name) for name in hello.alpn]
    if hello.ja4:
        found.append(Indicator(_JA4, hello.ja4))
    return tuple(found)


def _join(outer: StreamFacts, inner: StreamFacts) -> StreamFacts:
    return StreamFacts(
        indicators=tuple(dict.fromkeys(outer.indicators + inner.indicators)),
        hello=outer.hello or inner.hello,
        kind=inner.kind if inner.kind is not Kind.CONNECTION else outer.kind,
        dns=outer.dns + inner.dns,
        protocol=outer.protocol or inner.protocol,
        asked_port=inner.asked_port or outer.asked_port,
    )


def _read_layer(stream: bytes, *, is_final: bool) -> _Layer:
    """Return the facts of the protocol that `stream` begins with."""
    if not stream:
        raise NeedMoreData
    first = stream[0]
    if first in (HANDSHAKE_RECORD, ALERT_RECORD):
        return _read_records(stream, is_final=is_final)
    if first == _FRP_FIRST_OCTET:
        return _read_frp(stream, is_final=is_final)
    if chr(first).isascii() and chr(first).isprintable():
        return _read_text(stream, is_final=is_final)
    if stream.startswith(_PROXY_V2_SIGNATURE[: len(stream)]):
        return _skip_proxy_v2(stream)
    return _read_binary(stream, is_final=is_final)


def _read_records(stream: bytes, *, is_final: bool) -> _Layer:
    """Return what TLS records carry; what begins like an alert may be DNS over TCP, too."""
    if stream[0] == ALERT_RECORD:
        try:
            return _read_tls(stream, is_final=is_final)
        except MalformedInput:
            return _read_binary(stream, is_final=is_final)
    if len(stream) > RECORD_HEADER and stream[RECORD_HEADER] != CLIENT_HELLO and (stream[3] or stream[4]):
        return _NOTHING  # a server's: known without parsing
    return _read_tls(stream, is_final=is_final)


def _read_tls(stream: bytes, *, is_final: bool) -> _Layer:
    try:
        hello = read_client_hello(stream, is_final)
    except NeedMoreData:
        if is_final and len(stream) > 2 and stream[0] == HANDSHAKE_RECORD and stream[1] == _TLS_MAJOR_VERSION:  # noqa: PLR2004 - type and version octets
            return _Layer(StreamFacts(protocol="tls", kind=Kind.TLS))
        raise
    return _Layer(StreamFacts(hello_indicators(hello), hello, _TLS, protocol="tls"))


def _tunnel(protocol: str) -> _Layer:
    return _Layer(StreamFacts((Indicator(Evidence.PROTOCOL, protocol),), protocol=protocol))


def _read_frp(stream: bytes, *, is_final: bool) -> _Layer:
    if stream[1:2] == _TLS_MAJOR:
        return _tunnel(read_zerotier(stream))
    if len(stream) > 1 and stream[1] != HANDSHAKE_RECORD:
        raise MalformedInput(1, "no TLS behind frp's first octet")
    layer = _read_tls(stream[1:], is_final=is_final)
    if layer.facts.hello is None:
        raise NeedMoreData
    tell = Indicator(Evidence.PROTOCOL, "frp-first-byte")
    return _Layer(msgspec.structs.replace(layer.facts, indicators=(tell, *layer.facts.indicators)))


def _read_text(stream: bytes, *, is_final: bool) -> _Layer:
    if stream.startswith(_PROXY_V1_START[: len(stream)]) and (proxy := _skip_proxy_v1(stream)):
        return proxy
    if stream.startswith(_HTTP_RESPONSE_START[: len(stream)]):
        return _read_http_response(stream)
    if stream[0] in _TEXT_TUNNELS:
        with suppress(MalformedInput):
            return _tunnel(_TEXT_TUNNELS[stream[0]](stream))
    try:
        return _read_http(stream, is_final=is_final)
    except MalformedInput:
        banner = Indicator(Evidence.SSH_BANNER, read_banner(stream))
        return _Layer(StreamFacts((banner,), protocol="ssh"))


def _read_http_response(stream: bytes) -> _Layer:
    """Recognise a response; sent by an initiator, it means that the flow was opened to be served from the inside."""
    if len(stream) < _HTTP_RESPONSE_OCTETS:
        raise NeedMoreData
    if not _HTTP_RESPONSE.match(stream):
        raise MalformedInput(0, "not an HTTP status line")
    return _Layer(StreamFacts(protocol="http-response", kind=Kind.HTTP))


def _read_http(stream: bytes, *, is_final: bool) -> _Layer:
    request = read_request(stream, is_final=is_final)
    protocol = "connect" if request.method == "CONNECT" else "http-proxy" if request.is_absolute else "http"
    asked_port = (request.port or 0) if protocol == "connect" else 0
    facts = StreamFacts(_request_indicators(request), kind=Kind.HTTP, protocol=protocol, asked_port=asked_port)
    is_end = not request.head_octets or request.upgrade or request.body_octets is None
    return _Layer(facts, None if is_end else request.head_octets + (request.body_octets or 0))


def _read_behind_empty_lines(stream: bytes, *, is_final: bool) -> _Layer:
    """Return the request behind empty lines, which servers and proxies pass over (RFC 9112 section 2.2)."""
    request = stream.lstrip(_LINE_ENDS)
    if not request:
        raise NeedMoreData
    layer = _read_http(request, is_final=is_final)
    skipped = len(stream) - len(request)
    return _Layer(layer.facts, layer.octets + skipped if layer.octets is not None else None)


def _request_indicators(request: HttpRequest) -> tuple[Indicator, ...]:
    evidence = Evidence.HTTP_CONNECT if request.method == "CONNECT" else Evidence.HTTP_HOST
    found = [Indicator(evidence, host) for host in (request.other_host, request.host) if host]
    if request.upgrade == "websocket":
        found += [Indicator(Evidence.PROTOCOL, f"websocket:{name}") for name in request.websocket_protocols]
    if request.is_inlets:
        found.append(Indicator(Evidence.PROTOCOL, "inlets"))
    tell = _HTTP_TELLS.get(request.target)
    if tell is not None and request.upgrade == tell[0]:
        found.append(Indicator(Evidence.PROTOCOL, tell[1]))
    return tuple(found)


def _read_binary(stream: bytes, *, is_final: bool) -> _Layer:
    """Return what a stream that starts with no text carries: DNS, or something else once the octets rule out DNS."""
    if stream[0] in _LINE_ENDS:
        with suppress(MalformedInput):
            return _read_behind_empty_lines(stream, is_final=is_final)
    if stream[0] in _BINARY_TUNNELS:
        with suppress(MalformedInput):
            return _tunnel(_BINARY_TUNNELS[stream[0]](stream))
    with suppress(MalformedInput):
        return _tunnel(read_jprq(stream))
    try:
        return _read_dns(stream, is_final=is_final)
    except MalformedDns:
        with suppress(MalformedInput):
            return _tunnel(read_openvpn(stream))
        request = read_socks(stream)
    named = (Indicator(Evidence.SOCKS, request.host),)
    return _Layer(StreamFacts(named, protocol="socks", asked_port=request.port), request.head_octets)


def _read_dns(stream: bytes, *, is_final: bool) -> _Layer:
    """Return the complete messages of DNS over TCP (RFC 7766 section 8), with `is_final` also one that is cut off."""
    messages: list[DnsMessage] = []
    at = 0
    while at < len(stream):
        end = at + _DNS_PREFIX + int.from_bytes(stream[at : at + _DNS_PREFIX], "big")
        message = stream[at + _DNS_PREFIX : end]
        if len(stream) < end and not is_final and may_become_dns(message):
            break
        if not is_likely_dns(message):
            break
        try:
            messages.append(parse_message(message))
        except MalformedDns:
            if not messages:
                raise
            break  # what came before stands, whichever segments it came in
        at = end
    if not messages and (is_final or not may_become_dns(stream[_DNS_PREFIX:])):
        raise MalformedDns(0, "not DNS over TCP")
    if not messages:
        raise NeedMoreData
    return _Layer(StreamFacts(dns=tuple(messages), kind=Kind.DNS, protocol="dns"), at)


_TEXT_TUNNELS: Final = {ord("{"): read_bore, ord("o"): read_frp_login}
_BINARY_TUNNELS: Final = {0: read_zero_first, 1: read_gsocket, 2: read_gsocket}


def _skip_proxy_v1(stream: bytes) -> _Layer | None:
    """Return an empty layer for the text header of the PROXY protocol, version 1; None if it is something else."""
    header = _PROXY_V1.match(stream)
    if header:
        return _Layer(StreamFacts(), header.end())
    if b"\n" not in stream and len(stream) < _PROXY_V1_MOST_OCTETS:
        raise NeedMoreData
    return None


def _skip_proxy_v2(stream: bytes) -> _Layer:
    """Return an empty layer for the binary header of the PROXY protocol, version 2."""
    if len(stream) < _PROXY_V2_HEADER:
        raise NeedMoreData
    return _Layer(StreamFacts(), _PROXY_V2_HEADER + int.from_bytes(stream[14:16], "big"))
