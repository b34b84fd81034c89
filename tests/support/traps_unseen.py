"""Traps that nobody can see through: a table of docs/detection.md, as `traps.py` is."""

import ordinary as o
import strange as x
import tricks as t
from frames import RST, SYN, told
from hellos import extension, hello_message, records, server_name
from trap import NOTHING, SANCTIONED_AGENT, Trap

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
        "only the outer packet is read. Remedy: listen before the gateway that wraps, or on an interface that unwraps "
        "([capture.md](capture.md#what-a-mirror-delivers))",
        lambda: [
            *t.encapsulated(t.dialled(t.AGENT), 4),
            *t.encapsulated(t.dialled(t.AGENT), 47, b"\0\0\x08\0"),
            *t.encapsulated(t.ipv6(t.dialled(t.AGENT), "2002::2", "2002::3"), 41),
        ],
        NOTHING,
    ),
    Trap("VXLAN", "the same", lambda: t.vxlan(t.dialled(t.AGENT)), NOTHING),
    Trap("MPLS", "the same", lambda: t.wrapped(t.dialled(t.AGENT), 0x8847, b"\0\x01\x01\x40"), NOTHING),
    Trap(
        "DNS over TCP behind a message that is no query",
        "a connection is what it begins with; resolvers answer what follows. Remedy: let resolvers alone speak DNS",
        x.behind_other_messages,
        NOTHING,
    ),
    Trap(
        "an urgent octet inside a hello",
        "read as part of it; most receivers take it out (RFC 9293 section 3.8.5)",
        x.with_urgent_octet,
        NOTHING,
    ),
    Trap(
        "more than eight IPv6 extension headers",
        "not read, and counted as malformed",
        lambda: x.behind_extension_headers(9),
        NOTHING,
    ),
    Trap(
        "a CONNECT behind sixteen requests of one connection to a proxy, or behind a chunked one",
        "sixteen layers are read, and no chunks. Remedy: the proxy's log",
        lambda: [
            *x.behind_requests(*[x.PLAIN_REQUEST] * 16),
            *t.of_another_client(x.behind_requests(x.CHUNKED_REQUEST)),
        ],
        NOTHING,
    ),
    Trap(
        "QUIC behind 1,500 octets of other datagrams",
        "the head of a UDP flow ends there, or at 12,000 octets of QUIC",
        lambda: x.junk_first(2),
        NOTHING,
    ),
    Trap(
        "the Initials of one QUIC connection from two ports",
        "flows are told apart by their five-tuple; servers go by the connection ID",
        x.from_two_ports,
        NOTHING,
    ),
    Trap(
        "QUIC of other versions than 1 and 2",
        "their keys are others, or nobody's. Remedy: let no other version pass",
        x.draft_29,
        NOTHING,
    ),
    Trap(
        "SSH whose banner was changed at both ends",
        "nothing else of it is in clear",
        lambda: t.stream(b"SSX-2.0-x\r\n"),
        NOTHING,
    ),
    Trap(
        "what SSH forwards (`-R`, `-w`) at a bastion that the policy sanctions",
        "sanctioned; what is inside is encrypted. Remedy: the bastion's own rules and log",
        x.through_the_bastion,
        SANCTIONED_AGENT,
    ),
    Trap(
        "another name inside a connection to the sanctioned one (HTTP/2)",
        "sanctioned; as domain fronting",
        lambda: t.stream(t.hello(t.SANCTIONED), t.ENCRYPTED),
        SANCTIONED_AGENT,
    ),
    Trap(
        "a tunnel in WebRTC, IKE, L2TP or ICMP",
        "no names in clear; VPNs but those of the table above and ICMP are not looked for",
        lambda: o.both_ways((*o.GAMES_AND_VOICE[1:3], *o.VPN_CLIENTS)),
        NOTHING,
    ),
    Trap(
        "SSH on 443 to an address that a resolver of one's own tells for `ssh.github.com`",
        "taken for git. Remedy: let resolvers alone speak DNS",
        o.git_over_443,
        NOTHING,
    ),
)
