import pytest

from rules.values.observation import Traffic
from sensor.heartbeat import Heartbeat

S = 1_000_000_000


def beats(*rows: tuple[float, int, int, int]) -> int:
    """The beats of a flow that carried so many octets each way in so many packets at those seconds."""
    out = back = packets = 0
    heartbeat = Heartbeat(Traffic(last_ns=0))
    found = 0
    for at_s, more_out, more_back, more_packets in rows:
        out, back, packets = out + more_out, back + more_back, packets + more_packets
        found = heartbeat.note(Traffic(out, back, packets, int(at_s * S)))
    return found


def test_ten_seconds_apart_a_little_both_ways() -> None:
    assert beats(*((10 * number, 90, 150, 3) for number in range(1, 9))) == 8


def test_a_beat_that_is_looked_at_in_its_middle_is_one() -> None:
    rows = [row for n in range(1, 9) for row in ((10 * n, 90, 90, 2), (10 * n + 0.1, 60, 60, 2))]
    assert beats(*rows) == 8


@pytest.mark.parametrize("every_s", [1, 3, 5, 8, 15, 30, 60])
def test_another_interval_is_no_beat(every_s: float) -> None:
    assert beats(*((every_s * number, 90, 90, 3) for number in range(1, 30))) == 0


@pytest.mark.parametrize(
    ("out", "back", "packets"),
    [(90, 0, 1), (0, 90, 1), (50_000, 90, 4), (90, 50_000, 4), (900, 900, 30)],
)
def test_one_way_or_much_at_once_is_no_beat(out: int, back: int, packets: int) -> None:
    assert beats(*((10 * number, out, back, packets) for number in range(1, 9))) == 0


def test_work_in_between_begins_the_count_anew() -> None:
    steady = [(10 * number, 90, 90, 3) for number in range(1, 6)]
    assert beats(*steady, (54, 9_000, 90_000, 90), (64, 90, 90, 3), (74, 90, 90, 3)) == 2


def test_nothing_new_changes_nothing() -> None:
    heartbeat = Heartbeat(Traffic(last_ns=0))
    beat = Traffic(90, 90, 2, 10 * S)
    assert heartbeat.note(beat) == heartbeat.note(beat) == 1
