"""Traffic that no common program sends, but that its receivers take."""

import struct
from collections.abc import Iterable

import dns.edns
import dns.message
import msgspec
from frames import (
    ACK,
    CLIENT,
    MS,
    PSH,
    RESOLVER,
    SERVER,
    SYN,
    Conversation,
    S,
    dns_answer,
    dns_query,
    packet,
    tcp,
    tell,
    told,
    udp,
)
from hellos import extension, hello_message, records, server_name, vector
from initials import V2, crypto, initial
from tricks import (
    AGENT,
    ANSWERED,
    AT_NS,
    ENDS,
    PADDING,
    SANCTIONED,
    UNLISTED,
    connect,
    dialled,
    hello,
    http,
    ipv6,
    later,
    query,
    stream,
    through_proxies,
    two_questions,
)

from sensor.packet import Packet

URG = 32
MESSAGE = hello_message(server_name(AGENT.encode()), PADDING)
WARNING = b"\x15\x03\x01\x00\x02\x01\x5a"  # "user_canceled" (RFC 8446 section 6.1)
EMPTY = b"\x16\x03\x01\x00\x00"
BANNER = b"SSH-2.0-OpenSSH_9.6\r\n"
WIREGUARD = b"\x01\0\0\0" + bytes(range(1, 145))


def from_port(number: int, *sent: bytes) -> list[Packet]:
    """A connection from a port of its own."""
    talk = Conversation((CLIENT, 40000 + number, SERVER, 443), start_ns=S + number * S)
    packets = talk.open()
    for payload in sent:
        packets += talk.send(payload)
    return packets + talk.answer(ANSWERED)


def strange_records() -> list[Packet]:
    """Warnings and empty records before and inside a hello, and record versions that there are not."""
    first, rest = records(MESSAGE[:90]), records(MESSAGE[90:])
    octets = records(MESSAGE)
    sent = (
        WARNING * 16 + octets,
        first + WARNING + rest,
        EMPTY + octets,
        first + EMPTY + rest,
        b"\x16\x03\xff" + octets[3:],
        b"\x16\x05\x05" + octets[3:],
    )
    return [row for number, payload in enumerate(sent) for row in from_port(number, payload)]


def greased() -> list[Packet]:
    """A hello full of values that mean nothing (RFC 8701)."""
    values = [0x0A0A + 0x1010 * number for number in range(16)]
    extensions = [extension(value, bytes(number)) for number, value in enumerate(values)]
    offered = extension(16, vector(2, vector(1, b"\x0a\x0a") * 20))
    message = hello_message(*extensions, server_name(AGENT.encode()), offered, ciphers=b"\x0a\x0a" * 100 + b"\x13\x01")
    return stream(records(message))


def slowly(pause_ns: int) -> list[Packet]:
    """A hello of eight octets a segment, with a pause after each."""
    talk, octets = Conversation(), hello(AGENT)
    packets = talk.open()
    for at in range(0, len(octets), 8):
        packets += talk.send(octets[at : at + 8])
        talk.now_ns += pause_ns
    return packets + talk.answer(ANSWERED)


def without_acknowledgement() -> list[Packet]:
    """A hello with another name before the real one, in a segment that every receiver drops."""
    talk = Conversation()
    packets = talk.open()
    decoy = hello(UNLISTED.ljust(len(AGENT), "x"))
    packets.append(tcp(talk.now_ns, ENDS, (talk.next_seq[True], 0, 0), decoy))
    talk.now_ns += MS
    return packets + talk.send(hello(AGENT)) + talk.answer(ANSWERED)


def split_handshake() -> list[Packet]:
    """The server answers the SYN with one of its own (RFC 9293 section 3.5, simultaneous open)."""
    talk = Conversation()
    packets = [talk.segment(SYN), talk.segment(SYN, is_client=False)]
    talk.next_seq[True] -= 1
    packets += [talk.segment(SYN | ACK), talk.segment(ACK, is_client=False)]
    return packets + talk.send(hello(AGENT)) + talk.answer(ANSWERED)


def wrapping_numbers() -> list[Packet]:
    talk = Conversation(isn=2**32 - 100)
    return talk.open() + talk.send(hello(AGENT), size=50) + talk.answer(ANSWERED)


def again_from_the_same_port() -> list[Packet]:
    """A connection to another name, and without its end another one with the same ports."""
    first = dialled(UNLISTED)
    talk = Conversation(start_ns=first[-1].ts_ns + MS, isn=7000)
    return [*first, *talk.open(), *talk.send(hello(AGENT)), *talk.answer(ANSWERED)]


def with_urgent_octet() -> list[Packet]:
    """A hello with an octet in its middle that the receiver's program does not see (RFC 9293 section 3.8.5)."""
    talk, octets = Conversation(), hello(AGENT)
    packets = talk.open()
    urgent = talk.segment(ACK | PSH | URG, octets[:50] + b"!")
    data = urgent.data[:52] + struct.pack(">H", 51) + urgent.data[54:]
    packets.append(msgspec.structs.replace(urgent, data=data))
    return packets + talk.send(octets[50:]) + talk.answer(ANSWERED)


def with_ip_options(rows: Iterable[Packet]) -> list[Packet]:
    """IPv4 packets with eight octets of options."""
    made = []
    for row in rows:
        length = struct.pack(">H", int.from_bytes(row.data[16:18]) + 8)
        head = row.data[:14] + b"\x47" + row.data[15:16] + length + row.data[18:34]
        made.append(packet(row.ts_ns, head + b"\x01" * 8 + row.data[34:]))
    return made


def behind_extension_headers(count: int) -> list[Packet]:
    """TCP over IPv6 behind destination options (RFC 8200 section 4.6)."""
    made = []
    for row in ipv6(dialled(AGENT), "2001:db8::2", "2001:db8::9"):
        following = [60] * (count - 1) + [row.data[20]]
        options = b"".join(bytes((kind, 0, 1, 4, 0, 0, 0, 0)) for kind in following)
        length = struct.pack(">H", int.from_bytes(row.data[18:20]) + len(options))
        head = row.data[:18] + length + bytes((60,)) + row.data[21:54]
        made.append(packet(row.ts_ns, head + options + row.data[54:]))
    return made


def proxy_v2() -> list[Packet]:
    return stream(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + hello(AGENT))


def socks(methods: bytes) -> list[Packet]:
    """SOCKS5 in segments of one octet."""
    talk = Conversation((CLIENT, 40000, SERVER, 1080))
    packets = talk.open() + talk.send(b"\x05" + vector(1, methods), size=1) + talk.answer(b"\x05\0")
    request = b"\x05\x01\0\x03" + vector(1, AGENT.encode()) + struct.pack(">H", 443)
    packets += talk.send(request, size=1) + talk.answer(b"\x05\0\0\x01" + bytes(6))
    return packets + talk.send(hello(UNLISTED)) + talk.answer(ANSWERED)


def behind_requests(*before: bytes) -> list[Packet]:
    """A CONNECT in a connection to a proxy behind other requests."""
    return through_proxies(*before, connect(f"{AGENT}:443"), hello(UNLISTED))


PLAIN_REQUEST = http(f"GET http://{UNLISTED}/ HTTP/1.1", f"Host: {UNLISTED}")
CHUNKED_REQUEST = (
    http(f"POST http://{UNLISTED}/ HTTP/1.1", f"Host: {UNLISTED}", "Transfer-Encoding: chunked") + b"0\r\n\r\n"
)


def flagged(message: bytes, flags: int) -> bytes:
    """A DNS message with other header flags."""
    return message[:2] + struct.pack(">H", flags) + message[4:]


def strange_flags() -> list[Packet]:
    """Look-ups with AA, TC, RA, Z or a response code set; and an answer that repeats Z, as dnsmasq gives it."""
    packets = []
    for number, flags in enumerate((0x0500, 0x0300, 0x0180, 0x0140, 0x0103)):
        packets += later(query(flagged(dns_query(AGENT, ident=number), flags)), number)
    return [*packets, tell(9 * S, flagged(dns_answer(AGENT, [SERVER], ident=9), 0x85C0), port=5001)]


def client_subnet() -> list[Packet]:
    """EDNS with the client's subnet and a cookie (RFC 7871, RFC 7873)."""
    options = [dns.edns.ECSOption("192.0.2.0", 24), dns.edns.CookieOption(b"12345678", b"")]
    return query(dns.message.make_query(AGENT, "A", use_edns=0, options=options).to_wire())


def behind_other_messages() -> list[Packet]:
    """DNS over TCP that begins with what is no query; resolvers refuse it and answer the next."""
    packets = []
    for number, first in enumerate((flagged(dns_query(UNLISTED), 0x1100), two_questions(), bytes(12))):
        talk = Conversation((CLIENT, 40000 + number, RESOLVER, 53))
        packets += [*talk.open(), *talk.send(vector(2, first)), *talk.send(vector(2, dns_query(AGENT)))]
    return packets


def datagrams(*payloads: bytes, src_port: int = 40000, dst_port: int = 443) -> list[Packet]:
    ends = (CLIENT, src_port, SERVER, dst_port)
    return [udp(AT_NS + number * MS, ends, payload) for number, payload in enumerate(payloads)]


QUIC_HELLO = hello_message(server_name(AGENT.encode()))
WHOLE_INITIAL = initial(crypto(0, QUIC_HELLO))
HALVES = crypto(0, QUIC_HELLO[:40]), crypto(40, QUIC_HELLO[40:])
UNKNOWN_VERSION = b"\xca\x1a\x2a\x3a\x4a\x08original\0" + bytes(1200)


def short_initials() -> list[Packet]:
    """The rest of a hello in a datagram that could not begin a connection (RFC 9000 section 14.1)."""
    return datagrams(initial(HALVES[0]), initial(HALVES[1], number=1, length=300))


def negotiated() -> list[Packet]:
    """A version that nobody has, then version 1; and version 1 that goes on as version 2 (RFC 9368)."""
    other = initial(crypto(0, QUIC_HELLO), version=V2, dcid=b"another1")
    return [
        *datagrams(UNKNOWN_VERSION, WHOLE_INITIAL),
        *datagrams(initial(HALVES[0]), other, src_port=41000),
    ]


def coalesced() -> list[Packet]:
    first, second = initial(HALVES[0], length=600), initial(HALVES[1], number=1, length=600)
    return datagrams(first + second)


def from_two_ports() -> list[Packet]:
    """The Initials of one connection, which servers tell by its ID (RFC 9000 section 5.2)."""
    return datagrams(initial(HALVES[0])) + datagrams(initial(HALVES[1], number=1), src_port=40001)


def draft_29() -> list[Packet]:
    return datagrams(WHOLE_INITIAL[:1] + b"\xff\0\0\x1d" + WHOLE_INITIAL[5:])


def on_dns_ports() -> list[Packet]:
    """QUIC from DNS's port, and to it; a hello over TCP to it."""
    return [
        *datagrams(WHOLE_INITIAL, src_port=53),
        *datagrams(WHOLE_INITIAL, dst_port=53),
        *stream(hello(AGENT), port=53),
    ]


def long_banner() -> list[Packet]:
    return stream(b"SSH-2.0-" + b"x" * 400 + b"\r\n")


def through_the_bastion() -> list[Packet]:
    """SSH on 443 to an address told for the sanctioned name; what it forwards is inside."""
    return [*told(SANCTIONED), *later(stream(BANNER, bytes(400)), 1)]


def junk_first(count: int) -> list[Packet]:
    """QUIC behind datagrams that its server drops."""
    return datagrams(*[b"\x40" + bytes(1399)] * count, WHOLE_INITIAL)


def reserved_octets() -> list[Packet]:
    """WireGuard with its reserved octets set, as WARP has it, and the answer."""
    answer = b"\x02abc" + bytes(range(60, 64)) + WIREGUARD[4:8] + bytes(range(80))
    sent = datagrams(b"\x01abc" + WIREGUARD[4:], dst_port=2408)
    return [*sent, udp(AT_NS + MS, (SERVER, 2408, CLIENT, 40000), answer)]


def wireguard_elsewhere() -> list[Packet]:
    """WireGuard on DNS's port, on another one, and with its reserved octets set."""
    elsewhere = datagrams(WIREGUARD, src_port=44000, dst_port=53), datagrams(WIREGUARD, src_port=44001, dst_port=12345)
    return [*elsewhere[0], *elsewhere[1], *reserved_octets()]
