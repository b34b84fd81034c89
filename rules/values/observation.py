"""What the sensor saw: a DNS transaction or a flow, with the indicators read from it.

An observation is a value. When more becomes known of the same flow (the hello inside a CONNECT, the first answer), the
sensor makes a new observation with the same `key` and a higher `revision`, which holds all that the earlier one did.
"""

from enum import StrEnum
from typing import Final

import msgspec


class Transport(StrEnum):
    """The transport protocol of a flow."""

    TCP = "tcp"
    UDP = "udp"


class Kind(StrEnum):
    """What kind of activity an event reports (the event schema's `kind`)."""

    CONNECTION = "connection"
    DNS = "dns"
    TLS = "tls"
    HTTP = "http"


class Evidence(StrEnum):
    """Where an indicator was read."""

    DNS_QUERY = "dns_query"
    DNS_ANSWER = "dns_answer"
    DNS_CNAME = "dns_cname"
    TLS_SNI = "tls_sni"
    QUIC_SNI = "quic_sni"
    HTTP_CONNECT = "http_connect"
    HTTP_HOST = "http_host"
    SOCKS = "socks"
    SSH_BANNER = "ssh_banner"
    ADDRESS = "address"
    JA4 = "ja4"
    ALPN = "alpn"
    PROTOCOL = "protocol"
    NS_DELEGATION = "ns_delegation"
    HEARTBEAT = "heartbeat"
    FALLBACK = "fallback"


class FlowState(StrEnum):
    """Whether the tunnel got through, read off the wire."""

    ATTEMPTED = "attempted"
    BLOCKED = "blocked"
    LIVE = "live"


class Refusal(StrEnum):
    """What told the client no; who is blocked without one got no answer, or was led nowhere."""

    DNS = "dns"  # NXDOMAIN or REFUSED
    RESET = "reset"
    UNREACHABLE = "unreachable"  # ICMP
    PROXY = "proxy"


class Action(StrEnum):
    """What the network did with it, in the words of other products' events."""

    OBSERVED = "observed"
    BLOCKED = "blocked"
    REJECTED = "rejected"
    ALLOWED = "allowed"


STATES: Final = {
    Action.OBSERVED: FlowState.ATTEMPTED,
    Action.BLOCKED: FlowState.BLOCKED,
    Action.REJECTED: FlowState.BLOCKED,
    Action.ALLOWED: FlowState.LIVE,
}


def action_of(state: str, refusal: str | None) -> Action:
    """Return what the network did: of what is blocked, `rejected` is what somebody said no to."""
    if state == FlowState.BLOCKED:
        return Action.REJECTED if refusal else Action.BLOCKED
    return Action.ALLOWED if state == FlowState.LIVE else Action.OBSERVED


class NameSource(StrEnum):
    """How the client came by the name that a flow carries.

    `NO_DNS_SEEN` says nothing: the client's look-ups are not seen here, or were not watched for an hour yet.
    """

    DNS = "dns"
    NOT_ASKED = "not_asked"
    NO_DNS_SEEN = "no_dns_seen"


class FiveTuple(msgspec.Struct, frozen=True, gc=False):
    """A flow's identity from initiator to responder; addresses are packed (4 or 16 octets, network order)."""

    transport: Transport
    src: bytes
    src_port: int
    dst: bytes
    dst_port: int


class Indicator(msgspec.Struct, frozen=True, gc=False):
    """One fact read from the packets, such as a server name; names are folded (`rules.matching.names.fold`)."""

    evidence: Evidence
    value: str


class DnsTransaction(msgspec.Struct, frozen=True, gc=False):
    """A query and, when it was seen, its answer; `delegations` are zones with one of their name servers each."""

    qname: str
    qtype: int
    rcode: int | None = None
    cnames: tuple[str, ...] = ()
    addresses: tuple[bytes, ...] = ()
    delegations: tuple[tuple[str, str], ...] = ()

    @property
    def is_answered(self) -> bool:
        """Tell whether a response was seen."""
        return self.rcode is not None


class ClientHello(msgspec.Struct, frozen=True, gc=False):
    """What a TLS or QUIC client offered (RFC 8446 section 4.1.2)."""

    sni: str | None
    alpn: tuple[str, ...]
    versions: tuple[int, ...]
    ja4: str
    has_ech: bool = False


class Traffic(msgspec.Struct, frozen=True, gc=False):
    """What a flow or a DNS transaction has carried so far, from its first packet on.

    Octets are those of whole frames as they were captured, link header included, retransmissions too; `out` is from the
    initiator. `last_ns` is the time of the last packet, 0 before any.
    """

    octets_out: int = 0
    octets_in: int = 0
    packets: int = 0
    last_ns: int = 0


NO_TRAFFIC = Traffic()


class BesideKind(StrEnum):
    """What a client was seen to do with a service."""

    SANCTIONED = "sanctioned"
    AGENT = "agent"
    AUXILIARY = "auxiliary"
    FALLBACK = "fallback"


class Beside(msgspec.Struct, frozen=True, gc=False):
    """What the same client did with a service within the last minutes, and the name it used."""

    service: str
    kind: BesideKind
    name: str


class Observation(msgspec.Struct, frozen=True, gc=False):
    """Everything known so far of one DNS transaction or one flow.

    `indicators` stand in the order they were seen. `told` are the CNAME chains (the name asked for,
    its aliases in order) at whose end this client was told the responder's address, as far as the answers are still
    valid, newest first. `beside` is what this client did with other services lately.
    Of a flow that no list knows there may be: `delegation`, the zone of its name and a name server of it that belongs
    to a service; `agent_address`, a service and the name of its agents that resolves to the responder's address;
    `beats`, how often in a row it was heard at an idle agent's interval. `is_alone`: no sanctioned agent explains it.
    `traffic` alone may grow without a new revision. `refusal` is what said no, only where the state is `blocked`.
    `via_proxy`: a proxy is to make the request; where it told of that itself, the responder is where it went (0.0.0.0
    if it did not say) and `user` who signed in. `asked_port`: where the client asked a proxy to dial, 0 if it did not.
    """

    key: int
    revision: int
    observed_at_ns: int
    kind: Kind
    five_tuple: FiveTuple
    indicators: tuple[Indicator, ...] = ()
    state: FlowState = FlowState.ATTEMPTED
    refusal: Refusal | None = None
    dns: DnsTransaction | None = None
    hello: ClientHello | None = None
    told: tuple[tuple[str, ...], ...] = ()
    name_source: NameSource = NameSource.NO_DNS_SEEN
    beside: tuple[Beside, ...] = ()
    delegation: tuple[str, str] | None = None
    agent_address: tuple[str, str] | None = None
    beats: int = 0
    is_alone: bool = False
    interface: str = ""
    traffic: Traffic = NO_TRAFFIC
    via_proxy: bool = False
    user: str | None = None
    asked_port: int = 0

    @property
    def told_names(self) -> tuple[str, ...]:
        """Return every name of the chains in `told`, the newest chain first."""
        return tuple(dict.fromkeys([name for chain in self.told for name in chain]))
