"""Ordinary traffic of offices, homes and data centres that looks a little like a tunnel's."""

from collections.abc import Iterable

from frames import ACK, CLIENT, MS, PSH, SERVER, Conversation, S, told, udp
from hellos import extension, hello_message, records, server_name, vector
from strange import BANNER
from tricks import ANSWERED, AT_NS, ECH, UNLISTED, connect, hello, http, later, stream

from sensor.packet import Packet


def octets(count: int) -> bytes:
    """Octets that look random and are always the same."""
    return bytes((number * 37 + 11) % 251 + 1 for number in range(count))


def each(payloads: Iterable[bytes]) -> list[Packet]:
    """A connection for each, which the client begins, and one that the server begins."""
    packets = []
    for number, payload in enumerate(payloads):
        for is_client in (True, False):
            talk = Conversation((CLIENT, 30000 + 2 * number + is_client, SERVER, 9999), start_ns=S + number * S)
            said, other = (talk.send, talk.answer) if is_client else (talk.answer, talk.send)
            packets += [*talk.open(), *said(payload), *other(bytes(20))]
    return packets


def both_ways(payloads: Iterable[bytes]) -> list[Packet]:
    """Datagrams to ports that nobody knows, answered alike."""
    packets = []
    for number, payload in enumerate(payloads):
        there, back = (CLIENT, 30000 + number, SERVER, 27015), (SERVER, 27015, CLIENT, 30000 + number)
        packets += [udp(AT_NS + at * MS, ends, payload) for at, ends in enumerate((there, back, there))]
    return packets


def opened(*names: str) -> list[Packet]:
    """Names looked up, and dialled with ALPN as a browser does."""
    packets = []
    for number, name in enumerate(names):
        octets = records(hello_message(server_name(name.encode()), extension(16, vector(2, vector(1, b"h2")))))
        talk = Conversation((CLIENT, 42000 + number, SERVER, 443), start_ns=S * (number + 1) + 20 * MS)
        packets += told(name, at_ns=S * (number + 1))
        packets += [*talk.open(), *talk.send(octets), *talk.answer(ANSWERED)]
    return packets


def git_over_443() -> list[Packet]:
    """SSH to code hosts on the port that their documentation offers beside 22, also through a proxy."""
    packets = []
    for number, name in enumerate(("ssh.github.com", "altssh.gitlab.com", "altssh.bitbucket.org")):
        server = f"192.0.2.{number + 20}"
        packets += [*told(name, server, at_ns=S * number), *later(stream(BANNER, server=server), number)]
    return packets + ssh_through_a_proxy("ssh.github.com:443")


def ssh_through_a_proxy(target: str) -> list[Packet]:
    talk = Conversation((CLIENT, 43000, SERVER, 3128))
    packets = talk.open() + talk.send(connect(target)) + talk.answer(b"HTTP/1.1 200 OK\r\n\r\n")
    return packets + talk.send(BANNER) + talk.answer(BANNER)


def ssh_through_socks() -> list[Packet]:
    talk = Conversation((CLIENT, 43001, SERVER, 1080))
    packets = talk.open() + talk.send(b"\x05\x01\0") + talk.answer(b"\x05\0")
    packets += talk.send(b"\x05\x01\0\x03" + vector(1, b"github.com") + b"\0\x16")
    return packets + talk.answer(b"\x05\0\0\x01" + bytes(6)) + talk.send(BANNER)


def with_a_beat() -> list[Packet]:
    """A management agent: a hello without ALPN, then a little both ways every 10 s."""
    talk = Conversation(start_ns=S)
    packets = [*told("push.mdm.example.org", at_ns=0), *talk.open(), *talk.send(hello("push.mdm.example.org"))]
    packets += talk.answer(ANSWERED)
    for _ in range(30):
        talk.now_ns += 10 * S
        packets += [talk.segment(ACK | PSH, octets(40)), talk.segment(ACK | PSH, octets(40), is_client=False)]
    return packets


GAMES_AND_VOICE = (
    b"\x80\x60\0\x01" + octets(168),  # RTP
    b"\0\x01\0\x08\x21\x12\xa4\x42" + octets(12) + b"\x80\x22\0\x04test",  # STUN
    b"\x16\xfe\xff" + bytes(8) + b"\0\x80\x01" + octets(127),  # DTLS
    b"\0\x01\0\x46" + octets(70),  # Discord
    b"VS01" + octets(60),  # Steam
    b"\xff\xff\xff\xffTSource Engine Query\0",
    b"\x01" + octets(8) + bytes.fromhex("00ffff00fefefefefdfdfdfd12345678") + octets(8),  # RakNet
    b"TS3INIT1\0e\0\0\x88" + octets(20),
    bytes(4) + octets(8),  # Mumble
    b"\x01\0\0\0" + bytes(20) + octets(124),  # Zoom
    b"\x41\0" + octets(2) + bytes(16),  # uTP
    b"d1:ad2:id20:" + octets(20) + b"e1:q4:ping1:t2:aa1:y1:qe",
)
VPN_CLIENTS = (
    octets(8) + bytes(8) + b"\x21\x20\x22\x08" + bytes(4) + b"\0\0\x01\0" + octets(228),  # IKEv2
    bytes(4) + octets(8) + bytes(8) + b"\x21\x20\x22\x08" + octets(200),  # the same behind NAT
    octets(120),  # ESP in UDP
    b"\xc8\x02\0\x60" + bytes(8) + octets(80),  # L2TP
    b"\x17\xfe\xfd" + octets(60),  # DTLS of AnyConnect
    b"\x30\xff\0\x10" + octets(16),  # GTP
)
SERVERS = (
    b"\x10\x20\0\x04MQTT\x04\x02\0\x0a\0\x14" + octets(20),
    b"AMQP\0\0\x09\x01",
    b"\0\0\0\x20\0\x12\0\x03\0\0\0\x01\0\x05kafka" + octets(16),
    b"\0\0\0\x08\x04\xd2\x16\x2f",  # PostgreSQL asks for TLS
    b"\0\0\0\x29\0\x03\0\0user\0postgres\0\0",
    b"*1\r\n$4\r\nPING\r\n",
    b"\x3a\0\0\0\x01\0\0\0\0\0\0\0\xd4\x07\0\0" + octets(42),  # MongoDB
    b"\x03\0\0\x2b\x26\xe0\0\0\0\0\0Cookie: mstshash=x\r\n\x01\0\x08\0\x03\0\0\0",  # RDP
    b"\0\0\0\x90\xfeSMB" + octets(140),
    b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0",  # LDAP
    b"\x04\0\0\0\x05\0\0\0\0",  # Cassandra
    b"\x05\0\x0b\x03\x10\0\0\0" + octets(60),  # DCE/RPC
    b"RFB 003.008\n",
    b"NATS {}\r\n",
    b"\x12\x01\0\x2f\0\0\x01\0" + octets(39),  # TDS
    b"\0\x01\0\0\0\x06\x01\x03\0\0\0\x01",  # Modbus
    b'{"id":1,"method":"mining.subscribe"}\n',
    b"\x15\x03\x03\0\x02\x02\x28",  # a TLS alert, and nothing else
    b"\x15\x03\x03\0\x02\x01\x70\x16\x03\x03\0\x40\x02" + octets(63),  # a server's warning and hello
)


def upgrade(target: str, *fields: str, method: str = "GET") -> bytes:
    return http(f"{method} {target} HTTP/1.1", "Host: api.example.org", "Connection: Upgrade", *fields)


UPGRADES = (
    upgrade("/api/v1/namespaces/x/pods/y/exec", "Upgrade: websocket", "Sec-WebSocket-Protocol: v5.channel.k8s.io"),
    upgrade("/api/v1/namespaces/x/pods/y/portforward", "Upgrade: SPDY/3.1", method="POST"),
    upgrade("/v1.45/exec/x/start", "Upgrade: tcp", method="POST"),  # Docker
    upgrade("/ocpp/1", "Upgrade: websocket", "Sec-WebSocket-Protocol: ocpp1.6"),
    upgrade("/graphql", "Upgrade: websocket", "Sec-WebSocket-Protocol: graphql-transport-ws"),
    http("GET /v1/events HTTP/1.1", "Host: api.example.org", "Accept: text/event-stream"),
)


def old_tls() -> list[Packet]:
    """TLS 1.0 without a server name or any extension."""
    return stream(records(hello_message(ciphers=b"\0\x0a\0\x2f", version=0x0301)))


def with_ech() -> list[Packet]:
    """A browser that sends ECH to everybody."""
    return [*told(UNLISTED), *later(stream(hello(UNLISTED, extension(ECH, b"\0" + octets(200)))), 1)]


def codespaces() -> list[Packet]:
    """A codespace in the browser: pages, and the relay that both ends of a dev tunnel dial."""
    return opened("github.com", "fluffy.github.dev", "vscode.dev", "eun1.rel.tunnels.api.visualstudio.com")
