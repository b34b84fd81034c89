"""Protocol tells: what a tunnel program shows on the wire when no listed name does.

Each row is a fact about one program with its source in the service's file. A tell raises suspicion; alone it never
names anybody's account.
"""

from rules.catalogue import Catalogue
from rules.observation import Evidence, Observation
from rules.value import Value
from rules.verdict import Reason, Role

SSH_PORT = 22
SSH_SERVICE = "ssh-remote-forward"


class Tell(Value, frozen=True):
    """A tell that was found: the service it speaks for, how sure it is (0 to 100), and the reason."""

    service: str
    role: Role
    confidence: int
    reason: Reason


# WebSocket subprotocols in clear text: (prefix, service, role).
SUBPROTOCOLS = (
    ("chisel-v", "chisel", Role.AGENT),
    ("tunnel-relay-host", "devtunnels", Role.AGENT),
    ("tunnel-relay-client", "devtunnels", Role.VISITOR),
)
# What the extractors recognise by itself: (service, what it is).
PROTOCOLS = {
    "frp-first-byte": ("frp", "an octet before the TLS hello, as frp sends it"),
    "frp-websocket": ("frp", "the WebSocket path of frp"),
}


def find_tell(observation: Observation, catalogue: Catalogue) -> Tell | None:
    """Return the strongest protocol tell of the observation, or None."""
    return _by_alpn(observation, catalogue) or _by_protocol(observation) or _by_ssh_port(observation)


def ssh_banner(observation: Observation) -> str | None:
    """Return the SSH banner seen in the flow (RFC 4253 section 4.2), if any."""
    banners = (row.value for row in observation.indicators if row.evidence is Evidence.SSH_BANNER)
    return next(banners, None)


def _by_alpn(observation: Observation, catalogue: Catalogue) -> Tell | None:
    for alpn in observation.hello.alpn if observation.hello else ():
        service = catalogue.by_alpn.get(alpn)
        if service is not None:
            reason = Reason(Evidence.ALPN, alpn, f"only {service.short_name} negotiates the ALPN {alpn}")
            return Tell(service.id, Role.AGENT, 85, reason)
    return None


def _by_protocol(observation: Observation) -> Tell | None:
    for row in observation.indicators:
        if row.evidence is not Evidence.PROTOCOL:
            continue
        if row.value in PROTOCOLS:
            service, detail = PROTOCOLS[row.value]
            return Tell(service, Role.AGENT, 60, Reason(row.evidence, row.value, detail))
        subprotocol = row.value.removeprefix("websocket:")
        for prefix, service, role in SUBPROTOCOLS:
            if subprotocol.startswith(prefix) and subprotocol != row.value:
                reason = Reason(row.evidence, subprotocol, f"the WebSocket subprotocol of {service}")
                return Tell(service, role, 80, reason)
    return None


def _by_ssh_port(observation: Observation) -> Tell | None:
    banner = ssh_banner(observation)
    port = observation.five_tuple.dst_port
    if banner is None or port == SSH_PORT:
        return None
    reason = Reason(Evidence.SSH_BANNER, banner, f"SSH on port {port}, which is not SSH's")
    return Tell(SSH_SERVICE, Role.UNCLEAR, 60 if port in (80, 443) else 40, reason)
