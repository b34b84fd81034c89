from hypothesis import given
from hypothesis import strategies as st

from sensor.losses import REACH_NS, Losses

S = 1_000_000_000


def test_what_was_lost_is_remembered_for_a_minute() -> None:
    losses = Losses()
    losses.note(0, 0)
    losses.note(5, 10 * S)
    losses.note(12, 30 * S)
    assert losses.total - losses.before(69 * S) == 12
    assert losses.total - losses.before(70 * S) == 7
    assert losses.total - losses.before(90 * S) == 0


@given(st.lists(st.tuples(st.integers(-5, 70), st.integers(0, 3)), max_size=300))
def test_no_loss_of_the_last_minute_is_missed_and_little_is_held(steps: list[tuple[int, int]]) -> None:
    losses, now_ns, total, noted = Losses(), 1000 * S, 0, []
    for pause, lost in steps:
        now_ns += pause * S // 4
        total += lost
        losses.note(total, now_ns)
        noted.append((now_ns, lost))
        recent = sum(lost for at_ns, lost in noted if now_ns - REACH_NS < at_ns <= now_ns)
        assert total - losses.before(now_ns) >= recent
        assert len(losses._before) <= 2 * REACH_NS // S
