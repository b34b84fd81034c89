"""What the flows of the mix say: DNS transactions, TLS and SSH connections, QUIC with really encrypted Initials.

The hellos and the encryptor are those of the tests (tests/support), not the program's.
"""

import random
import struct
from collections.abc import Iterator

from hellos import extension, hello_message, records, server_name, vector
from initials import crypto, initial
from wire import Connection, Path, datagram

ALPN = extension(16, vector(2, vector(1, b"h2") + vector(1, b"http/1.1")))
GROUPS = extension(10, vector(2, b"\x11\xec\x00\x1d"))
VERSIONS = extension(43, vector(1, b"\x03\x04\x03\x03"))
SIGNATURES = extension(13, vector(2, b"\x04\x03\x08\x04\x04\x01"))
POINTS = extension(11, vector(1, b"\0"))
SMALL_SHARE, HYBRID_SHARE = 32, 1216  # X25519, X25519MLKEM768
PADDING = extension(21, bytes(260))  # puts the server name behind it beyond the first segment
QUIC_PARAMETERS = extension(57, bytes.fromhex("0104800075300408ffffffffffffffff"))
SERVER_EXTENSIONS = extension(43, b"\x03\x04") + extension(51, b"\x00\x1d" + vector(2, bytes(range(32))))
SERVER_HELLO = records(
    b"\x02" + vector(3, b"\x03\x03" + bytes(range(32)) + b"\0\x13\x01\0" + vector(2, SERVER_EXTENSIONS))
)
APPLICATION = b"\x17\x03\x03\x04\x00" + bytes(range(256)) * 4
BANNER = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"


def converse(path: Path, kind: str, name: str, chance: random.Random) -> Iterator[bytes]:
    """Return the frames of a whole conversation of `kind` about `name`."""
    protocol = kind.partition("-")[0]
    if protocol == "dns":
        return dns(path, name, chance)
    if protocol == "quic":
        return quic(path, name, chance)
    return connection(path, kind, name, chance)


def dns(path: Path, name: str, chance: random.Random) -> Iterator[bytes]:
    """Yield a query and its answer (RFC 1035 section 4)."""
    ident = chance.randrange(65536)
    qname = b"".join(vector(1, label.encode()) for label in name.split(".")) + b"\0"
    question = qname + struct.pack(">HH", 1, 1)
    address = bytes((198, 19, chance.randrange(256), chance.randrange(1, 255)))
    answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 300, 4) + address
    yield datagram(path, struct.pack(">6H", ident, 0x0100, 1, 0, 0, 0) + question)
    yield datagram(path.back(), struct.pack(">6H", ident, 0x8180, 1, 1, 0, 0) + question + answer)


def client_hello(name: str, chance: random.Random, *, is_split: bool, extra: bytes = b"") -> bytes:
    """Return a ClientHello of some 300 octets, or one over two segments with the server name in the second."""
    share = HYBRID_SHARE if is_split else SMALL_SHARE
    group = b"\x11\xec" if is_split else b"\x00\x1d"
    keys = extension(51, vector(2, group + vector(2, chance.randbytes(share))))
    sni = server_name(name.encode())
    common = (VERSIONS, GROUPS, POINTS, SIGNATURES, ALPN, keys)
    return hello_message(*common, PADDING, sni, extra) if is_split else hello_message(sni, *common, extra)


def greet(connection: Connection, kind: str, name: str, chance: random.Random) -> Iterator[bytes]:
    """Yield the beginning of a TCP connection: handshake, hello and the server's answer."""
    yield from connection.open()
    if kind.startswith("ssh"):
        yield from connection.send(BANNER, is_client=False)
        yield from connection.send(BANNER)
        return
    hello = records(client_hello(name, chance, is_split=kind in {"tls-split", "tls-swapped"}))
    yield from connection.send(hello, is_swapped=kind == "tls-swapped")
    yield from connection.send(SERVER_HELLO, is_client=False)


def connection(path: Path, kind: str, name: str, chance: random.Random) -> Iterator[bytes]:
    """Yield a short TCP connection from SYN to FIN."""
    made = Connection(path)
    yield from greet(made, kind, name, chance)
    content = key_exchange(chance) if kind.startswith("ssh") else APPLICATION
    for is_client in (True, False, False, True):
        yield from made.send(content, is_client=is_client)
    yield from made.close()


def key_exchange(chance: random.Random) -> bytes:
    """Return a KEXINIT (RFC 4253 section 7.1)."""
    lists = (
        b"curve25519-sha256",
        b"ssh-ed25519",
        *[b"aes128-ctr"] * 2,
        *[b"hmac-sha2-256"] * 2,
        *[b"none"] * 2,
        b"",
        b"",
    )
    body = b"\x14" + chance.randbytes(16) + b"".join(vector(4, row) for row in lists) + bytes(5)
    padding = 8 - (len(body) + 5) % 8 + 8
    return struct.pack(">IB", len(body) + padding + 1, padding) + body + bytes(padding)


def quic(path: Path, name: str, chance: random.Random) -> Iterator[bytes]:
    """Yield a hello in two encrypted Initials, the server's first datagram and a few short-header packets."""
    dcid = chance.randbytes(8)
    message = client_hello(name, chance, is_split=True, extra=QUIC_PARAMETERS)
    cut = 1050
    yield datagram(path, initial(crypto(0, message[:cut]), dcid=dcid, number=0))
    yield datagram(path, initial(crypto(cut, message[cut:]), dcid=dcid, number=1))
    reply = initial(b"\x02\x01\x00\x00\x00" + crypto(0, SERVER_HELLO[5:]), dcid=b"", keyed_by=dcid, side="server in")
    yield datagram(path.back(), reply)
    for number in range(6):
        sender = path.back() if number % 3 else path
        yield datagram(sender, b"\x40" + (b"" if number % 3 else dcid) + chance.randbytes(1100))
