"""Traps that are seen through: a table of docs/detection.md, with the traffic and the verdicts."""

import ordinary as o
import strange as x
import tricks as t
from frames import RST, SYN, S, dns_answer, dns_query, tell, told
from trap import (
    NGROK_AGENT,
    NGROK_AND_UPDATES,
    NGROK_SUSPECT,
    PINNED,
    SANCTIONED_AGENT,
    SSH_SUSPECT,
    WIREGUARD_SUSPECT,
    Trap,
)
from traps_late import LATE

FULL_WIDTH = "".join(chr(ord(letter) + 0xFEE0) for letter in "ngrok")

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
        "empty lines before a request; in its first line tabs, several spaces, versions and methods that there are not",
        "read as Squid and HAProxy read it",
        lambda: t.through_proxies(
            b"\r\n\r\n" + t.connect(f"{t.AGENT}:443").replace(b"CONNECT ", b"connect \t").replace(b"1.1", b"1.9"),
            t.hello(t.UNLISTED),
        ),
    ),
    Trap(
        "a Host field that goes on in the next line, or holds several hosts",
        "the next line belongs to it; of several hosts HAProxy takes the last: suspicious beside the sanctioned name",
        lambda: [
            *t.stream(t.http("GET / HTTP/1.1", "Host:", f" {t.AGENT}")),
            *t.later(t.stream(t.http("GET / HTTP/1.1", f"Host: {t.SANCTIONED}, {t.AGENT}"), port=8080), 60),
        ],
        NGROK_AGENT | NGROK_SUSPECT,
    ),
    Trap(
        "a URI with the sanctioned name, a question mark, `@` and the listed name",
        "Squid takes what stands before the question mark, HAProxy what stands behind `@`: suspicious",
        lambda: t.through_proxies(t.http(f"GET http://{t.SANCTIONED}?@{t.AGENT}/ HTTP/1.1", f"Host: {t.AGENT}")),
        NGROK_SUSPECT,
    ),
    Trap(
        "a CONNECT with a scheme before the host",
        "HAProxy passes over the scheme",
        lambda: t.through_proxies(t.connect(f"http://{t.AGENT}:443"), t.hello(t.UNLISTED)),
    ),
    Trap(
        "several dots at the end of a name",
        "taken away, as Squid does",
        lambda: t.through_proxies(t.connect(f"{t.AGENT}..:443"), t.hello(t.UNLISTED)),
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
        "the same, and the address was told for the sanctioned name as well",
        "only a flow without a name is taken for the sanctioned one",
        lambda: [*told(t.AGENT), *t.later([*told(t.SANCTIONED), *t.dialled(t.UNLISTED)], 1)],
        NGROK_AGENT | NGROK_SUSPECT | SANCTIONED_AGENT,
        verdicts=3,
    ),
    Trap(
        "the sanctioned name in a hello to a foreign address, the policy pins addresses",
        "the flow goes outside the pin",
        lambda: t.dialled(t.SANCTIONED),
        NGROK_SUSPECT,
        PINNED,
    ),
    Trap(
        "the same, through a proxy that is asked for that address by CONNECT or SOCKS",
        "the address that the proxy is asked to dial is outside the pin",
        lambda: [
            *t.through_proxies(t.connect("198.51.100.99:443"), t.hello(t.SANCTIONED)),
            *t.of_another_client(t.socks_to_address("198.51.100.99", t.hello(t.SANCTIONED))),
        ],
        NGROK_SUSPECT,
        PINNED,
        verdicts=2,
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
        "a SYN with another sequence number thrown in before the hello, or into its middle",
        "an open connection takes no notice of it (RFC 9293 section 3.10.7.4), nor is it taken for another one",
        lambda: t.interrupted(SYN, at=150),
    ),
    Trap(
        "a reset thrown in before the hello (short TTL)",
        "what follows begins a flow anew",
        lambda: t.interrupted(RST, at=0),
    ),
    Trap(
        "segments far ahead of the hello",
        "eight wait, and what is in order goes on",
        t.behind_far_segments,
    ),
    Trap(
        "a PROXY protocol header before the hello",
        "passed over",
        lambda: t.stream(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + t.hello(t.AGENT)),
    ),
    Trap(
        "TCP in IPv6 fragments of 64 octets",
        "put together",
        lambda: t.ipv6_fragments(t.ipv6(t.dialled(t.AGENT), "2001:db8::2", "2001:db8::9"), 64),
    ),
    Trap(
        "a proxy behind a proxy: CONNECT in CONNECT",
        "up to 16 layers are read",
        lambda: t.through_proxies(
            *[t.connect("inner.example.org:3128")] * 14, t.connect(f"{t.AGENT}:443"), t.hello(t.UNLISTED)
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
        "QUIC version 2, an empty connection ID, a token, a CRYPTO frame for each octet",
        "read as RFC 9000 and RFC 9369 have it",
        lambda: t.odd_quic(t.AGENT),
        verdicts=4,
    ),
    Trap(
        "QUIC with a 0-RTT packet before the Initial of a datagram",
        "passed over (RFC 9000 section 12.2)",
        lambda: t.behind_zero_rtt(t.AGENT),
    ),
    Trap(
        "ECH in the hello, the name asked for in clear",
        "the look-up tells",
        lambda: [*told(t.AGENT), *t.later(t.encrypted_hello(), 1)],
        NGROK_AGENT | NGROK_SUSPECT,
    ),
    Trap(
        "an alias behind forty others, made by DNAME, or in an HTTPS record",
        "the whole chain of an answer is followed; targets of HTTPS records are aliases",
        t.other_aliases,
        verdicts=4,
    ),
    Trap(
        "a look-up behind hundreds of others in one connection of DNS over TCP, many in a segment",
        "each is read; what was read makes room for the next",
        lambda: t.many_over_tcp(400),
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
        verdicts=2,
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
    Trap(
        "warnings and empty records before or inside a hello, record versions that there are not",
        "passed over, as Go's crypto/tls or OpenSSL does",
        x.strange_records,
        verdicts=6,
    ),
    Trap("a hello full of values that mean nothing (GREASE)", "passed over", x.greased),
    Trap("a hello of eight octets a segment, ten seconds apart", "a head waits", lambda: x.slowly(10 * S)),
    Trap(
        "a segment without ACK thrown in before the hello",
        "dropped, as receivers do (RFC 9293 section 3.10.7.4)",
        x.without_acknowledgement,
    ),
    Trap("a server that answers a SYN with a SYN", "the first SYN tells the initiator", x.split_handshake),
    Trap("sequence numbers that wrap inside the hello", "counted modulo 2**32", x.wrapping_numbers),
    Trap(
        "another connection from the same ports, the first never ended", "its SYN begins it", x.again_from_the_same_port
    ),
    Trap(
        "IP options, IPv6 extension headers up to eight",
        "skipped",
        lambda: [*x.with_ip_options(t.dialled(t.AGENT)), *x.behind_extension_headers(8)],
        verdicts=2,
    ),
    Trap("the PROXY protocol's second version before the hello", "passed over", x.proxy_v2),
    Trap(
        "a SOCKS handshake of one octet a segment, with methods twice or unknown",
        "put in order; servers take no notice of such methods",
        lambda: x.socks(b"\x00\x00\x80\xfe"),
    ),
    Trap(
        "letters that do not show (a soft hyphen, U+200B) or dots of other scripts in a name",
        "taken out or converted, as a URL parser does (UTS 46)",
        lambda: [
            *t.through_proxies(t.connect("connect.ng\u00adrok-agent.com:443"), t.hello(t.UNLISTED)),
            *t.of_another_client(
                t.through_proxies(t.connect("connect\u3002ng\u200brok-agent\uff61com:443"), t.hello(t.UNLISTED))
            ),
        ],
        verdicts=2,
    ),
    Trap(
        "full-width letters behind a label that IDNA 2008 does not have, such as an emoji",
        "converted, as a URL parser does (UTS 46)",
        lambda: t.through_proxies(t.connect("\U0001f41f.\uff4egrok-agent.com:443"), t.hello(t.UNLISTED)),
    ),
    Trap(
        "an upgrade to HTTP/2 in clear text",
        "the request that asks for it names the host",
        lambda: t.stream(
            t.http("GET / HTTP/1.1", f"Host: {t.AGENT}", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c")
        ),
    ),
    Trap(
        "a look-up with header flags that mean nothing in a query",
        "resolvers take no notice of them",
        x.strange_flags,
        verdicts=6,
    ),
    Trap(
        "a look-up with the client's subnet and a cookie (EDNS)",
        "the question is read, the rest skipped",
        x.client_subnet,
    ),
    Trap("QUIC or TLS on DNS's port", "recognised by content", x.on_dns_ports, verdicts=3),
    Trap(
        "QUIC with a version that nobody has before the Initial, or that changes the version",
        "each Initial is read with the keys of its own version",
        x.negotiated,
        verdicts=2,
    ),
    Trap("QUIC with two Initials in one datagram", "each is read", x.coalesced),
    Trap(
        "QUIC with the rest of the hello in a datagram below 1,200 octets",
        "only the first must have them; servers take the next as they come",
        x.short_initials,
    ),
    Trap("an SSH banner longer than a banner may be", "OpenSSH takes it: suspicious", x.long_banner, SSH_SUSPECT),
    Trap(
        "SSH through a proxy to another port than 22",
        "the banner behind the CONNECT; suspicious",
        lambda: o.ssh_through_a_proxy("bastion.example.org:443"),
        SSH_SUSPECT,
    ),
    Trap(
        "WireGuard on another port, DNS's too, and with its reserved octets set (WARP)",
        "recognised by content; the answer repeats the initiation's index",
        x.wireguard_elsewhere,
        WIREGUARD_SUSPECT,
        verdicts=3,
    ),
    *LATE,
)
