"""What is reported of a flow: who began it, what it carries, and whether it got through."""

import re
from typing import Final

from rules.values.observation import Evidence, FlowState, Indicator, Kind, NameSource, Observation, Refusal
from sensor.correlate import ToldNames
from sensor.flow import Flow, FlowHead, Report, Side

_NAMES: Final = frozenset((Evidence.TLS_SNI, Evidence.QUIC_SNI, Evidence.HTTP_HOST))
_BY_PROXY: Final = frozenset((Evidence.HTTP_CONNECT, Evidence.SOCKS))
_CLIENT_PROTOCOLS: Final = frozenset(("tls", "http", "http-proxy", "connect", "socks", "quic"))
_TUNNELLING_PROTOCOLS: Final = frozenset(("connect", "socks"))
_REVERSE_HTTP: Final = Indicator(Evidence.PROTOCOL, "reverse-http")
# Members of enumerations, bound once: looking one up costs a multiple.
_CONNECTION: Final = Kind.CONNECTION
_LIVE: Final = FlowState.LIVE
_BLOCKED: Final = FlowState.BLOCKED
_ATTEMPTED: Final = FlowState.ATTEMPTED
_NO_DNS_SEEN: Final = NameSource.NO_DNS_SEEN
_TLS_ALERT: Final = 0x15  # RFC 8446 section 5.1
_MAX_SOCKS_REPLY_OCTETS: Final = 26  # method, credentials' answer, an IPv6 address (RFC 1928, RFC 1929)
_CONNECT_ACCEPTED: Final = re.compile(rb"HTTP/1\.[01] 2\d\d[^\r\n]*")
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_CONNECT_FORBIDDEN: Final = re.compile(rb"HTTP/1\.[01] 403[ \r]")


def observe(flow: Flow, told_names: ToldNames, now_ns: int) -> Observation | None:
    """Return a new observation of `flow` if there is something that its last one did not say.

    A flow without any indicator is reported once it is settled, and only if its client was told a name for the address
    it goes to: nothing else can be said of it.
    """
    head = flow.head
    if head is None:
        return None
    if not head.is_settled and not head.sides[0].facts.indicators and not head.sides[1].facts.indicators:
        return None
    initiator = find_initiator(flow, head, told_names, now_ns)
    request, reply = head.sides[initiator], head.sides[1 - initiator]
    indicators = tuple(dict.fromkeys(request.facts.indicators + reply.facts.indicators))
    if head.opener is not None and _is_served_from_inside(request, reply):
        indicators += (_REVERSE_HTTP,)
    is_dns = any(side.facts.protocol == "dns" for side in head.sides)  # reported as transactions
    if not indicators and is_dns:
        return None
    state = _state(head, initiator)
    report = (indicators, state, _kind(request, reply))
    if report == head.reported:
        return None
    return _observation(flow, head, initiator, report, told_names, now_ns)


def find_initiator(flow: Flow, head: FlowHead, told_names: ToldNames, now_ns: int) -> int:
    """Return the side that began the flow: by its SYN, else by what it sends, what it was told, or the higher port."""
    if head.opener is not None:
        return head.opener
    for side in (0, 1):
        if _is_client(head.sides[side]) or head.sides[1 - side].facts.protocol == "http-response":
            return side
    ends = flow.five_tuple(0)
    told = told_names.has_told(ends.src, ends.dst, now_ns), told_names.has_told(ends.dst, ends.src, now_ns)
    if told[0] != told[1]:
        return 0 if told[0] else 1
    return 0 if ends.dst_port <= ends.src_port else 1


def needs_reply(head: FlowHead, side: int) -> bool:
    """Tell whether what `side` answers is still to be looked at because a proxy's reply comes before the real one."""
    stream = head.sides[side].stream
    if stream is not None and stream.is_full:
        return False
    is_tunnelling = head.sides[1 - side].facts.protocol in _TUNNELLING_PROTOCOLS
    return is_tunnelling and not _is_beyond_proxy_reply(head.sides[1 - side], head.sides[side])


def _observation(  # noqa: PLR0917 - the parts of one report
    flow: Flow,
    head: FlowHead,
    initiator: int,
    report: Report,
    told_names: ToldNames,
    now_ns: int,
) -> Observation | None:
    indicators, state, kind = report
    five_tuple = flow.five_tuple(initiator)
    told = told_names.chains(five_tuple.src, five_tuple.dst, now_ns)
    head.reported = report
    if not indicators and not told:
        return None
    head.revision += 1
    via_proxy = head.sides[initiator].facts.protocol == "http-proxy"
    return Observation(
        key=flow.number,
        revision=head.revision,
        observed_at_ns=flow.first_ns,
        kind=kind,
        five_tuple=five_tuple,
        indicators=indicators,
        state=state,
        refusal=_refusal(head, initiator) if state is _BLOCKED else None,
        hello=head.sides[initiator].facts.hello or head.sides[1 - initiator].facts.hello,
        told=told,
        name_source=NameSource.NO_DNS_SEEN if via_proxy else _name_source(flow, five_tuple.src, indicators, told_names),
        interface=head.interface,
        traffic=flow.traffic(initiator),
        via_proxy=via_proxy,
        asked_port=head.sides[initiator].facts.asked_port,
    )


def _name_source(flow: Flow, client: bytes, indicators: tuple[Indicator, ...], told_names: ToldNames) -> NameSource:
    """Return where the name that the flow carries is from; a proxy's client need not ask for it."""
    name = ""
    for row in indicators:
        if row.evidence in _BY_PROXY:
            return _NO_DNS_SEEN
        if row.evidence in _NAMES:
            name = row.value
    if not name or name[-1].isdigit() or ":" in name:  # an address
        return _NO_DNS_SEEN
    return told_names.asked.source(client, name, flow.first_ns)


def _is_served_from_inside(request: Side, reply: Side) -> bool:
    """Tell whether who opened the connection answers the HTTP requests of the other end: localtunnel and its kin."""
    return request.facts.protocol == "http-response" and reply.facts.protocol == "http"


def _kind(request: Side, reply: Side) -> Kind:
    for side in (request, reply):
        if side.facts.indicators:
            return side.facts.kind
    return _CONNECTION


def _is_client(side: Side) -> bool:
    facts = side.facts
    return facts.hello is not None or bool(facts.token) or facts.protocol in _CLIENT_PROTOCOLS


def _state(head: FlowHead, initiator: int) -> FlowState:
    request, reply = head.sides[initiator], head.sides[1 - initiator]
    if reply.payload_octets:
        is_live = request.payload_octets and _is_real_reply(request, reply)
        is_forbidden = request.facts.protocol == "connect" and _CONNECT_FORBIDDEN.match(_octets(reply))
        return _LIVE if is_live else _BLOCKED if is_forbidden else _ATTEMPTED
    is_unanswered = head.is_overdue and not reply.has_sent and not request.has_sent
    if reply.has_reset or head.unreachable == initiator or is_unanswered:
        return _BLOCKED
    return _ATTEMPTED


def _refusal(head: FlowHead, initiator: int) -> Refusal | None:
    """Return what said no to a flow that is blocked, None where nobody answered."""
    reply = head.sides[1 - initiator]
    if reply.payload_octets:
        return Refusal.PROXY
    if reply.has_reset:
        return Refusal.RESET
    return Refusal.UNREACHABLE if head.unreachable == initiator else None


def _is_real_reply(request: Side, reply: Side) -> bool:
    """Tell whether `reply` comes from where the flow leads: neither a proxy's own answer nor a TLS alert."""
    if request.facts.protocol in _TUNNELLING_PROTOCOLS:
        return _is_beyond_proxy_reply(request, reply)
    return request.facts.hello is None or _octets(reply)[:1] != bytes((_TLS_ALERT,))


def _is_beyond_proxy_reply(request: Side, reply: Side) -> bool:
    octets = _octets(reply)
    if request.facts.protocol == "socks":
        return len(octets) > _MAX_SOCKS_REPLY_OCTETS
    accepted = _CONNECT_ACCEPTED.search(octets)
    end = _HEAD_END.search(octets, accepted.end()) if accepted is not None else None
    return end is not None and len(octets) > end.end()


def _octets(side: Side) -> bytes:
    return side.stream.head if side.stream is not None else b""
