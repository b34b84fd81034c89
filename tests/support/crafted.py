"""Captures of programs that could not be had: packets made by hand after what their sources say.

`python tests/support/crafted.py NAME...` (all without a name) writes them to pcaps/; their manifests say `crafted`.
"""

import hashlib
import random
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import dns.message  # noqa: E402 - the paths come first
import dns.rrset  # noqa: E402 - the same
from frames import Conversation, S, dns_answer, dns_query, read_packets, udp  # noqa: E402 - the same
from hellos import extension, hello_message, records, server_name, vector  # noqa: E402 - the same
from initials import crypto, initial  # noqa: E402 - the same

from sensor.decoding.decode import Segment, decode  # noqa: E402 - the same
from sensor.packet import Packet  # noqa: E402 - the same

CLIENT, RESOLVER, SERVER = "10.77.0.2", "10.77.0.1", "10.77.1.60"
START_S = 1_763_900_000
NS = START_S * S
RANDOM = random.Random(2026)
RELAY = "tunnel.example.org"


def octets(count: int) -> bytes:
    """Octets that look encrypted; never zero."""
    return bytes(RANDOM.randrange(1, 256) for _ in range(count))


def look_up(name: str, address: str = SERVER, *, qtype: int = 1) -> list[Packet]:
    question = udp(NS, (CLIENT, 40001, RESOLVER, 53), dns_query(name, qtype=qtype))
    return [question, udp(NS + 10**6, (RESOLVER, 53, CLIENT, 40001), dns_answer(name, [address]))]


def stream(port: int, *turns: bytes, name: str = RELAY) -> list[Packet]:
    """A look-up, and a connection in which client and server take turns."""
    talk = Conversation((CLIENT, 45000, SERVER, port), start_ns=NS + S)
    packets = look_up(name) + talk.open()
    for number, turn in enumerate(turns):
        packets += talk.answer(turn) if number % 2 else talk.send(turn)
    return packets


def datagrams(port: int, *turns: bytes) -> list[Packet]:
    ends = (CLIENT, 45000, SERVER, port), (SERVER, port, CLIENT, 45000)
    return [udp(NS + S + number * 10**7, ends[number % 2], turn) for number, turn in enumerate(turns)]


def upgrade(path: str, protocol: str = "websocket", **fields: str) -> bytes:
    head = {"Host": RELAY, "Connection": "Upgrade", "Upgrade": protocol, **fields}
    if protocol == "websocket":
        head |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in head.items())
    return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()


def switching(protocol: str = "websocket") -> bytes:
    return f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\r\n".encode()


def frp_login() -> list[Packet]:
    login = b'{"version":"0.61.1","hostname":"","os":"linux","arch":"amd64","privilege_key":"","timestamp":1763900000}'
    message = b"o" + struct.pack(">q", len(login)) + login
    update = bytes.fromhex("000100010000000100000000")
    return stream(7000, update + struct.pack(">BBHII", 0, 0, 0, 1, len(message)) + message, update + octets(60))


def zerotier() -> list[Packet]:
    address, root = octets(5), octets(5)
    head = octets(8) + root + address + b"\0" + octets(8) + b"\x01"
    hello = head + bytes((13, 1, 14, 0, 2)) + struct.pack(">Q", START_S * 1000)
    return datagrams(9993, hello + address + b"\0" + octets(64) + b"\0" + octets(40), octets(100))


def tailscale() -> list[Packet]:
    body = b"\x80\x22\0\x08tailnode\x80\x28\0\x04" + octets(4)
    stun = b"\0\x01" + struct.pack(">H", len(body)) + b"\x21\x12\xa4\x42" + octets(12) + body
    disco = "TS💬".encode() + octets(32) + octets(24) + octets(46)
    peer = "10.77.1.61"
    return [
        *datagrams(3478, stun, b"\x01\x01" + octets(30)),
        udp(NS + 2 * S, (CLIENT, 41641, peer, 41641), disco),
        udp(NS + 2 * S + 10**7, (peer, 41641, CLIENT, 41641), disco[:38] + octets(70)),
    ]


def dnscat2() -> list[Packet]:
    packets = []
    for number in range(12):
        kind, data = (b"\0", b"\x02\x93\0\0") if not number else (b"\x01", hashlib.sha512(b"%d" % number).digest()[:40])
        digits = (struct.pack(">H", RANDOM.randrange(65536)) + kind + b"\xbe\xef" + data).hex()
        name = ".".join(digits[at : at + 60] for at in range(0, len(digits), 60)) + ".d.dnstun.example"
        ends = (CLIENT, 41000 + number, RESOLVER, 53)
        at_ns = NS + number * S
        answer = dns_answer(name, ident=number, rcode=0)
        packets.append(udp(at_ns, ends, dns_query(name, ident=number, qtype=1)))
        packets.append(udp(at_ns + 10**7, (ends[2], 53, ends[0], ends[1]), answer))
    return packets


def reverse_http() -> list[Packet]:
    request = b"GET /hook HTTP/1.1\r\nHost: app.example.net\r\nUser-Agent: x\r\n\r\n"
    talk = Conversation((CLIENT, 45000, SERVER, 34567), start_ns=NS + S)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    return look_up(RELAY) + talk.open() + talk.answer(request) + talk.send(answer)


OWN_INGRESS = "connect.myblog1.net"  # as long as the name in the recorded hello
RECORDED_INGRESS = "tunnel.us.ngrok.com"


def agent_hello(name: str) -> bytes:
    """The hello of a recorded agent of ngrok 2.3 with another name in it."""
    segments = map(decode, read_packets(str(ROOT / "pcaps" / "ngrok2-default.pcap")))
    payloads = (row.payload for row in segments if isinstance(row, Segment))
    hello = next(row for row in payloads if row[:1] == b"\x16" and RECORDED_INGRESS.encode() in row)
    return hello.replace(RECORDED_INGRESS.encode(), name.encode())


def idle(hello: bytes, every_s: float, times: int, *, octets_each: int = 40) -> list[Packet]:
    """A connection that says hello, is answered, and then carries a little both ways again and again."""
    talk = Conversation((CLIENT, 45000, SERVER, 443), start_ns=NS + S)
    packets = talk.open() + talk.send(hello) + talk.answer(b"\x16\x03\x03\x04\x00\x02" + octets(1023))
    packets += talk.send(b"\x17\x03\x03\x12\x00" + octets(4608)) + talk.answer(b"\x17\x03\x03\x12\x00" + octets(4608))
    for number in range(times):
        talk.now_ns = NS + S + int((number + 1) * every_s * S)
        record = b"\x17\x03\x03\x00" + bytes([octets_each])
        packets += talk.send(record + octets(octets_each)) + talk.answer(record + octets(octets_each))
        packets.append(talk.segment(0x10))
    return packets


def ngrok_idle() -> list[Packet]:
    return look_up("crl.ngrok-agent.com") + look_up(OWN_INGRESS) + idle(agent_hello(OWN_INGRESS), 10, 12)


def keep_alive() -> list[Packet]:
    name = "pushes.example1.net"
    return look_up(name) + idle(agent_hello(name), 30, 8)


def ngrok_delegated() -> list[Packet]:
    """The answer names the servers of the zone, as those of many resolvers do."""
    query = dns.message.from_wire(dns_query(OWN_INGRESS))
    answer = dns.message.make_response(query)
    answer.answer.append(dns.rrset.from_text(f"{OWN_INGRESS}.", 60, "IN", "A", SERVER))
    servers = [f"ns{number}.ngrok-dns.com." for number in (1, 2)]
    answer.authority.append(dns.rrset.from_text("myblog1.net.", 3600, "IN", "NS", *servers))
    ends = (CLIENT, 40001, RESOLVER, 53)
    told = udp(NS + 10**6, (RESOLVER, 53, CLIENT, 40001), answer.to_wire())
    return [udp(NS, ends, dns_query(OWN_INGRESS)), told, *idle(agent_hello(OWN_INGRESS), 10, 2)]


def cloudflared_dot() -> list[Packet]:
    """The resolver does not answer for the regions; DNS over TLS does, and the agent dials."""
    packets = []
    for number, name in enumerate(("region1.v2.argotunnel.com", "region2.v2.argotunnel.com")):
        ends = (CLIENT, 40001 + number, RESOLVER, 53)
        packets.append(udp(NS + number * 10**6, ends, dns_query(name)))
        packets.append(udp(NS + number * 10**6 + 10**5, (RESOLVER, 53, *ends[:2]), dns_answer(name, rcode=2)))
    over_tls = Conversation((CLIENT, 45000, "1.1.1.1", 853), start_ns=NS + S)
    packets += over_tls.open() + over_tls.send(records(hello_message(server_name(b"cloudflare-dns.com"))))
    packets += over_tls.answer(b"\x16\x03\x03\x00\x40\x02" + octets(63))
    edge = Conversation((CLIENT, 45001, "198.51.100.44", 7844), start_ns=NS + 2 * S)
    packets += edge.open() + edge.send(records(hello_message(server_name(b"h2.cftunnel.com"))))
    return packets + edge.answer(b"\x16\x03\x03\x00\x40\x02" + octets(63))


def ssh_to(name: str, port: int) -> list[Packet]:
    return stream(port, b"SSH-2.0-OpenSSH_9.2\r\n", b"SSH-2.0-Go\r\n", octets(500), name=name)


def tls_to(name: str, port: int = 443, *alpn: bytes) -> list[Packet]:
    hello = hello_message(server_name(name.encode()), *([with_alpn(*alpn)] if alpn else []))
    return stream(port, records(hello), b"\x16\x03\x03\x00\x40\x02" + octets(63), name=name)


def quic_to(name: str, port: int, alpn: bytes) -> list[Packet]:
    hello = hello_message(server_name(name.encode()), with_alpn(alpn))
    return look_up(name) + datagrams(port, initial(crypto(0, hello)), b"\x40" + octets(60))


def with_alpn(*names: bytes) -> bytes:
    return extension(16, vector(2, b"".join(vector(1, name) for name in names)))


def playit() -> list[Packet]:
    """A look-up of the API, then pings to an address that only the API told."""
    now = struct.pack(">Q", START_S * 1000)
    ping = struct.pack(">QI", 1, 6) + now + b"\0\0"
    address = b"\x04" + bytes((10, 77, 0, 2)) + b"\xaf\xc8"
    pong = struct.pack(">QI", 1, 1) + now + now + octets(8) + b"\0\0\0\x05" + address + address + b"\0"
    return look_up("api.playit.gg", "10.77.1.61") + datagrams(5525, ping, pong)


def jprq() -> list[Packet]:
    fields = b"".join(vector(1, name) + b"\x01\x0c\0\x01" for name in (b"Protocol", b"Subdomain", b"CanonName"))
    kind = b"\xff\x81\x03\x01\x01\x0fTunnelRequested\x01\xff\x82\0\x01\x05\x01" + fields
    event = vector(1, kind) + vector(1, b"\xff\x82\x01\x04http\x03" + octets(40) + b"\0") + bytes(60)
    return stream(4321, struct.pack("<H", len(event)) + event, b"\x90\0" + octets(144), name="tunnels.example.org")


CRAFTED: dict[str, Callable[[], Iterable[Packet]]] = {
    "frp-login": frp_login,
    "frp-websocket": lambda: stream(80, upgrade("/~!frp"), switching()),
    "chisel": lambda: stream(8080, upgrade("/", Sec_WebSocket_Protocol="chisel-v3"), switching(), octets(80)),
    "devtunnels-cleartext": lambda: stream(
        80, upgrade("/api/v1/Connect/x", Sec_WebSocket_Protocol="tunnel-relay-host"), switching()
    ),
    "bore": lambda: stream(7835, b'{"Hello":0}\0', b'{"Hello":40123}\0'),
    "rathole": lambda: stream(2333, bytes(4) + b"\x01" + octets(32), bytes(4) + b"\x01" + octets(32)),
    "zerotier": zerotier,
    "zerotier-tcp": lambda: stream(443, b"\x17\x03\x03\0\x04\x01\x0e\0\x02", octets(40)),
    "tailscale": tailscale,
    "tailscale-control": lambda: stream(
        80, upgrade("/ts2021", "tailscale-control-protocol"), switching("tailscale-control-protocol")
    ),
    "tailscale-derp": lambda: stream(80, upgrade("/derp", "DERP"), switching("DERP")),
    "wstunnel": lambda: stream(8080, upgrade("/v1/events", Sec_WebSocket_Protocol="v1"), switching()),
    "ssh-port-443": lambda: stream(443, b"SSH-2.0-OpenSSH_9.2\r\n", b"SSH-2.0-Go\r\n", octets(500)),
    "reverse-http": reverse_http,
    "dns-dnscat2": dnscat2,
    "ngrok-idle": ngrok_idle,
    "ngrok-delegated": ngrok_delegated,
    "benign-keep-alive": keep_alive,
    "cloudflared-dot": cloudflared_dot,
    "ssh-pinggy-443": lambda: ssh_to("a.pinggy.io", 443),
    "ssh-pinggy-80": lambda: ssh_to("a.pinggy.io", 80),
    "ssh-loophole-8022": lambda: ssh_to("gateway.loophole.host", 8022),
    "playit": playit,
    "jprq": jprq,
    "inlets": lambda: stream(
        8080, upgrade("/tunnel", X_Inlets_Id="3f1a2b", X_Inlets_Upstream="=http://127.0.0.1:8000"), switching()
    ),
    "tailscale-derp-tls": lambda: tls_to("derp4.tailscale.com"),
    "teleport": lambda: tls_to("proxy.example.org", 3024, b"teleport-reversetunnelv2"),
    "netbird-quic": lambda: quic_to("relay.example.org", 443, b"nb-quic"),
    "frp-quic": lambda: quic_to("frps.example.org", 7000, b"frp"),
    "devtunnels": lambda: tls_to("euw-data.rel.tunnels.api.visualstudio.com"),
}


def write_pcap(path: Path, packets: Iterable[Packet]) -> None:
    """Write classic pcap with microseconds; Ethernet addresses stay zero."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for row in packets:
            seconds, rest = divmod(row.ts_ns, S)
            file.write(struct.pack("<IIII", seconds, rest // 1000, len(row.data), row.wire_octets) + row.data)


def main() -> None:
    for name in sys.argv[1:] or CRAFTED:
        RANDOM.seed(name)
        write_pcap(ROOT / "pcaps" / f"{name}.pcap", CRAFTED[name]())


if __name__ == "__main__":
    main()
