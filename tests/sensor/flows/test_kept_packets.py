from sensor.flows.kept_packets import (
    FLOW_OCTETS,
    FLOW_PACKETS,
    KEY_OCTETS,
    MAX_DOUBTED,
    MAX_SYNS,
    PACKET_OCTETS,
    KeptPackets,
)
from sensor.packet import Packet


def packet(number: int, octets: int = 100, wire_octets: int | None = None) -> Packet:
    return Packet(number, 1, bytes(octets), octets if wire_octets is None else wire_octets)


def test_the_first_packets_of_a_flow_are_kept_with_its_syn() -> None:
    kept = KeptPackets(1 << 20)
    kept.add_syn(1, packet(0))
    for number in range(1, 20):
        kept.add(1, packet(number))
    assert [row.ts_ns for row in kept.of(1)] == list(range(FLOW_PACKETS))


def test_a_syn_that_nothing_followed_is_all_there_is() -> None:
    kept = KeptPackets(1 << 20)
    kept.add_syn(1, packet(5))
    assert [row.ts_ns for row in kept.of(1)] == [5]
    for number in range(MAX_SYNS):
        kept.add_syn(number + 2, packet(number))
    assert kept.of(1) == []


def test_what_goes_beyond_a_flows_octets_is_cut_and_says_how_long_it_was() -> None:
    kept = KeptPackets(1 << 20)
    for number in range(3):
        kept.add(1, packet(number, 9000, 9500))
    assert [len(row.data) for row in kept.of(1)] == [9000, FLOW_OCTETS - 9000]
    assert [row.wire_octets for row in kept.of(1)] == [9500, 9500]


def test_without_room_the_oldest_flow_goes_and_is_counted() -> None:
    kept = KeptPackets(10 * (KEY_OCTETS + 100 + PACKET_OCTETS))
    for number in range(12):
        kept.add(number, packet(number))
    assert (len(kept), kept.evicted) == (10, 2)
    assert (kept.of(1), len(kept.of(2))) == ([], 1)
    assert kept.octets == 10 * (KEY_OCTETS + 100 + PACKET_OCTETS)


def test_what_is_nothing_so_far_goes_first_uncounted() -> None:
    kept = KeptPackets(3 * (KEY_OCTETS + 100 + PACKET_OCTETS))
    for number in range(3):
        kept.add(number, packet(number))
    kept.doubt(2)
    kept.add(3, packet(3))
    assert [bool(kept.of(key)) for key in range(4)] == [True, True, False, True]
    assert kept.evicted == 0


def test_doubted_flows_are_few_and_may_yet_grow() -> None:
    kept = KeptPackets(1 << 20)
    for key in range(MAX_DOUBTED + 1):
        kept.add(key, packet(key))
        kept.doubt(key)
    kept.add(1, packet(9))
    assert kept.of(0) == []
    assert len(kept.of(1)) == 2
    assert len(kept) == MAX_DOUBTED


def test_what_is_nothing_takes_no_room() -> None:
    kept = KeptPackets(1 << 20)
    for key in (1, 2):
        kept.add(key, packet(key))
    kept.doubt(2)
    kept.release(1)
    kept.release(2)
    kept.release(3)
    assert (len(kept), kept.octets) == (0, 0)


def test_packets_are_found_by_the_name_they_speak_of() -> None:
    kept = KeptPackets(1 << 20)
    for key in (1, 2):
        kept.add(key, packet(key))
        kept.name(key, b"\x0a\0\0\1", "tunnel.example")
    assert [row.ts_ns for row in kept.of_name(b"\x0a\0\0\1", "tunnel.example")] == [1, 2]
    assert kept.of_name(b"\x0a\0\0\2", "tunnel.example") == []


def test_none_are_kept_where_that_is_off() -> None:
    kept = KeptPackets(0)
    kept.add(1, packet(1))
    kept.add_syn(2, packet(2))
    assert (kept.of(1), kept.of(2), kept.octets) == ([], [], 0)
