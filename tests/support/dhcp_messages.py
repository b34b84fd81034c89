"""DHCP messages made by hand (RFC 2131)."""

import struct

from sensor.extract.dhcp import COOKIE

MAC = bytes.fromhex("02005e100001")


def option(code: int, value: bytes) -> bytes:
    return bytes((code, len(value))) + value


def dhcp(
    kind: int, *options: bytes, xid: int = 7, given: bytes = bytes(4), had: bytes = bytes(4), mac: bytes = MAC
) -> bytes:
    head = struct.pack(">BBBBIHH", 2 if kind in (5, 6) else 1, 1, 6, 0, xid, 0, 0)
    addresses = had + given + bytes(8) + mac.ljust(16, b"\0")
    return head + addresses + bytes(192) + COOKIE + option(53, bytes((kind,))) + b"".join(options) + b"\xff"
