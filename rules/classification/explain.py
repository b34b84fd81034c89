"""A verdict in sentences: who does what, how we know, how sure it is, whether it got through, what would change it."""

from rules.values.event import Event
from rules.values.observation import Evidence, FlowState, Kind, Refusal
from rules.values.verdict import Decision, Outcome, Role

WHAT_IT_DOES = {
    Role.AGENT: "runs a tunnel of {service}",
    Role.VISITOR: "opens somebody's tunnel of {service}",
    Role.UNCLEAR: "uses {service}, running a tunnel or opening somebody's",
    Role.AUXILIARY: "fetches updates or revocation lists as agents of {service} do",
}
WHAT_IS_SAID = {
    Outcome.UNSANCTIONED: "{source} {does}, which the policy does not sanction.",
    Outcome.SUSPICIOUS: "{source} probably {does}; nothing proves it.",
    Outcome.SANCTIONED: "{source} {does}, as the policy allows.",
    Outcome.UNKNOWN: "{source}: nothing speaks of a tunnel.",
}
# How sure a kind of evidence is by itself, the surest first: the first that is among the reasons is said.
HOW_SURE: tuple[tuple[frozenset[str], str], ...] = (
    (
        frozenset({Evidence.TLS_SNI, Evidence.QUIC_SNI, Evidence.HTTP_CONNECT, Evidence.HTTP_HOST, Evidence.SOCKS}),
        "the client named the host itself in the connection; it could have named a host that it does not speak to",
    ),
    (
        frozenset({Evidence.NS_DELEGATION, Evidence.DNS_CNAME}),
        "the domain itself leads to the service; what is behind it was not seen",
    ),
    (
        frozenset({Evidence.DNS_QUERY, Evidence.DNS_ANSWER}),
        "the client asked for the name; a look-up alone does not show that it connected",
    ),
    (
        frozenset({Evidence.PROTOCOL, Evidence.ALPN, Evidence.SSH_BANNER}),
        "the protocol gives it away, no name does; another program may speak the same",
    ),
    (
        frozenset({Evidence.ADDRESS, Evidence.JA4, Evidence.HEARTBEAT, Evidence.FALLBACK}),
        "only the address or the client's library ties it to the service; others may share both",
    ),
)
SIGNS_BESIDE = frozenset({Evidence.JA4, Evidence.HEARTBEAT, Evidence.FALLBACK})
TOGETHER = "no sign of it says much by itself, together they do; each has other explanations"
EXPECTED_ADDRESS = "the address is the one that was expected; who answers there is not to be seen"
WHETHER_IT_GOT_THROUGH = {
    FlowState.LIVE: "It got through: octets went both ways.",
    FlowState.BLOCKED: "It was blocked.",
    FlowState.ATTEMPTED: "Whether it got through was not seen.",
}
WHAT_SAID_NO = {
    Refusal.DNS: "It was blocked: the resolver denied the name.",
    Refusal.RESET: "It was blocked: the connection was reset.",
    Refusal.UNREACHABLE: "It was blocked: the network said that there is no way there (ICMP).",
    Refusal.PROXY: "It was blocked: the proxy refused it.",
}
WHAT_IS_DECIDED = {
    Decision.BLOCK: "{service} is to be blocked: what names and addresses are known of it are on the block lists.",
    Decision.MONITOR: "{service} is watched and not on the block lists.",
    Decision.IGNORE: "{service} is ignored by the policy.",
}


def explain(event: Event, service: str, decision: Decision | None) -> tuple[str, ...]:
    """Return the sentences that explain `event`; `service` is what people call it, `decision` what is decided of it."""
    service = service.partition(" (")[0]
    sentences = [
        _what(event, service),
        *(f"{reason.detail[:1].upper()}{reason.detail[1:]}." for reason in event.reasons),
        f"Confidence {event.confidence} of 100{_how_sure(event)}.",
        _whether_it_got_through(event),
        _how_often(event),
        *_what_was_lost(event),
    ]
    if event.exception_id:
        sentences.append(f"The exception {event.exception_id} allows this source to use {service} for a while.")
    elif decision is not None and event.verdict is not Outcome.SANCTIONED:
        sentences.append(WHAT_IS_DECIDED[decision].format(service=service[:1].upper() + service[1:]))
    return (*sentences, *_what_would_change_it(event))


def _what(event: Event, service: str) -> str:
    known = (event.src_user, event.src_process, event.src_container, event.src_host)
    who = ", ".join(part for part in known if part)
    source = f"{event.src_ip} ({who})" if who else event.src_ip
    does = WHAT_IT_DOES[event.role].format(service=service)
    return WHAT_IS_SAID[event.verdict].format(source=source, does=does)


def _how_sure(event: Event) -> str:
    found = {reason.evidence for reason in event.reasons}
    if event.verdict is Outcome.SUSPICIOUS and found & SIGNS_BESIDE:
        return f": {TOGETHER}"
    if event.verdict is Outcome.SANCTIONED and Evidence.ADDRESS in found and not found & HOW_SURE[0][0]:
        return f": {EXPECTED_ADDRESS}"
    return next((f": {text}" for kinds, text in HOW_SURE if kinds & found), "")


def _whether_it_got_through(event: Event) -> str:
    if event.kind is Kind.DNS and any(reason.evidence == Evidence.PROTOCOL for reason in event.reasons):
        return "What it carries goes in the look-ups themselves."
    if event.state is FlowState.ATTEMPTED and event.kind is Kind.DNS:
        return "The name was looked up; connections are events of their own."
    if event.state is FlowState.BLOCKED and event.refusal is not None:
        return WHAT_SAID_NO[event.refusal]
    if event.state is FlowState.BLOCKED and event.kind is Kind.DNS:
        return "It was blocked: the resolver denied the name or led it nowhere."
    return WHETHER_IT_GOT_THROUGH[event.state]


def _how_often(event: Event) -> str:
    times = "once" if event.count == 1 else f"{event.count:,} times"
    carried = f", {event.bytes_out:,} octets out and {event.bytes_in:,} in" if event.bytes_out or event.bytes_in else ""
    return f"Seen {times}{carried}."


def _what_was_lost(event: Event) -> tuple[str, ...]:
    if not event.sensor_loss:
        return ()
    packets = "a packet" if event.sensor_loss == 1 else f"{event.sensor_loss:,} packets"
    return (f"The sensor lost {packets} around that time: counts may be low, and not all that it did was seen.",)


def _what_would_change_it(event: Event) -> tuple[str, ...]:
    if event.verdict is Outcome.SANCTIONED:
        return ()
    if event.service is None:
        return ("If it is wanted: no service is known that an [[exception]] could name; sanction its domain instead.",)
    allow = f"an [[exception]] for {event.src_ip} and the service {event.service} allows it for a while"
    if event.role in {Role.AGENT, Role.UNCLEAR} and event.verdict is Outcome.UNSANCTIONED:
        return (f"If it is wanted: {allow}; a domain of your own in [[sanctioned]] allows that ingress for all.",)
    if event.dst_name is None:
        pin = f'a [[sanctioned]] entry for that service with {event.dst_ip} among its "addresses"'
        return (f"If it is wanted: {allow}; {pin} allows that server for all.",)
    return (f"If it is wanted: {allow}.",)
