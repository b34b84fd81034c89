"""Traps and what the program makes of each: the tables of docs/detection.md, with the traffic and the verdicts."""

from collections.abc import Callable
from typing import NamedTuple

import tricks as t
from frames import dns_answer, dns_query, tell, told

from sensor.packet import Packet

Verdicts = set[tuple[str, str | None, str]]

FULL_WIDTH = "".join(chr(ord(letter) + 0xFEE0) for letter in "ngrok")
PINNED = 'addresses = ["203.0.113.0/24"]'
NGROK_AGENT: Verdicts = {("unsanctioned", "ngrok", "agent")}
NGROK_AND_UPDATES: Verdicts = {("unsanctioned", "ngrok", "agent"), ("unsanctioned", "ngrok", "auxiliary")}
NGROK_SUSPECT: Verdicts = {("suspicious", "ngrok", "agent")}
SANCTIONED_AGENT: Verdicts = {("sanctioned", "ngrok", "agent")}
SSH_SUSPECT: Verdicts = {("suspicious", "ssh-remote-forward", "unclear")}
NGROK_VISITOR: Verdicts = {("unsanctioned", "ngrok", "visitor")}
NOTHING: Verdicts = set()


class Trap(NamedTuple):
    """A trap: its name and explanation as the documentation has them, the traffic, and the verdicts on it."""

    name: str
    explanation: str
    packets: Callable[[], list[Packet]]
    expected: Verdicts = NGROK_AGENT
    pin: str = ""


DETECTED = (
    Trap(
        "no look-up at all: hard-coded address, hosts file, DoH or DoT",
        "the hello still names the agent's server",
        lambda: t.without_dns("ngrok2-default"),
        NGROK_AND_UPDATES,
    ),
    Trap(
        "a look-up in mixed case (DNS 0x20)",
        "names are compared without case",
        lambda: t.query(dns_query("ConNEct.NGROK-agent.cOm")),
    ),
    Trap(
        "upper case, a dot at the end, a port in the server name",
        "normalised before it is compared",
        lambda: t.dialled("CONNECT.ngrok-agent.com.:443"),
    ),
    Trap(
        "full-width letters in a Host field (IDNA)",
        "converted to what a resolver would be asked for",
        lambda: t.stream(t.http("GET / HTTP/1.1", f"Host: connect.{FULL_WIDTH}-agent.com")),
    ),
    Trap(
        "percent-encoded letters in a CONNECT or Host",
        "decoded (RFC 3986 section 6.2.2.2)",
        lambda: t.through_proxies(t.connect("connect.%6egrok-agent.com:443"), t.hello(t.UNLISTED)),
    ),
    Trap(
        "an absolute URI with another Host field",
        "the URI counts (RFC 9112 section 3.2.2)",
        lambda: t.through_proxies(t.http(f"GET http://u:p@{t.AGENT}/ HTTP/1.1", f"Host: {t.UNLISTED}")),
    ),
    Trap(
        "the sanctioned name as user information before the host of a URI",
        "what stands behind the last `@` counts (RFC 3986 section 3.2.1), as Squid has it",
        lambda: t.through_proxies(t.http(f"GET http://{t.SANCTIONED}:80@{t.AGENT}/ HTTP/1.1", f"Host: {t.SANCTIONED}")),
    ),
    Trap(
        "a backslash in the authority of a URI, before the sanctioned name",
        "Squid takes what stands behind `@`, browsers and Node.js what stands before the backslash: suspicious",
        lambda: t.through_proxies(t.http(rf"GET http://{t.AGENT}\@{t.SANCTIONED}/ HTTP/1.1", f"Host: {t.SANCTIONED}")),
        NGROK_SUSPECT,
    ),
    Trap(
        "a backslash and labels of the sanctioned name behind the host",
        "as above; Squid refuses it",
        lambda: t.through_proxies(t.http(rf"GET http://{t.AGENT}\.{t.SANCTIONED}/ HTTP/1.1", f"Host: {t.SANCTIONED}")),
        NGROK_SUSPECT,
    ),
    Trap(
        "a CONNECT to the listed name, `@` and the sanctioned name behind its port",
        "Squid dials what stands before the first port, Go's parser what stands behind `@`: suspicious",
        lambda: t.through_proxies(t.connect(f"{t.AGENT}:443@{t.SANCTIONED}:443"), t.hello(t.SANCTIONED)),
        NGROK_SUSPECT,
    ),
    Trap(
        "a CONNECT with a path or a fragment behind its port",
        "what stands behind the port does not count, as Squid has it",
        lambda: t.through_proxies(t.connect(f"{t.AGENT}:443/@{t.SANCTIONED}:443"), t.hello(t.UNLISTED)),
    ),
    Trap(
        "an alias of one's own domain (CNAME cloaking)",
        "the chain in the answer ends in a listed name",
        t.cloaked_by_alias,
    ),
    Trap(
        "a hello without a server name, or with an unlisted one, to an address told for an agent's name",
        "the address the client was told; suspicious, not proven",
        lambda: [*told(t.AGENT), *t.later(t.dialled(t.UNLISTED), 1)],
        NGROK_AGENT | NGROK_SUSPECT,
    ),
    Trap(
        "the sanctioned name in a hello to a foreign address, the policy pins addresses",
        "the flow goes outside the pin",
        lambda: t.dialled(t.SANCTIONED),
        NGROK_SUSPECT,
        PINNED,
    ),
    Trap(
        "the sanctioned name inside a CONNECT to a listed host",
        "one flow names both",
        lambda: t.through_proxies(t.connect(f"{t.AGENT}:443"), t.hello(t.SANCTIONED)),
        NGROK_SUSPECT,
    ),
    Trap(
        "a hello over many TCP segments of one octet",
        "put in order up to 4096 octets",
        lambda: t.stream(t.hello(t.AGENT), size=1),
    ),
    Trap("a hello over many TLS records of 7 octets", "records are joined", t.tiny_records),
    Trap("a hello with the SYN (TCP Fast Open)", "payload counts from the SYN on", t.with_syn),
    Trap(
        "a hello in disorder",
        "up to eight segments wait for a gap to fill",
        lambda: t.shuffled(t.stream(t.hello(t.AGENT), size=70)),
    ),
    Trap(
        "a capture that begins in mid-stream, before the hello",
        "the first payload seen starts a head",
        lambda: t.dialled(t.AGENT)[3:],
    ),
    Trap(
        "a proxy behind a proxy: CONNECT in CONNECT",
        "up to 16 layers are read",
        lambda: t.through_proxies(
            t.connect("inner.example.org:3128"), t.connect(f"{t.AGENT}:443"), t.hello(t.UNLISTED)
        ),
    ),
    Trap("a SOCKS proxy, TLS behind it", "the request names the host", t.socks_then_tls),
    Trap(
        "an explicit HTTP proxy",
        "the CONNECT names the host",
        lambda: t.recorded("ngrok2-httpproxy"),
        NGROK_AND_UPDATES,
    ),
    Trap(
        "QUIC with a hello over several Initials",
        "Initials are decrypted and put in order",
        lambda: t.quic(*t.in_pieces(t.quic_hello(t.AGENT), 900)),
    ),
    Trap(
        "QUIC Initials in reverse order",
        "the same",
        lambda: t.quic(*t.in_pieces(t.quic_hello(t.AGENT), 900), order=[4, 3, 2, 1, 0]),
    ),
    Trap(
        "ECH in the hello, the name asked for in clear",
        "the look-up tells",
        lambda: [*told(t.AGENT), *t.later(t.encrypted_hello(), 1)],
        NGROK_AGENT | NGROK_SUSPECT,
    ),
    Trap(
        "DNS over TCP, its length prefix split over two segments",
        "read from the stream's head",
        lambda: t.dns_over_tcp(1, 1, 5),
    ),
    Trap(
        "DNS on another port, over UDP or TCP",
        "recognised by content",
        lambda: [*t.query(dns_query(t.AGENT), port=5300), *t.dns_over_tcp(port=8053)],
    ),
    Trap("a padded DNS query (EDNS)", "the question is read, the rest skipped", lambda: t.query(t.padded_query())),
    Trap(
        "a look-up over multicast DNS",
        "read like any other",
        lambda: t.query(dns_query(t.AGENT), server="224.0.0.251", port=5353),
    ),
    Trap("a DNS query in IP fragments", "put together", lambda: t.fragments(t.query(dns_query(t.AGENT))[0], 8, 16, 24)),
    Trap(
        "IPv6, also through NAT64",
        "the same over both families; a pin must name the translated addresses too",
        lambda: t.ipv6(t.dialled(t.AGENT), "2001:db8::2", "64:ff9b::c000:20a"),
    ),
    Trap(
        "PPPoE behind VLAN tags on the egress link",
        "decoded",
        lambda: t.wrapped(t.pppoe(t.dialled(t.AGENT)), 0x88A8, b"\0\1\x81\0\0\2\x88\x64"),
    ),
    Trap(
        "an agent behind NAT, a jump host or a shared runner",
        "detected; the person behind the address is not known",
        lambda: t.of_another_client(t.dialled(t.AGENT)),
    ),
    Trap(
        "a listed agent name below an endpoint domain (Kubernetes operator)",
        "the most specific entry decides",
        lambda: t.dialled("kubernetes-binding-ingress.ngrok.io"),
    ),
    Trap(
        "an agent of one's own tenant that nobody pointed at the sanctioned ingress",
        "unsanctioned: the wire does not say whose account it is",
        lambda: t.recorded("ngrok-py-default"),
    ),
    Trap("an old agent's server name", "old names stay in the catalogue", lambda: t.recorded("ngrok-py-oldserver")),
    Trap(
        "a resolver that answers everything (sinkhole)",
        "the question counts; the event says blocked",
        lambda: [*t.query(dns_query(t.AGENT)), tell(9, dns_answer(t.AGENT, ["0.0.0.0"]))],
    ),
    Trap(
        "an SSH agent with a hard-coded address on a port that is not SSH's",
        "the banner; suspicious",
        lambda: t.stream(b"SSH-2.0-OpenSSH_9.6\r\n"),
        SSH_SUSPECT,
    ),
)

UNSEEN = (
    Trap(
        "ECH with DoH or DoT",
        "neither look-up nor server name is in clear. Remedy: refuse DoH, DoT and extension 0xfe0d",
        t.encrypted_hello,
        NOTHING,
    ),
    Trap(
        "domain fronting",
        "the outer name is an innocent one, the Host is inside TLS. Remedy: TLS inspection",
        lambda: t.dialled(t.UNLISTED),
        NOTHING,
    ),
    Trap(
        "a server name that nobody lists, to a hard-coded address",
        "nothing names the service, and its JA4 is that of every Go program",
        lambda: t.dialled("a.myblog.example"),
        NOTHING,
    ),
    Trap(
        "a delegated zone (NS cloaking) in a capture file, its name servers in no answer",
        "nobody asks for them in a replay; live they are asked for. `crl.` and `update.` look-ups may tell",
        lambda: [*told("tunnels.myblog.example"), *t.later(t.dialled("tunnels.myblog.example"), 1)],
        NOTHING,
    ),
    Trap(
        "the sanctioned name in a hello to a foreign address, no pin",
        "sanctioned, with a reason where the client was told other names there. Remedy: pin the addresses",
        lambda: t.dialled(t.SANCTIONED),
        SANCTIONED_AGENT,
    ),
    Trap(
        "a server name behind the first 4096 octets of a direction",
        "the head ends there; real hellos have at most 2 kB",
        lambda: t.behind_padding(4200),
        NOTHING,
    ),
    Trap(
        "a decoy hello that never reaches the server (short TTL, bad checksum)",
        "of two copies the first counts; which one the server took is not on the wire",
        lambda: t.decoy_first(t.UNLISTED.ljust(len(t.AGENT), "x")),
        NOTHING,
    ),
    Trap(
        "overlapping IP fragments that contradict each other",
        "dropped whole and counted as malformed (RFC 5722); receivers drop them too",
        t.overlapping_fragments,
        NOTHING,
    ),
    Trap(
        "mid-stream: a capture that lost both look-up and hello",
        "what follows is encrypted",
        lambda: t.stream(t.hello(t.AGENT), t.ENCRYPTED)[4:],
        NOTHING,
    ),
    Trap(
        "a tunnel inside TLS: HTTPS proxy, WebSocket over TLS, VPN, tunnel in tunnel",
        "only the outer name shows. Remedy: the proxy's log",
        lambda: t.stream(t.hello("proxy.example.org"), t.ENCRYPTED),
        NOTHING,
    ),
    Trap(
        "an SSH agent with a hard-coded address on port 22",
        "plain SSH to an unlisted host is nothing",
        lambda: t.without_dns("ssh-serveo"),
        NOTHING,
    ),
    Trap(
        "two questions in one DNS query",
        "not read; resolvers refuse it (RFC 9619)",
        lambda: t.query(t.two_questions()),
        NOTHING,
    ),
    Trap(
        "two Host fields in a request",
        "the first counts; servers refuse it (RFC 9112 section 3.2)",
        lambda: t.stream(t.http("GET / HTTP/1.1", f"Host: {t.UNLISTED}", f"Host: {t.AGENT}")),
        NOTHING,
    ),
    Trap(
        "GRE, IP in IP, 6to4",
        "only the outer packet is read. Remedy: listen before the gateway that wraps",
        lambda: [
            *t.encapsulated(t.dialled(t.AGENT), 4),
            *t.encapsulated(t.dialled(t.AGENT), 47, b"\0\0\x08\0"),
            *t.encapsulated(t.ipv6(t.dialled(t.AGENT), "2002::2", "2002::3"), 41),
        ],
        NOTHING,
    ),
    Trap("VXLAN", "the same", lambda: t.vxlan(t.dialled(t.AGENT)), NOTHING),
    Trap("MPLS", "the same", lambda: t.wrapped(t.dialled(t.AGENT), 0x8847, b"\0\x01\x01\x40"), NOTHING),
)

QUIET = (
    Trap(
        "a request to a proxy for the sanctioned name, the policy pins addresses",
        "the proxy's address is no lie: an absolute URI is for a proxy, as a CONNECT is",
        lambda: t.through_proxies(t.http(f"GET http://{t.SANCTIONED}/crl HTTP/1.1", f"Host: {t.SANCTIONED}")),
        SANCTIONED_AGENT,
        PINNED,
    ),
    Trap(
        "user information before the sanctioned name of a URI",
        "it names no host",
        lambda: t.through_proxies(t.http(f"GET http://u:p@{t.SANCTIONED}/ HTTP/1.1", f"Host: {t.SANCTIONED}")),
        SANCTIONED_AGENT,
    ),
    Trap(
        "sites for people: documentation, dashboard, log-in",
        "not agents' names",
        lambda: t.asked("ngrok.com", "docs.ngrok.com", "dashboard.ngrok.com", "tailscale.com", "pinggy.io"),
        NOTHING,
    ),
    Trap(
        "look-alikes: `evil-ngrok-agent.com`, `ngrok-agent.com.example.net`",
        "names are compared by whole labels from the right",
        lambda: t.asked("evil-ngrok-agent.com", "ngrok-agent.com.example.net"),
        NOTHING,
    ),
    Trap(
        "a search domain behind the name: `connect.ngrok-agent.com.corp.example`",
        "another name",
        lambda: t.asked(f"{t.AGENT}.corp.example"),
        NOTHING,
    ),
    Trap(
        "a dot inside a label, a NUL inside a name",
        "escaped, so that it is another name",
        lambda: [*t.dialled("x\0.connect.ngrok-agent.com\0.example.net"), *t.query(t.dotted_label())],
        NOTHING,
    ),
    Trap(
        "an address shared with an agent's name, told for another name too",
        "the name that the client asked for explains the flow",
        lambda: [*told(t.AGENT), *t.later([*told(t.UNLISTED), *t.dialled(t.UNLISTED)], 1)],
        NGROK_AGENT,
    ),
    Trap(
        "the same address, told to another client",
        "told names are kept by client",
        lambda: [*told(t.AGENT), *t.later(t.of_another_client(t.dialled(t.UNLISTED)), 1)],
        NGROK_AGENT,
    ),
    Trap(
        "the same address, long after the answer expired",
        "told names are kept for their time to live",
        lambda: [*told(t.AGENT, ttl=60), *t.later(t.dialled(t.UNLISTED), 3600)],
        NGROK_AGENT,
    ),
    Trap(
        "the sanctioned ingress on an address that also serves a listed name",
        "sanction wins",
        lambda: t.recorded("ngrok-py-sanctioned-sharedip"),
        SANCTIONED_AGENT,
    ),
    Trap(
        "somebody who opens a tunnel's page, a mail gateway that follows links",
        "a visitor, of low severity",
        lambda: t.dialled("x.ngrok-free.app"),
        NGROK_VISITOR,
    ),
)
