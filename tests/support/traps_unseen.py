"""Traps that nobody can see through, and what is no trap at all: tables of docs/detection.md, as `traps.py` is."""

import tricks as t
from frames import RST, SYN, told
from hellos import extension, hello_message, records, server_name
from trap import NGROK_AGENT, NGROK_VISITOR, NOTHING, PINNED, SANCTIONED_AGENT, Trap

UNSEEN = (
    Trap(
        "ECH with DoH or DoT",
        "neither look-up nor server name is in clear. Remedy: refuse DoH, DoT and extension 0xfe0d",
        t.encrypted_hello,
        NOTHING,
    ),
    Trap(
        "ECH whose outer name is the sanctioned one, no pin",
        "the inner name is encrypted, and browsers send the extension to everybody. Remedy: pin the addresses",
        lambda: t.stream(t.hello(t.SANCTIONED, extension(t.ECH, bytes(200)))),
        SANCTIONED_AGENT,
    ),
    Trap(
        "another server name in the second hello, after a HelloRetryRequest",
        "the first counts; the second must not differ (RFC 8446 section 4.1.2)",
        lambda: t.two_hellos(t.UNLISTED, t.AGENT),
        NOTHING,
    ),
    Trap(
        "two server names in one hello",
        "the first counts; servers refuse it (RFC 6066 section 3)",
        lambda: t.stream(records(hello_message(server_name(t.UNLISTED.encode()), server_name(t.AGENT.encode())))),
        NOTHING,
    ),
    Trap(
        "a reset and a SYN thrown in before the hello (short TTL)",
        "taken for the end of one connection and the begin of another",
        lambda: t.interrupted(RST, SYN, at=0),
        NOTHING,
    ),
    Trap(
        "UDP through a SOCKS5 proxy (UDP ASSOCIATE)",
        "the name before each datagram is not read. Remedy: the proxy's log",
        lambda: t.in_socks(t.quic(*t.in_pieces(t.quic_hello(t.AGENT), 900))),
        NOTHING,
    ),
    Trap(
        "HTTP/2 in clear text, begun without an upgrade",
        "its fields are compressed and not read; proxies do not speak it unless told to. Remedy: the proxy's log",
        t.clear_http2,
        NOTHING,
    ),
    Trap(
        "TLS behind another protocol (STARTTLS)",
        "a hello is looked for where a connection, a proxy's request or a tunnel through one begins",
        lambda: t.stream(b"EHLO x\r\n", b"STARTTLS\r\n", t.hello(t.AGENT)),
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
