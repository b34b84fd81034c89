import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.flows.reassembly import HEAD_OCTETS, MAX_WAITING, StreamHead, sequence_distance

TEXT = bytes(range(256)) * 20


def test_distance_wraps_around() -> None:
    assert sequence_distance(2**32 - 1, 1) == 2
    assert sequence_distance(1, 2**32 - 1) == -2


def test_segments_in_order_and_across_the_wrap() -> None:
    head = StreamHead()
    head.start_at(2**32 - 10)
    assert head.add(2**32 - 10, TEXT[:20])
    assert head.add(10, TEXT[20:50])
    assert head.head == TEXT[:50]
    assert not head.add(10, TEXT[20:50])
    assert head.conflicts == 0


def test_a_gap_waits_and_then_fills() -> None:
    head = StreamHead()
    head.start_at(0)
    assert not head.add(100, TEXT[100:200])
    assert head.held_octets == 100
    assert head.add(0, TEXT[:100])
    assert head.head == TEXT[:200]


def test_the_first_octets_win_and_a_different_copy_is_a_conflict() -> None:
    head = StreamHead()
    head.start_at(0)
    head.add(10, b"b" * 10)
    head.add(0, b"a" * 15)
    head.add(5, b"c" * 30)
    assert head.head == b"a" * 10 + b"b" * 10 + b"c" * 15
    assert head.conflicts == 2


def test_what_is_forgotten_makes_room_and_does_not_come_again() -> None:
    head = StreamHead()
    head.add(2**32 - 50, TEXT[:100])
    head.add(60, TEXT[110:120])
    head.forget(90)
    assert (head.head, head.held_octets) == (TEXT[90:100], 20)
    assert not head.add(2**32 - 50, TEXT[:90])
    assert head.add(50, TEXT[100:110])
    assert head.head == TEXT[90:120]
    assert head.add(70, TEXT[120 : 90 + HEAD_OCTETS])
    assert head.is_full


def test_an_earlier_segment_goes_in_front_while_the_start_is_not_known() -> None:
    head = StreamHead()
    head.add(1400, TEXT[1400:1500])
    assert head.head == TEXT[1400:1500]
    assert head.add(0, TEXT[:1400])
    assert head.head == TEXT[:1500]
    assert not head.is_start_known


def test_a_late_syn_leaves_out_what_came_before_it() -> None:
    head = StreamHead()
    head.add(90, TEXT[90:200])
    assert head.is_start(80)
    assert not head.is_start(100)
    assert not head.is_start(2**32 - 5000)
    head.start_at(100)
    assert head.head == TEXT[100:200]
    assert head.isn == 99
    assert head.is_start(100)
    assert not head.is_start(90)
    assert not head.add(90, TEXT[90:100])


def test_no_more_than_the_head_is_kept() -> None:
    head = StreamHead()
    head.start_at(0)
    assert head.add(0, TEXT)
    assert head.is_full
    assert len(head) == HEAD_OCTETS
    assert not head.add(HEAD_OCTETS, b"more")
    assert not head.add(2**31, b"far away")
    assert head.held_octets == HEAD_OCTETS


def test_at_most_so_many_segments_wait() -> None:
    head = StreamHead()
    head.start_at(0)
    for number in range(1, MAX_WAITING + 3):
        head.add(number * 10, b"x")
    assert head.held_octets == MAX_WAITING
    assert head.evicted == 2


@given(
    seed=st.integers(0, 2**32 - 1),
    octets=st.integers(1, 6000),
    isn=st.sampled_from([0, 2**32 - 100, 2**31 - 50, 12345]),
    cuts=st.lists(st.integers(0, 6000), max_size=7),
    overlap=st.integers(0, 60),
)
def test_neither_cuts_order_nor_copies_change_the_head(
    seed: int, octets: int, isn: int, cuts: list[int], overlap: int
) -> None:
    rng = random.Random(seed)
    stream = rng.randbytes(octets)
    edges = sorted({0, octets, *[cut for cut in cuts if cut < octets]})
    segments = [(start, stream[start : end + overlap]) for start, end in pairwise(edges)]
    segments += rng.sample(segments, rng.randrange(len(segments) + 1))
    rng.shuffle(segments)
    head = StreamHead()
    head.start_at(isn)
    for offset, payload in segments:
        head.add((isn + offset) % 2**32, payload)
        assert head.held_octets <= HEAD_OCTETS
    assert head.head == stream[:HEAD_OCTETS]
    assert (head.conflicts, head.evicted) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
def test_contradicting_segments_never_break_the_bounds(seed: int) -> None:
    rng = random.Random(seed)
    head = StreamHead()
    for _ in range(500):
        head.add(rng.choice([rng.randrange(6000), rng.randrange(2**32)]), rng.randbytes(rng.randrange(1600)))
        assert head.held_octets <= HEAD_OCTETS
        assert len(head) <= HEAD_OCTETS
