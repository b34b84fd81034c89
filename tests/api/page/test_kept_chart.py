import time

from installation import Installation

from api.page.kept import REST, Kept
from api.page.overview import count_minutes


def test_the_chart_is_counted_again_only_after_a_rest(installation: Installation) -> None:
    context, kept = installation.context(), Kept(count_minutes)
    installation.add_many(2000)
    first = kept.at(context, installation.now_ns)
    installation.add(observed_at_ns=installation.now_ns - 1)
    kept.due_s = time.monotonic() + 60
    assert kept.at(context, installation.now_ns) is first
    kept.due_s = 0
    started_s = time.monotonic()
    assert kept.at(context, installation.now_ns).total == first.total + 1
    ended_s = time.monotonic()
    assert started_s < kept.due_s <= ended_s + REST * (ended_s - started_s)
