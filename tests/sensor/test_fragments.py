import random

import pytest
from frames import CLIENT, SERVER, S, dns_answer, packed, packet, replay
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from rules.values.observation import Evidence, Indicator
from sensor.decode import Fragment
from sensor.errors import MalformedPacket
from sensor.fragments import HEAD_OCTETS, FragmentTable

TEXT = random.Random(3).randbytes(6000)


def piece(start: int, end: int, *, ident: int = 1, last: bool = False, ts_ns: int = 0, text: bytes = TEXT) -> Fragment:
    return Fragment(ts_ns, packed(CLIENT), packed(SERVER), 17, ident, start, last, text[start:end])


def test_fragments_in_any_order_and_twice() -> None:
    pieces = [piece(0, 800), piece(800, 1600), piece(1600, 2000, last=True)]
    for seed in range(20):
        table = FragmentTable()
        shuffled = pieces + pieces[:2]
        random.Random(seed).shuffle(shuffled)
        found = [answer for row in shuffled if (answer := table.add(row)) is not None]
        assert found == [(TEXT[:2000], True)]


def test_the_head_of_a_large_datagram_is_enough() -> None:
    table = FragmentTable()
    assert table.add(piece(0, 1480)) is None
    assert table.add(piece(1480, 2960)) is None
    assert table.add(piece(2960, 4440)) == (TEXT[:4440], False)
    assert table.add(piece(4440, 5920)) is None
    assert HEAD_OCTETS <= 4440


def test_an_overlap_drops_the_datagram() -> None:
    table = FragmentTable()
    table.add(piece(0, 800))
    with pytest.raises(MalformedPacket, match="overlap"):
        table.add(piece(400, 1200))
    assert table.add(piece(800, 1600, last=True)) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (piece(800, 1600, last=True), piece(800, 1601, last=True)),
        (piece(800, 1600, last=True), piece(1600, 2400)),
    ],
)
def test_two_ends_drop_the_datagram(first: Fragment, second: Fragment) -> None:
    table = FragmentTable()
    table.add(first)
    with pytest.raises(MalformedPacket):
        table.add(second)


def test_too_many_pieces_drop_the_datagram() -> None:
    table = FragmentTable()
    with pytest.raises(MalformedPacket, match="more than 128"):
        for number in range(1, 140):
            table.add(piece(number * 8, number * 8 + 8))


def test_old_fragments_do_not_join_new_ones() -> None:
    table = FragmentTable()
    table.add(piece(0, 800))
    assert table.add(piece(800, 1600, last=True, ts_ns=31 * S)) is None


def test_the_table_is_bounded_and_counts() -> None:
    table = FragmentTable(limit=10)
    for ident in range(25):
        table.add(piece(0, 800, ident=ident))
    assert len(table) == 10
    assert table.evicted == 15


def test_a_dns_answer_in_fragments_is_read() -> None:
    answer = (
        Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
        / IP(src="10.0.0.1", dst=CLIENT, id=5)
        / UDP(sport=53, dport=5000)
        / Raw(long_answer())
    )
    pieces = fragment(answer, 400)  # type: ignore[no-untyped-call]
    packets = [packet(S + number, bytes(row)) for number, row in enumerate(pieces)]
    assert len(packets) > 3
    for order in (packets, packets[::-1]):
        observation = replay(order)[0]
        assert observation.indicators == (Indicator(Evidence.DNS_QUERY, "many.example"),)
        assert observation.dns is not None
        assert len(observation.dns.addresses) == 60


def long_answer() -> bytes:
    return dns_answer("many.example", [f"192.0.2.{number}" for number in range(60)])


def test_what_waits_is_bounded_by_what_it_takes() -> None:
    table = FragmentTable(limit_octets=20_000)
    for ident in range(50):
        table.add(piece(0, 800, ident=ident))
    assert len(table) == 20_000 // (800 + 192)
    assert table.evicted == 50 - len(table)
    for ident in range(50):
        table.add(piece(800, 1600, ident=ident, last=True))
    for ident in range(100, 150):
        table.add(piece(0, 800, ident=ident))
    assert table._held_octets == 20 * (800 + 192)
