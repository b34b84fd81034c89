import contextlib
import struct

import pytest
from dhcp_messages import dhcp, option
from hypothesis import given
from hypothesis import strategies as st

from sensor.errors import MalformedDhcp
from sensor.extract.dhcp import COOKIE, DhcpType, is_likely_dhcp, read_dhcp


def test_a_request_tells_name_and_address_asked_for() -> None:
    message = read_dhcp(dhcp(3, option(12, b"build-7"), option(50, bytes((192, 0, 2, 9)))))
    assert message is not None
    assert (message.kind, message.mac, message.host) == (DhcpType.REQUEST, "02:00:5e:10:00:01", "build-7")
    assert (message.address, message.transaction) == (bytes((192, 0, 2, 9)), 7)


def test_an_ack_tells_the_address_given_and_for_how_long() -> None:
    message = read_dhcp(dhcp(5, option(51, struct.pack(">I", 600)), given=bytes((192, 0, 2, 9))))
    assert message is not None
    assert (message.kind, message.address, message.lease_s) == (DhcpType.ACK, bytes((192, 0, 2, 9)), 600)


def test_a_renewal_names_the_address_that_the_client_has() -> None:
    message = read_dhcp(dhcp(3, had=bytes((192, 0, 2, 9))))
    assert message is not None
    assert message.address == bytes((192, 0, 2, 9))


@pytest.mark.parametrize(
    ("options", "host"),
    [
        ((option(12, b"pc\0"),), "pc"),
        ((option(12, b"pc"), option(81, b"\0\0\0pc.corp.example.")), "pc.corp.example"),
        ((option(12, b"pc"), option(81, b"\x04\0\0\x02pc\x04corp\x07example\0")), "pc.corp.example"),
        ((option(12, b"pc"), option(81, b"\0\0\0")), "pc"),
        ((option(12, b"a" * 100), option(12, b"b" * 100)), "a" * 100 + "b" * 100),
        ((option(12, b"\x1b[31mred"),), None),
        ((option(12, b"<script>"),), None),
        ((option(12, b"a" * 255),), None),
        ((option(12, b""),), None),
        ((), None),
    ],
)
def test_names_are_those_of_hosts_or_none(options: tuple[bytes, ...], host: str | None) -> None:
    message = read_dhcp(dhcp(3, *options))
    assert message is not None
    assert message.host == host


@pytest.mark.parametrize("kind", [1, 2, 4, 8, 99])
def test_messages_that_say_nothing_of_who_has_an_address_are_nothing(kind: int) -> None:
    assert read_dhcp(dhcp(kind)) is None


def test_other_links_are_nothing() -> None:
    assert read_dhcp(dhcp(3)[:1] + b"\x06\x08" + dhcp(3)[3:]) is None


def test_every_truncation_is_malformed_or_says_less() -> None:
    whole = dhcp(3, option(12, b"build-7"), option(50, bytes((192, 0, 2, 9))))
    for length in range(len(whole)):
        part = whole[:length]
        if not is_likely_dhcp(part):
            assert length < 240
            continue
        with contextlib.suppress(MalformedDhcp):
            said = read_dhcp(part)
            assert said is None or said.host in (None, "build-7")


@given(st.binary(max_size=600))
def test_no_octets_raise_anything_else(octets: bytes) -> None:
    payload = b"\x01\x01\x06\x00" + bytes(232) + COOKIE + octets
    with contextlib.suppress(MalformedDhcp):
        read_dhcp(payload)
