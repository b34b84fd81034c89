import struct

import pytest
from frames import ACK, CLIENT, PSH, SERVER, Conversation, frame, packet, tcp
from hypothesis import given
from hypothesis import strategies as st

from sensor.detection.redaction import MAX_STREAM, redact
from sensor.packet import Packet

SECRET = b"c2VjcmV0OnBhc3N3b3Jk"
REQUESTS = {
    "proxy authorization": b"CONNECT a.example:443 HTTP/1.1\r\nProxy-Authorization: Basic " + SECRET + b"\r\n\r\n",
    "authorization in small letters": b"GET / HTTP/1.1\r\nauthorization:" + SECRET + b"\r\nHost: a.example\r\n\r\n",
    "a cookie": b"GET / HTTP/1.1\r\nHost: a.example\r\nCookie: sid=" + SECRET + b"\r\n\r\n",
    "a header without its end": b"GET / HTTP/1.1\r\nHost: a.example\r\nX-Api-Key: " + SECRET,
    "an agent's own header": b"GET /tunnel HTTP/1.1\r\nX-Tunnel-Authorization: tunnel " + SECRET + b"\r\n\r\n",
    "the query": b"GET /x?token=" + SECRET + b"&a=1 HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "a user in the target": b"GET http://me:" + SECRET + b"@a.example/ HTTP/1.1\r\n\r\n",
    "the body": b"POST /login HTTP/1.1\r\nHost: a.example\r\n\r\nuser=me&password=" + SECRET,
    "an answer's cookie": b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=" + SECRET + b"\r\n\r\n",
    "JSON": b'\x00\x01{"version":"1","privilege_key":"' + SECRET + b'","pool":1}',
    "a SOCKS password": b"\x05\x01\x02\x01\x02me\x14" + SECRET + b"\x05\x01\0\x03\x09a.example\x01\xbb",
}


def conversation(payload: bytes, size: int = 1400) -> list[Packet]:
    flow = Conversation((CLIENT, 40000, SERVER, 80))
    return [*flow.open(), *flow.send(payload, size=size)]


def payloads(packets: list[Packet]) -> bytes:
    return b"".join(row.data[54:] for row in packets)


@pytest.mark.parametrize("size", [1400, 7, 1])
@pytest.mark.parametrize("what", REQUESTS)
def test_a_secret_is_blanked_however_it_is_cut(what: str, size: int) -> None:
    packets = conversation(REQUESTS[what], size)
    blanked = redact(packets)
    assert SECRET in payloads(packets)
    assert SECRET not in payloads(blanked)
    assert b"x" * len(SECRET) in payloads(blanked)
    assert [len(row.data) for row in blanked] == [len(row.data) for row in packets]
    assert [row.wire_octets for row in blanked] == [row.wire_octets for row in packets]


@pytest.mark.parametrize("what", REQUESTS)
def test_headers_of_frames_stay(what: str) -> None:
    packets = conversation(REQUESTS[what], 9)
    assert [row.data[:54] for row in redact(packets)] == [row.data[:54] for row in packets]


def test_what_decided_stays() -> None:
    sent = (
        b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nProxy-Authorization: x\r\n\r\n\x16\x03\x01\x02\x00"
    )
    assert payloads(redact(conversation(sent))) == sent
    secret = REQUESTS["an agent's own header"]
    assert payloads(redact(conversation(secret))).startswith(b"GET /tunnel HTTP/1.1\r\nX-Tunnel-Authorization: xxxx")


def test_a_secret_that_was_sent_twice_and_out_of_order_is_blanked_in_each_copy() -> None:
    packets = conversation(REQUESTS["a cookie"], 12)
    again = [packets[3], *reversed(packets[4:]), *packets]
    assert SECRET[:9] not in payloads(redact(again))
    assert len(payloads(redact(again))) == len(payloads(again))


def test_over_ipv6_with_padding_at_the_frames_end() -> None:
    segment = struct.pack(">HHIIBBHHH", 40000, 80, 7, 1, 0x50, ACK | PSH, 9, 0, 0) + REQUESTS["a cookie"]
    data = frame(6, "2001:db8::1", "2001:db8::2", segment) + b"trailer"
    (blanked,) = redact([packet(1, data)])
    assert SECRET not in blanked.data
    assert blanked.data.endswith(b"\r\n\r\ntrailer")


def test_what_lies_far_into_a_stream_is_blanked_whole() -> None:
    ends = (CLIENT, 40000, SERVER, 80)
    packets = [tcp(1, ends, (1, 1, ACK), b"GET / "), tcp(2, ends, (MAX_STREAM + 1, 1, ACK), SECRET)]
    assert payloads(redact(packets)) == b"GET / " + b"x" * len(SECRET)


@given(st.lists(st.binary(max_size=120), max_size=4))
def test_anything_at_all_is_taken(frames: list[bytes]) -> None:
    packets = [Packet(number, 1, data, len(data)) for number, data in enumerate(frames)]
    assert [len(row.data) for row in redact(packets)] == [len(row.data) for row in packets]


def test_what_only_looks_like_tls_at_its_beginning_is_searched() -> None:
    hello = b"\x16\x03\x01\x00\x04\x01\x00\x00\x00"
    for stream in (hello + REQUESTS["JSON"], b"\x16\x03\x01\xff\xff" + REQUESTS["a cookie"]):
        assert SECRET not in payloads(redact(conversation(stream)))


def test_packets_without_secrets_are_not_copied() -> None:
    packets = conversation(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00\x17\x03\x03\x00\x09token: ab")
    assert all(blanked is packet for blanked, packet in zip(redact(packets), packets, strict=True))
