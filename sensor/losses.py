"""When packets were lost, and what that means for events: counts may be low, and other tunnels may be missing."""

from bisect import bisect_right

LEAD_NS = 60_000_000_000  # what was lost this long before an event may have been a part of it
MOMENTS = 4096
_STEP_NS = 1_000_000_000  # losses closer together than this are remembered as one


class Losses:
    """Follows a counter of lost packets through the last `MOMENTS` seconds in which some were lost.

    `total` is all that was lost. While a clock that was set back catches up, losses count for longer than they should.
    """

    def __init__(self) -> None:
        self.total = 0
        self._times: list[int] = []
        self._before: list[int] = []  # the total before the losses that were noted from that time on

    def note(self, total: int, now_ns: int) -> None:
        """Take the counter's value at `now_ns`."""
        if total == self.total:
            return
        if not self._times or now_ns - self._times[-1] >= _STEP_NS:
            self._times.append(now_ns)
            self._before.append(self.total)
            if len(self._times) > MOMENTS:
                del self._times[0], self._before[0]
        self.total = total

    def since(self, from_ns: int) -> int:
        """Return how many packets were lost after `from_ns`, at least: what is too long ago is forgotten."""
        place = bisect_right(self._times, from_ns)
        return self.total - self._before[place] if place < len(self._times) else 0

    def around(self, first_seen_ns: int) -> int:
        """Return how many packets were lost while something was seen that began then, and in the minute before."""
        return self.since(first_seen_ns - LEAD_NS)
