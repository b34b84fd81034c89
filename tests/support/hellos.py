"""Hand-made TLS messages, and the prefixes that every parser must stand."""

import struct
from collections.abc import Iterator
from itertools import pairwise


def vector(size: int, content: bytes) -> bytes:
    return len(content).to_bytes(size, "big") + content


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(2, content)


def server_name(name: bytes) -> bytes:
    return extension(0, vector(2, b"\0" + vector(2, name)))


def hello_message(*extensions: bytes, ciphers: bytes = b"\x13\x01\x13\x02", version: int = 0x0303) -> bytes:
    """A ClientHello handshake message."""
    body = struct.pack(">H", version) + bytes(range(32)) + vector(1, b"session") + vector(2, ciphers) + vector(1, b"\0")
    return b"\x01" + vector(3, body + (vector(2, b"".join(extensions)) if extensions else b""))


def records(message: bytes, *cuts: int) -> bytes:
    """The message in handshake records, cut at the offsets given."""
    edges = [0, *cuts, len(message)]
    pieces = [message[start:end] for start, end in pairwise(edges)]
    return b"".join(b"\x16\x03\x01" + vector(2, piece) for piece in pieces)


def truncations(octets: bytes) -> Iterator[bytes]:
    """Every proper prefix."""
    return (octets[:length] for length in range(len(octets)))
