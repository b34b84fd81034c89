from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensor.reporting.losses import LEAD_NS, MOMENTS, Losses

S = 1_000_000_000


def test_what_was_lost_since_a_moment() -> None:
    losses = Losses()
    losses.note(0, 0)
    losses.note(5, 10 * S)
    losses.note(12, 30 * S)
    assert [losses.since(at * S) for at in (0, 9, 10, 29, 30, 90)] == [12, 12, 7, 7, 0, 0]


def test_what_was_lost_a_minute_before_something_began_counts() -> None:
    losses, began_ns = Losses(), 1000 * S
    assert losses.around(began_ns) == 0
    losses.note(100, began_ns - LEAD_NS - S)
    assert losses.around(began_ns) == 0
    losses.note(107, began_ns - LEAD_NS + S)
    losses.note(110, began_ns + 600 * S)
    assert losses.around(began_ns) == 10


def test_it_remembers_so_many_moments_and_forgets_the_oldest() -> None:
    losses = Losses()
    for second in range(MOMENTS + 50):
        losses.note(second + 1, second * S)
    assert len(losses._until) == len(losses._before) == MOMENTS
    assert losses.since(-1) == MOMENTS
    assert losses.since((MOMENTS + 48) * S) == 1


@settings(max_examples=1000)
@example([(0, 1), (1, 1), (29, 0), (70, 0), (70, 0), (70, 0)])
@given(st.lists(st.tuples(st.integers(-5, 70), st.integers(0, 3)), max_size=300))
def test_no_loss_is_missed_whatever_the_clock_does(steps: list[tuple[int, int]]) -> None:
    losses, now_ns, total, noted = Losses(), 1000 * S, 0, []
    for pause, lost in steps:
        now_ns += pause * S // 4
        total += lost
        losses.note(total, now_ns)
        noted.append((now_ns, lost))
        recent = sum(lost for at_ns, lost in noted if at_ns > now_ns - LEAD_NS)
        assert losses.since(now_ns - LEAD_NS) >= recent
        assert losses.since(0) == total
