"""Packets of several interfaces wait for earlier ones, within bounds."""

from sensor.capture.merge import HOLD_NS, MAX_WAITING, MAX_WAITING_OCTETS, Merge
from sensor.packet import LinkType, Packet

LARGEST = 16_384


def packet(ts_ns: int, octets: int = 60) -> Packet:
    return Packet(ts_ns, LinkType.ETHERNET, bytes(octets), octets, "eth0")


def test_packets_come_out_in_the_order_of_time_once_they_waited() -> None:
    waiting = Merge()
    waiting.add([packet(30), packet(10), packet(20)])
    assert waiting.take(HOLD_NS + 20, 9) == [packet(10), packet(20)]
    assert waiting.wait_s(HOLD_NS) == 30 / 1e9
    assert waiting.take(HOLD_NS + 30, 9) == [packet(30)]
    assert len(waiting) == 0
    assert waiting.wait_s(HOLD_NS) is None


def test_what_is_newer_than_what_was_read_of_all_waits_on() -> None:
    waiting = Merge()
    waiting.add([packet(10), packet(20), packet(30)])
    assert waiting.take(HOLD_NS + 30, 9, 20) == [packet(10), packet(20)]
    assert waiting.take(HOLD_NS + 30, 9, 30) == [packet(30)]


def test_no_more_packets_wait_than_there_is_room_for() -> None:
    waiting = Merge()
    waiting.add([packet(number) for number in range(MAX_WAITING + 5)])
    assert waiting.take(HOLD_NS + 2, 1) == [packet(number) for number in range(5)]
    assert len(waiting) == MAX_WAITING
    assert waiting.hurried == 2  # three had waited long enough


def test_no_more_octets_wait_than_there_is_room_for() -> None:
    waiting = Merge()
    room = MAX_WAITING_OCTETS // LARGEST
    assert room < MAX_WAITING
    for turn in range(3):  # the count of octets holds over additions and removals
        first = turn * (room + 3)
        waiting.add([packet(first + number, LARGEST) for number in range(room + 3)])
        taken = waiting.take(first + HOLD_NS - 1, 1)
        assert len(waiting) == room
        assert [each.ts_ns for each in taken] == sorted(each.ts_ns for each in taken)
        assert len(taken) >= 3
    assert waiting.hurried > 6


def test_what_a_clock_stamped_before_it_was_set_back_does_not_wait() -> None:
    waiting = Merge()
    waiting.add([packet(10 * HOLD_NS)])
    assert waiting.take(0, 9) == [packet(10 * HOLD_NS)]
