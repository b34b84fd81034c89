import random
import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from recordings import read_recording

from sensor.extract.handshake import Handshake, is_openvpn_server_reset, read_handshake

RANDOM = random.Random(7)
SERVER, PORT = bytes((192, 0, 2, 10)), 4242
KEYS = bytes(RANDOM.randrange(1, 256) for _ in range(200))
SESSION = KEYS[:8]
INDEX = b"\xaa\xbb\xcc\xdd"
NOW = struct.pack(">I", 1_795_000_000)

INITIATION = b"\x01\0\0\0" + INDEX + KEYS[:124] + bytes(16)
RESPONSE = b"\x02\0\0\0" + KEYS[:4] + INDEX + KEYS[:64] + bytes(16)
RESET = b"\x38" + SESSION + bytes(5)
SIGNED = b"\x38" + SESSION + KEYS[:20] + b"\0\0\0\x01" + NOW + bytes(5)
ENCRYPTED = b"\x38" + SESSION + b"\x0f\0\0\x01" + NOW + KEYS[:37]
SERVER_RESET = b"\x40" + KEYS[50:58] + b"\x01" + bytes(4) + SESSION + bytes(4)
DISCO = "TS💬".encode() + KEYS[:90]
STUN = b"\0\x01\0\x14\x21\x12\xa4\x42" + KEYS[:12] + b"\x80\x22\0\x08tailnode" + b"\x80\x28\0\x04" + KEYS[:4]
NEBULA = bytes.fromhex("10000000000000000000000000000001") + KEYS[:64] + b"\x0a\x93\x01" + KEYS[:90]
NEBULA_ANSWER = b"\x10\0\0\0" + KEYS[:4] + bytes(7) + b"\x02" + KEYS[:150]
ADDRESS = KEYS[20:25]
ZEROTIER = KEYS[:8] + KEYS[30:35] + ADDRESS + b"\0" + KEYS[:8] + b"\x01\x0d\x01\x0c\0\x01" + bytes(8)
ZEROTIER = ZEROTIER[:41] + ADDRESS + b"\0" + KEYS[:90]
PLAYIT_NOW = struct.pack(">Q", 1_795_000_000_000)
PLAYIT = struct.pack(">QI", 7, 6) + PLAYIT_NOW + b"\0\0"
PLAYIT_SESSION = struct.pack(">QI", 7, 6) + PLAYIT_NOW + b"\x01\0\0\0\x20\x01" + KEYS[:24]
PONG = struct.pack(">QI", 7, 1) + PLAYIT_NOW + KEYS[:40]
HYPERDHT = b"\x03\x0c\x12\x34" + SERVER + PORT.to_bytes(2, "little") + KEYS[:33]


def read(payload: bytes, expected: bytes = b"") -> Handshake | None:
    return read_handshake(payload, SERVER, PORT, expected)


@pytest.mark.parametrize(
    ("payload", "protocol"),
    [
        (INITIATION, "wireguard-initiation"),
        (RESET, "openvpn-reset"),
        (SIGNED, "openvpn-reset"),
        (ENCRYPTED, "openvpn-reset"),
        (b"\x50" + ENCRYPTED[1:] + KEYS, "openvpn-reset"),
        (DISCO, "tailscale-disco"),
        (STUN, "tailscale-stun"),
        (NEBULA, "nebula-handshake"),
        (ZEROTIER, "zerotier-hello"),
        (HYPERDHT, "hyperdht"),
        (PLAYIT, "playit-ping"),
        (PLAYIT_SESSION, "playit-ping"),
    ],
)
def test_the_first_datagram_of_each_protocol(payload: bytes, protocol: str) -> None:
    found = read(payload)
    assert found is not None
    assert found.protocol == protocol


@pytest.mark.parametrize(
    ("first", "answer", "protocol"),
    [
        (INITIATION, RESPONSE, "wireguard-handshake"),
        (RESET, SERVER_RESET, "openvpn-handshake"),
        (NEBULA, NEBULA_ANSWER, "nebula-handshake"),
    ],
)
def test_an_answer_counts_only_with_what_it_answers(first: bytes, answer: bytes, protocol: str) -> None:
    begun = read(first)
    assert begun is not None
    assert read(answer, begun.token) == Handshake(protocol)
    assert read(answer) is None
    assert read(answer, bytes(byte ^ 0xFF for byte in begun.token)) is None


def test_an_initiation_with_reserved_octets_is_told_by_its_answer_alone() -> None:
    begun = read(b"\x01abc" + INITIATION[4:])
    assert begun == Handshake("", INITIATION[4:8])
    assert read(b"\x02abc" + KEYS[:4] + INITIATION[4:8] + KEYS[:80], begun.token) == Handshake("wireguard-handshake")


def test_an_index_of_zeros_is_answered_by_nothing() -> None:
    assert read(bytes([2]) + bytes(91), bytes(4)) is None


KCP = struct.pack("<IBBHIIII", 1, 81, 0, 128, 5000, 0, 0, 124) + KEYS[:124]
RAKNET_PING = b"\x01" + bytes(8) + bytes.fromhex("00ffff00fefefefefdfdfdfd12345678") + KEYS[:8]
WEBRTC_STUN = STUN.replace(b"tailnode", b"libjingl")
DTLS = b"\x16\xfe\xfd" + bytes(8) + KEYS[:137]
NTP = b"\x23\x02\x06\xe8" + KEYS[:44]
RTP = b"\x80\x60" + KEYS[:158]
SIP = b"OPTIONS sip:192.0.2.1 SIP/2.0\r\n" + bytes(60)
L2TP = b"\xc8\x02" + KEYS[:100]
TFTP = b"\0\x01boot.img\0octet\0"
BITTORRENT = b"\x41\x00" + KEYS[:18]


@pytest.mark.parametrize(
    "payload",
    [
        *(KCP, RAKNET_PING, WEBRTC_STUN, DTLS, NTP, RTP, SIP, L2TP, TFTP, BITTORRENT),
        INITIATION[:-1],
        INITIATION + b"\0",
        b"\x04\0\0\0" + INITIATION[4:],  # data, not a handshake
        RESET + b"\0",
        RESET[:-1] + b"\x01",
        SIGNED.replace(NOW, b"\0\0\0\x05"),
        NEBULA[:40],
        NEBULA[:15] + b"\x02" + NEBULA[16:],
        ZEROTIER[:41] + KEYS[60:65] + ZEROTIER[46:],
        HYPERDHT.replace(SERVER, b"\xc0\0\x02\x0b"),
        HYPERDHT[:9],
        *(bytes([first]) for first in (0, 1, 2, 3, 0x10, 0x13, 0x38, 0x40, 0x50, 0x54)),
    ],
)
def test_what_only_looks_like_one_is_none(payload: bytes) -> None:
    assert read(payload) is None
    assert read(payload, SESSION[:4]) is None


def test_server_resets_of_every_kind() -> None:
    signed = b"\x40" + KEYS[50:58] + KEYS[:20] + b"\0\0\0\x01" + NOW + b"\x01" + bytes(4) + SESSION + bytes(4)
    encrypted = b"\x40" + SESSION + b"\0\0\0\x01" + NOW + KEYS[:49]
    assert all(is_openvpn_server_reset(packet) for packet in (SERVER_RESET, signed, encrypted))
    assert not any(is_openvpn_server_reset(packet) for packet in (b"", RESET, SERVER_RESET[:-1], b"\x40" + KEYS[:80]))


@given(st.binary(min_size=1, max_size=300), st.binary(max_size=8))
def test_random_datagrams_are_none(payload: bytes, expected: bytes) -> None:
    assume(not expected or expected not in payload)  # which is how an answer is known
    assert read(payload, expected) is None


@pytest.mark.parametrize(
    ("name", "protocol"), [("vpn-wireguard-go", "wireguard-initiation"), ("vpn-openvpn-udp", "openvpn-reset")]
)
def test_recorded_programs(name: str, protocol: str) -> None:
    found = [read(payload) for flow, payload in read_recording(name).datagrams if 53 not in flow]
    assert protocol in {row.protocol for row in found if row is not None}


def test_ordinary_programs_send_none() -> None:
    for name in ("benign-chromium", "benign-dns-udp-tcp", "cf2025-token-quic"):
        for _, payload in read_recording(name).datagrams:
            assert read(payload) is None


def test_a_pong_of_playit_repeats_the_time_of_its_ping() -> None:
    ping = read(PLAYIT)
    assert ping is not None
    assert read(PONG, ping.token) == Handshake("playit-control")
    assert read(PONG) is read(PONG, KEYS[:8]) is None


@pytest.mark.parametrize(
    "payload",
    [
        PLAYIT + b"\0",
        PLAYIT[:-1],
        PLAYIT[:11] + b"\x07" + PLAYIT[12:],
        PLAYIT[:12] + struct.pack(">Q", 1_795_000_000) + PLAYIT[20:],
        PLAYIT[:20] + b"\x02\0",
        PLAYIT_SESSION[:25] + b"\0" + PLAYIT_SESSION[26:],
    ],
)
def test_what_is_nearly_a_ping_of_playit_is_none(payload: bytes) -> None:
    assert read(payload) is None
