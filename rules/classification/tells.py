"""Protocol tells: what a tunnel program shows on the wire when no listed name does.

Each row is a fact about one program with its source in the service's file; docs/detection.md says what else may look
like it. A tell raises suspicion; alone it never names anybody's account.
"""

from typing import Final

from rules.catalogue.catalogue import Catalogue
from rules.classification.naming import PROXY_EVIDENCE
from rules.values.observation import Evidence, Observation
from rules.values.value import Value
from rules.values.verdict import Reason, Role, Severity

SSH_PORT: Final = 22
SSH_SERVICE: Final = "ssh-remote-forward"
SSH_USUAL_DISGUISES: Final = (80, 443)

MESH: Final = "mesh-vpn"
DNS: Final = "dns-tunnel"
REVERSE: Final = "reverse-tunnel"
# Members of enumerations, bound once: looking one up costs a multiple.
_PROTOCOL: Final = Evidence.PROTOCOL
_SSH_BANNER: Final = Evidence.SSH_BANNER


class Tell(Value, frozen=True):
    """A tell that was found: the service it speaks for (None: no program in particular) and how sure it is (0 to 100).

    `carries` is the category of services that a protocol without a program of its own may carry. `name` is what the
    traffic goes to, where the tell knows it.
    """

    service: str | None
    role: Role
    confidence: int
    reason: Reason
    severity: Severity = Severity.MEDIUM
    carries: str = ""
    name: str | None = None


class _Row(Value, frozen=True):
    """What one recognised protocol means."""

    service: str | None
    confidence: int
    detail: str
    role: Role = Role.AGENT
    severity: Severity = Severity.MEDIUM
    carries: str = ""


def _mesh(service: str | None, confidence: int, detail: str) -> _Row:
    """Return the row of a VPN: many an organisation runs one, so little is to be made of it."""
    if service is None or service == "wireguard-generic":
        return _Row(service, confidence, detail, Role.UNCLEAR, Severity.LOW, MESH)
    return _Row(service, confidence, detail, Role.AGENT, Severity.LOW)


# What the extractors recognise by itself; where several are seen in one flow, the surest counts.
PROTOCOLS: Final = {
    "frp-first-byte": _Row("frp", 60, "an octet before the TLS hello, as frp sends it"),
    "frp-websocket": _Row("frp", 90, "the WebSocket path of frp"),
    "wireguard-initiation": _mesh("wireguard-generic", 50, "the first message of a WireGuard handshake, not answered"),
    "wireguard-handshake": _mesh("wireguard-generic", 90, "a WireGuard handshake, answered"),
    "openvpn-reset": _mesh(None, 60, "an OpenVPN client's first packet, not answered"),
    "openvpn-handshake": _mesh(None, 90, "an OpenVPN client and server begin a session"),
    "tailscale-disco": _mesh("tailscale", 95, "a message with the magic of Tailscale's path discovery"),
    "tailscale-stun": _mesh("tailscale", 85, "a STUN request with the software name of Tailscale's client"),
    "zerotier-hello": _mesh("zerotier", 90, "a ZeroTier HELLO"),
    "nebula-handshake": _mesh("nebula", 85, "a Nebula handshake"),
    "zerotier-tcp": _mesh("zerotier", 80, "the greeting of ZeroTier's relay over TCP"),
    "tailscale-control": _mesh("tailscale", 90, "the control protocol of Tailscale or Headscale"),
    "tailscale-derp": _mesh("tailscale", 85, "the relay protocol of Tailscale or Headscale"),
    "frp-login": _Row("frp", 95, "frp's login in clear text"),
    "rathole-hello": _Row(
        "rathole", 50, "octets as rathole's hello without encryption has them", severity=Severity.LOW
    ),
    "gsocket": _Row("gsocket", 85, "the first message to a Global Socket relay"),
    "playit-ping": _Row("playit", 80, "a ping of playit's control protocol, not answered"),
    "playit-control": _Row("playit", 95, "a ping of playit's control protocol, answered"),
    "jprq": _Row("jprq", 95, "jprq's request for a tunnel"),
    "inlets": _Row("inlets", 90, "the field by which inlets numbers its clients"),
    "bore": _Row("bore", 90, "bore's first message"),
    "reverse-http": _Row(None, 80, "who opened the connection answers the other end's requests", carries=REVERSE),
    "wstunnel": _Row(None, 60, "the path and upgrade of wstunnel", carries=REVERSE),
    "hyperdht": _Row("holesail", 60, "a HyperDHT message, on which Holesail and other peer-to-peer programs build"),
}
# WebSocket subprotocols in clear text, by their beginning.
SUBPROTOCOLS: Final = {
    "chisel-v": _Row("chisel", 90, "the WebSocket subprotocol of chisel"),
    "tunnel-relay-host": _Row("devtunnels", 90, "the WebSocket subprotocol of a dev tunnel's host"),
    "tunnel-relay-client": _Row("devtunnels", 80, "the WebSocket subprotocol of a dev tunnel's client", Role.VISITOR),
}
# What the queries of one client below one domain look like (`dns-tunnel:SHAPE:DOMAIN`).
DNS_SHAPES: Final = {
    "iodine": _Row("iodine", 95, "look-ups below {} are the handshake of iodine"),
    "dns2tcp": _Row("dns2tcp", 90, "look-ups below {} are commands of dns2tcp"),
    "dnscat2": _Row("dnscat2", 85, "look-ups below {} are the packets of one dnscat2 session"),
    "rare-types": _Row(None, 75, "many look-ups below {} ask for record types that only tunnels use", carries=DNS),
    "bulk": _Row(None, 60, "look-ups below {} carry data: many, long, never the same", carries=DNS),
}


def find_tell(observation: Observation, catalogue: Catalogue) -> Tell | None:
    """Return the strongest protocol tell of the observation, or None."""
    return _by_alpn(observation, catalogue) or _by_protocol(observation) or _by_ssh_port(observation, catalogue)


def ssh_banner(observation: Observation) -> str | None:
    """Return the SSH banner seen in the flow (RFC 4253 section 4.2), if any."""
    for row in observation.indicators:
        if row.evidence is _SSH_BANNER:
            return row.value
    return None


def _by_alpn(observation: Observation, catalogue: Catalogue) -> Tell | None:
    for alpn in observation.hello.alpn if observation.hello else ():
        service = catalogue.by_alpn.get(alpn)
        if service is not None:
            reason = Reason(Evidence.ALPN, alpn, f"only {service.short_name} negotiates the ALPN {alpn}")
            return Tell(service.id, Role.AGENT, 85, reason)
    return None


def _by_protocol(observation: Observation) -> Tell | None:
    surest: Tell | None = None
    for indicator in observation.indicators:
        if indicator.evidence is _PROTOCOL:
            tell = _of_protocol(indicator.value)
            if tell is not None and (surest is None or tell.confidence > surest.confidence):
                surest = tell
    return surest


def _of_protocol(protocol: str) -> Tell | None:
    kind, _, value = protocol.partition(":")
    if kind == "websocket":
        return _by_subprotocol(value)
    if kind == "dns-tunnel":
        return _by_dns_shape(value)
    row = PROTOCOLS.get(kind)
    return _tell(row, Reason(_PROTOCOL, kind, row.detail)) if row is not None else None


def _by_subprotocol(value: str) -> Tell | None:
    for prefix, row in SUBPROTOCOLS.items():
        if value.startswith(prefix):
            return _tell(row, Reason(Evidence.PROTOCOL, value, row.detail))
    return None


def _by_dns_shape(value: str) -> Tell:
    shape, _, domain = value.partition(":")
    row = DNS_SHAPES[shape]
    return _tell(row, Reason(Evidence.PROTOCOL, f"dns-tunnel:{shape}", row.detail.format(domain)), domain)


def _tell(row: _Row, reason: Reason, name: str | None = None) -> Tell:
    return Tell(row.service, row.role, row.confidence, reason, row.severity, row.carries, name)


def _by_ssh_port(observation: Observation, catalogue: Catalogue) -> Tell | None:
    banner = ssh_banner(observation)
    port = observation.asked_port or observation.five_tuple.dst_port
    if banner is None or port == SSH_PORT or _goes_to_excluded(observation, catalogue):
        return None
    reason = Reason(Evidence.SSH_BANNER, banner, f"SSH on port {port}, which is not SSH's")
    return Tell(SSH_SERVICE, Role.UNCLEAR, 60 if port in SSH_USUAL_DISGUISES else 40, reason)


def _goes_to_excluded(observation: Observation, catalogue: Catalogue) -> bool:
    """Tell whether the SSH of a flow is that of a host which the catalogue excludes: git, as a rule."""
    names = {row.value for row in observation.indicators if row.evidence in PROXY_EVIDENCE}
    return any(catalogue.is_excluded(name, SSH_SERVICE) for name in names or observation.told_names)
