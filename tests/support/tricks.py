"""Traffic of agents that hide, and of programs that only look like agents: packets for each trap."""

import struct
from collections.abc import Iterable
from itertools import pairwise

import dns.message
import dns.rrset
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
    ask,
    dns_answer,
    dns_query,
    frame,
    packed,
    packet,
    read_packets,
    tcp,
    tell,
    told,
    udp,
)
from hellos import extension, hello_message, records, server_name, vector
from initials import V2, crypto, initial
from recordings import CAPTURES

from sensor.decoding.decode import Datagram, decode
from sensor.packet import Packet

AGENT = "connect.ngrok-agent.com"
SANCTIONED = "tunnels.example.com"
UNLISTED = "www.example.org"
ENDS = (CLIENT, 40000, SERVER, 443)
ECH = 0xFE0D
PADDING = extension(21, bytes(380))
ANSWERED = b"\x16\x03\x03\x00\x40\x02" + bytes(63)
ENCRYPTED = b"\x17\x03\x03\x00\x40" + bytes(64)
AT_NS = S + 20 * MS


def hello(name: str | bytes, *more: bytes) -> bytes:
    octets = name.encode() if isinstance(name, str) else name
    return records(hello_message(server_name(octets), *more, PADDING))


def stream(*sent: bytes, size: int = 1400, server: str = SERVER, port: int = 443) -> list[Packet]:
    """A connection; the server answers at the end."""
    talk = Conversation((CLIENT, 40000, server, port))
    packets = talk.open()
    for payload in sent:
        packets += talk.send(payload, size=size)
    return packets + talk.answer(ANSWERED)


def dialled(name: str, **how: str) -> list[Packet]:
    return stream(hello(name), **how)  # type: ignore[arg-type]


def asked(*names: str) -> list[Packet]:
    return [row for number, name in enumerate(names) for row in told(name, at_ns=number * S)]


def recorded(name: str) -> list[Packet]:
    return read_packets(str(CAPTURES / f"{name}.pcap"))


def without_dns(name: str) -> list[Packet]:
    """A recorded agent that resolved its names in another way, or not at all."""
    return [row for row in recorded(name) if not _is_dns(row)]


def _is_dns(row: Packet) -> bool:
    found = decode(row)
    return isinstance(found, Datagram) and 53 in (found.src_port, found.dst_port)


def http(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()


def connect(target: str) -> bytes:
    return http(f"CONNECT {target} HTTP/1.1", "Host: proxy.example.org")


def through_proxies(*turns: bytes) -> list[Packet]:
    """A connection to a proxy; each turn but the last is answered before the next is sent."""
    talk = Conversation((CLIENT, 40000, SERVER, 3128))
    packets = talk.open()
    for turn in turns[:-1]:
        packets += talk.send(turn) + talk.answer(b"HTTP/1.1 200 OK\r\n\r\n")
    return packets + talk.send(turns[-1]) + talk.answer(ANSWERED)


def socks_then_tls() -> list[Packet]:
    talk = Conversation((CLIENT, 40000, SERVER, 1080))
    address = vector(1, AGENT.encode()) + struct.pack(">H", 443)
    packets = talk.open() + talk.send(b"\x05\x01\x00") + talk.answer(b"\x05\x00")
    packets += talk.send(b"\x05\x01\x00\x03" + address) + talk.answer(b"\x05\x00\x00\x01" + bytes(6))
    return packets + talk.send(hello(AGENT)) + talk.answer(ANSWERED)


def socks_to_address(address: str, sent: bytes) -> list[Packet]:
    """A connection through a SOCKS 5 proxy that is asked for an address; `sent` goes behind it."""
    talk = Conversation((CLIENT, 40000, SERVER, 1080))
    packets = talk.open() + talk.send(b"\x05\x01\x00") + talk.answer(b"\x05\x00")
    request = b"\x05\x01\x00\x01" + packed(address) + struct.pack(">H", 443)
    packets += talk.send(request) + talk.answer(b"\x05\x00\x00\x01" + bytes(6))
    return packets + talk.send(sent) + talk.answer(ANSWERED)


def behind_padding(octets: int) -> list[Packet]:
    """A hello with its server name behind so many octets of another extension."""
    return stream(records(hello_message(extension(21, bytes(octets)), server_name(AGENT.encode()))))


def tiny_records() -> list[Packet]:
    message = hello_message(server_name(AGENT.encode()))
    return stream(records(message, *range(1, len(message), 7)))


def with_syn() -> list[Packet]:
    """TCP Fast Open (RFC 7413)."""
    talk = Conversation()
    return [talk.segment(SYN, hello(AGENT)), talk.segment(SYN | ACK, is_client=False), *talk.answer(ANSWERED)]


def decoy_first(decoy: str) -> list[Packet]:
    """Two copies of one part of a stream: what comes first never reaches the server (short TTL, bad checksum)."""
    talk = Conversation()
    packets = talk.open()
    seq = talk.next_seq[True]
    pretended, meant = hello(decoy), hello(AGENT)
    for number, payload in enumerate((pretended, meant)):
        packets.append(tcp(talk.now_ns + number * MS, ENDS, (seq, talk.next_seq[False], PSH | ACK), payload))
    talk.next_seq[True] += len(meant)
    talk.now_ns += 2 * MS
    return packets + talk.answer(ANSWERED)


def fragments(datagram: Packet, *cuts: int, identification: int = 77) -> list[Packet]:
    """An IPv4 packet in fragments that begin at 0 and at `cuts` (multiples of 8)."""
    header, body = datagram.data[14:34], datagram.data[34:]
    edges = [0, *cuts, len(body)]
    made = []
    for start, end in pairwise(edges):
        more = 0x2000 if end < len(body) else 0
        fields = struct.pack(">HHH", 20 + end - start, identification, more | start // 8)
        made.append(packet(datagram.ts_ns, datagram.data[:14] + header[:2] + fields + header[8:] + body[start:end]))
    return made


def overlapping_fragments() -> list[Packet]:
    """The second half twice, once with another name; a receiver may take either (RFC 5722)."""
    meant, pretended = (
        fragments(udp(0, (CLIENT, 5000, RESOLVER, 53), dns_query(name)), 24) for name in (AGENT, "x" * 19 + ".org")
    )
    return [pretended[1], meant[1], meant[0]]


def quic(*pieces: bytes, order: Iterable[int] | None = None) -> list[Packet]:
    """Client Initials that carry the pieces of a hello."""
    sent, at = [], 0
    for number, piece in enumerate(pieces):
        sent.append(initial(crypto(at, piece), number=number))
        at += len(piece)
    chosen = [sent[place] for place in (order if order is not None else range(len(sent)))]
    return [udp(AT_NS + place * MS, ENDS, row) for place, row in enumerate(chosen)]


def quic_hello(name: str) -> bytes:
    """A hello of 4 kB, as post-quantum key shares and many extensions make it."""
    return hello_message(extension(51, bytes(3600)), server_name(name.encode()))


def in_pieces(message: bytes, octets: int) -> list[bytes]:
    return [message[at : at + octets] for at in range(0, len(message), octets)]


def dns_over_tcp(*sizes: int, port: int = 53) -> list[Packet]:
    """A question over TCP in segments of these sizes: the length prefix may be split."""
    talk = Conversation((CLIENT, 40000, RESOLVER, port))
    message = vector(2, dns_query(AGENT))
    packets, at = talk.open(), 0
    for size in (*sizes, len(message)):
        packets += talk.send(message[at : at + size])
        at += size
    return packets + talk.answer(vector(2, dns_answer(AGENT, [SERVER])))


def query(message: bytes, *, server: str = RESOLVER, port: int = 53) -> list[Packet]:
    return [udp(0, (CLIENT, 5000, server, port), message)]


def padded_query() -> bytes:
    """EDNS with padding to 468 octets (RFC 7830, RFC 8467)."""
    plain = dns_query(AGENT)
    option = struct.pack(">HH", 12, 400) + bytes(400)
    return plain[:10] + b"\0\1" + plain[12:] + b"\0" + struct.pack(">HHIH", 41, 1232, 0, len(option)) + option


def two_questions() -> bytes:
    first, second = dns_query(UNLISTED), dns_query(AGENT)
    return first[:4] + b"\0\2" + first[6:] + second[12:]


def cloaked_by_alias() -> list[Packet]:
    return [ask(0, "tunnels.myblog.example"), tell(MS, dns_answer("tunnels.myblog.example", [SERVER], aliases=[AGENT]))]


def ipv6(rows: Iterable[Packet], client: str, server: str) -> list[Packet]:
    """The packets over IPv6 instead of IPv4."""
    made = []
    for row in rows:
        is_from_client = row.data[26:30] == packed(CLIENT)
        src, dst = (client, server) if is_from_client else (server, client)
        made.append(packet(row.ts_ns, frame(row.data[23], src, dst, row.data[34:])))
    return made


def wrapped(rows: Iterable[Packet], ethertype: int, header: bytes) -> list[Packet]:
    """The packets with another EtherType and a header before the IP header."""
    return [packet(row.ts_ns, bytes(12) + ethertype.to_bytes(2, "big") + header + row.data[14:]) for row in rows]


def pppoe(rows: Iterable[Packet]) -> list[Packet]:
    made = []
    for row in rows:
        length = len(row.data) - 14 + 2
        header = struct.pack(">BBHHH", 0x11, 0, 1, length, 0x0021)
        made += wrapped([row], 0x8864, header)
    return made


def encapsulated(rows: Iterable[Packet], protocol: int, header: bytes = b"") -> list[Packet]:
    """The packets inside another IP packet between two gateways."""
    inner = [(row.ts_ns, header + row.data[14:]) for row in rows]
    return [packet(ts_ns, frame(protocol, "198.51.100.1", "198.51.100.2", octets)) for ts_ns, octets in inner]


def vxlan(rows: Iterable[Packet]) -> list[Packet]:
    header = struct.pack(">II", 0x08000000, 7 << 8)
    return [udp(row.ts_ns, ("198.51.100.1", 50000, "198.51.100.2", 4789), header + row.data) for row in rows]


def later(rows: Iterable[Packet], seconds: int) -> list[Packet]:
    return [msgspec.structs.replace(row, ts_ns=row.ts_ns + seconds * S) for row in rows]


def of_another_client(rows: Iterable[Packet]) -> list[Packet]:
    """The packets with 10.0.0.9 for the client."""
    return [msgspec.structs.replace(row, data=row.data.replace(packed(CLIENT), packed("10.0.0.9"))) for row in rows]


def shuffled(packets: list[Packet]) -> list[Packet]:
    """A connection with pairs of its segments swapped."""
    opened, sent = packets[:3], packets[3:-1]
    return [*opened, *(row for at in range(0, len(sent), 2) for row in reversed(sent[at : at + 2])), packets[-1]]


def encrypted_hello() -> list[Packet]:
    """A hello with the real server name in its ECH extension."""
    return stream(hello("cloudflare-ech.com", extension(ECH, b"\0" + bytes(200))))


def dotted_label() -> bytes:
    """A question whose first label holds the dots of a listed name."""
    question = dns_query("a.example.net")
    label = AGENT.encode()
    return question[:12] + vector(1, label) + question[14:]


def interrupted(*flags: int, at: int) -> list[Packet]:
    """A connection with segments thrown in after `at` octets of the hello, which never reach the server."""
    talk, octets = Conversation(), hello(AGENT)
    packets = talk.open() + (talk.send(octets[:at]) if at else [])
    for number, flag in enumerate(flags):
        seq = talk.next_seq[True] + 5000 * bool(flag & SYN)
        packets.append(tcp(talk.now_ns + number, ENDS, (seq, 0, flag)))
    talk.now_ns += MS
    return packets + talk.send(octets[at:]) + talk.answer(ANSWERED)


def behind_far_segments() -> list[Packet]:
    """Twelve segments ahead of the hello, more than can wait."""
    talk = Conversation()
    packets = talk.open()
    for number in range(12):
        seq = talk.next_seq[True] + 3000 + 40 * number
        packets.append(tcp(talk.now_ns, ENDS, (seq, talk.next_seq[False], PSH | ACK), b"x" * 20))
    talk.now_ns += MS
    return packets + talk.send(hello(AGENT)) + talk.answer(ANSWERED)


def two_hellos(first: str, second: str) -> list[Packet]:
    """A hello, a HelloRetryRequest, and another hello."""
    talk = Conversation()
    packets = talk.open() + talk.send(hello(first)) + talk.answer(ANSWERED)
    return packets + talk.send(b"\x14\x03\x03\0\1\1" + hello(second)) + talk.answer(ANSWERED)


def ipv6_fragments(rows: Iterable[Packet], octets: int) -> list[Packet]:
    """Packets over IPv6 in fragments (RFC 8200 section 4.5)."""
    made = []
    for number, row in enumerate(rows):
        header, body = row.data[14:54], row.data[54:]
        for at in range(0, len(body), octets):
            piece = body[at : at + octets]
            fragment = struct.pack(">BBHI", header[6], 0, at | (at + octets < len(body)), number) + piece
            start = row.data[:14] + header[:4] + struct.pack(">HB", len(fragment), 44) + header[7:]
            made.append(packet(row.ts_ns, start + fragment))
    return made


def odd_quic(name: str) -> list[Packet]:
    message = hello_message(server_name(name.encode()))
    by_octet = b"".join(crypto(at, message[at : at + 1]) for at in range(len(message)))
    datagrams = [
        initial(crypto(0, message), version=V2),
        initial(crypto(0, message), dcid=b""),
        initial(crypto(0, message), token=bytes(900), length=1400),
        initial(by_octet),
    ]
    return [udp(AT_NS + at * MS, (CLIENT, 41000 + at, SERVER, 443), row) for at, row in enumerate(datagrams)]


def behind_zero_rtt(name: str) -> list[Packet]:
    early = b"\xd0\0\0\0\1\x08original\0" + vector(1, bytes(60))
    datagram = early + initial(crypto(0, hello_message(server_name(name.encode()))))
    return [udp(AT_NS, ENDS, datagram)]


def in_socks(rows: Iterable[Packet]) -> list[Packet]:
    """Datagrams as a SOCKS5 proxy takes them (RFC 1928 section 7)."""
    header = b"\0\0\0\3" + vector(1, AGENT.encode()) + struct.pack(">H", 443)
    return [udp(row.ts_ns, (CLIENT, 40000, SERVER, 1080), header + row.data[42:]) for row in rows]


def clear_http2() -> list[Packet]:
    """The preface of HTTP/2, and a CONNECT (RFC 9113 section 3.4, RFC 7541)."""
    fields = b"\x02\x07CONNECT\x41" + vector(1, f"{AGENT}:443".encode())
    frames = vector(3, b"") + b"\4\0\0\0\0\0" + vector(3, fields) + b"\1\4\0\0\0\1" + fields
    return stream(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames, port=3128)


def many_over_tcp(before: int) -> list[Packet]:
    """A question over TCP behind others, some forty in a segment."""
    talk = Conversation((CLIENT, 40000, RESOLVER, 53))
    names = [*(f"host{number}.example.org" for number in range(before)), AGENT]
    questions = [vector(2, dns_query(name, ident=number)) for number, name in enumerate(names)]
    return talk.open() + talk.send(b"".join(questions))


def rrset_of(row: str) -> dns.rrset.RRset:
    owner, ttl, *rest = row.split(" ", 4)
    return dns.rrset.from_text(owner, int(ttl), *rest)


def other_aliases() -> list[Packet]:
    """Answers that lead to the agent's name through forty aliases, DNAME, and both modes of HTTPS records."""
    chain = ["own0.example", *(f"own0-{number}.example" for number in range(40)), AGENT]
    told_by = {
        "own0.example": [f"{one}. 60 IN CNAME {other}." for one, other in pairwise(chain)],
        "connect.own1.example": [
            "own1.example. 60 IN DNAME ngrok-agent.com.",
            f"connect.own1.example. 60 IN CNAME {AGENT}.",
        ],
        "own2.example": [f"own2.example. 60 IN HTTPS 0 {AGENT}."],
        "own3.example": [f"own3.example. 60 IN HTTPS 1 {AGENT}. ipv4hint={SERVER}"],
    }
    packets = []
    for number, (name, rows) in enumerate(told_by.items()):
        query = dns.message.from_wire(dns_query(name, ident=number, qtype=65 if "HTTPS" in rows[0] else 1))
        answer = dns.message.make_response(query)
        answer.answer = [rrset_of(row) for row in rows]
        packets += [
            udp(number * S, (CLIENT, 5000 + number, RESOLVER, 53), query.to_wire()),
            udp(number * S + MS, (RESOLVER, 53, CLIENT, 5000 + number), answer.to_wire()),
        ]
    return packets
