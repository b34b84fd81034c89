import time

from installation import Installation

from api.page.kept import Kept
from api.page.overview import count_minutes


def test_the_chart_is_counted_again_only_after_a_rest(installation: Installation) -> None:
    context, kept = installation.context(), Kept(count_minutes)
    installation.add_many(2000)
    started_s = time.monotonic()
    first = kept.at(context, installation.now_ns)
    took_s = time.monotonic() - started_s
    installation.add(observed_at_ns=installation.now_ns - 1)
    kept.due_s = time.monotonic() + 60
    assert kept.at(context, installation.now_ns) is first
    kept.due_s = 0
    assert kept.at(context, installation.now_ns).total == first.total + 1
    assert kept.due_s - time.monotonic() < 30 * max(took_s, 0.01)
